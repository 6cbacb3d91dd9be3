"""From the raw record of a load run to its figures. Arithmetic only; how they are shown is `report`."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from src.jobs import Job, State
from src.jobs.estimate import quantile
from src.load.run import Record
from src.ops.thresholds import CPU, MEMORY, TIME, WAITING, Level, Threshold
from src.telemetry.job_spans import story

_OWN_TIME = Threshold(5, 15)
_MANY_WAITING = 50
_PARTS = ("worker", "bot", "redis")


@dataclass(frozen=True, slots=True)
class Spread:
    """How some values lie: how many, the middle, the slow end, the last."""

    count: int
    p50: float
    p95: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        if not found:
            return cls(0, 0.0, 0.0, 0.0)
        return cls(len(found), quantile(found, 0.5), quantile(found, 0.95), max(found))


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the guide's table: the figure in words, and how it stands to the guide's limits."""

    what: str
    figure: str
    level: Level
    limits: str


@dataclass(frozen=True, slots=True)
class OfKind:
    """Wishes of one kind: how many, when their chat first answered, calls for each picture, and how they ended."""

    wishes: int
    answered: Spread
    calls_a_picture: float
    verdicts: dict[str, int]

    @classmethod
    def of(cls, asked: Sequence[dict[str, Any]]) -> OfKind:
        pictures = sum(len(a["pictures"]) for a in asked)
        return cls(
            len(asked),
            Spread.of(a["answered"] for a in asked if a["answered"] is not None),
            sum(a["calls"] for a in asked) / max(1, pictures),
            dict(Counter("not said" if a["unsaid"] else a["ended"] or "none" for a in asked)),
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run showed; times in seconds, memory in bytes, CPU in cores.

    Attributes:
        kinds: by what was asked for, from the first wish to the last. calls_a_job: Bot API calls that count against
            Telegram's limits, of the whole run, without those `calls_besides` that were not for a wish.
        endless: wishes whose chat never showed an end, by kind, and unshown: pictures that the ledger calls delivered and
            no chat shows; both are `lost`. vain: what people did besides wishes and got no answer to.
        broken: what ended somebody's part in the run.
    """

    users: int
    mix: str
    processes: int
    minutes: float
    jobs: int
    jobs_a_minute: float
    in_flight: int
    outcomes: dict[str, int]
    waiting_p95: float
    waiting_most: int
    whole: Spread
    provider: Spread
    own: Spread
    submit: Spread
    in_line: Spread
    delivery: Spread
    answered: Spread
    kinds: dict[str, OfKind]
    cpu: dict[str, float]
    cpu_peak: dict[str, float]
    cpu_a_job_ms: dict[str, float]
    memory: dict[str, int]
    memory_share: float
    calls_a_job: float
    calls_besides: int
    calls_a_second: float
    telegram_429: int
    polls_a_job: float
    noticed: Spread
    commands_a_job: float
    commands_by_scripts: float
    redis_bytes_a_job: float
    eta_error: Spread
    refusals: dict[str, int]
    people_refused: int
    bought: int
    heavy_waiting_most: int
    others_wait_under_flood: Spread
    heavy_wait: Spread
    first_in_line_first_out_wait: float
    lost: int
    endless: dict[str, int]
    unshown: int
    vain: dict[str, int]
    broken: list[str]
    doubled: int
    charged_twice: int
    unfinished: int
    more_people: int
    gives_first: str

    @property
    def is_good(self) -> bool:
        """Everybody got what they should, once."""
        wrong = (self.lost, self.doubled, self.charged_twice, self.unfinished, self.vain, self.broken)
        return not any(wrong)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def figures(record: Record) -> Figures:
    """Work out the figures of a run; those of speed count from `record.warm` to `record.ended`."""
    plan, machine = record.plan, record.machine
    heavy = {str(person) for person in record.world["heavy"]}
    stories = {job.id: dict(story(job)) for job in record.jobs}
    counted = [job for job in record.jobs if record.warm <= _at(job, stories, "delivered") < record.ended]
    span = record.ended - record.warm
    done = max(1, len(counted))
    others = [job for job in record.jobs if job.user not in heavy and job.created / 1000 >= record.warm]
    lines = {
        name: _line(record, stories, [j for j in record.jobs if (j.user in heavy) == named])
        for name, named in (("heavy", True), ("others", False))
    }
    flooded = {at for at, n in lines["heavy"] if n >= _MANY_WAITING}
    under_flood = [j for j in others if j.spec.index == 0 and int(j.created / 1000) in flooded]
    seen = _own_times(record)
    before, after = record.commands
    commands = after.since(before)
    total = sum(commands.values())
    scripted = sum(n * record.scripted.get(name, 0.0) for name, n in commands.items())
    cpu = {part: machine.share(part, record.warm, record.ended) for part in _PARTS}
    peaks = {
        part: max((c for _, c in machine.shares(part, record.warm, record.ended)), default=0.0)
        for part in _PARTS
    }
    calls = record.at_end["calls"] - record.at_warm["calls"]
    memory = {part: machine.memory(part) for part in _PARTS}
    backlog = max((n for _, n in lines["heavy"]), default=0)
    endless = Counter(a["kind"] for a in record.world["asked"] if not a["ended"])
    shown: int = sum(min(len(a["pictures"]), a["count"]) for a in record.world["asked"])
    unshown = max(0, _delivered(record) - shown)
    more, first = _room(plan.users, plan.processes, cpu, calls / span, sum(memory.values()))
    return Figures(
        users=plan.users,
        mix=plan.mix,
        processes=plan.processes,
        minutes=round(plan.seconds / 60, 2),
        jobs=len(record.jobs),
        jobs_a_minute=len(counted) / span * 60,
        in_flight=_most_in_flight(record, stories),
        outcomes=dict(Counter(str(job.state) for job in record.jobs)),
        waiting_p95=quantile([n for _, n in lines["others"]] or [0], 0.95),
        waiting_most=max((n for _, n in lines["others"]), default=0),
        whole=Spread.of(whole for whole, _ in seen),
        provider=Spread.of(made for _, made in seen),
        own=Spread.of(whole - made for whole, made in seen),
        submit=Spread.of(_between(others, stories, "submitting", "running")),
        in_line=Spread.of(_between(others, stories, "waiting", "submitting")),
        delivery=Spread.of(_between(others, stories, "ready", "delivered")),
        answered=Spread.of(
            a["answered"]
            for a in record.world["asked"]
            if a["answered"] is not None and a["kind"] != "heavy" and a["at"] >= record.warm
        ),
        kinds={
            kind: OfKind.of([a for a in record.world["asked"] if a["kind"] == kind])
            for kind in sorted({a["kind"] for a in record.world["asked"]})
        },
        cpu=cpu,
        cpu_peak=peaks,
        cpu_a_job_ms={part: share * span / done * 1000 for part, share in cpu.items()},
        memory=memory,
        memory_share=sum(memory.values()) / psutil.virtual_memory().total,
        calls_a_job=(record.world["calls"] - record.world["besides"]) / max(1, len(record.jobs)),
        calls_besides=record.world["besides"],
        calls_a_second=calls / span,
        telegram_429=record.world["telegram_429"],
        polls_a_job=record.world["polls"] / max(1, record.world["submitted"]),
        noticed=Spread.of(record.world["noticed"]),
        commands_a_job=total / done,
        commands_by_scripts=scripted / done,
        redis_bytes_a_job=record.bytes_a_job,
        eta_error=Spread.of(_eta_errors(record, stories)),
        refusals=_refusals(stories.values()),
        people_refused=sum(a["ended"] == "refused" for a in record.world["asked"]),
        bought=record.world["bought"],
        heavy_waiting_most=backlog,
        others_wait_under_flood=Spread.of(_between(under_flood, stories, "waiting", "submitting")),
        heavy_wait=Spread.of(
            _between([j for j in record.jobs if j.user in heavy], stories, "waiting", "submitting")
        ),
        first_in_line_first_out_wait=backlog / (len(counted) / span) if counted else 0.0,
        lost=endless.total() + unshown,
        endless=dict(endless),
        unshown=unshown,
        vain=record.world["vain"],
        broken=record.world["broken"],
        doubled=sum(a["extra"] for a in record.world["asked"]),
        charged_twice=_charged_twice(record),
        unfinished=sum(not job.ended for job in record.jobs),
        more_people=more,
        gives_first=first,
    )


def table(found: Figures) -> list[Row]:
    """The guide's table, filled in. CPU is a worker process's share of a core."""
    share = found.cpu["worker"] / found.processes
    peak = found.cpu_peak["worker"] / found.processes
    waiting = f"{found.waiting_p95:.0f} (p95), {found.waiting_most} at most"
    whole = f"{found.whole.p50:.0f} s, p95 {found.whole.p95:.0f} s"
    own = f"{found.own.p50:.1f} s, p95 {found.own.p95:.1f} s"
    memory = f"{sum(found.memory.values()) / 1e6:.0f} MB, {found.memory_share:.0%} of the machine"
    return [
        _row("jobs waiting", waiting, found.waiting_p95, WAITING),
        _row("whole time, the provider's included", whole, found.whole.p50, TIME, " s"),
        _row("of it ours", own, found.own.p95, _OWN_TIME, " s"),
        _row("CPU of a worker process", f"{share:.0%}, {peak:.0%} at most", share, CPU),
        _row("memory", memory, found.memory_share, MEMORY),
    ]


def _row(what: str, figure: str, value: float, threshold: Threshold, unit: str = "") -> Row:
    if threshold.problem == math.inf:
        limits = f"up to {threshold.attention:.0%}"
    else:
        limits = f"up to {threshold.attention:g}{unit}, over {threshold.problem:g}{unit}"
    return Row(what, figure, threshold.level(value), limits)


def _at(job: Job, stories: dict[str, dict[str, int]], state: str) -> float:
    """Unix time at which a job came to a state; 0: never."""
    after = stories[job.id].get(state)
    return (job.created + after) / 1000 if after is not None else 0.0


def _between(
    jobs: Iterable[Job], stories: dict[str, dict[str, int]], first: str, then: str
) -> Iterable[float]:
    for job in jobs:
        seen = stories[job.id]
        if first in seen and then in seen and seen[then] >= seen[first]:
            yield (seen[then] - seen[first]) / 1000


def _line(record: Record, stories: dict[str, dict[str, int]], jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Jobs waiting in each second from warm to the end; the moment of coming through is not waiting."""
    changes: Counter[int] = Counter()
    for job in jobs:
        left = stories[job.id].get("submitting", stories[job.id].get("cancelled"))
        begin = int(job.created / 1000)
        end = int((job.created + left) / 1000) if left is not None else int(record.ended) + 1
        if end > begin:
            changes[begin] += 1
            changes[end] -= 1
    seconds = range(int(min(changes, default=record.began)), int(record.ended) + 1)
    levels = itertools.accumulate(changes[second] for second in seconds)
    return [(s, n) for s, n in zip(seconds, levels, strict=True) if s >= record.warm]


def _most_in_flight(record: Record, stories: dict[str, dict[str, int]]) -> int:
    changes: Counter[int] = Counter()
    for job in record.jobs:
        seen = stories[job.id]
        if "running" in seen:
            changes[int(job.created + seen["running"])] += 1
            ends = [seen[name] for name in ("ready", "delivered", "failed", "cancelled") if name in seen]
            if ends:
                changes[int(job.created + min(ends))] -= 1
    return max(itertools.accumulate(changes[at] for at in sorted(changes)), default=0)


def _own_times(record: Record) -> list[tuple[float, float]]:
    """Of pictures asked for one by one: seconds until they were in the chat, and the provider's part."""
    took = record.world["seconds"]
    # What is asked for again has the same words.
    times = Counter(asked["prompt"] for asked in record.world["asked"])
    return [
        (asked["pictures"][0], took[asked["prompt"]])
        for asked in record.world["asked"]
        if asked["count"] == 1
        and asked["pictures"]
        and asked["prompt"] in took
        and times[asked["prompt"]] == 1
        and asked["at"] >= record.warm
    ]


def _eta_errors(record: Record, stories: dict[str, dict[str, int]]) -> Iterable[float]:
    """How far what people were first told was from the real time, as a share of it; first hundred left out:
    there was nothing to learn from yet."""
    last: dict[str, float] = {}
    for job in record.jobs:
        if job.state is not State.DELIVERED or job.created / 1000 < record.warm:
            continue
        whole = stories[job.id]["delivered"] / 1000
        last[job.request] = max(last.get(job.request, 0.0), whole)
    for request, whole in last.items():
        told = record.etas.get(request)
        if told and whole:
            yield abs(told - whole) / whole


def _refusals(stories: Iterable[dict[str, int]]) -> dict[str, int]:
    """Jobs that met each closed gate at least once."""
    notes = (
        name.removeprefix("limited:") for told in stories for name in told if name.startswith("limited:")
    )
    return dict(Counter(notes))


def _delivered(record: Record) -> int:
    return sum(job.state is State.DELIVERED for job in record.jobs)


def _charged_twice(record: Record) -> int:
    wanted: Counter[str] = Counter()
    for asked in record.world["asked"]:
        wanted[asked["prompt"]] += asked["count"]
    # A tool is told no words, and counts by its model's name.
    submits = record.world["submits"]
    return sum(max(0, submits.get(prompt, 0) - n) for prompt, n in wanted.items())


def load_of(found: Figures) -> dict[str, float]:
    """How much of each thing that can give is used, of what the guide calls normal: 1 is all of it."""
    return _loads(found.processes, found.cpu, found.calls_a_second, sum(found.memory.values()))


def _loads(processes: int, cpu: dict[str, float], calls: float, memory: int) -> dict[str, float]:
    # 30 a second is the wall; a little is left for bursts.
    return {
        "the worker's core": cpu["worker"] / processes / CPU.attention,
        "the bot's core": cpu["bot"] / CPU.attention,
        "Redis's core": cpu["redis"] / CPU.attention,
        "Telegram's 30 calls a second": calls / 27.0,
        "memory": memory / (MEMORY.attention * float(psutil.virtual_memory().total)),
    }


def _room(users: int, processes: int, cpu: dict[str, float], calls: float, memory: int) -> tuple[int, str]:
    """How many more people the set-up carries within the guide's normal, and what stops it then."""
    loads = _loads(processes, cpu, calls, memory)
    first = max(loads, key=lambda name: loads[name])
    return int(users / max(loads[first], 1e-6)) - users, first
