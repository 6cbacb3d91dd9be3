"""When to ask again: a few times a generation, and soon after it is ready, for any habit of reporting."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from src.jobs.estimate import quantile
from src.pipeline import poll_schedule

Report = Callable[[float], float | None]


def _honest(share: float) -> float | None:
    return share


def _late_and_coarse(share: float) -> float | None:
    return None if share < 0.12 else int((share - 0.12) / 0.88 * 100) / 100


def _slow_at_the_end(share: float) -> float | None:
    return min(0.99, 0.05 + share * 0.9)


@pytest.mark.parametrize("report", [_honest, _late_and_coarse, _slow_at_the_end])
def test_readiness_is_noticed_soon_with_few_polls(report: Report) -> None:
    chance = random.Random(7)
    known = poll_schedule.ProgressCalibration()
    durations: list[float] = []
    polls, late = [], []
    for _ in range(1500):
        took = chance.uniform(20, 40)
        at, count, said = poll_schedule.first_poll(durations), 1, None
        while at < took:
            progress = report(at / took)
            said = (progress, at / took) if progress is not None else said
            at += poll_schedule.next_poll(durations, at, progress, None, known)
            count += 1
        if said is not None:
            known.learn(*said)
        durations = [took, *durations[:199]]
        polls.append(count)
        late.append(at - took)
    assert sum(polls[100:]) / len(polls[100:]) <= 3
    assert quantile(late[100:], 0.5) <= 0.5
    assert quantile(late[100:], 0.95) <= 1.5


def test_an_operators_interval_decides_alone() -> None:
    assert poll_schedule.first_poll([30.0] * 50, 2.0) == 2.0
    assert poll_schedule.next_poll([30.0] * 50, 12.0, 0.5, 2.0) == 2.0


def test_without_anything_known_it_asks_rarely_but_not_never() -> None:
    assert poll_schedule.first_poll([]) == 3.0
    assert 1.0 <= poll_schedule.next_poll([], 3.0) <= poll_schedule.next_poll([], 60.0) <= 10.0


def test_a_line_through_reports_corrects_a_providers_habit() -> None:
    known = poll_schedule.ProgressCalibration()
    assert known.share(0.5) == 0.5
    for step in range(50):
        known.learn(step / 50, 0.1 + 0.8 * step / 50)
    assert known.share(0.5) == pytest.approx(0.5)
    assert known.share(0.9) == pytest.approx(0.82)
