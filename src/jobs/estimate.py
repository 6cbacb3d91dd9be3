"""How long it will take: a range from what the same provider and model took lately.

Before there is anything to learn from, the guide's ordinary 20-40 s stand in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from src.jobs.ledger import Ledger
from src.jobs.records import Job, State

_UNKNOWN = (20.0, 40.0)
# What is said once a generation has outlived all that is known of its like.
_OVERDUE = (1.0, 2.0)
# Less progress tells nothing of the rest.
_SOME = 0.05
FEW = 5
"""Generations below which there is nothing to learn from."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a person is told. `place`: jobs that start before (None: it is being made);
    `low`, `high`: seconds from now to the picture, the middle and the slow end of what is usual."""

    place: int | None
    low: float
    high: float

    @property
    def late(self) -> bool:
        """It takes longer than is usual: there is no saying how long."""
        return self.place is None and (self.low, self.high) == _OVERDUE


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile of values that are not empty, between neighbours linearly."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def usual(durations: Sequence[float]) -> tuple[float, float]:
    """Median and slow end (p90) of a generation, in seconds."""
    if len(durations) < FEW:
        return _UNKNOWN
    return quantile(durations, 0.5), quantile(durations, 0.9)


def estimate(
    durations: Sequence[float],
    *,
    place: int | None,
    running: int,
    cap: int,
    elapsed: float = 0.0,
    ahead: Sequence[float] | None = None,
    progress: float | None = None,
) -> Estimate:
    """Time left for a job.

    Args:
        durations: last generations of its provider and model, in seconds.
        place: jobs before it in the line, None once it has a slot.
        running: jobs that hold a slot. cap: slots.
        elapsed: seconds since its generation began, for a job that runs.
        ahead: last generations of the model that the jobs before it wait for, where that is another.
        progress: how much of it is done (0..1), where its provider tells.
    """
    median, slow = usual(durations)
    if place is None:
        left = [d - elapsed for d in durations if d > elapsed] if len(durations) >= FEW else []
        if left:
            usually = quantile(left, 0.5), quantile(left, 0.9)
        else:
            usually = max(_OVERDUE[0], median - elapsed), max(_OVERDUE[1], slow - elapsed)
        if usually == _OVERDUE or progress is None or not _SOME <= progress < 1.0:
            return Estimate(None, *usually)
        by_progress = elapsed * (1.0 - progress) / progress
        # Few providers' progress is even: the truth is between what it tells and what is usual.
        ends = usually[0], by_progress * slow / median
        return Estimate(None, min(usually[0], by_progress), max(ends))
    # A full house frees one slot every mean/cap seconds; the job needs place + 1 of them.
    free = max(0, cap - running)
    before = durations if ahead is None else ahead
    mean = sum(before) / len(before) if len(before) >= FEW else usual(before)[0]
    turns = max(0, place + 1 - free)
    wait = turns * mean / cap
    return Estimate(place, wait + median, wait * 1.25 + slow)


async def estimate_job(ledger: Ledger, job: Job, cap: int) -> Estimate:
    """The estimate for one job, from the ledger."""
    durations = await ledger.durations(job.provider, job.spec.model)
    place = await ledger.place(job) if job.state is State.WAITING else None
    running = await ledger.running(job.provider)
    now = await ledger.now()
    elapsed = (now - job.accepted) / 1000 if job.accepted else 0.0
    return estimate(durations, place=place, running=running, cap=cap, elapsed=elapsed, progress=job.progress)
