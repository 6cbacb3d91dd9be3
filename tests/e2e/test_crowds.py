"""Hundreds of pictures end at once: one worker process holds neither a thread nor a picture's bytes for each."""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from PIL import Image

from src.sandbox.pictures import Format, PictureMaker
from src.sandbox.telegram import DEMO_TOKEN, Person, TelegramSandbox
from tests.system import System

pytestmark = [pytest.mark.soak, pytest.mark.timeout(400)]

_THREADS = 16
# What asyncio starts threads for (a blocking client) it does in at most as many as this.
_EXECUTOR = 33
_MEGABYTE = 1_000_000


class Heavy(PictureMaker):
    """Pictures of noise, which nothing makes smaller."""

    def __init__(self, side: int) -> None:
        super().__init__()
        image = Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=0)
        self.data = out.getvalue()

    async def make(
        self,
        prompt: str,
        size: tuple[int, int],
        *,
        seed: int = 0,
        form: Format = "png",
        source: bytes | None = None,
    ) -> bytes:
        return self.data


@dataclass
class Use:
    """What a worker process used at most, and its CPU seconds."""

    threads: int = 0
    memory: int = 0
    cpu: float = 0.0

    def look(self, worker: psutil.Process) -> None:
        times = worker.cpu_times()
        self.threads = max(self.threads, worker.num_threads())
        self.memory = max(self.memory, worker.memory_info().rss)
        self.cpu = times.user + times.system


@asynccontextmanager
async def _crowd(
    folder: Path, side: int, middleware: web.Middleware | None = None, **env: str
) -> AsyncIterator[System]:
    system = System(folder, env)
    system.telegram = TelegramSandbox(
        token=DEMO_TOKEN, limits=False, strict_images=False, keep_bytes=_MEGABYTE
    )
    system.kie._pictures = system.openai._pictures = Heavy(side)
    if middleware is not None:
        system.middlewares.append(middleware)
    await system.open()
    try:
        await system.start_worker(threads=_THREADS)
        await system.start_bot()
        yield system
    finally:
        await system.close()


async def _all_at_once(
    system: System, count: int, in_flight: Callable[[], int], together: Callable[[float], None]
) -> tuple[Use, Use]:
    """Let `count` people ask, and their pictures be made at one moment; what the worker used before it
    and at all."""
    warm = system.person("Warm")
    await warm.send_text("a castle")
    await system.picture(warm)
    [worker] = [
        p
        for p in psutil.Process(system.pid("worker")).children(recursive=True)
        if p.memory_info().rss > 60 * _MEGABYTE
    ]
    before, whole = Use(), Use()
    before.look(worker)
    people = [system.person(f"Guest {number}") for number in range(count)]
    ends = time.monotonic() + 20
    together(ends)
    for person in people:
        await person.send_text("a castle")

    async def watch() -> None:
        while True:
            whole.look(worker)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    await system.until(lambda: in_flight() == count, within=20)
    await asyncio.gather(*(system.picture(person, within=120) for person in people))
    print(
        f"{count} at once: {whole.threads} threads, {before.memory / 1e6:.0f} MB before, "
        f"{whole.memory / 1e6:.0f} MB at most, {whole.cpu - before.cpu:.1f} s of CPU, "
        f"the last {time.monotonic() - ends:.1f} s after the moment"
    )
    watching.cancel()
    assert all(_pictures(person) == 1 for person in people)
    return before, whole


def _pictures(person: Person) -> int:
    return sum(m.from_bot and m.has_photo for m in person.messages)


def _at(ends: float) -> Callable[[random.Random], float]:
    return lambda chance: max(0.0, ends - time.monotonic())


async def test_two_hundred_pictures_of_eight_megabytes_are_ready_at_once(tmp_path: Path) -> None:
    settings = {"KIE_CONCURRENCY": "300", "KIE_RATE": "1000", "TELEGRAM_RATE": "1000"}
    async with _crowd(tmp_path, 1632, **settings) as system:

        def together(ends: float) -> None:
            system.kie.durations = _at(ends)

        before, whole = await _all_at_once(
            system, 200, lambda: system.kie.audit.submits.total() - 1, together
        )
    # Whole in memory, the 32 that are on their way at once would be 250 MB.
    assert whole.memory - before.memory < 120 * _MEGABYTE
    assert whole.threads - before.threads < _EXECUTOR


async def test_three_hundred_synchronous_generations_are_open_at_once(tmp_path: Path) -> None:
    open_now = 0

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal open_now
        counted = request.path.endswith("/images/generations")
        open_now += counted
        try:
            return await handler(request)
        finally:
            open_now -= counted

    settings = {"PROVIDER": "openai", "OPENAI_CONCURRENCY": "300", "OPENAI_RATE": "1000"}
    settings |= {"TELEGRAM_RATE": "1000", "LEASE": "6"}
    async with _crowd(tmp_path, 592, count, **settings) as system:

        def together(ends: float) -> None:
            system.openai.durations = _at(ends)

        before, whole = await _all_at_once(system, 300, lambda: open_now, together)
        # Whoever's lease was not renewed would have been asked for again.
        assert set(system.openai.audit.submits.values()) == {301}
    # The answers, their text and their pictures all at once would be more than a gigabyte.
    assert whole.memory - before.memory < 250 * _MEGABYTE
    assert whole.threads - before.threads < _EXECUTOR
