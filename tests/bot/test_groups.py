"""Groups and topics: the bot speaks only when spoken to."""

from __future__ import annotations

from tests.bot.bot_world import World, image, png

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


async def test_empty_imagine_asks_for_words(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text("/imagine", chat=group)
    assert "Describe in a few words" in (await anna.reply_after(asked, chat=group)).text


async def test_a_group_that_moves_keeps_its_picture(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna], type="group")
    asked = await anna.send_text("/imagine a fox", chat=group)
    await anna.reply_after(asked, chat=group)
    [job] = await world.active(anna.id)
    moved = world.sandbox.migrate(group)
    await world.finished(job, image())
    shown = await anna.wait_for(lambda m: m.has_photo, chat=moved)
    assert len([m for m in moved.messages.values() if m.from_bot]) == 1
    assert shown.buttons
