"""Groups and topics: the bot speaks only when spoken to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiogram import types

from src.bot.chats import Chats
from src.bot.estimates import Outlook
from src.bot.ordering import Asking
from src.limits import Refusal
from src.telegram.client import make_bot
from tests.bot.bot_world import OpenGates, World, image, png

BOT = "@imagebot_sandbox_bot"


async def test_imagine_and_mention_and_answers(world: World) -> None:
    world.sandbox.bot.reads_all_group_messages = True
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    group = world.sandbox.group("Zoo", [anna, eve])
    for text, prompt in [
        (f"/imagine{BOT} a red fox", "a red fox"),
        ("/imagine a bear", "a bear"),
        (f"{BOT}, a wolf please", "a wolf please"),
    ]:
        asked = await anna.send_text(text, chat=group)
        placeholder = await anna.reply_after(asked, chat=group)
        assert placeholder.reply_to == asked.message_id
        assert (await world.active(anna.id))[-1].spec.prompt == prompt
    [job, *_] = await world.active(anna.id)
    await world.finished(job, image())
    shown = await anna.wait_for(lambda m: m.has_photo, chat=group)
    assert "red fox" not in shown.text
    answer = await eve.send_text("in winter", chat=group, reply_to=shown)
    question = await eve.reply_after(answer, chat=group)
    assert "change the picture" in question.text
    assert await world.active(eve.id) == []
    assert "someone else" in (await (await anna.tap(question, "Draw")).answered())["text"]
    await (await eve.tap(question, "Draw")).answered()
    await eve.wait_until(lambda messages: question not in messages, chat=group)
    [edit] = await world.active(eve.id)
    assert edit.spec.source == shown.media["file_id"]


async def test_silence_when_not_spoken_to(world: World) -> None:
    world.sandbox.bot.reads_all_group_messages = True
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    group = world.sandbox.group("Zoo", [anna, eve])
    await anna.send_text("what a fox", chat=group)
    await anna.send_text("/start", chat=group)
    await anna.send_text("/imagine@other_bot a fox", chat=group)
    await anna.send_text(f"{BOT}2 hello", chat=group)
    photo = await anna.send_photo(png(), "my holiday", chat=group)
    await eve.send_text("nice", chat=group, reply_to=photo)
    await eve.send_sticker(chat=group)
    helped = await anna.send_text(f"/help{BOT}", chat=group)
    assert "How to use me" in (await anna.reply_after(helped, chat=group)).text
    assert len([m for m in group.messages.values() if m.from_bot]) == 1


async def test_another_ones_photo_is_changed_when_asked_to(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    group = world.sandbox.group("Zoo", [anna, eve])
    photo = await anna.send_photo(png(), chat=group)
    asked = await eve.send_text("/imagine with snow", chat=group, reply_to=photo)
    await eve.reply_after(asked, chat=group)
    [job] = await world.active(eve.id)
    assert job.spec.source == photo.media["file_id"]


async def test_answers_stay_in_their_topic(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna], topics=["news", "art"])
    asked = await anna.send_text("/imagine a fox", chat=group, thread_id=3)
    placeholder = await anna.reply_after(asked, chat=group)
    assert placeholder.thread_id == 3
    [job] = await world.active(anna.id)
    await world.failed(job, "moderated_input")
    await (await anna.tap(placeholder, "Edit prompt")).answered()
    question = await anna.wait_for(lambda m: "new description" in m.text, chat=group)
    assert question.thread_id == 3
    other = await anna.send_text("a nicer fox", chat=group, thread_id=3, reply_to=question)
    again = await anna.reply_after(other, chat=group)
    assert again.thread_id == 3
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.thread) == ("a nicer fox", 3)


async def test_create_points_to_imagine(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text(f"/create{BOT}", chat=group)
    assert "/imagine" in (await anna.reply_after(asked, chat=group)).text


async def test_help_of_its_own_menu_and_start_say_what_works_here(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Борис", language_code="ru")
    group = world.sandbox.group("Zoo", [anna, boris])
    helped = await anna.send_text("/help", chat=group)
    assert "How to use me" in (await anna.reply_after(helped, chat=group)).text
    for person, words in ((anna, "In a group I draw when asked"), (boris, "В группе я рисую")):
        started = await person.send_text(f"/start{BOT}", chat=group)
        said = await person.reply_after(started, chat=group)
        assert words in said.text
        assert "/imagine" in said.text
        assert said.reply_to == started.message_id
        # What that names works as it stands there.
        for command in sorted(set(re.findall(r"/\w+", said.text))):
            await person.reply_after(await person.send_text(command, chat=group), chat=group)


async def test_a_mention_stands_anywhere(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    for text in (f"a fox in snow {BOT}", f"a fox {BOT} in snow", f"{BOT.upper()}: a fox in snow"):
        await anna.reply_after(await anna.send_text(text, chat=group), chat=group)
        assert (await world.active(anna.id))[-1].spec.prompt == "a fox in snow"


async def test_imagine_in_answer_to_a_text_draws_it(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    group = world.sandbox.group("Zoo", [anna, eve])
    said = await eve.send_text("a fox in snow", chat=group)
    for text in ("/imagine", BOT):
        await anna.reply_after(await anna.send_text(text, chat=group, reply_to=said), chat=group)
        assert (await world.active(anna.id))[-1].spec.prompt == "a fox in snow"
    own = await anna.send_text("/imagine a bear", chat=group, reply_to=said)
    placeholder = await anna.reply_after(own, chat=group)
    assert (await world.active(anna.id))[-1].spec.prompt == "a bear"
    # Our own words are no description.
    empty = await anna.send_text("/imagine", chat=group, reply_to=placeholder)
    assert "Describe in a few words" in (await anna.reply_after(empty, chat=group)).text


@pytest.mark.parametrize(
    ("lang", "question", "draw", "stop"),
    [
        ("en", "change the picture", "Draw", "Never mind"),
        ("ru", "Изменить так картинку", "Нарисовать", "Не надо"),
    ],
)
async def test_thanks_are_no_order(world: World, lang: str, question: str, draw: str, stop: str) -> None:
    anna = world.sandbox.person("Anna", language_code=lang)
    group = world.sandbox.group("Zoo", [anna])
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    shown = await anna.wait_for(lambda m: m.has_photo, chat=group)
    for words in ("thanks!", f"thanks {BOT}"):
        asked = await anna.reply_after(await anna.send_text(words, chat=group, reply_to=shown), chat=group)
        assert question in asked.text
        assert [draw in asked.buttons[0]["text"], stop in asked.buttons[1]["text"]] == [True, True]
        await (await anna.tap(asked, stop)).answered()
        await anna.wait_until(lambda messages, asked=asked: asked not in messages, chat=group)
        assert (await (await anna.tap(asked, draw)).answered())["text"]
    assert await world.active(anna.id) == []
    called = await anna.send_text(f"{BOT} in winter", chat=group, reply_to=shown)
    await anna.reply_after(called, chat=group)
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, bool(job.spec.source)) == ("in winter", True)


async def test_only_who_pressed_sees_the_field_for_new_words(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    group = world.sandbox.group("Zoo", [anna, eve])
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    [job] = await world.active(anna.id)
    await world.failed(job, "moderated_input")
    declined = await anna.wait_for(lambda m: "safety filter" in m.text, chat=group)
    await (await eve.tap(declined, "Edit prompt")).answered()
    asked = await eve.wait_for(lambda m: "new description" in m.text, chat=group)
    assert asked.markup["selective"] is True
    assert [e["user"]["id"] for e in asked.content["entities"] if e["type"] == "text_mention"] == [eve.id]


@pytest.mark.parametrize(("is_group", "longest"), [(True, 2.0), (False, 60.0)])
async def test_a_refusal_in_a_group_comes_at_once_or_not_at_all(
    world: World, is_group: bool, longest: float
) -> None:
    anna = world.sandbox.person("Anna")
    asked = await anna.send_text("/start")
    if is_group:
        group = world.sandbox.group("Zoo", [anna])
        asked = await anna.send_text("/imagine", chat=group)
    await world.settled()
    gates = _NoTurn()
    bot, outlook = make_bot(world.settings, gates), Outlook(world.app)
    asking = Asking(world.app, bot, Chats(world.app, bot), world.messages, outlook)
    await asking.refuse(types.Message.model_validate(asked.as_json()), "no")
    assert max(gates.waits) == longest
    assert asked.chat.messages[max(asked.chat.messages)].text != "no"


class _NoTurn(OpenGates):
    """A limiter whose gates stay closed; how long a call would have waited for them."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def take(self, gates: Any, *, wait: float = 0.0, spread: bool = False) -> Any:
        self.waits += [wait, *(gate.patience for gate in gates if gate.patience is not None)]
        return Refusal(gates[0].name, 300.0)


async def test_empty_imagine_asks_for_words(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text("/imagine", chat=group)
    assert "Describe in a few words" in (await anna.reply_after(asked, chat=group)).text
