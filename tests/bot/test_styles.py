"""Styles: an admin makes one in the chat, a person sees it and draws in it, by a button or in the text."""

from __future__ import annotations

import pytest

from src.sandbox.telegram import Message, Person
from tests.bot.bot_world import World, image, png


def _labels(message: Message) -> list[str]:
    return [button["text"] for button in message.buttons]


async def _made(world: World, admin: Person, name: str, words: str, new: str = "New style") -> Message:
    """An admin makes a style: the message that shows it."""
    listed = await admin.reply_after(await admin.send_text("/styles"))
    await (await admin.tap(listed, new)).answered()
    await admin.wait_for(lambda m: m.message_id > listed.message_id)
    await admin.reply_after(await admin.send_text(name))
    return await admin.reply_after(await admin.send_text(words))


@pytest.mark.parametrize(
    ("lang", "new", "bad", "name", "sample", "use", "wish", "drop", "none"),
    [
        ("en", "New style", "letters", "Old film", "Sample", "Draw in this", "in the style Old film", "Delete", "no styles"),
        ("ru", "Новый стиль", "букв", "Старое кино", "Образец", "Рисовать в", "в стиле Старое кино", "Удалить", "пока нет"),
    ],
)  # fmt: skip
async def test_from_an_admins_first_tap_to_a_persons_picture(
    world: World,
    lang: str,
    new: str,
    bad: str,
    name: str,
    sample: str,
    use: str,
    wish: str,
    drop: str,
    none: str,
) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    anna = world.sandbox.person("Anna", language_code=lang)
    nothing = await anna.reply_after(await anna.send_text("/styles"))
    assert none in nothing.text
    assert nothing.buttons == []
    listed = await admin.reply_after(await admin.send_text("/styles"))
    await (await admin.tap(listed, new)).answered()
    await admin.wait_for(lambda m: m.message_id > listed.message_id)
    assert bad in (await admin.reply_after(await admin.send_text("--no | good"))).text
    await admin.reply_after(await admin.send_text(name))
    shown = await admin.reply_after(await admin.send_text("sepia, grain"))
    assert (name in shown.text, "sepia, grain" in shown.text) == (True, True)
    await (await admin.tap(shown, sample)).answered()
    await admin.wait_for(lambda m: m.message_id > shown.message_id)
    photo = await admin.send_photo(png())
    assert (await admin.reply_after(photo)).has_photo

    # Whoever it is shown to sees its picture, and no button of the admins'.
    listed = await anna.reply_after(await anna.send_text("/styles"))
    assert _labels(listed) == [name]
    await (await anna.tap(listed, name)).answered()
    seen = await anna.wait_for(lambda m: m.has_photo)
    assert [use in label for label in _labels(seen)] == [True, False]
    forged = await anna.tap_data(seen, f"y|drop|{name}")
    assert await forged.answered()
    await (await anna.tap(seen, use)).answered()
    await anna.wait_for(lambda m: wish in m.text)
    await anna.reply_after(await anna.send_text("a fox --ar 16:9"))
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.aspect) == ("a fox, sepia, grain", "16:9")
    await world.finished(job, image())
    # What the style adds stands nowhere else.
    assert "a fox, sepia, grain" in anna.messages[-1].text

    await (await admin.tap(shown, drop)).answered()
    await admin.wait_for(lambda m: none in m.text)
    refused = await anna.reply_after(await anna.send_text(f"a bear --style {name}"))
    assert name.split()[0] in refused.text
    assert len(await world.active(anna.id)) == 0


@pytest.mark.parametrize(
    ("lang", "typed", "more", "none", "chosen", "draw"),
    [
        ("en", "--style old FILM", "Advanced", "Style: none", "Style: Old film", "Draw"),
        ("ru", "—стиль old film", "Настроить", "Стиль: нет", "Стиль: Old film", "Нарисовать"),
    ],
)
async def test_a_style_in_the_text_and_behind_advanced(
    world: World, lang: str, typed: str, more: str, none: str, chosen: str, draw: str
) -> None:
    admin = world.sandbox.person("Root", id=77)
    await _made(world, admin, "Old film", "sepia")
    await _made(world, admin, "Comic", "bold lines")
    anna = world.sandbox.person("Anna", language_code=lang)
    await anna.reply_after(await anna.send_text(f"a fox {typed}"))
    dialog = await anna.reply_after(await anna.send_text(f"/create a bear {typed}"))
    await (await anna.tap(dialog, more)).answered()
    assert any(chosen in label for label in _labels(dialog))
    await (await anna.tap(dialog, chosen)).answered()
    await (await anna.tap(dialog, "Comic")).answered()
    await (await anna.tap(dialog, draw)).answered()
    dialog = await anna.reply_after(await anna.send_text("/create a wolf"))
    await (await anna.tap(dialog, more)).answered()
    assert any(none in label for label in _labels(dialog))
    assert [job.spec.prompt for job in await world.active(anna.id)] == ["a fox, sepia", "a bear, bold lines"]
