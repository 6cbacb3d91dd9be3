"""Showing a picture whose placeholder the bot could not send: whose turn at Telegram it takes, and what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from src.jobs import Job, State, transitions
from src.jobs.estimate import Estimate
from src.limits import Gate, Limiter, Refusal, telegram_gates, ticket_of
from src.pipeline import deliver
from src.pipeline.leases import Work
from src.sandbox.telegram import Message, Person
from src.telegram.client import make_bot
from src.telegram.i18n import get_texts
from src.telegram.messages import Delivery
from src.telegram.throttle import lane
from tests.bot.bot_world import OpenGates, World, image


class Crowded(Limiter):
    """Whoever has passed a chat's gate finds a hundred turns behind it reserved by others."""

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, ticket: str = "") -> Refusal | None:
        refusal = await super().take(gates, wait=wait, ticket=ticket)
        for number in range(100):
            await super().take(gates[-1:], ticket=f"other:{number}")
        return refusal


@pytest.fixture
async def worker(world: World) -> AsyncIterator[Callable[[Any], Work]]:
    """Makes what a worker process shares, with the limiter that is given."""
    bots = []

    def make(limiter: Any) -> Work:
        bots.append(bot := make_bot(world.settings, limiter, patience=0))
        return Work(world.app, bot, Delivery(bot, world.app.ledger, get_texts(), world.settings))

    yield make
    for bot in bots:
        # As in the `world`: aiogram's own `close` sleeps.
        if bot.session._session is not None:
            await bot.session._session.close()


async def _asked(world: World, person: Person, count: int = 1) -> list[Job]:
    """A person asks for pictures while Telegram takes no message of the bot."""
    await world.app.ledger.choose(str(person.id), count=count)
    world.sandbox.faults.add("429", "sendMessage" if count == 1 else "sendMediaGroup", retry_after=30)
    await person.send_text("a red fox")
    jobs = await world.active(person.id)
    assert len(jobs) == count
    assert _shown(person) == []
    return jobs


async def _made_album(world: World, person: Person) -> tuple[list[Job], list[Gate], list[str]]:
    """Two pictures that are made and have no placeholder, their chat's gates, and their deliveries' tickets."""
    jobs = await _asked(world, person, 2)
    for job in jobs:
        await world.made(job, image().data)
    return jobs, telegram_gates(world.settings, person.id), [ticket_of("deliver", job.id) for job in jobs]


async def _show(work: Work, job: Job) -> Job:
    """The step `deliver` of a worker: the job after it."""
    ledger = work.app.ledger
    claimed = await ledger.run(transitions.claim_to_show(job.id, holder="test", lease=30))
    assert claimed is not None
    await deliver.show(work, *claimed)
    found = await ledger.job(job.id)
    assert found is not None
    return found


def _shown(person: Person) -> list[Message]:
    return [message for message in person.messages if message.from_bot]


async def test_the_turn_that_is_paid_for_is_the_placeholders_and_the_picture_comes_with_its_own(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    [job] = await _asked(world, anna)
    await world.made(job, image().data)
    # Whoever has not paid for a turn in this chat is refused.
    await world.app.limiter.close(f"chat:{anna.id}", 600)
    work = worker(world.app.limiter)
    audit = world.sandbox.audit
    before = audit.by_method.copy()

    waits = await _show(work, job)
    [placeholder] = _shown(anna)
    assert not placeholder.has_photo
    assert (await world.request_of(job)).messages == (placeholder.message_id,)
    # It comes again at once, and this was no attempt at showing the picture.
    assert (waits.state, waits.holder, waits.deliveries) == (State.READY, "", 0)
    assert " placed@" in waits.story
    rows, _ = await world.app.ledger.run(transitions.due(10, lease=30, holder="test"))
    assert [(row.what, row.id) for row in rows] == [("deliver", job.id)]

    assert (await _show(work, job)).state is State.DELIVERED
    assert _shown(anna) == [placeholder]
    assert placeholder.has_photo
    calls = audit.by_method - before
    calls.pop("getUpdates", 0)
    assert calls == {"sendMessage": 1, "editMessageMedia": 1}


async def test_of_two_workers_placeholders_one_stays_and_counts(
    world: World, worker: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    [job] = await _asked(world, anna)
    request, ledger, both_go = await world.request_of(job), world.app.ledger, asyncio.Barrier(2)
    original = ledger.sending

    async def sending(request_id: str, count: int = 1) -> None:
        # When each has looked at the ledger, and neither has sent anything.
        if count > 0:
            async with asyncio.timeout(40):
                await both_go.wait()
        await original(request_id, count)

    monkeypatch.setattr(ledger, "sending", sending)
    before = world.sandbox.audit.by_method["sendMessage"]
    both = await asyncio.gather(*(worker(OpenGates()).delivery.placing.hold(job, request) for _ in range(2)))
    # Each has used its turn, so the picture needs another.
    assert [sent for _, sent in both] == [True, True]
    assert world.sandbox.audit.by_method["sendMessage"] == before + 2
    [placeholder] = _shown(anna)
    assert [request.messages for request, _ in both] == [(placeholder.message_id,)] * 2
    kept = await world.request_of(job)
    assert (kept.messages, kept.may_have_stray) == ((placeholder.message_id,), False)
    assert await worker(OpenGates()).delivery.placing.hold(job, request) == (kept, False)
    assert _shown(anna) == [placeholder]


async def test_a_placeholder_that_came_while_another_waited_for_its_turn_stays_the_only_one(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    await boris.reply_after(await boris.send_text("/start"))
    [job] = await _asked(world, anna)
    request, limiter, audit = await world.request_of(job), world.app.limiter, world.sandbox.audit
    before, busy = audit.by_method["sendMessage"], worker(limiter)
    for other in range(30):
        await limiter.take(telegram_gates(world.settings, None), ticket=f"other:{other}")
    with lane("answer", patience=30):
        first = asyncio.create_task(busy.bot.send_message(boris.id, "before it"))
        waiting = asyncio.create_task(busy.delivery.placing.place(request, [job], [Estimate(None, 20, 40)]))
    async with asyncio.timeout(40):
        while len(await world.app.redis.keys("*pass:answer:*")) < 2:
            await asyncio.sleep(0.01)
    assert (await worker(OpenGates()).delivery.placing.hold(job, request))[1]
    await asyncio.gather(first, waiting)
    assert (audit.by_method["sendMessage"], audit.by_method["deleteMessages"]) == (before + 2, 0)
    assert not (await world.request_of(job)).may_have_stray


async def test_an_album_is_placed_once_and_its_pictures_come_with_turns_of_their_own(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    jobs, gates, (_, ticket) = await _made_album(world, anna)
    limiter, work = world.app.limiter, worker(OpenGates())
    assert await limiter.take(gates, ticket=ticket) is None
    # Of those that wait the first sends it; the other has not used its turn.
    other = await _show(work, jobs[1])
    assert (other.state, other.deliveries) == (State.READY, 0)
    assert _shown(anna) == []
    # Woken by the placeholder, it goes at once.
    for n in range(60):
        await limiter.take(telegram_gates(world.settings, 1), ticket=f"somebody's:{n}")
    assert await limiter.take(gates, ticket=ticket) is None
    assert " placed@" in (await _show(work, jobs[0])).story
    *tiles, _ = _shown(anna)
    assert [tile.has_photo for tile in tiles] == [True, True]
    for job in jobs:
        assert (await _show(work, job)).state is State.DELIVERED
    *same, status = _shown(anna)
    assert same == tiles
    assert "All 2 pictures are ready" in status.text
    assert world.sandbox.audit.by_method["sendMediaGroup"] == 2


async def test_the_message_under_an_album_has_its_turn_with_the_tiles(
    world: World, worker: Callable[[Any], Work], redis_client: Any
) -> None:
    anna = world.sandbox.person()
    jobs = await _asked(world, anna, 2)
    work, request = worker(Crowded(redis_client)), await world.request_of(jobs[0])
    with lane("answer", patience=10):
        await work.delivery.placing.place(request, jobs, [Estimate(None, 20, 40)] * 2)
    assert [message.has_photo for message in _shown(anna)] == [True, True, False]
    assert (await world.request_of(jobs[0])).status_message == _shown(anna)[-1].message_id
    assert world.sandbox.audit.by_method["deleteMessages"] == 0


async def test_an_album_whose_tiles_have_no_turn_keeps_the_one_that_is_paid(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    jobs, gates, (first, second) = await _made_album(world, anna)
    limiter = world.app.limiter
    assert await limiter.take(gates, ticket=first) is None
    # Two seconds of Telegram's turns are other chats'.
    for other in range(1, 60):
        await limiter.take(telegram_gates(world.settings, other), ticket=f"other:{other}")
    work, before = worker(limiter), world.sandbox.audit.by_method["sendMediaGroup"]
    waits = await _show(work, jobs[0])
    assert (waits.state, waits.deliveries) == (State.READY, 0)
    assert " limited:telegram@" in waits.story
    assert world.sandbox.audit.by_method["sendMediaGroup"] == before
    # It is kept for when the album's comes, of which it is a part; another's in this chat is behind both.
    kept, behind = await limiter.take(gates, ticket=first), await limiter.take(gates, ticket=second)
    assert kept is not None
    assert behind is not None
    assert kept.gate == "turn"
    assert kept.seconds < behind.seconds
    assert await limiter.take(gates, ticket=first, wait=kept.seconds + 1) is None
    assert " placed@" in (await _show(work, jobs[0])).story
    assert [message.has_photo for message in _shown(anna)] == [True, True, False]


async def test_an_albums_last_words_have_a_turn_of_their_own_where_telegram_is_busy(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    (first, last), _, _ = await _made_album(world, anna)
    unlimited, limiter = worker(OpenGates()), world.app.limiter
    for _ in range(2):
        await _show(unlimited, first)
    # Three seconds of Telegram's turns are other chats'.
    for other in range(1, 86):
        await limiter.take(telegram_gates(world.settings, other), ticket=f"other:{other}")
    work = worker(limiter)
    assert (await _show(work, last)).state is State.DELIVERED
    *_, status = _shown(anna)
    assert "All 2 pictures are ready" not in status.text
    # It comes again a little before that turn, and not while it is far.
    turn = await limiter.take(
        telegram_gates(world.settings, anna.id), ticket=ticket_of("close", f"{last.request}:editMessageText")
    )
    assert turn is not None
    assert turn.gate == "turn"
    due, now = await world.app.redis.zscore("imagebot:due", f"r:{last.request}"), await world.app.ledger.now()
    assert turn.seconds - 2 < (due - now) / 1000 < turn.seconds
    async with asyncio.timeout(40):
        while "All 2 pictures are ready" not in status.text:
            rows, _ = await world.app.ledger.run(transitions.due(10, lease=30, holder="test"))
            for row in rows:
                assert (row.what, row.id) == ("close", last.request)
                await deliver.close(work, row.id)
            await asyncio.sleep(0.05)
    assert await world.app.redis.zscore("imagebot:due", f"r:{last.request}") is None
