"""What people have paid for: their balance in pictures, their payments, and the codes that give pictures.

A picture is taken from the day's free share or the balance by the script that admits it, and comes back by the one that
ends its job without it (`common.lua`). Here is what changes a balance besides: each counts once, however often it is
told. So, for each person: paid for + given = had + under way + balance + refunded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from src.jobs import keys
from src.jobs.ledger import Ledger
from src.jobs.spending import day
from src.jobs.transitions import Transition

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Balance:
    """What a person can still have.

    Attributes:
        free: of today's free share. bought: paid for or given; less than none where a payment was refunded whose
            pictures they had had.
    """

    free: int
    bought: int

    @property
    def left(self) -> int:
        """Pictures that they can ask for now."""
        return self.free + max(0, self.bought)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that we were told of. `at`, `refunded`: ms of Redis's clock; 0: it was not. `of`: the first charge of
    the subscription that it pays."""

    charge: str
    user: str
    stars: int
    pictures: int
    at: int
    refunded: int = 0
    of: str = ""

    @classmethod
    def parse(cls, charge: str, text: str) -> Payment:
        raw = json.loads(text)
        return cls(
            charge,
            str(raw["user"]),
            int(raw["stars"]),
            int(raw["pictures"]),
            int(raw["at"]),
            int(raw.get("refunded", 0)),
            str(raw.get("of", "")),
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription, by its first charge; paid until then (seconds since the epoch), and whether it ends there."""

    charge: str
    until: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """The answer to `paid` and `refunded`.

    Attributes:
        first: whoever told it is the first that did, so it falls to them to tell the person.
        bought: as `Balance`. pictures: those that came or went.
    """

    first: bool
    bought: int
    pictures: int


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The answer to `redeem`. `verdict`: `ok`; `known` (the person had it before), `gone` (said as often as it may),
    `unknown`."""

    verdict: Literal["ok", "known", "gone", "unknown"]
    pictures: int = 0
    bought: int = 0


def paid(
    charge: str,
    user: str,
    *,
    stars: int,
    pictures: int,
    teller: str,
    until: int = 0,
    begins: bool | None = None,
) -> Transition[Counted]:
    """A person has paid.

    Args:
        teller: the update that says so.
        until: to when that pays a subscription, in seconds since the epoch; 0: it is none. begins: with this charge;
            None: nobody says.
    """
    args = [charge, user, stars, pictures, teller, until, "" if begins is None else int(begins)]
    return Transition("paid", args, lambda raw: Counted(int(raw[0]) == 1, int(raw[1]), pictures))


def refunded(charge: str, user: str, *, stars: int, teller: str) -> Transition[Counted]:
    """A payment was given back."""
    return Transition(
        "refunded",
        [charge, user, stars, teller],
        lambda raw: Counted(int(raw[0]) == 1, int(raw[1]), int(raw[2])),
    )


def redeem(code: str, user: str, *, teller: str) -> Transition[Redeemed]:
    """A person says a code."""
    return Transition("redeem", [code, user, teller], lambda raw: Redeemed(raw[0], *map(int, raw[1:])))


async def balance(ledger: Ledger, user: str, share: int) -> Balance:
    """What a person can still have, of a free share of so many a day."""
    had = await ledger.client.hget(keys.FREE(day(await ledger.now())), user)
    bought = await ledger.client.hget(keys.BALANCE(), user)
    return Balance(max(0, share - int(had or 0)), int(bought or 0))


async def payment(ledger: Ledger, charge: str) -> Payment | None:
    """A payment that we were told of."""
    text = await ledger.client.hget(keys.PAYMENTS(), charge)
    return Payment.parse(charge, text) if text else None


async def payments(ledger: Ledger, user: str) -> list[Payment]:
    """A person's payments, newest first."""
    rows = ledger.client.hscan_iter(keys.PAYMENTS(), count=_PAGE)
    # Of all that ever were only theirs are read.
    found = [Payment.parse(charge, text) async for charge, text in rows if f'"{user}"' in text]
    return sorted((one for one in found if one.user == user), key=lambda one: -one.at)


async def subscription(ledger: Ledger, user: str) -> Subscription | None:
    """A person's subscription, if it is paid for now."""
    text = await ledger.client.hget(keys.SUBSCRIBED(), user)
    raw: Mapping[str, Any] = json.loads(text) if text else {}
    if int(raw.get("until", 0)) * 1000 < await ledger.now():
        return None
    return Subscription(str(raw["charge"]), int(raw["until"]), bool(raw.get("stopped")))


async def stop(ledger: Ledger, user: str, known: Subscription, *, stopped: bool) -> None:
    """Remember that a subscription ends when it is no longer paid for, or goes on after all."""
    raw = {"charge": known.charge, "until": known.until, "stopped": stopped}
    await ledger.client.hset(keys.SUBSCRIBED(), user, json.dumps(raw))


async def promise(ledger: Ledger, code: str, pictures: int, times: int | None) -> None:
    """Make a code that gives so many pictures, so many times (None: to everybody once); none: take it back."""
    if pictures:
        raw = {"pictures": pictures, **({} if times is None else {"left": times})}
        await ledger.client.hset(keys.PROMOS(), code, json.dumps(raw))
    else:
        await ledger.client.hdel(keys.PROMOS(), code)
