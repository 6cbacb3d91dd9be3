"""The message that will become the picture: sent once, and where another may have stayed, it says which counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramNetworkError

from src.jobs import keys
from src.jobs.estimate import Estimate
from src.telegram.client import Undeliverable
from tests.bot.bot_world import World, image

SOON = Estimate(None, 20, 40)


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


async def test_of_two_placeholders_the_later_is_taken_back(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    request = await world.request_of(job)
    await world.messages.placeholders.place(replace(request, messages=()), [job], [SOON])
    assert [m.message_id for m in anna.messages if m.from_bot] == [placeholder.message_id]


@pytest.mark.parametrize(("fault", "says_so"), [("timeout_after_commit", True), ("403", False)])
async def test_where_a_placeholder_may_be_lost_the_other_says_that_it_counts(
    world: World, fault: str, says_so: bool
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await world.app.redis.hdel(keys.REQUEST(job.request), "messages", "sendings")
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
    async with asyncio.timeout(40):
        while not (request := await world.request_of(job)).messages:
            await asyncio.sleep(0.01)
    *tiles, status = anna.messages[1:]
    assert request.messages == tuple(tile.message_id for tile in tiles)
    assert request.status_message == status.message_id
    assert (world.sandbox.audit.by_method["sendMediaGroup"], request.may_have_stray) == (1, False)


@pytest.mark.parametrize("taken_back", [True, False])
async def test_an_album_without_its_words_is_taken_back_or_said_not_to_count(
    world: World, taken_back: bool
) -> None:
    anna = world.sandbox.person()
    [job, other], _ = await world.asked(anna, 2)
    await world.app.redis.hdel(keys.REQUEST(job.request), "messages", "status_message", "sendings")
    first = len(anna.messages)
    world.sandbox.faults.add("400", "sendMessage")
    if not taken_back:
        world.sandbox.faults.add("500", "deleteMessages")
    with pytest.raises(TelegramBadRequest):
        await world.messages.placeholders.place(await world.request_of(job), [job, other], [SOON] * 2)
    assert len(anna.messages) - first == (0 if taken_back else 2)
    await world.messages.placeholders.place(await world.request_of(job), [job, other], [SOON] * 2)
    assert ("this one counts" in anna.messages[-1].text) is not taken_back
