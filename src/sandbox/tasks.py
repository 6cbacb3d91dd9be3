"""Generations that are asked for, then asked about: what stand-ins of a queue have in common.

How far a task is follows from the clock when somebody asks, so thousands in flight cost nothing; only one with a callback
has a timer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import random
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from src.sandbox.faults import Fault, Faults, Refuse
from src.sandbox.generations import Audit, Durations, draw
from src.sandbox.openai import bad_address, serve_picture
from src.sandbox.pictures import PictureMaker

_KEPT = 50_000
_CALLBACK_TRIES = 3
_EARLY = 0.1


@dataclass(slots=True)
class Task:
    """A generation. `seconds`: how long it takes; `began`, `stopped`: by the clock of its `Tasks`."""

    id: str
    number: int
    prompt: str
    model: str
    size: tuple[int, int]
    seconds: float
    began: float
    origin: str
    source: bytes | None
    fault: Fault | None
    wall: float = field(default_factory=time.time)
    stopped: float | None = None
    charged: bool = False

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""


class Tasks:
    """The generations of a stand-in.

    Args:
        name: its own, in the addresses of its pictures. clock: monotonic seconds; may be changed.
        kept: seconds for which a picture can be had; None: always.
    """

    def __init__(
        self,
        name: str,
        pictures: PictureMaker,
        faults: Faults,
        durations: Durations,
        *,
        seed: int = 0,
        kept: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.audit = Audit()
        self.durations = durations
        self.faults = faults
        self._pictures = pictures
        self._random = random.Random(f"{name}:{seed}")
        self._seed = seed
        self._kept = kept
        self.clock = clock
        self._count = itertools.count(1)
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._calling: set[asyncio.Task[None]] = set()

    def add_to(self, app: web.Application, refuse: Refuse) -> None:
        """Serve the pictures under `/files/{name}`."""
        self.faults.add_to(app)
        app.router.add_get(f"/files/{self.name}/{{file}}", self.faults.around(self._file, refuse))
        app.on_cleanup.append(self._stop)

    def begin(
        self, request: web.Request, model: str, prompt: str, size: tuple[int, int], sources: list[bytes]
    ) -> Task:
        """A new generation."""
        fault = self.faults.behaviour(request.path, prompt)
        seconds = draw(self.durations, self._random) * (5 if fault and fault.kind == "slow" else 1)
        number = next(self._count)
        id = uuid.UUID(int=self._random.getrandbits(128)).hex
        source, origin = (sources[0] if sources else None), str(request.url.origin())
        task = Task(id, number, prompt, model, size, seconds, self.clock(), origin, source, fault)
        self._tasks[id] = task
        if len(self._tasks) > _KEPT:
            self._tasks.popitem(last=False)
        self.audit.submits[prompt] += 1
        self.audit.sources[prompt] += len(sources)
        self.audit.seconds[prompt] = seconds
        return task

    def find(self, id: str) -> Task | None:
        """A task, unless it is one of those that get lost."""
        self.audit.polls += 1
        task = self._tasks.get(id)
        return None if task is None or (task.kind == "vanish" and self.share(task) > 0.5) else task

    def share(self, task: Task) -> float:
        """How much of a task is done: 1 and more when it has ended."""
        now = self.clock() if task.stopped is None else task.stopped
        done = (now - task.began) / max(task.seconds, 1e-9)
        return min(done, 0.95) if task.kind == "never_ends" else done

    def age(self, task: Task) -> float:
        """Seconds since it was asked for."""
        return self.clock() - task.began

    def waits(self, task: Task) -> bool:
        """Whether it has not begun to be drawn."""
        return self.share(task) < _EARLY

    def ended(self, task: Task) -> bool:
        """Whether its picture is there, or its failure."""
        return task.stopped is None and self.share(task) >= 1

    def stop(self, task: Task) -> None:
        """Stop a task that goes on."""
        task.stopped = self.clock()

    def gone(self, task: Task) -> bool:
        """Whether its picture was deleted by now."""
        return self._kept is not None and self.age(task) - task.seconds > self._kept

    def picture(self, task: Task) -> str:
        """The address of its picture, which is billed now."""
        if not task.charged:
            task.charged = True
            self.audit.charged[task.prompt] += 1
            self.audit.noticed.append(max(0.0, self.age(task) - task.seconds))
        if task.kind in ("foreign_host", "plain_http", "metadata_host"):
            return bad_address(task.kind)
        return f"{task.origin}/files/{self.name}/{task.id}.png"

    async def wait(self, task: Task, seconds: float) -> None:
        """Wait for its end, but not longer than that."""
        left = task.seconds - self.age(task)
        await self.faults.pause(seconds if task.kind == "never_ends" else max(0.0, min(left, seconds)))

    def call_back(self, task: Task, url: str, message: Callable[[], tuple[bytes, dict[str, str]]]) -> None:
        """Call an address when the task has ended; `message` makes the signed body and its headers."""
        if task.kind == "never_ends":
            return

        def start() -> None:
            running = asyncio.ensure_future(self._call(url, message))
            self._calling.add(running)
            running.add_done_callback(self._calling.discard)

        asyncio.get_running_loop().call_later(task.seconds, start)

    async def _call(self, url: str, message: Callable[[], tuple[bytes, dict[str, str]]]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
            for attempt in range(_CALLBACK_TRIES):
                body, headers = message()
                headers = {"Content-Type": "application/json", **headers}
                try:
                    async with session.post(
                        url, data=body, headers=headers, allow_redirects=False
                    ) as response:
                        if response.status < 300:
                            self.audit.callbacks += 1
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await self.faults.pause(0.5 * 2**attempt)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        task = self._tasks.get(request.match_info["file"].partition(".")[0])
        if task is None or self.gone(task):
            raise web.HTTPNotFound
        if "Authorization" in request.headers:
            # A key that is shown to a file server is a key that was given away.
            raise web.HTTPBadRequest(text="no key belongs here")
        self.audit.fetches[task.id] += 1
        seed = self._seed * 100_003 + task.number
        data = await self._pictures.make(task.prompt, task.size, seed=seed, source=task.source)
        return await serve_picture(request, data, task.fault)

    async def _stop(self, app: web.Application) -> None:
        for running in tuple(self._calling):
            running.cancel()


class SourceRefused(Exception):
    """What was given as a picture to be changed is none."""


def data_uri(given: object) -> bytes:
    """The bytes of a picture given as a data: URI.

    Raises:
        SourceRefused: it is something else.
    """
    if isinstance(given, str) and given.startswith("data:image/") and ";base64," in given:
        try:
            return base64.b64decode(given.partition(";base64,")[2], validate=True)
        except binascii.Error:
            pass
    raise SourceRefused
