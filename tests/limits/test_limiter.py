"""Gates that all processes share, by Redis's clock; no test waits for one."""

from __future__ import annotations

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


async def test_refused_calls_are_told_to_come_one_after_another(limiter: Limiter, clock: Clock) -> None:
    gate = Gate("g", rate=1, burst=1)
    assert await limiter.take([gate], spread=True) is None
    told = [await limiter.take([gate], spread=True) for _ in range(4)]
    assert [refusal and refusal.seconds for refusal in told] == pytest.approx([1, 2, 3, 4], abs=0.01)
    # It is no turn: the gate is free for whoever comes.
    clock.advance(1.01)
    assert await limiter.take([gate]) is None
    # Who does not come again when told to learns only when the gate is free.
    refusal = await limiter.take([gate])
    assert refusal is not None
    assert refusal.seconds == pytest.approx(1, abs=0.01)


async def test_an_album_counts_as_many(limiter: Limiter, clock: Clock) -> None:
    settings = load_settings()
    one, album = telegram_gates(settings, 1)[1:], telegram_gates(settings, 1, messages=5)[1:]
    assert await limiter.take(album) is None
    refusal = await limiter.take(one)
    assert refusal is not None
    assert refusal.seconds == pytest.approx(2)


async def test_a_call_that_waits_long_at_one_gate_is_counted_at_the_other_when_it_goes(
    limiter: Limiter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr("src.limits.limiter.sleep", sleep)
    wide, chat = Gate("wide", rate=0.5, burst=1), Gate("chat", rate=1, burst=1)
    assert await limiter.take([wide]) is None
    assert await limiter.take([wide, chat], wait=5) is None
    assert sum(slept) == pytest.approx(2, abs=0.01)
    refusal = await limiter.take([chat])
    assert refusal is not None
    assert refusal.seconds == pytest.approx(1, abs=0.01)


async def test_the_longer_closure_stays(limiter: Limiter) -> None:
    await limiter.shut("g", 60)
    await limiter.shut("g", 1)
    refusal = await limiter.take([Gate("g", rate=100)])
    assert refusal is not None
    assert refusal.seconds > 59


async def test_progress_leaves_room_for_results(limiter: Limiter) -> None:
    settings = load_settings()
    chats = iter(range(1000))

    async def passes(*, droppable: bool) -> bool:
        return await limiter.take(telegram_gates(settings, next(chats), droppable=droppable)) is None

    while await passes(droppable=True):
        pass
    assert await passes(droppable=False)
