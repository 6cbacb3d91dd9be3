"""Gates that all processes share, by Redis's clock; no test waits for one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from src.limits import Gate, Limiter, telegram_gates
from src.settings import load_settings
from tests.limits.conftest import Clock


@pytest.fixture
def limiter(redis_client: Any) -> Limiter:
    return Limiter(redis_client)


async def test_a_burst_and_no_more(limiter: Limiter) -> None:
    gate = Gate("g", rate=0.1, burst=3)
    assert [await limiter.take([gate]) for _ in range(3)] == [None] * 3
    refusal = await limiter.take([gate])
    assert refusal is not None
    assert refusal.gate == "g"
    assert 9 < refusal.seconds <= 10


async def test_all_gates_or_none(limiter: Limiter) -> None:
    wide, narrow = Gate("wide", rate=0.1, burst=2), Gate("narrow", rate=0.1, burst=1)
    assert await limiter.take([wide, narrow]) is None
    for _ in range(5):
        refusal = await limiter.take([wide, narrow])
        assert refusal is not None
        assert refusal.gate == "narrow"
    assert await limiter.take([wide]) is None


async def test_refused_steps_get_turns_one_after_another(limiter: Limiter) -> None:
    gate = Gate("g", rate=1, burst=1)
    assert await limiter.take([gate], ticket="first") is None
    waits = [await limiter.take([gate], ticket=f"step {n}") for n in range(4)]
    seconds = [refusal.seconds for refusal in waits if refusal is not None]
    assert len(seconds) == 4
    assert all(later - earlier == pytest.approx(1, abs=0.2) for earlier, later in itertools.pairwise(seconds))
    # Asked again too early, a step keeps its turn and takes nobody else's.
    again = await limiter.take([gate], ticket="step 0")
    assert again is not None
    assert again.seconds <= seconds[0]


async def test_a_reserved_turn_is_used_once(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=0.1, burst=1)
    await limiter.take([gate])
    assert await limiter.take([gate], ticket="step") is not None
    clock.advance(10)
    assert await limiter.take([gate], ticket="step") is None
    assert await limiter.take([gate], ticket="step") is not None


async def test_a_reserved_turn_that_is_slept_for_is_used(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=100, burst=1)
    await limiter.take([gate])
    assert await limiter.take([gate], ticket="step") is not None
    assert await limiter.take([gate], ticket="step", wait=1) is None
    again = await limiter.take([gate], ticket="step")
    assert again is not None
    assert again.seconds == pytest.approx(0.02, abs=0.002)


async def test_a_turn_that_came_to_nothing_is_kept_for_later(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=0.1, burst=1)
    assert await limiter.take([gate], ticket="step") is None
    await limiter.keep([gate], "step", 25)
    # The line is not longer for it, and a closure moves it as it moves others.
    waits = await limiter.take([gate], ticket="next")
    assert waits is not None
    assert waits.seconds == pytest.approx(10)
    await limiter.close("g", 5)
    clock.advance(25)
    early = await limiter.take([gate], ticket="step")
    assert early is not None
    assert (early.gate, early.seconds) == ("turn", pytest.approx(5, abs=0.01))
    clock.advance(5.01)
    assert await limiter.take([gate], ticket="step") is None
    assert await limiter.take([gate], ticket="step") is not None


async def test_what_was_taken_just_before_is_a_part_of_the_call(limiter: Limiter, clock: Clock) -> None:
    settings = load_settings()
    one = telegram_gates(settings, 1)[1:]
    album = telegram_gates(settings, 1, messages=5, taken=1)[1:]
    assert await limiter.take(one, ticket="picture") is None
    # The chat is as it was, for an album too.
    assert await limiter.take(album, ticket="album") is None
    refusal = await limiter.take(one)
    assert refusal is not None
    assert refusal.seconds == pytest.approx(2)


async def test_a_reserved_turn_has_what_was_taken_before_it_as_a_part(limiter: Limiter, clock: Clock) -> None:
    settings = load_settings()
    one = telegram_gates(settings, 1)[1:]
    album = telegram_gates(settings, 1, messages=5, taken=1)[1:]
    for _ in range(3):
        assert await limiter.take(one) is None
    assert await limiter.take(one, ticket="picture") is None
    refusal = await limiter.take(album, ticket="album")
    # Behind the three others, not behind its own part; whoever comes next is behind five in all.
    assert refusal is not None
    assert refusal.seconds == pytest.approx(3)
    await limiter.keep(one, "picture", refusal.seconds)
    behind = await limiter.take(one, ticket="next")
    assert behind is not None
    assert behind.seconds == pytest.approx(3 + 2)
    clock.advance(refusal.seconds + 0.01)
    assert await limiter.take(one, ticket="picture") is None
    assert await limiter.take(album, ticket="album") is None
    # And so it is when it comes before its turn.
    early = await limiter.take(one, ticket="next")
    assert early is not None
    assert early.seconds == pytest.approx(2, abs=0.02)


async def test_a_closed_gate_holds_reserved_turns_too(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=0.1, burst=1)
    await limiter.take([gate])
    await limiter.take([gate], ticket="next")
    await limiter.take([gate], ticket="after it")
    clock.advance(9)
    await limiter.close("g", 30)
    clock.advance(1)
    refusals = [await limiter.take([gate], ticket=ticket) for ticket in ("after it", "next")]
    assert [refusal and round(refusal.seconds) for refusal in refusals] == [40, 30]


async def test_a_missed_turn_is_taken_anew_behind_a_closure(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=0.1, burst=1)
    await limiter.take([gate])
    await limiter.take([gate], ticket="late")
    await limiter.take([gate], ticket="next")
    clock.advance(15)
    await limiter.close("g", 30)
    refusals = [await limiter.take([gate], ticket=ticket) for ticket in ("late", "next")]
    assert [refusal and round(refusal.seconds) for refusal in refusals] == [45, 35]


async def test_the_longer_closure_stays(limiter: Limiter) -> None:
    await limiter.close("g", 60)
    await limiter.close("g", 1)
    refusal = await limiter.take([Gate("g", rate=100)])
    assert refusal is not None
    assert refusal.seconds > 59


async def test_progress_leaves_room_for_results(limiter: Limiter) -> None:
    settings = load_settings()
    chats = iter(range(1000))

    async def passes(lane: Any) -> bool:
        return await limiter.take(telegram_gates(settings, next(chats), lane=lane)) is None

    while await passes("progress"):
        pass
    assert await passes("result")
