"""The buttons under pictures: also old, foreign, forged and doubly pressed ones."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from aiogram import Bot

from src.jobs import Job, keys, new_id
from src.pipeline import admission
from src.sandbox.telegram import Message, Person
from src.telegram import keyboards
from src.telegram.i18n import get_texts
from src.telegram.keyboards import OfJob, OfRequest
from tests.bot.bot_world import World, image, png


async def _picture(world: World, person: Person, *, original: bool = True) -> tuple[Job, Message]:
    shown = await person.reply_after(await person.send_text("a red fox"))
    [job] = await world.active(person.id)
    await world.finished(job, image(), original=original)
    return job, shown


async def test_again_draws_the_same_and_two_taps_draw_once(world: World) -> None:
    anna = world.sandbox.person()
    job, shown = await _picture(world, anna)
    first, second = await anna.tap(shown, "Again"), await anna.tap(shown, "Again")
    assert "Drawing" in (await first.answered())["text"]
    assert "Already" in (await second.answered())["text"]
    [again] = await world.active(anna.id)
    assert (again.spec.prompt, again.spec.source) == (job.spec.prompt, None)
    assert shown.has_photo


async def test_variation_starts_from_the_picture(world: World) -> None:
    anna = world.sandbox.person()
    _, shown = await _picture(world, anna)
    await (await anna.tap(shown, "Variation")).answered()
    [job] = await world.active(anna.id)
    assert job.spec.source == shown.media["file_id"]


async def test_as_file_is_the_original_and_uploaded_once(world: World) -> None:
    anna = world.sandbox.person()
    job, shown = await _picture(world, anna)
    await (await anna.tap(shown, "As file")).answered()
    file = await anna.wait_for(lambda m: "document" in m.content)
    assert file.sha256 == hashlib.sha256(png()).hexdigest()
    await world.settled()
    assert await world.app.redis.get(keys.FILE(job.id)) == file.media["file_id"]
    # Long after the first tap.
    await world.app.redis.delete(*await world.app.redis.keys("*tap:*"))
    await (await anna.tap(shown, "As file")).answered()
    await anna.wait_until(lambda messages: sum("document" in m.content for m in messages) == 2)
    [first, second] = world.sandbox.audit.of("sendDocument")
    assert (len(first.sha256), len(second.sha256)) == (1, 0)


async def test_as_file_when_the_original_is_gone(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    _, shown = await _picture(world, boris, original=False)
    await (await boris.tap(shown, "Файлом")).answered()
    file = await boris.wait_for(lambda m: "document" in m.content)
    assert "Оригинал уже не хранится" in file.text


async def test_buttons_work_after_a_restart(world: World) -> None:
    anna = world.sandbox.person()
    _, shown = await _picture(world, anna)
    await world.stop()
    tap = await anna.tap(shown, "Again")
    world.start()
    await tap.answered()
    assert len(await world.active(anna.id)) == 1


async def test_old_foreign_and_forged_data(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    job, shown = await _picture(world, anna)
    greeting = await eve.reply_after(await eve.send_text("/start"))
    for data, said in [
        (OfJob(what="again", id=job.id).pack(), "someone else"),
        (OfRequest(what="again", id=job.request).pack(), "someone else"),
        (OfJob(what="again", id=new_id()).pack(), "too old"),
        (OfRequest(what="cancel", id="no such"[:8]).pack(), "too old"),
        ("j:explode:1", "too old"),
        ("j", "too old"),
        ("\x00\xff🦊", "too old"),
        ("d|aspect|7:1", "over"),
        ("s|aspect|7:1", "too old"),
        ("s|count|99", "too old"),
        ("q:cancel:nothing", "too old"),
    ]:
        tap = await eve.tap_data(greeting, data)
        assert said in (await tap.answered())["text"], data
    assert await world.active(eve.id) == []
    assert shown.has_photo


async def test_cancel_is_for_the_owner_and_while_it_helps(world: World) -> None:
    anna = world.sandbox.person()
    placeholder = await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    data = placeholder.button("Cancel")["callback_data"]
    assert "Cancelled" in (await (await anna.tap(placeholder, "Cancel")).answered())["text"]
    await world.told(job)
    assert "Nothing was drawn" in placeholder.text
    assert "already ended" in (await (await anna.tap_data(placeholder, data)).answered())["text"]


async def test_who_else_cancels_a_picture_that_is_drawn_says_so(world: World) -> None:
    for language, said in (
        ("en", "✖️ Cancelled on our side while it was being drawn. It doesn’t count towards your limit."),
        ("ru", "✖️ Отменено с нашей стороны, когда картинка уже рисовалась. Запрос не засчитан."),
    ):
        person = world.sandbox.person(language_code=language)
        placeholder = await person.reply_after(await person.send_text("a fox"))
        [job] = await world.active(person.id)
        await world.accepted(job)
        assert (await admission.cancel(world.app, job.id, None)).done
        await world.told(job)
        assert said in placeholder.text


async def test_refused_words_can_be_changed(world: World) -> None:
    anna = world.sandbox.person()
    shown = await anna.reply_after(await anna.send_photo(png(), "something bad"))
    [job] = await world.active(anna.id)
    await world.failed(job, "moderated_input")
    assert [b["text"] for b in shown.buttons] == ["✏️ Edit prompt"]
    await (await anna.tap(shown, "Edit prompt")).answered()
    question = await anna.wait_for(lambda m: "new description" in m.text)
    assert "something bad" in question.text
    await anna.reply_after(await anna.send_text("something good"))
    [again] = await world.active(anna.id)
    assert (again.spec.prompt, again.spec.source) == ("something good", job.spec.source)


async def test_a_stray_placeholder_is_removed_when_it_is_touched(world: World) -> None:
    anna = world.sandbox.person()
    placeholder = await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    request = await world.request_of(job)
    # A process that died between sending and the ledger leaves such a message.
    markup = keyboards.placeholder(get_texts().translator("en"), request.id)
    for touch in ("answer", "tap"):
        stray = await world.bot.send_message(anna.id, "placeholder", reply_markup=markup)
        message = await anna.wait_for(lambda m, stray=stray: m.message_id == stray.message_id)
        if touch == "answer":
            await anna.send_text("what about it?", reply_to=message)
        else:
            assert "Cancelled" in (await (await anna.tap(message, "Cancel")).answered())["text"]
        await anna.wait_until(lambda messages, message=message: message.deleted)
    await world.settled()
    assert not placeholder.deleted
    assert not (await world.request_of(job)).strays


async def test_a_tap_does_not_wait_until_a_stray_is_deleted_and_two_count_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    [job], _ = await world.asked(anna)
    # One more went out, of which nobody heard.
    assert await world.app.ledger.sending(job.request, instead=True)
    assert (await world.request_of(job)).sendings == 2
    markup = keyboards.placeholder(get_texts().translator("en"), job.request)
    stray = await world.bot.send_message(anna.id, "placeholder", reply_markup=markup)
    message = await anna.wait_for(lambda m: m.message_id == stray.message_id)
    answered, delete = asyncio.Event(), Bot.delete_messages

    async def once_it_is_answered(*args: Any) -> bool:
        async with asyncio.timeout(30):
            await answered.wait()
        return await delete(*args)

    monkeypatch.setattr(Bot, "delete_messages", once_it_is_answered)
    async with world.away():
        taps = [await anna.tap(message, "Cancel") for _ in range(2)]
    assert "Cancelled" in (await taps[0].answered())["text"]
    assert not message.deleted
    answered.set()
    await world.settled()
    assert message.deleted
    request = await world.request_of(job)
    assert (request.sendings, request.strays) == (1, ())


async def test_a_placeholder_that_nobody_knew_of_counts_once_it_is_touched(world: World) -> None:
    anna = world.sandbox.person()
    placeholder = await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    # Its sender died before it could note it.
    await world.app.redis.hdel(keys.REQUEST(job.request), "messages")
    assert "Cancelled" in (await (await anna.tap(placeholder, "Cancel")).answered())["text"]
    assert (await world.request_of(job)).messages == (placeholder.message_id,)
    await world.told(job)
    assert "Nothing was drawn" in placeholder.text


async def test_what_still_promises_what_is_over_is_looked_after_once_it_is_touched(world: World) -> None:
    anna = world.sandbox.person()
    placeholder = await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    words, markup = placeholder.text, keyboards.placeholder(get_texts().translator("en"), job.request)
    await world.failed(job, "timeout")
    await world.bot.edit_message_text(
        words, chat_id=anna.id, message_id=placeholder.message_id, reply_markup=markup
    )
    for known in (True, False):
        if not known:
            await world.app.redis.delete(keys.REQUEST(job.request))
        await (await anna.tap(placeholder, "Cancel")).answered()
        await world.settled()
        row = f"r:{job.request}"
        assert (await world.app.redis.zrem(keys.DUE(), row) == 1, placeholder.deleted) == (known, not known)


async def test_what_telegram_forgot_is_sent_anew(world: World) -> None:
    anna = world.sandbox.person()
    job, shown = await _picture(world, anna)
    await world.app.redis.set(keys.FILE(job.id), "BQACforgotten")
    await (await anna.tap(shown, "As file")).answered()
    file = await anna.wait_for(lambda m: "document" in m.content)
    assert file.sha256 == hashlib.sha256(png()).hexdigest()
    await world.settled()
    assert await world.app.redis.get(keys.FILE(job.id)) == file.media["file_id"]
    listed = await anna.reply_after(await anna.send_text("/history"))
    for size in shown.content["photo"]:
        world.sandbox.bot.files.pop(size["file_id"])
    await (await anna.tap(listed, "Open")).answered()
    again = await anna.wait_for(lambda m: m.has_photo and m.message_id > listed.message_id)
    assert "a red fox" in again.text


async def test_an_answer_to_a_message_that_is_gone_goes_without_the_reference(world: World) -> None:
    anna = world.sandbox.person()
    await world.stop()
    photo = await anna.send_photo(png())
    await anna.delete(photo)
    world.start()
    said = await anna.reply_after(photo)
    assert "what to change" in said.text
    assert said.reply_to is None


async def test_a_tap_too_late_to_be_answered_is_done_all_the_same(world: World) -> None:
    anna = world.sandbox.person()
    _, shown = await _picture(world, anna)
    listed = await anna.reply_after(await anna.send_text("/history"))
    too_old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    world.sandbox.faults.add("400", "answerCallbackQuery", description=too_old, times=None)
    await anna.tap(shown, "As file")
    await anna.wait_for(lambda m: "document" in m.content)
    await anna.tap(listed, "Open")
    await anna.wait_for(lambda m: m.has_photo and m.message_id > listed.message_id)


async def test_again_is_ordered_once_however_late_it_is_tapped_again(world: World) -> None:
    anna = world.sandbox.person()
    _, shown = await _picture(world, anna)
    await (await anna.tap(shown, "Again")).answered()
    [key] = await world.app.redis.keys("*tap:*")
    await world.app.redis.expire(key, 60)  # an hour later
    assert "Already" in (await (await anna.tap(shown, "Again")).answered())["text"]
    [again] = await world.active(anna.id)
    await world.finished(again, image())
    assert "Drawing" in (await (await anna.tap(shown, "Again")).answered())["text"]
    assert len(await world.active(anna.id)) == 1
