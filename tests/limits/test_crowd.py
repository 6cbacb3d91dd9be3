"""A crowd at a gate that is shut, or whose processes hang: afterwards it goes one by one and at the gate's rate.

Each step comes when it was told to, as the ledger lets it; time is the test's own.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from src.limits import Gate, Limiter
from tests.limits.conftest import Clock

_ALL = Gate("telegram", rate=28, burst=2)
_CHAT = Gate("chat:1", rate=1, burst=4)
_LATE = 0.25
"""What a wake-up takes."""
_MS = 0.0011


class Crowd:
    """Steps that come to gates, are told when to come again, and do so."""

    def __init__(self, clock: Clock, limiter: Limiter) -> None:
        self._clock = clock
        self._limiter = limiter
        self._events: list[tuple[float, int, int | asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._resting = asyncio.Event()
        self.wakes: Callable[[float], float] = lambda due: due
        self.passed: dict[int, float] = {}
        self.asked: Counter[int] = Counter()

    async def run(
        self,
        arrivals: Iterable[float],
        gates: Callable[[int], list[Gate]],
        *,
        closures: Iterable[tuple[float, str, float]] = (),
        comes: Callable[[int, float], float] = lambda step, due: due,
        sleeps: Callable[[int], float] = lambda step: 0.0,
    ) -> None:
        """Until all have passed.

        Args:
            arrivals: when each step comes first.
            closures: when which gate is shut, and for how long.
            comes: when a step comes that is due at a time; later where its process hangs.
            sleeps: seconds that a step waits for its turn on the spot.
        """
        closing = sorted(closures)
        tasks = set()
        for step, at in enumerate(arrivals):
            self._at(comes(step, at), step)

        async def come(step: int) -> None:
            self.asked[step] += 1
            assert self.asked[step] < 20, "this one never gets through"
            wait = sleeps(step)
            refusal = await self._limiter.take(gates(step), wait=wait, spread=True)
            if refusal is None:
                self.passed[step] = self._clock.now
            else:
                self._at(comes(step, self._clock.now + max(0.001, refusal.seconds)), step)

        while self._events:
            at, _, who = heapq.heappop(self._events)
            while closing and closing[0][0] <= at:
                begin, gate, seconds = closing.pop(0)
                self._clock.set(begin)
                await self._limiter.shut(gate, seconds)
            self._clock.set(at)
            self._resting.clear()
            if isinstance(who, int):
                tasks.add(task := asyncio.create_task(come(who)))
                task.add_done_callback(lambda _: self._resting.set())
            else:
                who.set_result(None)
            await self._resting.wait()
        await asyncio.gather(*tasks)

    def _at(self, time: float, who: int | asyncio.Future[None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), who))

    async def sleep(self, seconds: float) -> None:
        """In place of the limiter's own: the time is the test's."""
        self._at(self.wakes(self._clock.now + seconds), waking := asyncio.get_running_loop().create_future())
        self._resting.set()
        await waking

    def most_in_a_second(self, among: Callable[[int], bool] = lambda step: True) -> int:
        times = [at for step, at in self.passed.items() if among(step)]
        return max(sum(begin <= at < begin + 1 - _MS for at in times) for begin in times)

    def passed_between(self, begin: float, end: float) -> int:
        return sum(begin + _MS < at < end - _MS for at in self.passed.values())


@pytest.fixture
def crowd(clock: Clock, redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    crowd = Crowd(clock, Limiter(redis_client))
    monkeypatch.setattr("src.limits.limiter.sleep", crowd.sleep)
    monkeypatch.setattr("src.limits.limiter.monotonic", lambda: clock.now)
    return crowd


async def test_those_who_were_refused_come_one_by_one(crowd: Crowd) -> None:
    await crowd.run([0.0] * 20, lambda step: [_CHAT])
    assert [round(at) for at in crowd.passed.values()] == [0, 0, 0, *range(17)]
    assert list(crowd.passed) == sorted(crowd.passed)
    # Once to be told when, once to pass.
    assert max(crowd.asked.values()) <= 2


async def test_a_flood_in_one_chat_costs_the_others_no_turn(crowd: Crowd) -> None:
    flood, others = [0.0] * 60, [n / 20 for n in range(100)]
    chat = Gate(_CHAT.name, _CHAT.rate, _CHAT.burst, patience=0.5)
    await crowd.run(
        flood + others, lambda step: [_ALL, chat] if step < 60 else [_ALL], sleeps=lambda step: 30.0
    )
    late = [at - others[step - 60] for step, at in crowd.passed.items() if step >= 60]
    assert len(late) == 100
    assert max(late) < 0.3
    assert max(crowd.asked.values()) <= 3


async def test_hundreds_that_sleep_use_the_whole_rate_in_their_order(crowd: Crowd) -> None:
    await crowd.run([0.0] * 280, lambda step: [_ALL, Gate(f"chat:{step}", 1, 4)], sleeps=lambda step: 30.0)
    assert list(crowd.passed) == sorted(crowd.passed)
    assert max(crowd.passed.values()) == pytest.approx(280 / _ALL.rate, abs=0.2)
    assert set(crowd.asked.values()) == {1}


@pytest.mark.parametrize(("gate", "steps"), [(_ALL, 150), (_CHAT, 12)], ids=["all chats", "one chat"])
async def test_after_a_closure_a_crowd_goes_on_at_the_rate(crowd: Crowd, gate: Gate, steps: int) -> None:
    at_once = [0.0] * steps
    during = [2.5 + n / gate.rate for n in range(steps // 3)]
    # The second closure is told while the first one lasts, and is longer.
    await crowd.run(
        at_once + during, lambda step: [gate], closures=[(2.0, gate.name, 4.0), (5.0, gate.name, 6.0)]
    )
    assert crowd.passed_between(2, 11) == 0
    assert crowd.most_in_a_second() <= gate.rate + gate.burst
    assert max(crowd.passed.values()) <= 11 + len(crowd.passed) / gate.rate
    # Once to be told when, once during each closure, once to pass.
    assert max(crowd.asked.values()) <= 4


async def test_turns_that_a_hanging_process_slept_through_are_not_used_all_at_once(crowd: Crowd) -> None:
    crowd.wakes = lambda due: 12.0 if 5 <= due < 12 else due
    await crowd.run([0.0] * 20, lambda step: [_CHAT], sleeps=lambda step: 90.0)
    assert crowd.passed_between(5, 12) == 0
    assert crowd.most_in_a_second() <= 4
    assert max(crowd.passed.values()) <= 12 + 20


async def test_calls_whose_process_is_always_late_use_the_whole_rate(crowd: Crowd) -> None:
    crowd.wakes = lambda due: due + 0.6
    await crowd.run([0.0] * 280, lambda step: [_ALL], sleeps=lambda step: 90.0)
    assert max(crowd.passed.values()) <= 280 / _ALL.rate + 2
    assert crowd.most_in_a_second() <= _ALL.rate * (1 + _LATE) + _ALL.burst


async def test_no_burst_as_soon_as_a_gate_opens(crowd: Crowd) -> None:
    await crowd.run([5.0] * 6, lambda step: [_CHAT], closures=[(0.0, _CHAT.name, 5.0)])
    assert [round(at) for at in crowd.passed.values()] == [5, 6, 7, 8, 9, 10]


async def test_turns_missed_by_a_process_that_hung_are_not_made_up_for_at_once(crowd: Crowd) -> None:
    # The odd steps belong to a process that hangs for ten seconds.
    def comes(step: int, due: float) -> float:
        return 12.0 if step % 2 and 2 <= due < 12 else due

    await crowd.run([0.0] * 300, lambda step: [_ALL], comes=comes)
    assert len(crowd.passed) == 300
    assert crowd.most_in_a_second() <= _ALL.rate * (1 + _LATE) + _ALL.burst
    assert crowd.passed_between(2, 12) == pytest.approx(10 * _ALL.rate / 2, abs=_ALL.rate)
    # Nobody is put off again and again.
    assert max(crowd.asked.values()) <= 4


async def test_calls_that_sleep_until_their_turn_are_held_by_a_closure(
    crowd: Crowd,
) -> None:
    # The first ten sleep for a turn in their chat; the others of all chats come while they do.
    sleepers = range(10)
    others = [3.0 + n / 100 for n in range(20)]
    await crowd.run(
        [0.0] * len(sleepers) + others,
        lambda step: [_ALL, *([_CHAT] if step in sleepers else [])],
        closures=[(4.5, _CHAT.name, 4.0)],
        sleeps=lambda step: 30.0 if step in sleepers else 0.0,
    )
    asleep = [at for step, at in crowd.passed.items() if step in sleepers]
    assert asleep == pytest.approx([0, 0, 0, 0, 1, 2, 3, 4, 8.5, 9.5], abs=0.1)
    assert not [at for step, at in crowd.passed.items() if step in sleepers and 4.5 < at < 8.5]
    assert crowd.most_in_a_second() <= _ALL.rate + _ALL.burst


@pytest.mark.parametrize("seed", range(4))
async def test_any_crowd_keeps_to_the_rates_and_gets_through(crowd: Crowd, seed: int) -> None:
    dice = random.Random(seed)
    chats = [dice.randrange(8) for _ in range(120)]
    closures = [
        (dice.uniform(0, 20), dice.choice(["telegram", "chat:0", "chat:1"]), float(dice.randrange(1, 8)))
        for _ in range(4)
    ]
    hangs = dice.uniform(0, 15)

    def comes(step: int, due: float) -> float:
        if step % 3 == 0 and hangs <= due < hangs + 6:
            return hangs + 6 + dice.random() * _LATE
        return due + dice.random() * _LATE

    wide = Gate("telegram", rate=10, burst=2)
    await crowd.run(
        sorted(dice.uniform(0, 10) for _ in chats),
        lambda step: [wide, Gate(f"chat:{chats[step]}", rate=1, burst=4)],
        closures=closures,
        comes=comes,
    )
    assert len(crowd.passed) == len(chats)
    assert crowd.most_in_a_second() <= wide.rate * (1 + _LATE) + wide.burst
    for chat in range(8):
        assert crowd.most_in_a_second(lambda step, chat=chat: chats[step] == chat) <= 5
    for begin, gate, seconds in closures:
        shut = [step for step in crowd.passed if gate in ("telegram", f"chat:{chats[step]}")]
        assert not [step for step in shut if begin < crowd.passed[step] < begin + seconds - _MS]
