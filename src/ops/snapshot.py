"""The state of the system at a moment: every figure an operator looks at, with its level.

The status page, `/ops`, `imagebot status`, the alerts, the readiness probe and the gauges all show a
`Snapshot`. What to do about it is `src.ops.advice`; how it was an hour ago is `src.ops.samples`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.app import App
from src.jobs import keys
from src.jobs.estimate import usual
from src.jobs.spending import DAY_MS, Spent, amount, day
from src.limits import Breaker
from src.ops import heartbeat, thresholds
from src.ops.heartbeat import Beat
from src.ops.samples import Sample, parse_sample
from src.ops.thresholds import Level
from src.pipeline.queues import QUEUE_KEYS
from src.settings import Cap, Settings

WINDOW = 600.0
"""Seconds that means and rates are taken over."""
_STALLED_MS = 30_000
_BACKLOG = 100
# Less says nothing of a day.
_PACE_MS = 6 * 3_600_000
# Jobs in line among which the oldest is looked for: a person's hundredth is not what the line waits for.
_NEXT = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the guide's table.

    Attributes:
        name: `waiting` (jobs), `time` (s), `cpu`, `load`, `memory` and `disk` (shares), `workers`, `line`,
            `providers`, `redis`, `backup` (s), `telegram` (s), `pictures` (bytes there is room
            for); some have a value only where it says something.
    """

    name: str
    value: float | None
    level: Level


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """A provider as the ledger and the limiter see it.

    Attributes:
        cap: generations it may have in flight. rate: new ones a second.
        usual: seconds a generation takes, the middle and the slow end.
        generation: mean seconds of the last ones, or None when there are none.
        shut: seconds for which it asked us to stay away. breaker: the state of its breaker.
    """

    name: str
    model: str
    waiting: int
    running: int
    cap: int
    rate: float
    usual: tuple[float, float]
    generation: float | None
    shut: float
    breaker: Breaker = Breaker.CLOSED

    @property
    def level(self) -> Level:
        if self.breaker is Breaker.OPEN:
            return Level.PROBLEM
        return Level.ATTENTION if self.breaker or self.shut > 1 else Level.NORMAL


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that ended: `outcome`, `seconds` from asking to its end, `at` in ms."""

    id: str
    outcome: str
    seconds: float
    at: int


@dataclass(frozen=True, slots=True)
class Store:
    """Redis. `memory_max` 0: it has no limit. `saved`: its last write to disk went well. `days`: until that limit is
    reached as it grew of late; None: it does not grow, or is not known for hours yet."""

    version: str
    memory: int
    memory_max: int
    clients: int
    commands: int
    uptime: int
    append_only: bool
    saved: bool
    days: float | None = None

    @property
    def level(self) -> Level:
        if not self.saved:
            return Level.PROBLEM
        filling = thresholds.REDIS_FULL.level(None if self.days is None else -self.days)
        return max(thresholds.REDIS_MEMORY.level(self.share), filling)

    @property
    def share(self) -> float | None:
        """Of its limit that is in use; None: it has none."""
        return self.memory / self.memory_max if self.memory_max else None


@dataclass(frozen=True, slots=True)
class BackupState:
    """`age`: seconds of the newest backup; None: none was made of late. `why`: the try after it failed.
    `every`: seconds from one to the next; 0: they are made by hand."""

    age: float | None = None
    why: str = ""
    every: float = 0.0

    @property
    def level(self) -> Level:
        late = thresholds.BACKUP.level(self.age / self.every if self.age and self.every else None)
        return max(late, Level.ATTENTION if self.why else Level.NORMAL)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The system at one moment.

    Attributes:
        at: ms of Redis's clock.
        delivering: jobs whose picture is there and not shown yet, or whose end is not told yet.
        oldest: seconds that the job waits which waits longest, of those whose turns are next.
        ended: the last jobs that ended, newest first, at most 1000.
        workers: worker processes alive, by their heartbeats.
        overdue: steps that are due for half a minute and that nobody takes.
        messages: wake-ups in Dramatiq's queues; None: RabbitMQ, which has it, does not answer.
        arrivals: jobs admitted a second, over the last ten minutes.
        spent: what today's pictures cost. spend_cap: the most that they may, None where there is no cap.
        disk: the fullest disk's share in use.
        deaf: seconds since Telegram last gave its updates; None: it was never asked. deaf_why: why it does not, for `report.deaf`.
        paused: why an admin takes no new wishes; None: they are taken.
        takings: payments and refunds, each in number and stars; `last`: ms of the latest of them.
        room, kept: bytes for pictures that come in answers, left and used; room None: nobody has looked.
    """

    at: int
    providers: tuple[ProviderHealth, ...]
    delivering: int
    oldest: float
    ended: tuple[Ended, ...]
    processes: tuple[Beat, ...]
    workers: int
    overdue: int
    messages: int | None
    store: Store
    counts: Mapping[str, int]
    failed_kept: int
    arrivals: float
    spent: Spent
    spend_cap: Cap | None
    disk: float
    backup: BackupState
    deaf: float | None
    deaf_why: str
    room: int | None
    kept: int
    paused: str | None = None
    takings: Mapping[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return sum(provider.waiting for provider in self.providers)

    @property
    def running(self) -> int:
        """Jobs that hold a provider's slot."""
        return sum(provider.running for provider in self.providers)

    @property
    def recent(self) -> tuple[Ended, ...]:
        """Jobs that ended in the last ten minutes."""
        return tuple(job for job in self.ended if self.at - job.at <= WINDOW * 1000)

    @property
    def processing(self) -> float | None:
        """Mean seconds from asking to the picture in the last ten minutes; None when there was none."""
        took = [job.seconds for job in self.recent if job.outcome == "delivered"]
        return sum(took) / len(took) if took else None

    @property
    def spent_share(self) -> float | None:
        """How much of the cap is used, in percent; None where there is none."""
        if self.spend_cap is None or self.spent.full:
            return None if self.spend_cap is None else 100.0
        used = self.spent.by.get("all", {}).get(self.spend_cap.unit, 0)
        return 100 * amount(used) / self.spend_cap.amount

    @property
    def sample(self) -> Sample:
        """The part that is kept for an hour."""
        admitted = self.counts.get("admitted", 0)
        return Sample(self.at, self.waiting, self.processing, self.cpu, self.memory, admitted)

    @property
    def cpu(self) -> float:
        """The busiest process's share of its core, all that one Python process can fill."""
        return max((beat.cpu for beat in self.processes), default=0.0)

    @property
    def load(self) -> float:
        """The busiest machine's share of all its cores."""
        return max((beat.machine_cpu for beat in self.processes), default=0.0)

    @property
    def memory(self) -> float:
        """The fullest machine's or container's share of memory in use."""
        return max((beat.machine_memory for beat in self.processes), default=0.0)

    @property
    def moving(self) -> bool:
        """Whether due work is being done: a scheduler looks, and messages are taken."""
        if self.messages is None:
            return False
        crowded = self.messages > max(_BACKLOG, 3 * (self.running + self.delivering))
        return self.overdue == 0 and not crowded

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the operator's guide, then those that it takes for granted."""
        time = self.processing
        return (
            Figure("waiting", self.waiting, thresholds.WAITING.level(self.waiting)),
            Figure("time", time, thresholds.TIME.level(time)),
            Figure("cpu", self.cpu, thresholds.CPU.level(self.cpu)),
            Figure("memory", self.memory, thresholds.MEMORY.level(self.memory)),
            Figure("load", self.load, thresholds.LOAD.level(self.load)),
            Figure("disk", self.disk, thresholds.DISK.level(self.disk)),
            Figure("workers", self.workers, Level.NORMAL if self.workers else Level.PROBLEM),
            Figure(
                "line", self.oldest, thresholds.OLDEST.level(self.oldest) if self.moving else Level.PROBLEM
            ),
            Figure("providers", len(self.providers), self._providers_level()),
            Figure("redis", None, self.store.level),
            Figure("backup", self.backup.age, self.backup.level),
            Figure("telegram", self.deaf, thresholds.TELEGRAM.level(self.deaf)),
            # A sweep keeps room for hundreds: where there is none, none can be made.
            Figure("pictures", self.room, Level.PROBLEM if self.room == 0 else Level.NORMAL),
        )

    @property
    def level(self) -> Level:
        """The worst of the figures."""
        return max(figure.level for figure in self.figures)

    def _providers_level(self) -> Level:
        """No provider at all, or the one for new jobs failing, is a problem; the rest is worth a look."""
        if not self.providers or self.providers[0].level is Level.PROBLEM:
            return Level.PROBLEM
        return Level.ATTENTION if any(p.level for p in self.providers) else Level.NORMAL


async def look(app: App) -> Snapshot:
    """Read the system's state: two round trips to Redis, and one question to RabbitMQ where it is the broker.

    Raises:
        redis.RedisError: Redis is away, which is the whole story then.
    """
    names = tuple(app.providers)
    async with app.redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for name in names:
            pipe.zcard(keys.LINE(name))
            pipe.zrange(keys.LINE(name), 0, _NEXT - 1)
            pipe.scard(keys.SLOTS(name))
            pipe.lrange(keys.TOOK(name, app.routing.model(name, edit=False)), 0, -1)
            pipe.hmget(keys.GATE(f"provider:{name}"), "closed", "open", "probe")
        pipe.zcard(keys.DUE())
        for key in QUEUE_KEYS:
            pipe.llen(key)
        pipe.hvals(keys.HEARTBEATS())
        pipe.hgetall(keys.COUNTS())
        pipe.zcard(keys.FAILED())
        pipe.lrange(keys.ENDED(), 0, -1)
        pipe.lindex(keys.SAMPLES(), 59)
        pipe.lindex(keys.SAMPLES(), -1)
        pipe.info()
        pipe.hgetall(keys.HEARD())
        pipe.hgetall(keys.SPENT(day(time.time_ns() // 1_000_000)))
        pipe.hgetall(keys.DISKS())
        pipe.hgetall(keys.BACKUP())
        pipe.lindex(keys.PACE(), -1)
        pipe.hgetall(keys.ORIGINALS())
        pipe.get(keys.PAUSE())
        pipe.hgetall(keys.TAKINGS())
        (seconds, micros), *answers = await pipe.execute()
    now = int(seconds) * 1000 + int(micros) // 1000
    lines = [answers[5 * i : 5 * i + 5] for i in range(len(names))]
    due, submits, deliveries, beats, counts, failed, ended, ten_minutes_ago, oldest_sample, info, *rest = (
        answers[5 * len(names) :]
    )
    heard, sums, disks, backup, pace, originals, paused, takings = rest
    providers = tuple(_provider(app, name, now, *line) for name, line in zip(names, lines, strict=True))
    processes = heartbeat.parse(beats, now)
    waiting = sum(provider.waiting for provider in providers)
    # Ids sort by time: the least is the one that has waited longest.
    oldest = [min(next_) for _, next_, *_ in lines if next_]
    async with app.redis.pipeline(transaction=False) as pipe:
        pipe.zcount(keys.DUE(), "-inf", now - _STALLED_MS)
        for job in oldest:
            pipe.hget(keys.JOB(job), "created")
        overdue, *created = await pipe.execute()
    totals = {name: int(number) for name, number in counts.items()}
    return Snapshot(
        at=now,
        providers=providers,
        delivering=max(0, int(due) - waiting - sum(provider.running for provider in providers)),
        oldest=max((max(0, now - int(at)) / 1000 for at in created if at), default=0.0),
        ended=tuple(_ended(line) for line in ended),
        processes=tuple(processes),
        workers=sum(beat.kind == "worker" for beat in processes),
        overdue=int(overdue),
        messages=int(submits) + int(deliveries)
        if app.settings.broker_url is None
        else await _in_rabbitmq(app.settings),
        store=_store(info, pace, now),
        counts=totals,
        failed_kept=int(failed),
        spent=Spent.parse(sums),
        spend_cap=app.settings.spend_cap_day,
        arrivals=_arrivals(parse_sample(ten_minutes_ago or oldest_sample), totals, now),
        disk=max((float(disks.get(beat.holder, 0)) for beat in processes), default=0.0),
        backup=BackupState(
            age=max(0, now - int(backup["at"])) / 1000 if "at" in backup else None,
            why=backup.get("why", ""),
            every=float(backup.get("every", 0)),
        ),
        deaf=max(0, now - int(heard["at"])) / 1000 if "at" in heard else None,
        deaf_why=heard.get("why") or "ops-deaf-unasked",
        room=max(0, int(originals["room"])) if "room" in originals else None,
        kept=int(originals.get("used", 0)),
        paused=paused,
        takings={name: int(number) for name, number in takings.items()},
    )


async def _in_rabbitmq(settings: Settings) -> int | None:
    from src.worker.rabbitmq import waiting

    return await asyncio.to_thread(waiting, settings)


def _provider(
    app: App,
    name: str,
    now: int,
    waiting: int,
    next_: list[str],
    running: int,
    took: list[str],
    gate: list[str | None],
) -> ProviderHealth:
    durations = [int(ms) / 1000 for ms in took]
    closed, opened, probe = gate
    shut = max(0.0, (float(closed or 0) - now) / 1000)
    return ProviderHealth(
        name=name,
        model=app.routing.model(name, edit=False),
        waiting=int(waiting),
        running=int(running),
        cap=app.cap(name),
        rate=float(getattr(app.settings, f"{name}_rate")),
        usual=usual(durations),
        generation=sum(durations[:50]) / len(durations[:50]) if durations else None,
        shut=shut,
        breaker=Breaker.of(opened, probe, shut=shut > 0),
    )


def _ended(line: str) -> Ended:
    at, outcome, took, job = line.split(" ")
    return Ended(job, outcome, int(took) / 1000, int(at))


def _arrivals(before: Sample | None, counts: Mapping[str, int], now: int) -> float:
    if before is None or now - before.at < 1000:
        return 0.0
    return max(0, counts.get("admitted", 0) - before.admitted) / ((now - before.at) / 1000)


def _store(info: Mapping[str, Any], before: str | None, now: int) -> Store:
    memory, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    return Store(
        version=str(info.get("redis_version", "?")),
        memory=memory,
        memory_max=most,
        days=_days_left(memory, most, before, now),
        clients=int(info.get("connected_clients", 0)),
        commands=int(info.get("instantaneous_ops_per_sec", 0)),
        uptime=int(info.get("uptime_in_seconds", 0)),
        append_only=bool(int(info.get("aof_enabled", 0))),
        saved=info.get("aof_last_write_status", "ok") == "ok"
        and info.get("rdb_last_bgsave_status", "ok") == "ok",
    )


def _days_left(memory: int, most: int, before: str | None, now: int) -> float | None:
    """Days until Redis is full, by what it used hours before: `<ms> <bytes>`."""
    if not most or before is None:
        return None
    at, then = map(int, before.split())
    if now - at < _PACE_MS or memory <= then:
        return None
    return (most - memory) / ((memory - then) / ((now - at) / DAY_MS))
