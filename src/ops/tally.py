"""What happened today, this week, this month: people, jobs, times, failures, money, by the hour or by the day.

The ledger's scripts count it by the hour (UTC) and keep it for 90 days; it names nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from src.app import App
from src.jobs import keys
from src.jobs.spending import DAY_MS, Costs, day, sums

Span = Literal["day", "week", "month"]
DAYS: dict[Span, int] = {"day": 1, "week": 7, "month": 30}
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Bar:
    """An hour, or a day. `at`: ms of its beginning; `seconds`: mean time to a picture, None where there was none."""

    at: int
    admitted: int = 0
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """A span of time.

    Attributes:
        whole: of all its bars. kinds: failures by kind. people: who ordered something.
        stars, refunded: Telegram Stars that were paid, and given back.
        costs, spenders: what the pictures cost, by `all` or provider, and by person.
    """

    bars: tuple[Bar, ...]
    whole: Bar
    kinds: Counter[str]
    people: int
    stars: int = 0
    refunded: int = 0
    costs: Mapping[str, Costs] = field(default_factory=dict)
    spenders: Mapping[str, Costs] = field(default_factory=dict)


async def look(app: App, span: Span) -> Tally:
    """What happened in the last days, today's being the last."""
    today = day(await app.ledger.now())
    days = range(today - DAYS[span] + 1, today + 1)
    async with app.redis.pipeline(transaction=False) as pipe:
        for number in days:
            pipe.hgetall(keys.TALLY(number))
            pipe.hgetall(keys.SPENT(number))
            pipe.hgetall(keys.SPENDER(number))
        answers = await pipe.execute()
    hours: Counter[tuple[int, str]] = Counter()
    kinds: Counter[str] = Counter()
    costs: dict[str, Counter[str]] = {}
    spenders: dict[str, Counter[str]] = {}
    people: set[str] = set()
    for place, number in enumerate(days):
        counted, spent, spender = answers[3 * place : 3 * place + 3]
        for name, value in counted.items():
            when, _, what = name.partition(" ")
            if when == "kind":
                kinds[what] += int(value)
            else:
                begin = number * DAY_MS + (int(when) * _HOUR_MS if span == "day" else 0)
                hours[begin, what] += int(value)
        _add(costs, sums(spent))
        _add(spenders, sums(spender))
        # Also those whose pictures cost nothing in the end.
        people |= {name.rpartition(" ")[0] for name in spender}
    step, first = (_HOUR_MS if span == "day" else DAY_MS), days.start * DAY_MS
    count = 24 if span == "day" else len(days)
    bars = tuple(_bar(hours, first + n * step, [first + n * step]) for n in range(count))
    whole = _bar(hours, first, [bar.at for bar in bars])
    stars, refunded = (
        sum(n for (_, name), n in hours.items() if name == what) for what in ("stars", "refunded")
    )
    return Tally(bars, whole, kinds, len(people), stars, refunded, costs, spenders)


def _add(into: dict[str, Counter[str]], costs: Mapping[str, Costs]) -> None:
    for whose, amounts in costs.items():
        into.setdefault(whose, Counter()).update(amounts)


def _bar(hours: Counter[tuple[int, str]], at: int, begins: list[int]) -> Bar:
    def total(what: str) -> int:
        return sum(hours[begin, what] for begin in begins)

    delivered = total("delivered")
    return Bar(
        at=at,
        admitted=total("admitted"),
        delivered=delivered,
        failed=total("failed"),
        cancelled=total("cancelled"),
        seconds=total("ms") / delivered / 1000 if delivered else None,
    )
