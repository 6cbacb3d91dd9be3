"""What pictures cost: amounts by unit, the caps of a day, and the sums that the ledger's scripts keep of them.

A job is charged at its admission with what its model is expected to cost, so that many at once cannot pass a cap
together; when its picture is there, with what the provider says it cost; and with nothing where it ended before
anybody can want money for it. What a provider that it has left may want all the same stays charged. Amounts are whole millionths of a unit, so no sum is ever rounded. Days are UTC's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PICTURES = "pictures"
"""The unit in which each job costs one; the others are money, as catalog and providers name it."""
_ONE = 1_000_000
DAY = 86_400
DAY_MS = 1000 * DAY

Costs = Mapping[str, int]
"""Millionths by unit."""


def millionths(amount: float) -> int:
    return round(amount * _ONE)


def amount(millionths: int) -> float:
    return millionths / _ONE


@dataclass(frozen=True, slots=True)
class Charge:
    """What a job is charged with at its admission or its move, and what it must stay within.

    Attributes:
        costs: of one job.
        everybody, person: the caps of a day, as unit and millionths; None: there is none.
    """

    costs: Costs = field(default_factory=lambda: {PICTURES: _ONE})
    everybody: tuple[str, int] | None = None
    person: tuple[str, int] | None = None

    def payload(self) -> dict[str, Any]:
        """As the scripts take it."""
        caps = {"all": self.everybody, "user": self.person}
        return {"costs": dict(self.costs), "caps": [[who, *cap] for who, cap in caps.items() if cap]}


@dataclass(frozen=True, slots=True)
class Spent:
    """The sums of a day.

    Attributes:
        by: what each provider's pictures, and `all`, were charged with.
        full: something was refused since it would have passed the cap for everybody.
        told: the share of that cap, in percent, that the owner was told of.
    """

    by: Mapping[str, Costs] = field(default_factory=dict)
    full: bool = False
    told: int = 0

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Spent:
        """From the hash `spent`."""
        return cls(sums(raw), raw.get("full") == "1", int(raw.get("told") or 0))


def sums(raw: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The sums in a day's hash, by whose they are."""
    found: dict[str, dict[str, int]] = {}
    for name, value in raw.items():
        whose, _, unit = name.rpartition(" ")
        if whose and int(value):
            found.setdefault(whose, {})[unit] = int(value)
    return found


def charges(raw: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """What a job is charged with, by provider: from its field `charge`."""
    found: dict[str, list[Costs]] = {}
    for part in (raw, *raw.get("left", ())):
        if part["costs"]:
            found.setdefault(part["provider"], []).append(part["costs"])
    return {provider: sum_of(costs) for provider, costs in found.items()}


def sum_of(several: Iterable[Costs]) -> dict[str, int]:
    total: dict[str, int] = {}
    for costs in several:
        for unit, value in costs.items():
            total[unit] = total.get(unit, 0) + value
    return total


def day(ms: int) -> int:
    """The day that a moment lies in, as the keys name it."""
    return ms // DAY_MS


def worded(costs: Costs) -> str:
    """Costs as people read them, pictures first: `12 pictures, 0.24 USD`."""
    named = sorted(costs.items(), key=lambda item: (item[0] != PICTURES, item[0]))
    return ", ".join(f"{amount(value):.10g} {unit}" for unit, value in named)
