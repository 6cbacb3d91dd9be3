"""Asking for pictures in a private chat, and everything that may be wrong with what is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from aiogram.types import Update

from src.bot.chats import Chats
from src.bot.estimates import Outlook
from src.bot.ordering import Asking, Refusal
from src.jobs import State, keys, transitions
from src.pipeline import submit
from src.pipeline.leases import Work
from src.providers.base import Capabilities, GenRequest, Provider, Ticket
from src.sandbox.telegram import Message, Person
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image, png


async def test_plain_words_become_a_picture_in_one_message(world: World) -> None:
    anna = world.sandbox.person("Anna", language_code="en")
    asked = await anna.send_text("a red fox in snow")
    placeholder = await anna.reply_after(asked)
    assert "Drawing" in placeholder.text
    assert placeholder.reply_to == asked.message_id
    [job] = await world.active(anna.id)
    assert job.spec.prompt == "a red fox in snow"

    await world.finished(job, image())

    assert [m.message_id for m in anna.messages] == [asked.message_id, placeholder.message_id]
    shown = anna.messages[-1]
    assert shown.has_photo
    assert "a red fox in snow" not in shown.text
    assert [b["text"] for b in shown.buttons] == ["🔁 Again", "🎨 Variation", "✏️ Edit", "📎 As file", "⋯"]


async def test_who_has_to_wait_for_an_answer_sees_that_they_are_heard(world: World) -> None:
    anna = world.sandbox.person()
    group = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text("a red fox")
    await anna.reply_after(asked)
    for chat in (anna.chat, group):
        world.sandbox.faults.add("slow", "sendMessage", chat_id=chat.id, seconds=3.0)
    loud = await anna.send_text("/imagine a bear", chat=group)
    late = await anna.send_text("a wolf")
    await anna.reply_after(late)
    await anna.reply_after(loud, chat=group)
    # One more call, and only for who has to wait alone.
    assert [m.reaction for m in (asked, late, loud)] == [None, "👀", None]


async def test_photo_with_caption_is_an_edit(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    asked = await boris.send_photo(png(), "сделай зимой")
    placeholder = await boris.reply_after(asked)
    assert "Рисую" in placeholder.text
    [job] = await world.active(boris.id)
    assert job.spec.source == asked.media["file_id"]
    assert job.spec.lang == "ru"


async def test_photo_without_words_asks_for_them(world: World) -> None:
    anna = world.sandbox.person()
    sent = await anna.send_document(png(), "fox.png", mime_type="image/png")
    question = await anna.reply_after(sent)
    assert "write what to change" in question.text
    # Handled again, as after a kill, it is not one more picture to look at.
    await world.settled()
    raw = {"update_id": sent.update_id, "message": sent.as_json()}
    update = Update.model_validate(raw, context={"bot": world.bot})
    await world.parts.dispatcher.feed_update(world.bot, update, album=[update.message])
    words = await anna.send_text("make it night")
    await anna.reply_after(words)
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.pictures) == ("make it night", (sent.media["file_id"],))


@pytest.mark.parametrize("whose", ["bot", "own"])
async def test_words_in_answer_to_a_picture_change_it(world: World, whose: str) -> None:
    anna = world.sandbox.person()
    if whose == "bot":
        asked = await anna.send_text("a fox")
        shown = await anna.reply_after(asked)
        [job] = await world.active(anna.id)
        await world.finished(job, image())
    else:
        shown = await anna.send_photo(png())
        await anna.reply_after(shown)
        await anna.reply_after(await anna.send_text("/cancel"))
    answer = await anna.send_text("in winter", reply_to=shown)
    await anna.reply_after(answer)
    [job] = await world.active(anna.id)
    assert job.spec.source == shown.media["file_id"]


# The dialog


async def test_dialog_in_one_message_to_an_album(world: World) -> None:
    anna = world.sandbox.person()
    start = await anna.send_text("/create")
    dialog = await anna.reply_after(start)
    await anna.send_text("two foxes")
    await anna.wait_for(lambda m: m.message_id == dialog.message_id and "two foxes" in m.text)
    assert [b["text"] for b in dialog.buttons][:5] == ["• 1:1", "3:2", "2:3", "16:9", "9:16"]
    await (await anna.tap(dialog, "16:9")).answered()
    await (await anna.tap(dialog, "d|count|3")).answered()
    assert "• 16:9" in [b["text"] for b in dialog.buttons]
    go = await anna.tap(dialog, "Draw")
    again = await anna.tap_data(dialog, "d|go|")
    await go.answered()
    assert "over" in (await again.answered())["text"]
    assert dialog.deleted

    jobs = await world.active(anna.id)
    assert [(j.spec.aspect, j.spec.index, j.spec.count) for j in jobs] == [("16:9", n, 3) for n in range(3)]
    status = await anna.wait_for(lambda m: "0 of 3" in m.text)
    assert [m.has_photo for m in anna.messages[-4:]] == [True, True, True, False]
    person = await world.app.ledger.person(str(anna.id))
    # The next plain text is not an album by surprise.
    assert (person.aspect, person.count) == ("16:9", 1)
    assert "cancel" in status.buttons[0]["callback_data"]


async def test_commands_in_mid_dialog_do_not_become_the_prompt(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create"))
    helped = await anna.reply_after(await anna.send_text("/help"))
    assert "How to use me" in helped.text
    unknown = await anna.reply_after(await anna.send_text("/nonsense"))
    assert "don’t know that command" in unknown.text
    await anna.send_text("a fox after all")
    await anna.wait_for(lambda m: m is dialog and "a fox after all" in m.text)
    ended = await anna.reply_after(await anna.send_text("/cancel"))
    assert "Never mind" in ended.text
    # Whose client has not yet seen the buttons go.
    over = await (await anna.tap_data(dialog, "d|go|")).answered()
    assert "over" in over["text"]
    assert await world.active(anna.id) == []


async def test_dialog_takes_other_words_and_a_photo(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create a cat"))
    assert "a cat" in dialog.text
    await anna.send_text("a dog")
    await anna.wait_for(lambda m: m is dialog and "a dog" in m.text)
    photo = await anna.send_photo(png())
    await anna.wait_for(lambda m: m is dialog and "change your photo" in m.text)
    await (await anna.tap(dialog, "Draw")).answered()
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.source) == ("a dog", photo.media["file_id"])


async def test_dialog_survives_a_restart_and_its_deleted_message(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create"))
    await world.stop()
    await anna.delete(dialog)
    words = await anna.send_text("a fox")
    world.start()
    choices = await anna.reply_after(words)
    assert choices.message_id != dialog.message_id
    await (await anna.tap(choices, "Draw")).answered()
    assert len(await world.active(anna.id)) == 1


async def test_the_dialog_can_be_left_by_its_button(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create"))
    await (await anna.tap(dialog, "Never mind")).answered()
    assert dialog.buttons == []
    asked = await anna.send_text("a fox")
    assert "Drawing" in (await anna.reply_after(asked)).text


# What is wrong with it


@pytest.mark.parametrize("text", ["...", "\u2800 \u2800", "\u200b!", "/create ?!"])
async def test_no_words_at_all(world: World, text: str) -> None:
    anna = world.sandbox.person()
    answer = await anna.reply_after(await anna.send_text(text))
    assert "Describe in a few words" in answer.text or "Choose a format" in answer.text
    if "Choose" in answer.text:
        refused = await (await anna.tap(answer, "Draw")).answered()
        assert "Describe in a few words" in refused["text"]
    assert await world.active(anna.id) == []


async def test_ten_thousand_characters_in_three_messages_are_one_complaint(world: World) -> None:
    anna = world.sandbox.person()
    text = "x" * 10_000
    for start in range(0, len(text), 4096):
        await anna.send_text(text[start : start + 4096])
    complaint = await anna.wait_for(lambda m: m.from_bot)
    assert "too long" in complaint.text
    await world.settled()
    assert [m for m in anna.messages if m.from_bot] == [complaint]
    assert await world.active(anna.id) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "🦊❄️🌲",
        "ثعلب أحمر في الثلج",
        "👩‍👩‍👧‍👦" * 30,
        "<b>bold</b> & [x](y) *z* `code`",
        "@someone /start #tag",
    ],
)
async def test_any_words_are_drawn_and_shown_as_they_are(world: World, prompt: str) -> None:
    anna = world.sandbox.person()
    asked = await anna.send_text(prompt)
    await anna.reply_after(asked)
    [job] = await world.active(anna.id)
    assert job.spec.prompt == prompt
    await world.finished(job, image())
    # It answers the words, so they are seen already.
    assert anna.messages[-1].text.startswith("🖌")
    await (await anna.tap(anna.messages[-1], "Again")).answered()
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    caption = anna.messages[-1].text
    assert caption.startswith(prompt if len(prompt) < 200 else prompt[:100])
    kinds = {entity["type"] for entity in anna.messages[-1].content["caption_entities"]}
    assert "blockquote" in kinds
    assert not kinds & {"bold", "italic", "code", "text_link"}


async def test_stickers_and_voices_are_answered(world: World) -> None:
    anna = world.sandbox.person()
    for sent in (
        await anna.send_sticker(animated=True),
        await anna.send_content({"voice": {"file_id": "v", "file_unique_id": "v", "duration": 1}}),
        await anna.send_document(b"%PDF-1.7", "paper.pdf", "draw this", mime_type="application/pdf"),
    ):
        assert "words and photos" in (await anna.reply_after(sent)).text


async def test_pictures_that_cannot_be_edited(world: World) -> None:
    anna = world.sandbox.person()
    vector = await anna.send_document(b"<svg/>", "fox.svg", "winter", mime_type="image/svg+xml")
    assert "JPEG, PNG, WebP" in (await anna.reply_after(vector)).text
    large = await anna.send_document(b"x" * (30 * 1024 * 1024), "big.png", "winter", mime_type="image/png")
    assert "20 MB" in (await anna.reply_after(large)).text
    assert await world.active(anna.id) == []


async def test_a_photo_that_is_none_is_told_when_the_worker_finds_out(world: World) -> None:
    anna = world.sandbox.person()
    sent = await anna.send_photo(b"no picture", "winter", as_is=True)
    placeholder = await anna.reply_after(sent)
    [job] = await world.active(anna.id)
    await world.failed(job, "bad_source")
    assert "couldn’t read that picture" in placeholder.text
    assert placeholder.buttons == []


async def test_service_messages_are_not_answered(world: World) -> None:
    anna = world.sandbox.person()
    await anna.send_content({"message_auto_delete_timer_changed": {"message_auto_delete_time": 86400}})
    asked = await anna.send_text("/help")
    assert "How to use me" in (await anna.reply_after(asked)).text
    assert len([m for m in anna.messages if m.from_bot]) == 1


# Limits


async def test_rate_limit_in_the_guides_words(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="uk")
    for n in range(10):
        placeholder = await boris.reply_after(await boris.send_text(f"лиса {n}"))
        [job] = await world.active(boris.id)
        # Taken back before it could cost anything it would not count.
        await world.accepted(job)
        await (await boris.tap(placeholder, "Отменить")).answered()
        await world.told(job)
    refused = await boris.reply_after(await boris.send_text("ещё лиса"))
    first, second, _ = refused.text.splitlines()
    assert first == "⏳ Слишком много запросов. Подождите минуту."
    assert second.startswith("Снова можно через ")


async def test_a_flood_of_messages_meets_no_flood_of_answers(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    for number in range(200):
        await anna.send_text(f"a fox, no. {number}")
    asked = await boris.send_text("a bear")
    assert "Drawing" in (await boris.reply_after(asked)).text
    await world.settled(30)
    answers = [m.text for m in anna.messages if m.from_bot]
    drawn = sum("Drawing" in text or "line" in text for text in answers)
    assert drawn == world.settings.rate_limit
    assert len(answers) == drawn + 2
    assert len(await world.active(anna.id)) == world.settings.rate_limit


async def test_too_many_open_pictures(world: World) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), count=4)
    for _ in range(world.settings.max_active_per_user // 4):
        await anna.send_text("a fox")
    await world.settled()
    await anna.send_text("a fox")
    await anna.wait_for(lambda m: "pictures of yours are already in the works" in m.text)


async def test_blocked_people_are_told(world: World) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), blocked=1)
    refused = await anna.reply_after(await anna.send_text("a fox"))
    assert "can’t order pictures" in refused.text


async def test_blocking_the_bot_takes_the_jobs_back(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    await anna.block()
    await world.settled()
    ended = await world.app.ledger.job(job.id)
    assert ended is not None
    assert ended.state is State.CANCELLED


async def test_who_lets_the_bot_write_again_finds_no_promise_that_is_over(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    await anna.block()
    await world.settled()
    held = await world.app.ledger.run(transitions.claim(job.id, "deliver", holder="test", lease=30))
    assert held is not None
    await world.app.ledger.run(transitions.finish(held.id, held.fence, shown={}, ttl=600, kind="blocked"))
    row = f"r:{job.request}"
    assert await world.app.redis.zscore(keys.DUE(), row) is None
    await anna.unblock()
    await world.settled()
    assert await world.app.redis.zscore(keys.DUE(), row) is not None


async def test_an_albums_words_are_said_again_to_who_lets_the_bot_write_again(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    row = f"r:{jobs[0].request}"
    for job in jobs:
        await world.finished(job, image())
    # The pictures were shown, and the words then refused.
    await world.app.ledger.closed(jobs[0].request)
    await anna.block()
    await anna.unblock()
    await world.settled()
    assert await world.app.redis.zscore(keys.DUE(), row) is not None


async def test_surprise_is_one_picture_for_two_taps(world: World) -> None:
    anna = world.sandbox.person()
    greeting = await anna.reply_after(await anna.send_text("/start"))
    taps = [await anna.tap(greeting, "Surprise me"), await anna.tap(greeting, "Surprise me")]
    answers = [await tap.answered() for tap in taps]
    assert "Already" in answers[1]["text"]
    assert len(await world.active(anna.id)) == 1


# What people send, in all its forms


async def _sent_photo(person: Person, size: tuple[int, int], words: str = "") -> Message:
    return await person.send_photo(png(*size), words)


@pytest.mark.parametrize(
    ("size", "aspect"),
    [
        ((600, 1300), "9:16"),
        ((800, 600), "4:3"),
        ((800, 1000), "4:5"),
        ((2100, 900), "21:9"),
        ((500, 500), "1:1"),
    ],
)
async def test_an_edit_keeps_the_shape_of_its_photo(world: World, size: tuple[int, int], aspect: str) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), aspect="3:2")
    photo = await _sent_photo(anna, size, "make it night")
    await anna.send_text("make it day", reply_to=photo)
    night, day = await world.active(anna.id)
    assert (night.spec.aspect, day.spec.aspect) == (aspect, aspect)


async def test_the_shape_of_a_file_is_known_once_it_is_decoded(world: World) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), count=2)
    await anna.send_document(png(210, 90), "fox.png", "make it night")
    first, _ = await world.active(anna.id)
    asked: list[GenRequest] = []

    class Listening:
        name, capabilities = "openai", Capabilities(edit=True)

        async def submit(self, request: GenRequest) -> Ticket:
            asked.append(request)
            return Ticket("openai", "t")

    app = replace(world.app, providers={"openai": cast(Provider, Listening())})
    held = await world.app.ledger.run(transitions.claim(first.id, "submit", holder="test", lease=30))
    assert held is not None
    await submit.begin(Work(app, world.bot, world.messages), held)
    assert (first.spec.aspect, asked[0].aspect) == ("auto", "21:9")


async def test_a_format_chosen_in_the_dialog_is_kept_and_another_is_not_remembered(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create a cat"))
    await _sent_photo(anna, (600, 1300))
    await anna.wait_for(lambda m: m is dialog and "• 9:16" in [b["text"] for b in dialog.buttons])
    await (await anna.tap(dialog, "Draw")).answered()
    [job] = await world.active(anna.id)
    assert (job.spec.aspect, (await world.app.ledger.person(str(anna.id))).aspect) == ("9:16", "1:1")
    dialog = await anna.reply_after(await anna.send_text("/create a dog"))
    await (await anna.tap(dialog, "21:9")).answered()
    await _sent_photo(anna, (600, 1300))
    await anna.wait_for(lambda m: m is dialog and "change your photo" in m.text)
    await (await anna.tap(dialog, "Draw")).answered()
    assert [job.spec.aspect for job in await world.active(anna.id)] == ["9:16", "21:9"]
    assert (await world.app.ledger.person(str(anna.id))).aspect == "21:9"


async def test_the_words_of_a_rich_message_are_drawn(world: World) -> None:
    anna = world.sandbox.person()
    text = ["a ", {"type": "bold", "text": "red"}, " fox"]
    blocks = [{"type": "paragraph", "text": text}, {"type": "paragraph", "text": "in the snow"}]
    await anna.send_content({"rich_message": {"blocks": blocks}})
    [job] = await world.active(anna.id)
    assert job.spec.prompt == "a red fox\nin the snow"


@pytest.mark.parametrize(
    "content",
    [
        {"checklist": {"title": "a fox", "tasks": []}},
        {"game": {"title": "g", "description": "d", "photo": []}},
        {"paid_media": {"star_count": 1, "paid_media": []}},
        {"rich_message": {"blocks": [{"type": "divider"}]}},
        {"rich_message": {"blocks": [{"type": "of next year"}]}},
        {"hologram": {"file_id": "h"}},
    ],
)
async def test_any_kind_that_is_of_no_use_gets_one_hint(world: World, content: dict[str, Any]) -> None:
    anna = world.sandbox.person()
    for _ in range(3):
        sent = await anna.send_content({**content, "media_group_id": "4711"})
    asked = await anna.send_text("/help")
    await anna.wait_for(lambda m: m.from_bot and m.message_id > asked.message_id)
    assert sum("words and photos" in m.text for m in anna.messages) == 1
    assert sent.message_id < asked.message_id


async def test_a_dialog_orders_once_though_its_tap_comes_too_late(world: World) -> None:
    anna = world.sandbox.person()
    dialog = await anna.reply_after(await anna.send_text("/create a cat"))
    too_old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    world.sandbox.faults.add("400", "answerCallbackQuery", description=too_old, times=None)
    for _ in range(3):
        await anna.tap_data(dialog, "d|go|")
    assert len(await world.active(anna.id)) == 1


async def test_after_cancel_no_button_of_the_dialog_is_left(world: World) -> None:
    anna = world.sandbox.person()
    for command, words in (("/cancel", "Never mind"), ("/start", "Hello"), ("/create", "What shall I draw")):
        dialog = await anna.reply_after(await anna.send_text("/create a fox"))
        assert dialog.buttons
        assert words in (await anna.reply_after(await anna.send_text(command))).text
        await anna.wait_until(lambda _, dialog=dialog: not dialog.buttons)  # type: ignore[misc]


async def test_refusals_that_differ_in_a_number_and_its_plural_are_one(world: World) -> None:
    anna = world.sandbox.person()
    say = get_texts().translator("en")
    await anna.reply_after(await anna.send_text("/help"))
    message = await world.bot.send_message(anna.id, "a fox")
    asking = Asking(world.app, world.bot, Chats(world.app, world.bot), world.messages, Outlook(world.app))
    for number in (1, 2, 1, 5):
        await asking.refuse(message, Refusal.of(say, "refused-active", number=number))
    assert sum("in the works" in m.text for m in anna.messages) == 2
