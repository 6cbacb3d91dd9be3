"""The audit of money finds what does not add up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from src.jobs import Ledger, State, credit, keys
from src.sandbox.telegram import Person, TelegramSandbox
from src.sandbox.telegram.till import Invoice
from tests.chaos.money import audit_money


class World:
    """A buyer, Telegram's accounts, and a ledger."""

    def __init__(self, redis: Any) -> None:
        self.telegram, self.redis, self.ledger = TelegramSandbox(), redis, Ledger(redis)
        self.person: Person = self.telegram.person()
        self.jobs: list[Any] = []

    async def pays(self, *, counted: bool = True) -> str:
        user = self.person.record.as_user()
        charge = self.telegram.bot.till.take(Invoice("Two pictures", "pack:50:2", 50), user)
        if counted:
            for _ in range(2):
                await self.ledger.run(
                    credit.paid(charge, str(self.person.id), stars=50, pictures=2, teller="1")
                )
        return charge

    async def wrong(self) -> list[str]:
        async def jobs_of(_: Person) -> list[Any]:
            return self.jobs

        system: Any = SimpleNamespace(telegram=self.telegram, redis=self.redis, jobs_of=jobs_of)
        return (await audit_money(system, [self.person]))[1]


async def test_what_is_counted_once_adds_up_and_what_is_not_is_named(redis_client: Any) -> None:
    world = World(redis_client)
    charge = await world.pays()
    assert await world.wrong() == []
    await world.redis.hincrby(keys.BALANCE(), str(world.person.id), 1)
    assert [words for words in await world.wrong() if "2 pictures paid for, 0 had, 3 left" in words]
    await world.redis.hincrby(keys.BALANCE(), str(world.person.id), -1)
    world.telegram.bot.till.give_back(charge, world.person.record.as_user())
    assert [words for words in await world.wrong() if "is refunded: True" in words]
    for _ in range(2):
        await world.ledger.run(credit.refunded(charge, str(world.person.id), stars=50, teller="2"))
    assert await world.wrong() == []
    await world.pays(counted=False)
    assert [words for words in await world.wrong() if "and not counted" in words]


@pytest.mark.parametrize(
    ("state", "kind", "paid", "right"),
    [
        (State.DELIVERED, "", True, True),
        (State.DELIVERED, "", False, False),
        (State.FAILED, "timeout", False, True),
        (State.FAILED, "timeout", True, False),
        (State.FAILED, "blocked", True, True),
        (State.CANCELLED, "", True, True),
        (State.CANCELLED, "", False, True),
    ],
)
async def test_who_keeps_a_credit(
    redis_client: Any, state: State, kind: str, paid: bool, right: bool
) -> None:
    world = World(redis_client)
    await world.pays()
    world.jobs = [SimpleNamespace(id="j", state=state, kind=kind, story="")]
    if paid:
        await world.redis.hset(keys.JOB("j"), "paid", "balance")
        await world.redis.hincrby(keys.BALANCE(), str(world.person.id), -1)
    assert (await world.wrong() == []) is right
