"""The message that will become the picture: sent once, and where another may have stayed, it says which counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramNetworkError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from src.jobs import Job, keys, transitions
from src.jobs.estimate import Estimate
from src.jobs.transitions import Transition
from src.sandbox.telegram import Message, Person
from src.telegram.client import Undeliverable
from src.telegram.throttle import Throttle, priority
from tests.bot.bot_world import World, image
from tests.limits.busy import busy

SOON = Estimate(None, 20, 40)


async def _unplaced(world: World, anna: Person, count: int = 1) -> tuple[list[Job], Message]:
    """What a person has asked for, where the ledger knows nothing of its placeholder; and its first message."""
    jobs, first = await world.asked(anna, count)
    key = keys.REQUEST(jobs[0].request)
    await world.app.redis.hdel(key, "messages", "status_message", "sendings")
    return jobs, first


async def test_a_picture_without_placeholder_brings_its_own(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.faults.add("500", "sendMessage")
    await anna.send_text("a red fox")
    await world.settled()
    [job] = await world.active(anna.id)
    assert [m for m in anna.messages if m.from_bot] == []
    await world.finished(job, image())
    [shown] = [m for m in anna.messages if m.from_bot]
    assert shown.has_photo


async def test_none_is_sent_where_there_is_one_or_the_end_is_said(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    before = replace(await world.request_of(job), messages=())
    await world.messages.placeholders.place(before, [job], [SOON])
    await world.failed(job, "timeout")
    await world.app.redis.hdel(keys.REQUEST(job.request), "messages")
    await world.messages.placeholders.place(before, [job], [SOON])
    assert [m.message_id for m in anna.messages if m.from_bot] == [placeholder.message_id]
    assert not (await world.request_of(job)).may_have_stray


class _Died(BaseException):
    """What a process leaves undone that is killed there."""


def _away(world: World, monkeypatch: pytest.MonkeyPatch, error: RedisError, *, stays: bool) -> None:
    """Let the ledger be told nothing of what is sent the first time; where it stays away nobody has turns, either."""
    ledger, left = world.app.ledger, [error]
    original = ledger.run

    async def run(transition: Transition[Any]) -> Any:
        if transition.script in ("placed", "strays") and left:
            raise left.pop()
        return await original(transition)

    async def take(*_: object) -> None:
        if stays and not left:
            raise error

    monkeypatch.setattr(ledger, "run", run)
    monkeypatch.setattr(Throttle, "_take", take)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("stays_away", [False, True])
async def test_what_the_ledger_could_not_be_told_of_is_told_later_or_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, stays_away: bool, count: int
) -> None:
    anna = world.sandbox.person()
    jobs, _ = await _unplaced(world, anna, count)
    before, request = len(anna.messages), await world.request_of(jobs[0])
    error = ResponseError("a wrong kind of value") if stays_away else RedisConnectionError("away")
    _away(world, monkeypatch, error, stays=stays_away)
    placing = world.messages.placeholders.place(request, jobs, [SOON] * count)
    if stays_away:
        with pytest.raises(RedisError):
            await placing
    else:
        await placing
    sent = tuple(message.message_id for message in anna.messages[before:])
    kept = await world.request_of(jobs[0])
    assert (*kept.messages, *([kept.status_message] if kept.status_message else [])) == sent
    assert bool(sent) is not stays_away


@pytest.mark.parametrize("what", ["place", "replace"])
async def test_what_telegram_has_taken_is_noted_though_its_process_is_told_to_end(
    world: World, what: str
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    placeholders, key = world.messages.placeholders, keys.REQUEST(job.request)
    await world.app.redis.hdel(key, "sendings", *(["messages"] if what == "place" else []))
    request = await world.request_of(job)
    world.sandbox.faults.add("slow", "sendMessage", seconds=0.3)
    sending: asyncio.Task[Any] = asyncio.create_task(
        placeholders.place(request, [job], [SOON]) if what == "place" else placeholders.replace(job, request)
    )
    async with asyncio.timeout(40):
        while await world.app.redis.hget(key, "sendings") != "1":
            await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await placeholders.finish(40)
    [shown] = [m for m in anna.messages if m.from_bot and m.message_id != placeholder.message_id]
    assert (await world.request_of(job)).messages == (shown.message_id,)


async def test_what_waits_for_its_turn_is_not_sent_once_its_process_is_told_to_end(world: World) -> None:
    anna = world.sandbox.person()
    [job], _ = await _unplaced(world, anna)
    request, before = await world.request_of(job), world.sandbox.audit.by_method["sendMessage"]
    await busy(world.app.redis, 20)
    with priority("answer", patience=60):
        sending = asyncio.create_task(world.messages.placeholders.place(request, [job], [SOON]))
    await asyncio.sleep(0)
    await world.messages.placeholders.finish(40)
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert world.sandbox.audit.by_method["sendMessage"] == before
    assert (await world.request_of(job)).sendings == 0


async def test_the_tiles_of_an_album_whose_process_died_before_its_words_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    [job, other], _ = await _unplaced(world, anna, 2)
    before, request = len(anna.messages), await world.request_of(job)

    async def dies(*_: object) -> None:
        raise _Died

    monkeypatch.setattr(world.messages.placeholders, "_send_under_album", dies)
    sending = asyncio.create_task(world.messages.placeholders.place(request, [job, other], [SOON] * 2))
    await asyncio.wait({sending})
    tiles = anna.messages[before:]
    kept = await world.request_of(job)
    assert kept.strays == tuple(tile.message_id for tile in tiles)
    assert await world.app.redis.zscore(keys.DUE(), f"r:{kept.id}") is not None
    await world.messages.placeholders.take_back_strays(kept)
    assert all(tile.deleted for tile in tiles)
    assert not (await world.request_of(job)).strays


@pytest.mark.parametrize(("fault", "says_so"), [("timeout_after_commit", True), ("403", False)])
async def test_where_a_placeholder_may_be_lost_the_other_says_that_it_counts(
    world: World, fault: str, says_so: bool
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await _unplaced(world, anna)
    world.sandbox.faults.add(fault, "sendMessage", seconds=0.0)
    with pytest.raises((TelegramNetworkError, Undeliverable)):
        await world.messages.placeholders.place(await world.request_of(job), [job], [SOON])
    await world.messages.placeholders.place(await world.request_of(job), [job], [SOON])
    shown = anna.messages[-1]
    counts = "this one counts"
    assert (counts in shown.text) is says_so
    await world.messages.progress(await world.request_of(job), [job], [Estimate(None, 100, 300)])
    assert "Ready in about 1" in shown.text
    assert (counts in shown.text) is says_so
    await world.finished(job, image())
    assert shown.has_photo
    assert (counts in shown.text) is says_so
    assert counts not in placeholder.text


async def test_an_album_waits_for_its_words_where_telegram_says_so(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.faults.add("429", "sendMessage", retry_after=1)
    [job, _], _ = await world.asked(anna, 2)
    request = await world.request_of(job)
    *tiles, status = anna.messages[1:]
    assert request.messages == tuple(tile.message_id for tile in tiles)
    assert request.status_message == status.message_id
    assert (world.sandbox.audit.by_method["sendMediaGroup"], request.may_have_stray) == (1, False)


@pytest.mark.parametrize("taken_back", [True, False])
async def test_an_album_without_its_words_is_taken_back_or_said_not_to_count(
    world: World, taken_back: bool
) -> None:
    anna = world.sandbox.person()
    [job, other], _ = await _unplaced(world, anna, 2)
    first = len(anna.messages)
    world.sandbox.faults.add("400", "sendMessage")
    if not taken_back:
        world.sandbox.faults.add("500", "deleteMessages")
    with pytest.raises(TelegramBadRequest):
        await world.messages.placeholders.place(await world.request_of(job), [job, other], [SOON] * 2)
    assert len(anna.messages) - first == (0 if taken_back else 2)
    await world.messages.placeholders.place(await world.request_of(job), [job, other], [SOON] * 2)
    assert ("this one counts" in anna.messages[-1].text) is not taken_back


async def test_a_tap_takes_nothing_away_of_an_album_that_is_being_sent(world: World) -> None:
    anna = world.sandbox.person()
    [job, _], _ = await world.asked(anna, 2)
    sent = await world.request_of(job)
    assert sent.status_message is not None
    await world.app.redis.hdel(keys.REQUEST(sent.id), "messages", "status_message")
    later: list[Any] = []
    await world.messages.placeholders.found(await world.request_of(job), sent.status_message, later.append)
    assert later == []
    assert (await world.request_of(job)).strays == (sent.status_message,)
    placed = transitions.placed(sent.id, sent.messages, sent.status_message)
    assert (await world.app.ledger.run(placed)).ours
    assert (await world.request_of(job)).strays == ()
    assert not any(message.deleted for message in anna.messages)


async def test_a_lost_placeholder_counts_no_more_once_and_nothing_is_kept_of_a_request_that_is_gone(
    world: World,
) -> None:
    [job], _ = await world.asked(world.sandbox.person())
    ledger, key = world.app.ledger, keys.REQUEST(job.request)
    await ledger.sent(job.request, 1)
    for _ in range(2):
        await ledger.run(transitions.strays(job.request, [7, 8], 60, whole=True))
        await ledger.run(transitions.strays_gone(job.request, [7, 8]))
        assert (await world.request_of(job)).sendings == 1
    await world.app.redis.delete(key)
    await ledger.sent(job.request)
    assert not await ledger.run(transitions.moved(job.request, 0, 9))
    assert not await world.app.redis.exists(key)


@pytest.mark.parametrize("instead", [False, True])
async def test_of_a_group_that_moves_meanwhile_only_what_is_in_the_new_one_counts(
    world: World, instead: bool
) -> None:
    anna = world.sandbox.person()
    group = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text("/imagine a fox", chat=group)
    await anna.reply_after(asked, chat=group)
    [job] = await world.active(anna.id)
    request = await world.request_of(job)
    async with world.away():
        moved = world.sandbox.migrate(group)
        if instead:
            await world.messages.placeholders.replace(job, request)
        else:
            await world.app.redis.hdel(keys.REQUEST(request.id), "messages", "sendings")
            await world.messages.placeholders.place(replace(request, messages=(), sendings=0), [job], [SOON])
        now = await world.request_of(job)
        assert (now.chat, len(now.messages), now.sendings) == (moved.id, 1, 1)
