"""Runs jobs through real processes while a seeded schedule breaks things, then audits what came of them."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from redis.exceptions import RedisError

from src.app import cancel_all
from src.jobs import Job, keys
from src.local.demo import free_port
from src.sandbox.telegram import Person
from src.sandbox.traces import TraceSandbox
from tests.chaos.audit import Asked, Verdict, audit, is_picture
from tests.chaos.faults import FAULTS, KIE_KEY, RABBITMQ_FAULTS, Event, schedule
from tests.chaos.machine import family, with_own_clock
from tests.chaos.money import OWNER, SELLING, buy
from tests.chaos.sends import Sends
from tests.servers import RabbitAt, serving
from tests.system import System

_SETTLED = 45.0
# Every third person.
_A_BUYER = 3
_COMING_UP = 20.0


@dataclass(slots=True)
class Report:
    """What was done and what came of it.

    Attributes:
        recovery: per kind of fault, the longest time in seconds from its end to the next picture, or (where
            Telegram was well) the next submit, of anybody; other faults may be at work meanwhile.
        takeover: longest time in seconds from a worker's SIGKILL until each job it held was another's.
        ends: per kind of part, exit codes after SIGTERM and the longest time in seconds to the exit.
    """

    seed: int
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recovery: dict[str, float] = field(default_factory=dict)
    takeovers: int = 0
    takeover: float = 0.0
    ends: dict[str, tuple[set[int], float]] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        rows = [
            f"| {kind} | {number} | {self.recovery.get(kind, 0.0):.1f} s |"
            for kind, number in sorted(self.faults.items())
        ]
        total = f"| all, seed {self.seed} | {sum(self.faults.values())} | |"
        ends = [
            f"| {kind} after SIGTERM | {sorted(codes)} | {longest:.1f} s |"
            for kind, (codes, longest) in sorted(self.ends.items())
        ]
        taken = f"| jobs of killed workers taken over | {self.takeovers} | {self.takeover:.1f} s |"
        return "\n".join(
            [
                "| fault | times | longest recovery |",
                "|---|---|---|",
                *rows,
                total,
                "",
                "| end | exit codes, jobs | longest |",
                "|---|---|---|",
                *ends,
                taken,
                "",
                *self.verdict.lines(),
            ]
        )


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
        port: int,
        rabbitmq: RabbitAt | None,
        kinds: Sequence[str] | None,
    ):
        self.system = system
        self.rabbitmq = rabbitmq
        self._port = port
        self.random = random.Random(seed)
        self.lease = lease
        self._deadline = deadline
        self.collector_is_gone = False
        self.report = Report(seed)
        self._sells = kinds is None
        if kinds is None and rabbitmq is not None:
            kinds = [*FAULTS, *RABBITMQ_FAULTS]
        self._events = schedule(seed, seconds, every, kinds)
        self._jobs = jobs
        self._seconds = seconds
        self._asked: list[Asked] = []
        self._buying: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(1)
        # Whose successors are there: who dies while waiting for his needs no second.
        self._leaving: set[str] = set()
        self._watching: list[asyncio.Task[None]] = []
        self._recovering: list[asyncio.Task[None]] = []
        self._sends = Sends(system)
        system.middlewares += [self._collector(), self._sends.middleware()]

    async def start(self) -> None:
        self._people = [self.system.person(f"Person {number}") for number in range(self._jobs)]
        if self._sells:
            await self.system.telegram.person("Owner", id=OWNER).send_text("/start")
            for number, person in enumerate(self._people):
                if number % _A_BUYER:
                    await self.system.ledger.choose(str(person.id), tier="unlimited")
        for kind in ("worker", "worker", "bot", "api"):
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
        await asyncio.gather(*self._buying)
        await asyncio.gather(*faults)
        await asyncio.gather(*self._watching)
        self.system.faults.clear()
        self.system.telegram.faults.clear()
        await self._settle()
        # What came after everybody had their answer has nothing left to recover.
        await cancel_all([supervising, *self._recovering])
        for part in self.system.parts:
            await self._stop(part)
        self.report.verdict = await audit(self.system, self._asked, self._sends)
        return self.report

    # What faults ask for

    async def replace(self, part: str) -> None:
        kind = part.partition("-")[0]
        held = []
        if kind == "worker":
            # Stopped, it takes nothing more while we look at what it holds.
            self.system.kill(part, signal.SIGSTOP)
            held = await self._held_by(part)
        self._sends.killed(part)
        await self.system.killed(part)
        self._watching += [asyncio.create_task(self._taken_over(job, time.monotonic())) for job in held]
        if part not in self._leaving:
            await self._start(kind)

    async def retire(self, part: str) -> None:
        kind = part.partition("-")[0]
        if kind == "api":
            # The next one listens on the same port.
            await self._stop(part)
            await self._start(kind)
            return
        if part in self._leaving:
            return
        self._leaving.add(part)
        new = await self._start(kind)
        with suppress(TimeoutError):
            await self.system.until(lambda: self.system.is_up(new), _COMING_UP)
        await self._stop(part)

    def clock_of(self, part: str) -> Path:
        return self.system.folder / f"{part}.clock"

    def open_people(self) -> list[Person]:
        return [wish.person for wish in self._asked[-8:] if not any(map(is_picture, wish.person.messages))]

    def buyers(self) -> list[Person]:
        return [wish.person for wish in self._asked if wish.bought]

    # The run's own

    async def _ask(self, started: float) -> None:
        for number in range(self._jobs):
            await asyncio.sleep(max(0.0, started + number * self._seconds / self._jobs - time.monotonic()))
            person, prompt = self._people[number], f"picture {number} of {self.report.seed}"
            if self._sells and number % _A_BUYER == 0:
                self._buying.append(asyncio.create_task(self._buy_and_write(person, prompt)))
            else:
                await self._write(person, prompt)

    async def _buy_and_write(self, person: Person, prompt: str) -> None:
        await buy(person)
        await self._write(person, prompt, bought=True)

    async def _write(self, person: Person, prompt: str, *, bought: bool = False) -> None:
        sent = await person.send_text(prompt)
        self._asked.append(Asked(person, prompt, sent.message_id, bought))

    async def _inject(self, event: Event) -> None:
        self.report.faults[event.kind] += 1
        # Redis may be away already, by another fault; a part may be gone, by another kill.
        away = self._sends.ledger_away() if event.kind.startswith("Redis") else nullcontext()
        with suppress(RedisError, OSError, LookupError), away:
            await (FAULTS | RABBITMQ_FAULTS)[event.kind](self, event)
        self._recovering.append(asyncio.create_task(self._recovers(event, time.monotonic())))

    async def _recovers(self, event: Event, ended: float) -> None:
        before = self._done(event)
        with suppress(TimeoutError):
            await self.system.until(lambda: self._done(event) > before, 30)
            longest = max(self.report.recovery.get(event.kind, 0.0), time.monotonic() - ended)
            self.report.recovery[event.kind] = longest

    def _done(self, event: Event) -> int:
        pictures = self.system.telegram.audit.by_status["editMessageMedia", 200]
        submits = 0 if event.kind.startswith("Telegram") else self.system.kie.audit.submits.total()
        return pictures + submits

    async def _held_by(self, part: str) -> list[Job]:
        names = {f"{socket.gethostname()}:{process.pid}" for process in family(self.system.pid(part))}
        with suppress(RedisError, OSError):
            due = await self.system.redis.zrange(keys.DUE(), 0, -1)
            return [job for job in await self.system.ledger.jobs(due) if job.holder in names]
        return []

    async def _taken_over(self, held: Job, died: float) -> None:
        async def moved() -> bool:
            try:
                job = await self.system.ledger.job(held.id)
            except (RedisError, OSError):
                return False
            return job is None or job.ended or job.fence != held.fence

        with suppress(TimeoutError):
            await self.system.until(moved, self._deadline + _SETTLED)
        self.report.takeovers += 1
        self.report.takeover = max(self.report.takeover, time.monotonic() - died)

    async def _supervise(self) -> None:
        """Start again what ended by itself, as `imagebot run` or a container's restart policy does."""
        while True:
            await asyncio.sleep(0.2)
            for part in self.system.parts:
                if self.system.has_died(part):
                    await self.system.forget(part)
                    if part not in self._leaving:
                        await self._start(part.partition("-")[0])

    async def _settle(self) -> None:
        """Wait until the ledger has nothing to do, or for too long: the audit will say what is left."""

        async def at_rest() -> bool:
            try:
                counts = await self.system.ledger.counts()
                due = await self.system.redis.zcard(keys.DUE())
                owed = await self.system.redis.hlen(keys.OWED())
                handled = await self.system.inbox(0)
            except (RedisError, OSError):
                return False
            pending = self.system.telegram.bot.updates.pending
            ended = sum(counts.values()) >= 2 * counts.get("admitted", 0)
            return due == owed == 0 and handled and not pending and ended

        with suppress(TimeoutError):
            await self.system.until(at_rest, self._deadline + _SETTLED)

    async def _start(self, kind: str) -> str:
        name = f"{kind}-{next(self._numbers)}"
        match kind:
            case "api":
                # One listens on the port: a fault that met another's restart must not start a second.
                if running := [part for part in self.system.parts if part.startswith(kind)]:
                    return running[0]
                await self.system.start_api(self._port, name)
            case "bot":
                await self.system.start_bot(name)
            case _:
                await self.system.start_worker(name, threads=4)
        return name

    async def _stop(self, part: str) -> None:
        if not self.system.is_up(part):
            # Python itself ends an interpreter that is still importing.
            await self.system.stop(part)
            return
        started = time.monotonic()
        code = await self.system.stop(part)
        kind = part.partition("-")[0]
        codes, longest = self.report.ends.get(kind, (set(), 0.0))
        self.report.ends[kind] = codes | {code}, max(longest, time.monotonic() - started)

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
    rabbitmq: bool = False,
    kinds: Sequence[str] | None = None,
    **settings: str,
) -> Report:
    """A whole run in `folder`. Updates come by webhook when the seed is even, else the bot polls.

    Args:
        seconds: how long people ask and things break. jobs: asked for in that time, evenly.
        every: mean seconds between two faults. lease, deadline: seconds, as the settings.
        rabbitmq: it carries the messages, and is killed at times too.
        kinds: the faults that happen; None: all. settings: further ones, by their environment variables.
    """
    port = free_port(0)
    env = {
        "KIE_WEBHOOK_KEY": KIE_KEY.decode(),
        "LEASE": str(lease),
        "JOB_DEADLINE": str(deadline),
        "PROGRESS_INTERVAL": "1",
        "RATE_LIMIT": "100",
        "KIE_RATE": "20",
        **(SELLING if kinds is None else {}),
    }
    if seed % 2 == 0:
        env |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "WEBHOOK_SECRET": "a-secret-of-the-webhook"}
    env |= settings
    broker = RabbitAt(folder / "rabbitmq") if rabbitmq else None
    if broker is not None:
        env["BROKER_URL"] = broker.url
    system = System(folder, env)
    system.env_of = lambda part: with_own_clock(folder / f"{part}.clock")
    system.traces = TraceSandbox(max_traces=100_000)
    chaos = Chaos(
        system,
        seed=seed,
        jobs=jobs,
        seconds=seconds,
        every=every,
        lease=lease,
        deadline=deadline,
        port=port,
        rabbitmq=broker,
        kinds=kinds,
    )
    with serving(broker) if broker is not None else nullcontext():
        await system.open()
        try:
            await chaos.start()
            return await chaos.run()
        finally:
            await system.close()
