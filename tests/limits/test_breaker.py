"""A provider that keeps failing is left alone, then tried by one job."""

from __future__ import annotations

from typing import Any

import pytest

from src.jobs import keys
from src.limits import Gate, Limiter
from tests.limits.conftest import Clock

GATE = Gate("provider:kie", rate=1000, burst=100)


@pytest.fixture
def limiter(redis_client: Any) -> Limiter:
    return Limiter(redis_client)


async def _pause_is_over(redis_client: Any) -> None:
    await redis_client.hset("imagebot:gate:provider:kie", "closed", 1)


async def test_five_failures_in_a_row_open_it(limiter: Limiter) -> None:
    opened = [await limiter.failed(GATE.name) for _ in range(5)]
    assert opened == [False, False, False, False, True]
    assert await limiter.breaker(GATE.name) == 2
    refusal = await limiter.take([GATE])
    assert refusal is not None
    assert 5 < refusal.seconds <= 10


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_failure_behind_a_gate_that_nobody_has_taken_is_forgotten_too(
    limiter: Limiter, redis_client: Any, at_once: bool
) -> None:
    assert await limiter.failed("g", at_once=at_once) is at_once
    assert await redis_client.pttl(keys.GATE("g")) > 3_600_000


async def test_a_success_between_starts_the_count_again(limiter: Limiter) -> None:
    for _ in range(3):
        for _ in range(4):
            assert not await limiter.failed(GATE.name)
        assert not await limiter.passed(GATE.name)
    assert await limiter.breaker(GATE.name) == 0


async def test_half_open_lets_one_through(limiter: Limiter, redis_client: Any) -> None:
    assert await limiter.failed(GATE.name, at_once=True)
    await _pause_is_over(redis_client)
    assert await limiter.breaker(GATE.name) == 1
    assert await limiter.take([GATE]) is None
    assert await limiter.take([GATE]) is not None
    assert await limiter.passed(GATE.name)
    assert await limiter.breaker(GATE.name) == 0
    assert await limiter.take([GATE]) is None


async def test_a_failed_trial_opens_it_for_longer(limiter: Limiter, redis_client: Any) -> None:
    await limiter.failed(GATE.name, at_once=True)
    first = await limiter.take([GATE])
    await _pause_is_over(redis_client)
    assert await limiter.take([GATE]) is None
    assert await limiter.failed(GATE.name)
    second = await limiter.take([GATE])
    assert first is not None
    assert second is not None
    assert second.seconds > 1.5 * first.seconds


async def test_late_failures_of_earlier_calls_change_nothing(limiter: Limiter) -> None:
    await limiter.failed(GATE.name, at_once=True)
    assert not await limiter.failed(GATE.name, at_once=True)
    refusal = await limiter.take([GATE])
    assert refusal is not None
    assert refusal.seconds <= 10


async def test_who_is_refused_by_an_open_breaker_is_told_when_it_tries(
    limiter: Limiter, clock: Clock
) -> None:
    await limiter.failed(GATE.name, at_once=True)
    told = [await limiter.take([GATE], spread=True) for _ in range(3)]
    assert {refusal and round(refusal.seconds) for refusal in told} == {10}
    clock.advance(10)
    assert await limiter.take([GATE], spread=True) is None
    assert await limiter.take([GATE], spread=True) is not None


async def test_a_trial_whose_process_dies_lets_the_next_try_soon(limiter: Limiter, clock: Clock) -> None:
    await limiter.failed(GATE.name, at_once=True)
    clock.advance(10)
    assert await limiter.take([GATE]) is None
    clock.advance(14)
    assert await limiter.take([GATE]) is not None
    clock.advance(1)
    assert await limiter.take([GATE]) is None


async def test_a_trial_that_goes_on_keeps_others_out(
    limiter: Limiter, redis_client: Any, clock: Clock
) -> None:
    other = Limiter(redis_client)
    await limiter.failed(GATE.name, at_once=True)
    clock.advance(10)
    assert await limiter.take([GATE]) is None
    for _ in range(6):
        clock.advance(10)
        await limiter.try_on({GATE.name})
        assert await other.take([GATE]) is not None
    assert await limiter.passed(GATE.name)
    await limiter.try_on({GATE.name})
    assert await other.take([GATE]) is None


async def test_a_trial_that_came_to_nothing_is_not_kept(limiter: Limiter, clock: Clock) -> None:
    await limiter.failed(GATE.name, at_once=True)
    clock.advance(10)
    assert await limiter.take([GATE]) is None
    clock.advance(10)
    await limiter.try_on(())
    clock.advance(5)
    assert await Limiter(limiter._client).take([GATE]) is None


async def test_an_open_breaker_is_open_whatever_trial_there_was_before(
    limiter: Limiter, clock: Clock
) -> None:
    await limiter.failed(GATE.name, at_once=True)
    clock.advance(10)
    assert await limiter.take([GATE]) is None
    await limiter.passed(GATE.name)
    await limiter.failed(GATE.name, at_once=True)
    assert await limiter.breaker(GATE.name) == 2
