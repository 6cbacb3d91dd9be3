"""`@bot a fox in snow` in any chat: what is offered, and the picture that is drawn into the message that was sent."""

from __future__ import annotations

import hashlib
import json

import pytest
from aiogram.exceptions import TelegramNetworkError

from src.jobs import State, keys, transitions
from src.jobs.estimate import Estimate
from src.ops import job_reports
from src.pipeline import deliver
from src.pipeline.leases import Work
from src.providers.base import ImageBytes
from src.sandbox.telegram import Message, Person
from src.telegram.client import Undeliverable
from tests.bot.bot_world import World, image, png

STORAGE = 5_000_001


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"inline_storage_chat": str(STORAGE)}


async def sent(world: World, person: Person, words: str, *, feedback: bool = True) -> Message:
    """A person types words and sends what is offered first."""
    if STORAGE not in world.sandbox.people:
        await world.sandbox.person("Store", id=STORAGE).send_text("/start")
    world.sandbox.bot.inline.feedback = feedback
    query = await person.ask_inline(words)
    assert query.answer is not None
    message = await person.send_inline(query, query.answer.results[0])
    await world.settled()
    return message


async def drawn(world: World, person: Person, words: str = "a fox in snow") -> Message:
    message = await sent(world, person, words)
    [job] = await world.active(person.id)
    await world.finished(job, image())
    return message


@pytest.mark.parametrize(
    ("language", "make", "waits", "again"),
    [("en", "Draw: a fox", "Cancel", "Draw more"), ("ru", "Нарисовать: a fox", "Отменить", "ещё такое")],
)
async def test_a_picture_is_drawn_into_what_was_sent(
    world: World, language: str, make: str, waits: str, again: str
) -> None:
    anna = world.sandbox.person("Anna", language_code=language)
    message = await sent(world, anna, "a fox in snow --n 3 --ar 16:9")
    query = await anna.ask_inline("a fox")
    assert query.answer is not None
    assert query.answer.result(make).id == "make"
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.aspect, job.spec.count) == ("a fox in snow", "16:9", 1)
    assert message.button(waits)
    request = await world.request_of(job)
    assert request.inline == message.inline_id
    await world.finished(job, image())
    assert message.pictures == [hashlib.sha256(png()).hexdigest()]
    assert "a fox in snow" in message.text
    assert message.button(again)["switch_inline_query_current_chat"] == "a fox in snow"
    # It went by the storage chat, and nobody else's.
    assert [
        m.chat.id for c in world.sandbox.bot.chats.values() for m in c.messages.values() if m.has_photo
    ] == [STORAGE]
    # It is theirs now, in any chat and in their own history.
    shown = await anna.send_text("/history")
    assert (await anna.reply_after(shown)).has_photo


@pytest.mark.parametrize(
    ("language", "sure", "stays"),
    [
        ("en", "Yes, delete all", "I know of 1 that stays"),
        ("ru", "Да, удалить всё", "осталась 1 копия"),
    ],
)
async def test_what_is_deleted_leaves_the_storage_too(
    world: World, language: str, sure: str, stays: str
) -> None:
    anna = world.sandbox.person("Anna", language_code=language)
    for words in ("one", "two", "three"):
        message = await drawn(world, anna, words)

    def stored() -> list[int]:
        kept = world.sandbox.bot.chats[STORAGE].messages.values()
        return [m.message_id for m in kept if m.has_photo and not m.deleted]

    copies = stored()
    *_, old = await world.app.ledger.pictures(str(anna.id))
    gallery = await anna.reply_after(await anna.send_text("/history"))
    await (await anna.tap(gallery, "🗑")).answered()
    await (await anna.tap(gallery, {"en": "Yes, delete", "ru": "Да, удалить"}[language])).answered()
    assert stored() == copies[:2]
    # Bots delete messages of two days at most.
    await world.app.redis.hset(keys.JOB(old.id), "created", old.created - 50 * 3_600_000)
    asked = await anna.reply_after(await anna.send_text("/delete_me"))
    await (await anna.tap(asked, sure)).answered()
    assert stored() == copies[:1]
    await anna.wait_for(lambda m: m is asked and stays in m.text)
    # What was sent elsewhere is the person's to delete.
    assert message.has_photo


@pytest.mark.parametrize(
    ("language", "sure", "none", "one"),
    [
        ("en", "Yes, delete all", "I know of none", "I know of 1 that stays"),
        ("ru", "Да, удалить всё", "я не знаю", "осталась 1 копия"),
    ],
)
async def test_of_copies_only_what_is_known_is_said(
    world: World, language: str, sure: str, none: str, one: str
) -> None:
    anna = world.sandbox.person("Anna", language_code=language)
    storage = world.app.settings.inline_storage_chat
    for other, said in ((None, none), (-1007, one)):
        await drawn(world, anna)
        [job] = await world.app.ledger.pictures(str(anna.id))
        shown = dict(job.shown or {})
        chat, number = shown.pop("copy")
        assert chat == storage
        # A version before noted none; and the owner may have had another chat for them then.
        shown |= {"copy": [other, number]} if other else {}
        await world.app.redis.hset(keys.JOB(job.id), "shown", json.dumps(shown))
        asked = await anna.reply_after(await anna.send_text("/delete_me"))
        await (await anna.tap(asked, sure)).answered()
        await anna.wait_for(lambda m, asked=asked, said=said: m is asked and said in m.text)
    kept = world.sandbox.bot.chats[STORAGE].messages.values()
    assert [m.deleted for m in kept if m.has_photo] == [False, False], "the number is of another chat"


async def test_a_copy_in_a_storage_of_before_is_deleted_there(world: World) -> None:
    anna = world.sandbox.person("Anna")
    before = world.sandbox.group("Of before", [], type="channel")
    await drawn(world, anna)
    [job] = await world.app.ledger.pictures(str(anna.id))
    copy = await world.bot.send_photo(before.id, str((job.shown or {})["file_id"]))
    shown = {**(job.shown or {}), "copy": [before.id, copy.message_id]}
    await world.app.redis.hset(keys.JOB(job.id), "shown", json.dumps(shown))
    await (
        await anna.tap(await anna.reply_after(await anna.send_text("/delete_me")), "Yes, delete all")
    ).answered()
    await world.settled()
    assert before.messages[copy.message_id].deleted


async def test_own_pictures_are_there_at_once_matching_first(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    for words in ("a red fox", "a bear", "the fox of fire"):
        await world.app.ledger.choose(str(anna.id), count=1)
        await anna.reply_after(await anna.send_text(words))
        [job] = await world.active(anna.id)
        await world.finished(job, image())
    query = await anna.ask_inline("fox")
    assert query.answer is not None
    offered = [result.given["title"] for result in query.answer.results]
    assert offered == ["🎨 Draw: fox", "the fox of fire", "a red fox", "a bear"]
    assert query.answer.personal
    assert "photo" in query.answer.results[1].content
    mine = await anna.ask_inline("")
    assert mine.answer is not None
    assert [r.given["title"] for r in mine.answer.results] == ["the fox of fire", "a bear", "a red fox"]
    # What not everybody may want to see cannot be covered there.
    raw = json.loads(await world.app.redis.hget(keys.JOB(job.id), "shown"))
    await world.app.redis.hset(keys.JOB(job.id), "shown", json.dumps({**raw, "borderline": True}))
    fewer = await anna.ask_inline("snow")
    assert fewer.answer is not None
    assert [r.given["title"] for r in fewer.answer.results][1:] == ["a bear", "a red fox"]
    theirs = await boris.ask_inline("")
    assert theirs.answer is not None
    assert (theirs.answer.results, theirs.answer.button["text"]) == ([], "✍️ Write what I shall draw")
    # What is sent of them in our own chat is not an order.
    await anna.send_inline(query, query.answer.results[1], chat=anna.chat)
    assert await world.active(anna.id) == []


async def test_pages_and_pictures_that_telegram_forgot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.bot.handlers.inline._PAGE", 2)
    anna = world.sandbox.person("Anna")
    for words in ("one", "two", "three"):
        await drawn(world, anna, words)
    first = await anna.ask_inline("")
    assert first.answer is not None
    assert [r.given["title"] for r in first.answer.results] == ["three", "two"]
    second = await anna.ask_inline("", offset=first.answer.next_offset)
    assert second.answer is not None
    assert ([r.given["title"] for r in second.answer.results], second.answer.next_offset) == (["one"], "")
    world.sandbox.bot.files.clear()
    left = await anna.ask_inline("four")
    assert left.answer is not None
    assert [r.given["title"] for r in left.answer.results] == ["🎨 Draw: four"]


async def test_where_telegram_does_not_tell_the_button_orders_it_once(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    message = await sent(world, anna, "a fox", feedback=False)
    assert await world.active(anna.id) == []
    assert "tap “Make it”" in message.text
    assert "someone else" in (await (await eve.tap(message, "Make it")).answered())["text"]
    stale = message.button("Make it")["callback_data"]
    assert "Drawing" in (await (await anna.tap(message, "Make it")).answered())["text"]
    [job] = await world.active(anna.id)
    await (await anna.tap_data(message, stale)).answered()
    assert [j.id for j in await world.active(anna.id)] == [job.id]
    await world.finished(job, image())
    await (await anna.tap_data(message, stale)).answered()
    assert await world.active(anna.id) == []
    assert message.has_photo
    assert message.button("Draw more")
    assert set(await world.app.redis.hgetall(keys.FEEDBACK())) == {"tapped"}


async def test_feedback_and_the_button_order_one(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox", feedback=False)
    stale = message.button("Make it")["callback_data"]
    chosen = {"result_id": "make", "from": anna.record.as_user(), "query": "a fox"}
    world.sandbox.inject("chosen_inline_result", {**chosen, "inline_message_id": message.inline_id})
    await (await anna.tap_data(message, stale)).answered()
    assert len(await world.active(anna.id)) == 1


async def test_it_is_admitted_as_any_other(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    for _ in range(world.settings.rate_limit):
        await world.app.redis.zadd(keys.WINDOW(boris.id), {f"r{_}": await world.app.ledger.now()})
    message = await sent(world, boris, "лиса")
    assert "Слишком много" in message.text
    assert "лиса" in message.text
    answer = await (await boris.tap(message, "Сделать")).answered()
    assert "Слишком много" in answer["text"]
    await world.app.redis.delete(keys.WINDOW(boris.id))
    await (await boris.tap(message, "Сделать")).answered()
    assert len(await world.active(boris.id)) == 1
    anna = world.sandbox.person("Anna")
    await world.app.ledger.choose(str(anna.id), blocked=1)
    assert "can’t order" in (await sent(world, anna, "fox")).text


async def test_cancel_and_failures_are_said_there(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    message = await sent(world, anna, "a fox")
    assert "someone else" in (await (await eve.tap(message, "Cancel")).answered())["text"]
    await (await anna.tap(message, "Cancel")).answered()
    await world.settled()
    [request] = await world.app.ledger.history(str(anna.id), 1)
    [cancelled] = await world.app.ledger.jobs((await world.app.ledger.request(request)).jobs)
    await world.told(cancelled)
    assert "Cancelled" in message.text
    refused = await sent(world, anna, "a bear")
    [job] = await world.active(anna.id)
    await world.failed(job, "moderated_input")
    assert "safety filter" in refused.text
    assert refused.button("Draw more")["switch_inline_query_current_chat"] == "a bear"
    removed = await sent(world, anna, "a wolf")
    await anna.delete(removed)
    [job] = await world.active(anna.id)
    await world.failed(job, "upstream")


async def test_what_an_admin_retries_comes_into_the_same_message(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox in snow")
    [job] = await world.active(anna.id)
    await world.failed(job, "timeout")
    assert (await job_reports.retry(world.app, job)).accepted
    [again] = await world.active(anna.id)
    await world.finished(again, image())
    assert len(message.pictures) == 1
    assert anna.messages == []
    # Where a copy of it is, and what is known of that, when they want all forgotten.
    assert await world.app.redis.exists(keys.STORED(again.id))
    asked = await anna.reply_after(await anna.send_text("/delete_me"))
    await (await anna.tap(asked, "Yes, delete all")).answered()
    await world.settled()
    assert ("Receipt" in asked.text, "I know of none" in asked.text) == (True, True)
    assert not await world.app.redis.exists(keys.STORED(again.id))
    told = await anna.reply_after(await anna.send_text("/privacy"))
    assert "a chat of the owner’s" in told.text


async def test_delivering_twice_shows_one_picture_and_stores_one(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    running = await world.made(job)
    request = await world.request_of(job)
    for fault in ("reset", "timeout_after_commit"):
        world.sandbox.faults.add(fault, "editMessageMedia")
        with pytest.raises(TelegramNetworkError):
            await world.messages.picture(job, request, image())
    await world.messages.picture(job, request, image())
    await world.shown(running, image())
    assert message.pictures == [hashlib.sha256(png()).hexdigest()]
    assert world.sandbox.audit.by_method["sendPhoto"] == 1


async def test_progress_that_comes_late_does_not_hide_the_picture(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    request, soon = await world.request_of(job), Estimate(None, 200, 400)
    await world.finished(job, image())
    assert not await world.messages.progress(request, [job], [soon])
    world.let_changes_cross()
    await world.messages.progress(request, [job], [soon])
    assert await world.app.redis.zscore(keys.DUE(), f"r:{request.id}") is not None
    await world.messages.end(await world.request_of(job), await world.app.ledger.jobs([job.id]))
    assert message.has_photo
    assert message.button("Draw more")
    assert "a fox" in message.text
    # While the picture is on its way, whoever shows it is asked to look again.
    message = await sent(world, anna, "a bear")
    [job] = await world.active(anna.id)
    request = await world.request_of(job)
    await world.made(job)
    await world.messages.progress(request, [job], [Estimate(None, 200, 400)])
    assert (await world.request_of(job)).changing


async def test_what_is_no_photo_goes_as_a_file(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    await world.finished(job, ImageBytes(png()[:60], "image/png", 64, 48))
    assert "document" in message.content
    query = await anna.ask_inline("")
    assert query.answer is not None
    assert "document" in query.answer.results[0].content


async def test_a_message_that_is_gone_leaves_the_picture_in_the_history(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    await anna.delete(message)
    await world.finished(job, image())
    assert (await anna.reply_after(await anna.send_text("/history"))).has_photo


async def test_a_storage_that_takes_nothing(world: World) -> None:
    anna = world.sandbox.person("Anna")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    await world.made(job)
    world.sandbox.bot.chats[STORAGE].blocked = True
    with pytest.raises(Undeliverable, match="no_storage"):
        await world.messages.picture(job, await world.request_of(job), image())
    await world.failed(job, "no_storage")
    assert "on our side" in message.text


async def test_the_owner_hears_of_it_and_the_person_is_told(world: World) -> None:
    owner, anna = world.sandbox.person("Owner", id=77), world.sandbox.person("Anna")
    await owner.send_text("/start")
    message = await sent(world, anna, "a fox")
    [job] = await world.active(anna.id)
    await world.made(job, image().data)
    world.sandbox.bot.chats[STORAGE].blocked = True
    work = Work(world.app, world.bot, world.messages)
    for _ in range(2):  # that it cannot be shown, and that this is told
        claimed = await world.app.ledger.run(transitions.claim_to_show(job.id, holder="test", lease=30))
        assert claimed is not None
        await deliver.show(work, *claimed)
    assert "on our side" in message.text
    assert any("INLINE_STORAGE_CHAT" in told.text for told in owner.messages)
    [ended] = await world.app.ledger.jobs([job.id])
    assert (ended.state, ended.kind) == (State.FAILED, "no_storage")


@pytest.mark.parametrize("settings_of_world", [{}])
async def test_without_a_storage_new_pictures_are_to_be_had_in_our_chat(world: World) -> None:
    anna = world.sandbox.person("Anna")
    query = await anna.ask_inline("a fox")
    assert query.answer is not None
    assert query.answer.results == []
    assert query.answer.button == {"text": "🎨 New pictures: in our own chat", "start_parameter": "inline"}
    boris = world.sandbox.person("Борис", language_code="ru")
    query = await boris.ask_inline("")
    assert query.answer is not None
    assert query.answer.button["text"] == "✍️ Напишите, что нарисовать"
