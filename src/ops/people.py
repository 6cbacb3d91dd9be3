"""What is known of a person, for admins: what they asked for, what it cost, and whether they keep to the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from src.app import App
from src.jobs import Job, Person, keys
from src.jobs.spending import Costs, day, sums

_DAYS = 90
_LAST = 3


@dataclass(frozen=True, slots=True)
class Known:
    """One person.

    Attributes:
        kept: requests in their history. active: jobs under way. last: the first job of each of their last requests.
        today, lately: what their pictures of today and of the last 90 days (UTC) were charged with.
        strikes: requests of the last hour for what is not drawn. cooling: seconds for which they may ask for nothing.
    """

    person: Person
    kept: int
    active: int
    last: tuple[Job, ...]
    today: Costs = field(default_factory=dict)
    lately: Costs = field(default_factory=dict)
    strikes: int = 0
    cooling: int = 0


async def look_up(app: App, user: str) -> Known:
    """What is known of a person; of one who never wrote nothing, which is no error."""
    ledger, redis = app.ledger, app.redis
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.HISTORY(user))
        pipe.zcard(keys.ACTIVE(user))
        pipe.get(keys.STRIKES(user))
        pipe.ttl(keys.COOLING(user))
        kept, active, strikes, cooling = await pipe.execute()
    requests = await ledger.requests(await ledger.history(user, _LAST))
    today = day(await ledger.now())
    costs = await _costs(app, user, range(today - _DAYS + 1, today + 1))
    lately: dict[str, int] = {}
    for of_day in costs.values():
        for unit, amount in of_day.items():
            lately[unit] = lately.get(unit, 0) + amount
    return Known(
        person=await ledger.person(user),
        kept=int(kept),
        active=int(active),
        last=tuple(await ledger.jobs([request.jobs[0] for request in requests])),
        today=costs.get(today, {}),
        lately=lately,
        strikes=int(strikes or 0),
        cooling=max(0, int(cooling)),
    )


async def _costs(app: App, user: str, days: range) -> dict[int, Costs]:
    """What a person's pictures cost on each of these days."""
    async with app.redis.pipeline(transaction=False) as pipe:
        for number in days:
            pipe.hkeys(keys.SPENT(number))
        names = await pipe.execute()
    # The units of a day, of which there are few; the sums of its people are many.
    fields = {
        number: [f"{user} {name.removeprefix('all ')}" for name in found if name.startswith("all ")]
        for number, found in zip(days, names, strict=True)
    }
    asked = {number: units for number, units in fields.items() if units}
    async with app.redis.pipeline(transaction=False) as pipe:
        for number, units in asked.items():
            pipe.hmget(keys.SPENDER(number), units)
        answers = await pipe.execute()
    found = {}
    for (number, units), values in zip(asked.items(), answers, strict=True):
        found[number] = sums({unit: value or "0" for unit, value in zip(units, values, strict=True)})
    return {number: of_people[user] for number, of_people in found.items() if user in of_people}
