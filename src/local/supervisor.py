"""Runs the parts of the system as child processes on one machine, and keeps them running.

A part that dies is named with its last words and started again; one that keeps dying ends them all, and so does one
whose settings are wrong, at once.
Containers have supervisors of their own: this is for `imagebot run` and `imagebot demo`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from src.settings import SettingsError, UserError

T = TypeVar("T")

DRAIN = ("--worker-shutdown-timeout", "16000")
"""What a Dramatiq worker is started with, so that it ends within 20 s of SIGTERM whatever it does."""

THREADS = 32
"""Threads of a worker. Each carries one step, which is a second or two of HTTP."""

_WORDS = 12
_WORDS_SECONDS = 2.0
_RESTARTS = 5
_RESTART_WINDOW = 60.0
_PR_SET_PDEATHSIG = 1
# What `imagebot` begins an error with that a person can mend.
_ERROR = "imagebot: "


@dataclass(slots=True)
class Part:
    """One child process.

    Attributes:
        ready: awaited after the start; raises when the part does not come up.
        grace: seconds between SIGTERM and SIGKILL.
        files: open files of this process that it inherits.
        restart: start again when it dies; otherwise its death ends everything.
        serves: the others need it until they have ended.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[None]] | None = None
    grace: float = 10.0
    restart: bool = True
    files: Sequence[int] = ()
    serves: bool = False


class PartDied(UserError):
    """A part ended and was not started again; the text says which, how, and its last words."""

    exit_code = os.EX_SOFTWARE


class Supervisor:
    """Starts parts in order, watches them, stops them in reverse.

    Args:
        logs: folder for one log file a part; None: their output goes to this process's stderr.
        say: called with a line for the person at the terminal.
    """

    def __init__(self, *, logs: Path | None, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._parts: dict[str, Part] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._words: dict[str, deque[str]] = {}
        self._deaths: dict[str, deque[float]] = {}
        self.until_stopped = contextlib.ExitStack()
        """What is kept until all parts are stopped."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = False
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)

    async def start(self, part: Part) -> None:
        """Start a part and wait until it is ready.

        Raises:
            PartDied: it ended instead. SettingsError: of a setting that is wrong.
        """
        self._parts[part.name] = part
        await self._spawn(part)
        if part.ready is not None:
            await self._until_ready(part, part.ready)
        self._watchers[part.name] = asyncio.create_task(self._watch(part))

    async def start_bot(self, env: Mapping[str, str], *, processes: int = 1, threads: int = THREADS) -> None:
        """Start a worker of so many processes, and a bot."""
        worker = [sys.executable, "-m", "dramatiq", "src.actors", "--processes", str(processes)]
        worker += ["--threads", str(threads), *DRAIN]
        await self.start(Part("worker", worker, env, grace=25.0))
        await self.start(Part("bot", [sys.executable, "-m", "src.cli", "bot"], env, grace=20.0))

    async def stop_part(self, name: str) -> None:
        """Stop one part and forget it."""
        part = self._parts.pop(name)
        if (watcher := self._watchers.pop(name, None)) is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        if self._running[name].returncode is None:
            await self._end(part)

    def pids(self) -> dict[str, int]:
        """Process ids of the parts that run, by name."""
        return {name: p.pid for name, p in self._running.items() if p.returncode is None}

    async def during(self, work: Awaitable[T]) -> T:
        """The result of `work`.

        Raises:
            PartDied: a part died for good before. SettingsError: of a setting that is wrong.
        """
        task = asyncio.ensure_future(work)
        try:
            either: tuple[asyncio.Future[Any], ...] = task, self._failed
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all parts: side by side, then those that serve the others, the last started first."""
        self._stopping = True
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        running = [part for part in reversed(self._parts.values()) if part.name in self.pids()]
        await asyncio.gather(*(self._end(part) for part in running if not part.serves))
        for part in running:
            if part.serves:
                await self._end(part)
        if self._failed.done():
            self._failed.exception()
        self.until_stopped.close()

    async def _spawn(self, part: Part) -> None:
        env = {**os.environ, **part.env}
        process = await asyncio.create_subprocess_exec(
            *part.command,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=part.files,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        self._running[part.name] = process
        self._words[part.name] = deque(maxlen=_WORDS)
        self._readers[part.name] = asyncio.create_task(self._read(part.name, process))

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        file = (self._logs / f"{name}.log").open("ab", buffering=0) if self._logs is not None else None
        out = file or sys.stderr.buffer
        with contextlib.ExitStack() as stack:
            if file is not None:
                stack.enter_context(file)
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:
                    continue  # a line longer than the reader's limit
                if not line:
                    return
                self._words[name].append(line.decode("utf-8", "replace").rstrip())
                # On a full disk lines are lost; a part that nobody reads any more would stand still for good.
                with contextlib.suppress(OSError):
                    out.write(line)
                    out.flush()

    async def _until_ready(self, part: Part, ready: Callable[[], Awaitable[None]]) -> None:
        process = self._running[part.name]
        coming_up = asyncio.ensure_future(ready())
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({coming_up, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not coming_up.done():
                raise await self._end_of(part.name, process)
            coming_up.result()
        except TimeoutError:
            raise PartDied(f"{part.name} did not come up.{self._last_words(part.name)}") from None
        finally:
            for task in (coming_up, ending):
                task.cancel()

    async def _watch(self, part: Part) -> None:
        while True:
            process = self._running[part.name]
            await process.wait()
            if self._stopping:
                return
            end = await self._end_of(part.name, process)
            deaths = self._deaths.setdefault(part.name, deque(maxlen=_RESTARTS))
            deaths.append(time.monotonic())
            often = len(deaths) == _RESTARTS and deaths[-1] - deaths[0] < _RESTART_WINDOW
            # With the same settings it would end so again.
            if not part.restart or often or isinstance(end, SettingsError):
                if not self._failed.done():
                    self._failed.set_exception(end)
                return
            self._say(str(end))
            self._say(f"{part.name} starts again.")
            await asyncio.sleep(min(0.1 * 2 ** len(deaths), 3.0))
            await self._spawn(part)

    async def _end(self, part: Part) -> None:
        process = self._running[part.name]
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), part.grace)
        except TimeoutError:
            _signal(process, signal.SIGKILL, group=True)
            await process.wait()

    async def _end_of(self, name: str, process: asyncio.subprocess.Process) -> UserError:
        """What a part's end is to the person at the terminal, once all is read that it said."""
        await asyncio.wait({self._readers[name]}, timeout=_WORDS_SECONDS)
        code = process.returncode or 0
        if code == SettingsError.exit_code and (said := self._what_it_said(name)):
            return SettingsError(said)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return PartDied(f"{name} {how}.{self._last_words(name)}")

    def _what_it_said(self, name: str) -> str | None:
        """The last error of a part of ours: its line and those that belong to it. None: there is none."""
        words = [*self._words[name]]
        starts = [number for number, line in enumerate(words) if line.startswith(_ERROR)]
        if not starts:
            return None
        first, *rest = words[starts[-1] :]
        more = itertools.takewhile(lambda line: line.startswith("  "), rest)
        return "\n".join([first.removeprefix(_ERROR), *more])

    def _last_words(self, name: str) -> str:
        words = [line for line in self._words.get(name, ()) if line.strip()]
        where = f" Its log: {self._logs / (name + '.log')}" if self._logs is not None else ""
        return where + "".join(f"\n    {line}" for line in words[-6:])


def _signal(process: asyncio.subprocess.Process, number: signal.Signals, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _die_with_parent() -> None:
    """Between fork and exec: if the supervisor is killed outright, its parts must not stay behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
