"""Advice for the operator: what is short, by Little's law, and the command that fixes it.

Jobs in the system = arrivals a second x seconds each takes. What a job takes most of is a slot at its
provider, so slots needed = arrivals x generation time; workers only hand jobs over, and are short when
their CPU is, or when steps that are due find nobody. The words are in `bot/texts/*/ops.ftl`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from src.ops.snapshot import ProviderHealth, Snapshot
from src.ops.thresholds import CPU, DISK, LOAD, MEMORY, OLDEST, REDIS_MEMORY, TELEGRAM, TIME, WAITING, Level

_CPU_GOAL = 0.6
_SLOTS_GOAL = 0.8


@dataclass(frozen=True, slots=True)
class Advice:
    """One step to take: the text's key and arguments, and a command where there is one."""

    key: str
    args: dict[str, Any] = field(default_factory=dict)
    command: str = ""


def advise(snapshot: Snapshot) -> list[Advice]:
    """What to do now, the most urgent first; an empty list while all is well."""
    return [
        *_standing(snapshot),
        *_workers(snapshot),
        *_providers(snapshot),
        *_time(snapshot),
        *_machine(snapshot),
    ]


def workers_needed(snapshot: Snapshot) -> int:
    """How many worker processes would keep their CPU at the goal; never fewer than run now."""
    busy = sum(beat.cpu for beat in snapshot.processes if beat.kind == "worker")
    return max(snapshot.workers, math.ceil(busy / _CPU_GOAL))


def slots_needed(provider: ProviderHealth, arrivals: float) -> float:
    """Generations in flight at once at this rate of arrivals (Little's law)."""
    return arrivals * (provider.generation or provider.usual[0])


def _standing(snapshot: Snapshot) -> Iterator[Advice]:
    """What keeps everything from going on."""
    if not snapshot.workers:
        yield Advice("advice-no-worker", command="docker compose up -d worker-image")
    if TELEGRAM.level(snapshot.deaf):
        yield Advice("advice-telegram", {"why": snapshot.deaf_why}, "imagebot doctor")
    if snapshot.room == 0:
        yield Advice("advice-pictures", command="imagebot doctor")
    if not snapshot.store.saved:
        yield Advice("advice-redis-unsaved", command="docker compose logs --tail 50 redis")
    elif REDIS_MEMORY.level(snapshot.store.share) is Level.PROBLEM:
        yield Advice("advice-redis-memory")
    if snapshot.messages is None:
        yield Advice("advice-no-broker", command="docker compose logs --tail 50 rabbitmq")
    if not snapshot.providers:
        yield Advice("advice-no-provider")


def _can_move(snapshot: Snapshot) -> bool:
    """Whether there is who takes a step and a way to tell them: where not, that is why anything stands."""
    return bool(snapshot.workers) and snapshot.messages is not None


def _workers(snapshot: Snapshot) -> Iterator[Advice]:
    cpu = max((beat.cpu for beat in snapshot.processes if beat.kind == "worker"), default=0.0)
    if (_can_move(snapshot) and not snapshot.moving) or CPU.level(cpu):
        number = max(snapshot.workers + 1, workers_needed(snapshot))
        reason = "advice-workers-busy" if CPU.level(cpu) else "advice-workers-behind"
        yield Advice(
            reason,
            {"number": number, "workers": snapshot.workers, "percent": round(cpu * 100)},
            f"docker compose up -d --scale worker-image={number}",
        )


def _providers(snapshot: Snapshot) -> Iterator[Advice]:
    longest = None
    if WAITING.level(snapshot.waiting) or OLDEST.level(snapshot.oldest):
        lines = (one for one in snapshot.providers if one.waiting)
        longest = max(lines, key=lambda one: one.waiting, default=None)
    for provider in snapshot.providers:
        name = {"provider": provider.name}
        if provider.breaker:
            yield Advice("advice-breaker", name, "imagebot doctor")
        elif provider.shut > 1:
            yield Advice("advice-shut", {**name, "seconds": math.ceil(provider.shut)})
        elif _can_move(snapshot) and (WAITING.level(provider.waiting) or provider is longest):
            yield _line(provider, snapshot.arrivals)


def _line(provider: ProviderHealth, arrivals: float) -> Advice:
    """Why a provider's line is long: more demand than its slots can serve, or a rush that will pass."""
    seconds = provider.generation or provider.usual[0]
    needed = slots_needed(provider, arrivals)
    facts = {
        "provider": provider.name,
        "arrivals": round(arrivals * 60, 1),
        "seconds": round(seconds),
        "needed": math.ceil(needed),
        "cap": provider.cap,
        "setting": f"{provider.name.upper()}_CONCURRENCY",
    }
    if arrivals > provider.rate:
        return Advice("advice-rate", {**facts, "setting": f"{provider.name.upper()}_RATE"})
    if needed > provider.cap:
        return Advice("advice-slots", {**facts, "goal": math.ceil(needed / _SLOTS_GOAL)})
    spare = provider.cap / seconds - arrivals
    minutes = max(1, math.ceil(provider.waiting / spare / 60)) if spare > 0 else 60
    # A line of people who came at once, not of a system that is too small.
    return Advice("advice-rush", {**facts, "minutes": minutes, "goal": 2 * provider.cap})


def _time(snapshot: Snapshot) -> Iterator[Advice]:
    """Jobs are slow although none waits: usually the provider, which we cannot make faster."""
    if not TIME.level(snapshot.processing) or WAITING.level(snapshot.waiting) or not snapshot.providers:
        return
    slow = max(snapshot.providers, key=lambda provider: provider.generation or 0.0)
    if (slow.generation or 0) > 0.6 * (snapshot.processing or 0):
        yield Advice("advice-slow", {"provider": slow.name, "seconds": round(slow.generation or 0)})
    else:
        yield Advice(
            "advice-slow-else", {"seconds": round(snapshot.processing or 0)}, "imagebot jobs list --slow"
        )


def _machine(snapshot: Snapshot) -> Iterator[Advice]:
    full = REDIS_MEMORY.level(snapshot.store.share)
    if snapshot.store.saved and snapshot.store.level and full is not Level.PROBLEM:
        days = snapshot.store.days
        yield (
            Advice("advice-redis-memory")
            if days is None
            else Advice("advice-redis-days", {"days": round(days)})
        )
    if DISK.level(snapshot.disk):
        yield Advice("advice-disk", {"percent": round(snapshot.disk * 100)}, "docker system df")
    if snapshot.backup.level:
        yield Advice("advice-backup", command="docker compose logs --tail 50 backup")
    if MEMORY.level(snapshot.memory):
        yield Advice("advice-memory", {"percent": round(snapshot.memory * 100)}, "docker stats --no-stream")
    if LOAD.level(snapshot.load):
        yield Advice("advice-load", {"percent": round(snapshot.load * 100)}, "docker stats --no-stream")
    others = [beat for beat in snapshot.processes if beat.kind != "worker" and CPU.level(beat.cpu)]
    for beat in others:
        yield Advice("advice-cpu", {"part": beat.kind, "percent": round(beat.cpu * 100)})
