"""A picture is shared by a link, and whoever opens it has one like it; first tap to last, in both languages."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from src.bot import styles
from src.sandbox.telegram import Message, Person
from src.telegram.keyboards import OfShared
from tests.bot.bot_world import World, image, png

SAID = {
    "en": {
        "share": "Share",
        "like": "Make one like it",
        "words": "Edit prompt",
        "back": "Take it back",
        "taken": "shows nothing",
        "gone": "not shared any more",
        "drawing": "Drawing",
        "ask": "new description",
    },
    "ru": {
        "share": "Поделиться",
        "like": "Сделать такую же",
        "words": "Другие слова",
        "back": "Закрыть ссылку",
        "taken": "ничего не показывает",
        "gone": "больше не делятся",
        "drawing": "Рисую",
        "ask": "новое описание",
    },
}


async def pressed(world: World, person: Person, message: Message, button: str) -> str:
    answer = await (await person.tap(message, button)).answered()
    await world.settled()
    return str(answer.get("text", ""))


@pytest.mark.parametrize("lang", SAID)
async def test_a_link_shows_the_picture_and_makes_one_like_it(world: World, lang: str) -> None:
    say = SAID[lang]
    anna, boris = (
        world.sandbox.person("Anna", language_code=lang),
        world.sandbox.person("Boris", language_code=lang),
    )
    shown = await anna.reply_after(await anna.send_text("a red fox"))
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    # Nobody sees it before it is shared, though they guess its number.
    assert say["gone"] in (await boris.reply_after(await boris.send_text(f"/start like_{job.id}"))).text

    await pressed(world, anna, shown, "⋯")
    await pressed(world, anna, shown, say["share"])
    told = await anna.wait_for(lambda m: "?start=like_" in m.text)
    link = re.search(r"https://t\.me/\S+", told.text)
    assert link is not None
    sends = next(b["url"] for b in told.buttons if "url" in b)
    assert parse_qs(urlsplit(sends).query)["url"] == [link[0]]
    [payload] = parse_qs(urlsplit(link[0]).query)["start"]

    seen = await boris.reply_after(await boris.send_text(f"/start {payload}"))
    assert seen.sha256 == shown.sha256
    assert "a red fox" in seen.text
    assert say["drawing"] in await pressed(world, boris, seen, say["like"])
    [like] = await world.active(boris.id)
    assert (like.spec.prompt, like.spec.source, like.user) == ("a red fox", None, str(boris.id))
    await world.finished(like, image())

    await pressed(world, boris, seen, say["words"])
    assert say["ask"] in (await boris.wait_for(lambda m: say["ask"] in m.text)).text
    await boris.reply_after(await boris.send_text("a blue fox"))
    [other] = await world.active(boris.id)
    assert other.spec.prompt == "a blue fox"

    for what in ("share", "take back"):
        await (await boris.tap_data(seen, OfShared(what=what, id=job.id).pack())).answered()  # type: ignore[arg-type]
    await pressed(world, anna, told, say["back"])
    assert say["taken"] in told.text
    assert say["gone"] in await pressed(world, boris, seen, say["like"])
    assert say["gone"] in (await boris.reply_after(await boris.send_text(f"/start {payload}"))).text


async def test_one_like_a_changed_photo_begins_with_what_is_shown(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    shown = await anna.reply_after(await anna.send_photo(png(), "make it blue"))
    [job] = await world.active(anna.id)
    await world.finished(job, image(colour="blue"))
    await (await anna.tap_data(shown, OfShared(what="share", id=job.id).pack())).answered()
    seen = await boris.reply_after(await boris.send_text(f"/start like_{job.id}"))
    await pressed(world, boris, seen, "Make one like it")
    [like] = await world.active(boris.id)
    assert like.spec.source == shown.media["file_id"]


@pytest.mark.parametrize(
    ("lang", "name", "use"), [("en", "retro", "Draw in this"), ("ru", "Старое кино", "Рисовать в")]
)
async def test_a_link_shows_a_style(world: World, lang: str, name: str, use: str) -> None:
    await styles.save(world.app, styles.Style(name, "sepia, grain"))
    anna, boris = (
        world.sandbox.person("Anna", language_code=lang),
        world.sandbox.person("Boris", language_code=lang),
    )
    listed = await anna.reply_after(await anna.send_text("/styles"))
    await pressed(world, anna, listed, name)
    shown = await anna.wait_for(lambda m: "sepia" in m.text and m.message_id > listed.message_id)
    sends = next(b["url"] for b in shown.buttons if "url" in b)
    [link] = parse_qs(urlsplit(sends).query)["url"]
    [payload] = parse_qs(urlsplit(link).query)["start"]
    seen = await boris.reply_after(await boris.send_text(f"/start {payload}"))
    assert "sepia, grain" in seen.text
    await pressed(world, boris, seen, use)
    await boris.reply_after(await boris.send_text("a fox"))
    [job] = await world.active(boris.id)
    assert "sepia" in job.spec.prompt
    gone = await boris.reply_after(await boris.send_text("/start style_of-the-past"))
    assert name in str(gone.buttons)
