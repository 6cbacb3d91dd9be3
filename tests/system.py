"""The whole system for tests: the sandbox in this process, everything else in processes of its own.

The sandbox's objects are at hand (people, audits, faults, traces); Redis, the bot and the worker are
real processes that can be killed, stopped and started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web
from aiohttp.typedefs import Middleware

from src.jobs import Job, Ledger, keys
from src.load.seen import is_cancellable
from src.local.demo import environment
from src.local.supervisor import DRAIN
from src.sandbox.faults import Faults
from src.sandbox.kie import KieSandbox
from src.sandbox.openai import OpenAISandbox
from src.sandbox.otlp import SpanRecord
from src.sandbox.pictures import PictureMaker
from src.sandbox.telegram import DEMO_TOKEN, Message, Person, TelegramSandbox
from src.sandbox.traces import TraceSandbox, is_finished
from src.settings import load_settings
from src.store.clients import make_redis
from tests.conftest import RedisProcess
from tests.processes import Forked

WAIT = 60.0


class System:
    """A running system. `telegram`, `kie`, `openai`, `faults` and `traces` are the sandbox's own objects.

    `env_of` gives further environment variables for a part by its name. `address`: where the sandbox listens.
    """

    def __init__(
        self,
        folder: Path,
        env: dict[str, str],
        server: Any = None,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        pictures = PictureMaker()
        self.faults = Faults()
        self.telegram = TelegramSandbox(token=DEMO_TOKEN, limits=False)
        self.kie = KieSandbox(faults=self.faults, pictures=pictures, durations=(0.5, 1.0))
        self.openai = OpenAISandbox(faults=self.faults, pictures=pictures, durations=(0.5, 1.0))
        self.traces = TraceSandbox()
        self.redis_process = server or RedisProcess(folder, "--appendonly", "yes", "--appendfsync", "always")
        self.folder = folder
        self.url = ""
        self.api_url = ""
        self.logs: dict[str, Path] = {}
        self.middlewares: list[Middleware] = []
        self.env_of: Callable[[str], dict[str, str]] | None = None
        self._env = env
        self._address = address
        self._parts: dict[str, asyncio.subprocess.Process | Forked] = {}

    async def open(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=self.middlewares)
        for part in (self.telegram, self.openai, self.kie, self.traces):
            part.add_to(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self.redis_process.start()
        self._connect()

    async def close(self) -> None:
        await asyncio.gather(*map(self.stop, list(self._parts)))
        await self.redis.aclose()
        self.redis_process.kill()
        await self._runner.cleanup()

    async def reconnect(self) -> None:
        """Read from the `redis_process` there is now."""
        await self.redis.aclose()
        self._connect()

    def _connect(self) -> None:
        how = {name: self._env[name.upper()] for name in ("redis_ca_file",) if name.upper() in self._env}
        self.settings = load_settings(redis_url=self.redis_process.url, **how)
        self.redis = make_redis(self.settings)
        self.ledger = Ledger(self.redis)

    # Processes

    async def start_bot(self, name: str = "bot") -> None:
        await self._start(name, ["src.cli", "bot"])

    async def start_api(self, port: int, name: str = "api") -> None:
        """Start the api and wait until it answers; `api_url` is its address."""
        await self._start(name, ["src.cli", "api", "--port", str(port)])
        self.api_url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(trust_env=False) as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"{self.api_url}/livez")).is_success
                except httpx.TransportError:
                    return False

            await self.until(answers, 3 * WAIT)

    async def start_worker(
        self, name: str = "worker", *, processes: int = 1, threads: int = 4, module: str = "src.actors"
    ) -> None:
        command = ["dramatiq", module, "--skip-logging"]
        command += ["--processes", str(processes), "--threads", str(threads), *DRAIN]
        await self._start(name, command)

    async def _start(self, name: str, command: list[str]) -> None:
        settings = environment(self.url, self.redis_process.url, self.folder)
        # Without previews, so that the first photo is the picture.
        env = {
            **os.environ,
            **settings,
            "OPENAI_PREVIEWS": "0",
            "POLL_INTERVAL": "0.3",
            "PYTHONFAULTHANDLER": "1",
        }
        env |= self._env | (self.env_of(name) if self.env_of else {})
        self.logs[name] = self.folder / f"{name}.log"
        if "PYTHONPATH" not in env:  # nothing that only a new interpreter heeds
            self._parts[name] = part = Forked(command, env, self.logs[name])
            # From then on its signals reach all of it.
            await self.until(lambda: part.returncode is not None or os.getpgid(part.pid) == part.pid)
            return
        with self.logs[name].open("ab") as log:
            self._parts[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *command,
                env=env,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a part with all its children."""
        os.killpg(self._parts[name].pid, number)

    async def stop(self, name: str, *, grace: float = 30.0) -> int:
        """SIGTERM as a supervisor sends it, to the main process; the exit code."""
        process = self._parts.pop(name)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace)
            except TimeoutError:
                # Its log then says where each of its threads was.
                os.killpg(process.pid, signal.SIGABRT)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 5)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return process.returncode or 0

    async def killed(self, name: str) -> None:
        """SIGKILL a part with all its children and wait until it is gone."""
        self.kill(name)
        await self._parts.pop(name).wait()

    def has_died(self, name: str) -> bool:
        """Whether a part has ended by itself."""
        return name in self._parts and self._parts[name].returncode is not None

    async def forget(self, name: str) -> None:
        """Forget a part that has ended, and whatever child it left."""
        process = self._parts.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def is_up(self, name: str) -> bool:
        """Whether a part has said that it began its work."""
        said = self.log_of(name)
        return any(words in said for words in ("bot started", "is ready for action", "startup complete"))

    def pid(self, name: str) -> int:
        """Of a part's main process; its children are in its process group."""
        return self._parts[name].pid

    @property
    def parts(self) -> list[str]:
        """Names of the parts that were started and not stopped."""
        return list(self._parts)

    def log_of(self, name: str) -> str:
        """What a part has said so far."""
        log = self.logs[name]
        # A fork opens it a moment later.
        return log.read_text("utf-8", "replace") if log.exists() else ""

    # What people see

    def person(self, name: str = "Ann", language_code: str = "en") -> Person:
        return self.telegram.person(name, language_code=language_code)

    async def picture(self, person: Person, within: float = WAIT) -> Message:
        """The person's newest message once it is a picture from the bot, and not a look at an unfinished one."""

        def is_one(message: Message) -> bool:
            return message.from_bot and message.has_photo and not is_cancellable(message)

        return await self.message(person, is_one, within)

    async def message(
        self, person: Person, matches: Callable[[Message], bool], within: float = WAIT
    ) -> Message:
        """The newest message of the private chat that matches, as soon as there is one."""

        def look() -> Message | None:
            return next((m for m in reversed(person.messages) if matches(m)), None)

        found = await person.chat.feed.until(look, within)
        assert found is not None
        return found

    # What the ledger says

    async def jobs_of(self, person: Person) -> list[Job]:
        ids: list[str] = []
        for request_id in await self.ledger.history(str(person.id), 50):
            request = await self.ledger.request(request_id)
            ids += request.jobs if request else ()
        return await self.ledger.jobs(ids)

    async def all_ended(self, person: Person) -> bool:
        """Whether all that a person asked for has ended; False if they asked for nothing."""
        jobs = await self.jobs_of(person)
        return bool(jobs) and all(job.ended for job in jobs)

    # What was exported

    async def trace_of(self, message: Message, within: float = WAIT) -> list[SpanRecord]:
        """The whole trace of what was asked for with a message."""
        assert message.update_id is not None
        update = message.update_id
        trace_id = await self.traces.wait_for(lambda traces: traces.trace_of_update(update), within)
        assert trace_id is not None
        return await self.whole_trace(trace_id, within)

    async def whole_trace(self, trace_id: str, within: float = WAIT) -> list[SpanRecord]:
        """A job's trace, once nothing of it is left to come."""

        def whole(traces: TraceSandbox) -> list[SpanRecord]:
            found = traces.trace(trace_id)
            return found if is_finished(found) and any(span.name == "job" for span in found) else []

        return await self.traces.wait_for(whole, within)

    # Waiting

    async def inbox(self, count: int) -> bool:
        """Whether so many updates are taken and not handled."""
        key = keys.UPDATES(DEMO_TOKEN.partition(":")[0])
        return int(await self.redis.xlen(key)) == count

    async def until(self, condition: Callable[[], Any], within: float = WAIT) -> Any:
        """Wait for a condition on another process's state, which nobody announces to us."""
        async with asyncio.timeout(within):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    folder: Path, *, start: bool = True, server: Any = None, **env: str
) -> AsyncIterator[System]:
    """A system in `folder`; further settings by their environment variables.

    Args:
        server: where the ledger is, of tests/servers.py; None: a Redis of the system's own.
    """
    system = System(folder, env, server)
    await system.open()
    try:
        if start:
            await system.start_worker()
            await system.start_bot()
        yield system
    finally:
        await system.close()
