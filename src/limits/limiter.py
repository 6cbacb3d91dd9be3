"""The limiter: named gates that all processes share, in Redis.

A gate lets calls through at a rate, with a small burst (GCRA), and can be shut for a while when a
provider or Telegram says so. A step takes all its gates in one script call or none of them. What is
one person's fair share is not decided here but at admission (`src.jobs.transitions.admit`).
"""

from __future__ import annotations

import functools
import json
from asyncio import sleep
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from time import monotonic
from typing import Any

from src.jobs import keys
from src.store.scripts import script_text

_FAILURES = 5
_FIRST_PAUSE_MS = 10_000
_LONGEST_PAUSE_MS = 300_000


class _Taken(IntEnum):
    """What `take.lua` says at its end."""

    REFUSED = 0
    GO = 1
    IN_LINE = 2
    TRIAL = 3


class Breaker(IntEnum):
    """The state of a gate's circuit breaker; `HALF_OPEN`: one call tries."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2

    @classmethod
    def of(cls, opened: str | None, probe: str | None, *, shut: bool) -> Breaker:
        """By the fields `open` and `probe` of a gate, and whether it is shut now."""
        if opened != "1":
            return cls.CLOSED
        return cls.OPEN if shut and not probe else cls.HALF_OPEN


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit that calls pass through.

    Attributes:
        name: the same name is the same gate in every process.
        rate: calls a second.
        burst: calls at once after a pause; at least 1.
        patience: seconds that are worth waiting at this gate, where that is less than at the others.
    """

    name: str
    rate: float
    burst: float = 1.0
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A closed gate: its name, and seconds until it is worth coming again."""

    gate: str
    seconds: float


@functools.cache
def _text(name: str) -> str:
    return script_text("src.limits", name)


class Limiter:
    """Takes and shuts gates, by an asyncio client.

    Args:
        trial: seconds for which a half-open breaker waits for its trial call, unless `try_on` says that it goes on.
    """

    def __init__(self, client: Any = None, *, trial: float = 15.0) -> None:
        self._client = client
        self._trial = round(trial * 1000)
        self._trials: set[str] = set()
        self._script = functools.cache(lambda name: client.register_script(_text(name)))

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, spread: bool = False) -> Refusal | None:
        """Pass the gates, sleeping up to `wait` seconds for a turn at each.

        Args:
            spread: a refused call comes again when the refusal says, and a thousand refused ones are told to
                come one by one, not all at once. What is told is no turn: others may go meanwhile.
        """
        until, slept = monotonic() + wait, set[str]()
        while True:
            left = max(0.0, until - monotonic())
            rows = [
                {
                    "n": gate.name,
                    "t": 1000 / gate.rate,
                    "b": max(1.0, gate.burst),
                    "w": 1000 * (left if gate.patience is None else min(left, gate.patience)),
                    "p": gate.name in slept,
                }
                for gate in gates
            ]
            ms, name, what = await self._eval(
                "take", json.dumps({"gates": rows, "spread": spread, "trial": self._trial})
            )
            taken = _Taken(int(what))
            if taken is _Taken.REFUSED:
                return Refusal(name, int(ms) / 1000)
            if int(ms) > 0:
                await sleep(int(ms) / 1000)
            if taken is _Taken.IN_LINE:
                slept.add(name)
                continue
            if taken is _Taken.TRIAL:
                self._trials.add(name)
            return None

    async def shut(self, gate: str, seconds: float) -> None:
        """Keep a gate shut for every process, for that long; what shuts it for longer stays in force.

        It opens with one call and its rate, not with a burst.
        """
        await self._eval("shut", gate, max(1, round(seconds * 1000)))

    async def failed(self, gate: str, *, at_once: bool = False) -> bool:
        """A call behind this gate failed: so many in a row open its breaker. True if this one did.

        An open breaker shuts the gate for a while, each time longer; then one call at a time tries.

        Args:
            at_once: open it now, as for a key that is refused.
        """
        self._trials.discard(gate)
        threshold = 1 if at_once else _FAILURES
        return (
            int(await self._eval("breaker", gate, "failed", threshold, _FIRST_PAUSE_MS, _LONGEST_PAUSE_MS))
            == 1
        )

    async def passed(self, gate: str) -> bool:
        """A call behind this gate went well: its breaker closes. True if it was open."""
        self._trials.discard(gate)
        return int(await self._eval("breaker", gate, "passed", 0, 0, 0)) == -1

    async def try_on(self, under_way: Collection[str]) -> None:
        """The trial calls that this process makes behind these gates go on: their breakers wait for them. Its other
        trials came to nothing."""
        self._trials.intersection_update(under_way)
        for gate in list(self._trials):
            await self._eval("breaker", gate, "tries", 0, self._trial, 0)

    async def breaker(self, gate: str) -> Breaker:
        """The state of its breaker."""
        opened, shut_until, probe = await self._client.hmget(keys.GATE(gate), "open", "closed", "probe")
        if opened != "1":
            return Breaker.CLOSED
        seconds, _ = await self._client.time()
        return Breaker.of(opened, probe, shut=int(shut_until or 0) > int(seconds) * 1000)

    async def is_open(self, gate: str) -> bool:
        """Whether its breaker keeps everybody out, so that not even one call tries."""
        return await self.breaker(gate) is Breaker.OPEN

    async def _eval(self, name: str, *args: Any) -> Any:
        return await self._script(name)(keys=[keys.PREFIX], args=args)
