"""What is shown for a request, and that it stays one picture whatever happens in between."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from aiogram.exceptions import TelegramNetworkError, TelegramRetryAfter

from src.jobs import State, keys
from src.jobs.estimate import Estimate
from src.providers.base import ImageBytes
from src.telegram.client import Undeliverable
from tests.bot.bot_world import World, image, png

SOON = Estimate(None, 20, 40)


async def test_an_album_fills_and_says_how_it_ended(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 4)
    await anna.wait_until(lambda messages: len(messages) == 6)
    *tiles, status = anna.messages[1:]
    assert len(tiles) == 4
    assert len({t.content["media_group_id"] for t in tiles}) == 1
    colours = ["red", "green", "blue", "yellow"]
    for job, colour in reversed(list(zip(jobs, colours, strict=True))):
        await world.finished(job, image(colour=colour))
    assert [t.sha256 for t in tiles] == [hashlib.sha256(png(colour=c)).hexdigest() for c in colours]
    assert "All 4 pictures are ready.\n🎨 and a number: a variation of that picture." in status.text
    # The words stand in the message that it answers.
    assert "a red fox" not in status.text
    labels = [b["text"] for b in status.buttons]
    assert labels == ["🎨 1", "🎨 2", "🎨 3", "🎨 4", "🔁 Again", "📎 As files"]
    assert len(anna.messages) == 6

    await (await anna.tap(status, "As files")).answered()
    await anna.wait_until(lambda messages: sum("document" in m.content for m in messages) == 4)
    await (await anna.tap(status, "🎨 2")).answered()
    await world.settled()
    [job] = await world.active(anna.id)
    assert job.spec.source == tiles[1].media["file_id"]


async def test_an_album_in_which_some_fail(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    jobs, _ = await world.asked(boris, 3)
    *tiles, status = boris.messages[1:]
    waiting = tiles[0].sha256
    await world.finished(jobs[0], image())
    await world.failed(jobs[1], "moderated_output")
    await (await boris.tap(status, "Отменить")).answered()
    await world.settled()
    await world.told(jobs[2])
    assert tiles[1].sha256 == tiles[2].sha256 != waiting
    assert "Готово 1 из 3" in status.text
    assert "скрыто фильтром" in status.text
    assert [b["text"] for b in status.buttons] == ["🎨 1", "🔁 Ещё раз", "📎 Файлами"]


async def test_a_cancelled_album(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    status = anna.messages[-1]
    await (await anna.tap(status, "Cancel")).answered()
    await world.settled()
    for job in jobs:
        await world.told(job)
    assert "Cancelled" in status.text
    assert [b["text"] for b in status.buttons] == ["🔁 Again", "✏️ Edit prompt"]


async def test_delivering_twice_shows_one_picture(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    request = await world.request_of(job)
    once = await world.messages.picture(job, request, image())
    # The process died before the ledger knew; Telegram's answer may have been lost too.
    world.sandbox.faults.add("timeout_after_commit", "editMessageMedia")
    with pytest.raises(TelegramNetworkError):
        await world.messages.picture(job, request, image())
    twice = await world.messages.picture(job, request, image())
    assert once["message"] == twice["message"] == placeholder.message_id
    assert placeholder.pictures == [hashlib.sha256(png()).hexdigest()]
    assert len(anna.messages) == 2


async def test_a_placeholder_that_was_deleted_is_replaced_once(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await anna.delete(placeholder)
    request = await world.request_of(job)
    world.sandbox.faults.add("reset", "editMessageMedia")
    with pytest.raises(TelegramNetworkError):
        await world.messages.picture(job, request, image())
    world.sandbox.faults.add("timeout_after_commit", "editMessageMedia", times=2)
    for _ in range(2):
        with pytest.raises(TelegramNetworkError):
            await world.messages.picture(job, request, image())
    shown = await world.shown(await world.made(job), image())
    pictures = [m for m in anna.messages if m.from_bot]
    assert [m.message_id for m in pictures] == [shown["message"]]
    assert pictures[0].has_photo


async def test_a_file_in_place_of_a_deleted_placeholder_is_the_only_message(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await anna.delete(placeholder)
    # Refused as a photo, so the new message is edited twice.
    shown = await world.finished(job, ImageBytes(png()[:60], "image/png", 64, 48))
    [message] = [m for m in anna.messages if m.from_bot]
    assert message.message_id == shown["message"]
    assert "document" in message.content


async def test_a_refusal_for_a_deleted_placeholder_is_told_but_a_cancel_is_not(world: World) -> None:
    anna = world.sandbox.person()
    [refused], first = await world.asked(anna)
    await anna.delete(first)
    await world.failed(refused, "moderated_input")
    assert "safety filter" in anna.messages[-1].text
    [cancelled], second = await world.asked(anna)
    tap = await anna.tap(second, "Cancel")
    await tap.answered()
    await anna.delete(second)
    before = len(anna.messages)
    await world.told(cancelled)
    assert len(anna.messages) == before


@pytest.mark.parametrize("step", ["picture", "notice", "place", "ping", "progress"])
async def test_a_person_who_blocked_the_bot_cannot_be_reached(world: World, step: str) -> None:
    anna = world.sandbox.person()
    [job], _ = await world.asked(anna)
    request = await world.request_of(job)
    unplaced = replace(request, messages=())
    anna.chat.blocked = True
    if step == "place":
        await world.app.redis.hdel(keys.REQUEST(job.request), "messages")
    steps = {
        "picture": lambda: world.messages.picture(job, request, image()),
        "notice": lambda: world.messages.notice(job, request),
        "ping": lambda: world.messages.ping(job, request),
        "progress": lambda: world.messages.progress(request, [job], [Estimate(None, 100, 300)]),
        "place": lambda: world.messages.placeholders.place(unplaced, [job], [SOON]),
    }
    with pytest.raises(Undeliverable) as caught:
        await steps[step]()
    assert caught.value.kind == "blocked"


async def test_flood_control_and_outages_are_the_callers_matter(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    request = await world.request_of(job)
    world.sandbox.faults.add("429", "editMessageMedia", retry_after=7)
    with pytest.raises(TelegramRetryAfter) as caught:
        await world.messages.picture(job, request, image())
    assert caught.value.retry_after == 7
    world.sandbox.faults.add("bare_429", "editMessageMedia")
    with pytest.raises(TelegramRetryAfter):
        await world.messages.picture(job, request, image())
    assert not placeholder.has_photo


async def test_a_picture_nobody_heard_of_is_found(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    request = await world.request_of(job)
    assert await world.messages.shown_already(job, request) is None
    world.sandbox.faults.add("timeout_after_commit", "editMessageMedia", seconds=0.0)
    with pytest.raises(TelegramNetworkError):
        await world.messages.picture(job, request, image())
    covered = replace(job, result={"url": "https://pictures.example/1", "borderline": True})
    shown = await world.messages.shown_already(covered, request)
    assert shown is not None
    assert (shown["message"], shown["url"], shown["borderline"]) == (
        placeholder.message_id,
        "https://pictures.example/1",
        True,
    )
    assert placeholder.media is not None
    assert shown["file_id"] == placeholder.media["file_id"]
    assert placeholder.button("Variation")


async def test_progress_changes_only_what_it_says_and_no_more_than_that(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    for estimate, changes in [
        (Estimate(11, 20, 40), True),
        (Estimate(12, 20, 40), False),
        (Estimate(11, 21, 41), False),
        (Estimate(3, 20, 40), True),
        (Estimate(None, 20, 40), True),
        (Estimate(None, 1.0, 2.0), True),
    ]:
        request = await world.request_of(job)
        waiting = replace(job, state=State.WAITING if estimate.place is not None else State.RUNNING)
        assert await world.messages.progress(request, [waiting], [estimate]) is changes
    assert "longer than usual" in placeholder.text
    assert placeholder.buttons


async def test_progress_that_crosses_the_end_does_not_hide_it(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    request = await world.request_of(job)
    await world.failed(job, "timeout")
    assert "took too long" in placeholder.text
    # The progress loop had read the job before it failed.
    await world.messages.progress(request, [job], [Estimate(None, 60, 100)])
    assert "took too long" in placeholder.text
    [second], shown = await world.asked(anna)
    before = await world.request_of(second)
    await world.finished(second, image())
    assert not await world.messages.progress(before, [second], [Estimate(None, 60, 100)])
    assert shown.has_photo


async def test_progress_of_an_album_that_crosses_the_end(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    status = anna.messages[-1]
    request = await world.request_of(jobs[0])
    for job in jobs:
        await world.finished(job, image())
    await world.messages.progress(request, jobs, [Estimate(None, 60, 100)] * 2)
    assert "Both pictures are ready" in status.text


async def test_ping_answers_the_picture(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await world.finished(job, image())
    request = await world.request_of(job)
    await world.messages.ping(job, request)
    assert anna.messages[-1].reply_to == placeholder.message_id
    assert "ready" in anna.messages[-1].text
    assert "effect_id" in anna.messages[-1].content
    # An effect that is not to be had costs nobody the message.
    world.sandbox.faults.add("400", "sendMessage", description="Bad Request: EFFECT_ID_INVALID")
    await world.messages.ping(job, request)
    assert "effect_id" not in anna.messages[-1].content
    assert sum("ready" in m.text for m in anna.messages) == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("moderated_input", "отклонён фильтром"),
        ("moderated_output", "скрыто фильтром"),
        ("invalid_request", "не принял"),
        ("auth", "на нашей стороне"),
        ("quota", "на нашей стороне"),
        ("overloaded", "перегружен"),
        ("timeout", "Слишком долго"),
        ("submit_unknown", "не получилось"),
        ("anything new", "не получилось"),
    ],
)
async def test_failures_are_said_in_the_persons_language(world: World, kind: str, said: str) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    [job], placeholder = await world.asked(boris)
    await world.failed(job, kind)
    assert said in placeholder.text
    assert kind not in placeholder.text
