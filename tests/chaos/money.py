"""People who buy what they ask for, and the audit of their money: what Telegram's accounts say, held against the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from src.jobs import State, keys
from src.jobs.credit import Payment
from src.load import people
from src.sandbox.telegram import Person
from tests.system import System

OWNER = 77
"""The admin, who refunds."""
SELLING = {"STAR_PACKS": "50=2", "FREE_PICTURES_DAY": "0", "ADMIN_IDS": str(OWNER)}
"""With these settings whoever does not buy has nothing."""

_TRIES = 10
_ANSWER = 8.0


async def buy(person: Person) -> bool:
    """Buy a pack, as often as it takes until it is paid for; whether it was."""
    for _ in range(_TRIES):
        try:
            if await people.buy(person, _ANSWER):
                return True
        except TimeoutError:
            continue  # somebody was killed; the next one answers
    return False


def charges_of(system: System, person: Person) -> list[str]:
    """What a person has paid, by Telegram's accounts."""
    accounts = system.telegram.bot.till.transactions
    return [one["id"] for one in accounts if one.get("source", {}).get("user", {}).get("id") == person.id]


async def audit_money(system: System, buyers: Sequence[Person]) -> tuple[Counter[str], list[str]]:
    """Figures about money, and what is wrong: what was paid in is pictures, balance and refunds; each charge counts once;
    no picture without a credit, none kept for a picture that failed."""
    till, redis = system.telegram.bot.till, system.redis
    stored = {
        charge: Payment.parse(charge, text) for charge, text in (await redis.hgetall(keys.PAYMENTS())).items()
    }
    takings = Counter({name: int(n) for name, n in (await redis.hgetall(keys.TAKINGS())).items()})
    figures, wrong = Counter[str](), []
    known: set[str] = set()
    for person in buyers:
        came = back = had = 0
        for charge in charges_of(system, person):
            known.add(charge)
            figures["payments"] += 1
            if (one := stored.get(charge)) is None:
                wrong.append(f"{person.id}: paid {charge} and not counted")
                continue
            came += one.pictures
            refunded = till.is_refunded(charge)
            figures["refunds"] += refunded
            back += one.pictures if refunded else 0
            if bool(one.refunded) != refunded or (one.user, one.stars) != (str(person.id), 50):
                wrong.append(f"{person.id}: {one} is refunded: {refunded}")
        for job in await system.jobs_of(person):
            paid = await redis.hget(keys.JOB(job.id), "paid")
            had += paid is not None
            # Whoever takes back what may be drawn, or blocks the bot meanwhile, has had it.
            due = job.state is State.DELIVERED
            free = job.state is State.FAILED and job.kind != "blocked"
            if (due and paid is None) or (free and paid is not None):
                wrong.append(f"{person.id}: {job.state} and credit {paid!r}: {job.story}")
        left = int(await redis.hget(keys.BALANCE(), str(person.id)) or 0)
        figures["pictures"] += had
        if came != had + left + back:
            wrong.append(f"{person.id}: {came} pictures paid for, {had} had, {left} left, {back} given back")
    if strange := stored.keys() - known:
        wrong.append(f"counted and never paid: {sorted(strange)}")
    counts = (takings["payments"], takings["stars"], takings["refunds"], takings["refunded"])
    if counts != (figures["payments"], 50 * figures["payments"], figures["refunds"], 50 * figures["refunds"]):
        wrong.append(
            f"takings {json.dumps(takings)} of {figures['payments']} payments, {figures['refunds']} back"
        )
    return figures, wrong
