"""Runs jobs through real processes while a seeded schedule breaks things, then audits what came of them."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from redis.exceptions import RedisError

from src.sandbox.telegram import Person
from src.sandbox.traces import TraceSandbox
from tests.chaos.audit import Asked, Verdict, audit
from tests.chaos.faults import FAULTS, Event, schedule
from tests.system import System

_SETTLED = 45.0


@dataclass(slots=True)
class Report:
    """What was done and what came of it. `recovery`: per kind of fault, the longest time in seconds from
    its end to the next picture in any chat."""

    seed: int
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recovery: dict[str, float] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    drain: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        width = max(map(len, self.faults), default=0)
        rows = [
            f"{kind:<{width}}  {number:>3}  {self.recovery.get(kind, 0.0):>5.1f} s"
            for kind, number in sorted(self.faults.items())
        ]
        drains = f"exits after SIGTERM {sorted(set(self.exits))}, longest {self.drain:.1f} s"
        return "\n".join([f"seed {self.seed}", *rows, drains, *self.verdict.lines()])


class Chaos:
    """One run. `system` is the running system; the rest is what `tests.chaos.faults.Run` asks for."""

    def __init__(
        self,
        system: System,
        *,
        seed: int,
        jobs: int,
        seconds: float,
        every: float,
        lease: float,
        deadline: int,
    ):
        self.system = system
        self.random = random.Random(seed)
        self.lease = lease
        self._deadline = deadline
        self.collector_is_gone = False
        self.report = Report(seed)
        self._events = schedule(seed, seconds, every)
        self._jobs = jobs
        self._seconds = seconds
        self._asked: list[Asked] = []
        self._numbers = itertools.count(1)
        system.middlewares.append(self._collector())

    async def start(self) -> None:
        for kind in ("worker", "worker", "bot"):
            await self._start(kind)

    async def run(self) -> Report:
        """Everything, to the audit."""
        started = time.monotonic()
        asking = asyncio.create_task(self._ask(started))
        supervising = asyncio.create_task(self._supervise())
        faults = []
        for event in self._events:
            await asyncio.sleep(max(0.0, started + event.at - time.monotonic()))
            faults.append(asyncio.create_task(self._inject(event)))
        await asking
        await asyncio.gather(*faults)
        self.system.faults.clear()
        self.system.telegram.faults.clear()
        await self._settle()
        supervising.cancel()
        for part in self.system.parts:
            await self._stop(part)
        self.report.verdict = await audit(self.system, self._asked)
        return self.report

    # What faults ask for

    async def replace(self, part: str) -> None:
        await self.system.killed(part)
        await self._start(part.partition("-")[0])

    async def retire(self, part: str) -> None:
        await self._start(part.partition("-")[0])
        await self._stop(part)

    def open_people(self) -> list[Person]:
        return [
            wish.person for wish in self._asked[-8:] if not any(m.has_photo for m in wish.person.messages)
        ]

    # The run's own

    async def _ask(self, started: float) -> None:
        for number in range(self._jobs):
            await asyncio.sleep(max(0.0, started + number * self._seconds / self._jobs - time.monotonic()))
            person = self.system.person(f"Person {number}")
            prompt = f"picture {number} of {self.report.seed}"
            sent = await person.send_text(prompt)
            self._asked.append(Asked(person, prompt, time.time(), sent.update_id))

    async def _inject(self, event: Event) -> None:
        self.report.faults[event.kind] += 1
        # Redis may be away already, by another fault.
        with suppress(RedisError, OSError):
            await FAULTS[event.kind](self, event)
        ended = time.monotonic()
        with suppress(TimeoutError):
            before = self._pictures()
            await self.system.telegram.feed.until(lambda: self._pictures() > before, 30)
            longest = max(self.report.recovery.get(event.kind, 0.0), time.monotonic() - ended)
            self.report.recovery[event.kind] = longest

    def _pictures(self) -> int:
        return self.system.telegram.audit.by_status["editMessageMedia", 200]

    async def _supervise(self) -> None:
        """Start again what ended by itself, as `imagebot run` or a container's restart policy does."""
        while True:
            await asyncio.sleep(0.2)
            for part in self.system.parts:
                if self.system.has_died(part):
                    await self.system.forget(part)
                    await self._start(part.partition("-")[0])

    async def _settle(self) -> None:
        """Wait until the ledger has nothing to do, or for too long: the audit will say what is left."""

        async def at_rest() -> bool:
            try:
                counts = await self.system.ledger.counts()
                due = await self.system.redis.zcard(self.system.ledger.key("due"))
            except (RedisError, OSError):
                return False
            pending = self.system.telegram.bot.updates.pending
            return due == 0 and not pending and sum(counts.values()) >= 2 * counts.get("admitted", 0)

        with suppress(TimeoutError):
            await self.system.until(at_rest, self._deadline + _SETTLED)

    async def _start(self, kind: str) -> None:
        name = f"{kind}-{next(self._numbers)}"
        await (self.system.start_bot(name) if kind == "bot" else self.system.start_worker(name, threads=4))

    async def _stop(self, part: str) -> None:
        started = time.monotonic()
        code = await self.system.stop(part)
        self.report.exits.append(code)
        self.report.drain = max(self.report.drain, time.monotonic() - started)

    def _collector(self) -> web.middleware:
        @web.middleware
        async def away(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.collector_is_gone and request.path.startswith("/v1/") and request.transport is not None:
                request.transport.abort()
                return web.Response(status=503)
            return await handler(request)

        return away


async def run(
    folder: Path,
    *,
    seed: int,
    seconds: float,
    jobs: int,
    every: float = 2.0,
    lease: float = 3.0,
    deadline: int = 45,
) -> Report:
    """A whole run in `folder`.

    Args:
        seconds: how long people ask and things break. jobs: asked for in that time, evenly.
        every: mean seconds between two faults. lease, deadline: seconds, as the settings.
    """
    env = {
        "LEASE": str(lease),
        "JOB_DEADLINE": str(deadline),
        "PROGRESS_INTERVAL": "1",
        "RATE_LIMIT": "100",
        "KIE_RATE": "20",
    }
    system = System(folder, env)
    system.traces = TraceSandbox(max_traces=100_000)
    chaos = Chaos(system, seed=seed, jobs=jobs, seconds=seconds, every=every, lease=lease, deadline=deadline)
    await system.open()
    try:
        await chaos.start()
        return await chaos.run()
    finally:
        await system.close()
