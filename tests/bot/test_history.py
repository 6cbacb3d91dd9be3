"""/history as a person has it: turning over, favourites, search, delete; first tap to last, in both languages."""

from __future__ import annotations

import pytest

from src.jobs import Job, keys
from src.sandbox.telegram import Message, Person
from src.telegram.keyboards import OfGallery
from tests.bot.bot_world import World, image

SAID = {
    "en": {
        "none": "No pictures yet",
        "star": "⭐ Favourite",
        "kept": "among your favourites",
        "unstar": "Not any more",
        "only": "⭐ Favourites",
        "no stars": "No favourites yet",
        "all": "All",
        "find": "Search",
        "ask": "Which pictures?",
        "nothing": "No picture of yours",
        "delete": "Delete",
        "sure": "Yes, delete",
        "deleted": "Deleted here",
        "stop": "Never mind",
    },
    "ru": {
        "none": "Пока ни одной",
        "star": "⭐ В избранное",
        "kept": "в избранном",
        "unstar": "Из избранного",
        "only": "⭐ Избранное",
        "no stars": "пока пусто",
        "all": "Все",
        "find": "Поиск",
        "ask": "Какие картинки?",
        "nothing": "у вас нет",
        "delete": "Удалить",
        "sure": "Да, удалить",
        "deleted": "Удалено",
        "stop": "Не надо",
    },
}
COLOURS = ("red", "green", "blue")


async def drawn(world: World, person: Person, *words: str) -> list[tuple[Job, Message]]:
    found = []
    for said, colour in zip(words, COLOURS, strict=False):
        shown = await person.reply_after(await person.send_text(said))
        [job] = await world.active(person.id)
        await world.finished(job, image(colour=colour))
        found.append((job, shown))
    return found


async def pressed(world: World, person: Person, message: Message, button: str) -> str:
    answer = await (await person.tap(message, button)).answered()
    await world.settled()
    return str(answer.get("text", ""))


@pytest.mark.parametrize("lang", SAID)
async def test_a_gallery_is_turned_over_kept_searched_and_thinned(world: World, lang: str) -> None:
    say = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    assert say["none"] in (await anna.reply_after(await anna.send_text("/history"))).text
    words = {
        "en": ("a red fox", "a green fox", "a blue owl"),
        "ru": ("рыжий лис", "зелёный лис", "синяя сова"),
    }
    (oldest, first), (middle, second), (newest, third) = await drawn(world, anna, *words[lang])
    gallery = await anna.reply_after(await anna.send_text("/history"))

    def shows(message: Message, place: str) -> bool:
        return (
            gallery.sha256 == message.sha256
            and gallery.buttons[1 if "◀️" in str(gallery.buttons) else 0]["text"] == place
        )

    assert shows(third, "1 / 3")
    assert words[lang][2] in gallery.text
    await pressed(world, anna, gallery, "▶️")
    assert shows(second, "2 / 3")
    await pressed(world, anna, gallery, "▶️")
    assert shows(first, "3 / 3")
    await pressed(world, anna, gallery, "◀️")

    assert say["kept"] in await pressed(world, anna, gallery, say["star"])
    # A tap that is handled again changes nothing.
    star = OfGallery(what="star", kind="all", id=middle.id)
    assert say["kept"] in str(await (await anna.tap_data(gallery, star.pack())).answered())
    await world.settled()
    assert say["unstar"] in str(gallery.buttons)
    assert await world.app.redis.ttl(keys.JOB(middle.id)) == -1
    await pressed(world, anna, gallery, say["only"])
    assert shows(second, "1 / 1")
    await pressed(world, anna, gallery, say["all"])
    await pressed(world, anna, gallery, "▶️")

    await pressed(world, anna, gallery, say["find"])
    await anna.wait_for(lambda m: say["ask"] in m.text)
    found = await anna.reply_after(await anna.send_text(words[lang][2].split()[-1].upper()))
    assert found.sha256 == third.sha256
    assert found.buttons[0]["text"] == "1 / 1"
    assert say["nothing"] in (await anna.reply_after(await anna.send_text("/history zebra"))).text

    await pressed(world, anna, found, say["delete"])
    await pressed(world, anna, found, say["stop"])
    assert await world.app.ledger.job(newest.id) is not None
    await pressed(world, anna, found, say["delete"])
    assert say["deleted"] in await pressed(world, anna, found, say["sure"])
    assert found.deleted
    left = {name async for name in world.app.redis.scan_iter(f"*{newest.id}*")}
    assert left == set()
    assert await world.app.ledger.request(newest.request) is None
    await pressed(world, anna, gallery, "▶️" if "▶️" in str(gallery.buttons) else "◀️")
    assert {b["text"] for b in gallery.buttons} & {"1 / 2", "2 / 2"}

    await world.app.redis.delete(keys.HISTORY(anna.id))
    await pressed(world, anna, gallery, say["only"])
    # Older than pictures are kept: it does not go at once.
    await world.app.redis.hset(keys.JOB(middle.id), "created", 1)
    await pressed(world, anna, gallery, say["unstar"])
    assert gallery.deleted
    assert 86_000 < await world.app.redis.ttl(keys.JOB(middle.id)) <= 86_400
    assert oldest.user == str(anna.id)


async def test_a_picture_of_the_history_has_all_its_buttons(world: World) -> None:
    anna = world.sandbox.person()
    [(job, shown)] = await drawn(world, anna, "a red fox")
    gallery = await anna.reply_after(await anna.send_text("/history"))
    await pressed(world, anna, gallery, "Open")
    again = await anna.wait_for(lambda m: m.has_photo and m.message_id > gallery.message_id)
    assert again.sha256 == shown.sha256
    await pressed(world, anna, again, "⋯")
    await pressed(world, anna, again, "Favourite")
    assert await world.app.ledger.starred(str(anna.id)) == [job.id]
    await pressed(world, anna, again, "Not any more")
    assert await world.app.ledger.starred(str(anna.id)) == []
    await pressed(world, anna, again, "‹ Back")
    await pressed(world, anna, again, "Variation")
    [varied] = await world.active(anna.id)
    assert varied.spec.parent == job.id


async def test_a_picture_telegram_forgot_is_put_anew(world: World) -> None:
    anna = world.sandbox.person()
    pictures = await drawn(world, anna, "a red fox", "a green fox")
    gallery = await anna.reply_after(await anna.send_text("/history"))
    for size in pictures[0][1].content["photo"]:
        world.sandbox.bot.files.pop(size["file_id"])
    await pressed(world, anna, gallery, "▶️")
    assert "a red fox" in gallery.text
    assert gallery.sha256 == pictures[0][1].sha256


async def test_nobody_turns_or_deletes_anothers(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    [(job, _)] = await drawn(world, anna, "a red fox")
    await drawn(world, eve, "an owl")
    own = await eve.reply_after(await eve.send_text("/history"))
    for what in ("sure", "star", "at"):
        await (await eve.tap_data(own, OfGallery(what=what, kind="all", id=job.id).pack())).answered()  # type: ignore[arg-type]
    await world.settled()
    assert await world.app.ledger.job(job.id) is not None
    assert await world.app.ledger.starred(str(eve.id)) == []
    assert "an owl" in own.text
