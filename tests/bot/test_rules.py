"""What a group's admins allow there: everybody may look, they choose."""

from __future__ import annotations

import pytest

from src.jobs import keys
from src.sandbox.telegram import Chat, Message, Person
from tests.bot.bot_world import World, image, png

BOT = "@imagebot_sandbox_bot"


async def opened(person: Person, group: Chat) -> Message:
    return await person.reply_after(await person.send_text("/rules", chat=group), chat=group)


async def asks(world: World, person: Person, group: Chat, words: str = "/imagine a fox") -> Message:
    answer = await person.reply_after(await person.send_text(words, chat=group), chat=group)
    await world.settled()
    return answer


@pytest.fixture
def group(world: World) -> tuple[Chat, Person, Person]:
    """A group, who made it, and somebody in it."""
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Борис", language_code="ru")
    return world.sandbox.group("Zoo", [anna, boris]), anna, boris


async def test_admins_choose_the_language_and_others_look(
    world: World, group: tuple[Chat, Person, Person]
) -> None:
    zoo, anna, boris = group
    shown = await opened(boris, zoo)
    assert "Правила этой группы" in shown.text
    assert "только её админы" in (await (await boris.tap(shown, "English")).answered())["text"]
    await (await anna.tap(shown, "English")).answered()
    await world.settled()
    assert "Rules of this group" in shown.text
    assert shown.button("u:lang:en")["text"] != "English"
    assert "In a group I draw" in (await asks(world, boris, zoo, f"/start{BOT}")).text
    # In private everybody has their own.
    assert "/rules — для групп" in (await boris.reply_after(await boris.send_text("/rules"))).text
    await (await anna.tap(shown, "Each their own")).answered()
    assert "В группе я рисую" in (await asks(world, boris, zoo, f"/start{BOT}")).text


async def test_only_admins_ask_and_nothing_is_changed(
    world: World, group: tuple[Chat, Person, Person]
) -> None:
    zoo, anna, boris = group
    shown = await opened(anna, zoo)
    await (await anna.tap(shown, "Only admins ask")).answered()
    assert "только её админы" in (await asks(world, boris, zoo)).text
    assert await world.active(boris.id) == []
    await asks(world, anna, zoo)
    assert len(await world.active(anna.id)) == 1
    await (await anna.tap(shown, "Changing pictures")).answered()
    photo = await anna.send_photo(png(), chat=zoo)
    told = await anna.reply_after(await anna.send_text("/imagine snow", chat=zoo, reply_to=photo), chat=zoo)
    assert "aren’t changed" in told.text
    assert len(await world.active(anna.id)) == 1
    await (await anna.tap(shown, "Only admins ask")).answered()
    await asks(world, boris, zoo)
    assert len(await world.active(boris.id)) == 1


async def test_pictures_are_covered(world: World, group: tuple[Chat, Person, Person]) -> None:
    zoo, anna, _ = group
    await (await anna.tap(await opened(anna, zoo), "Covered")).answered()
    placeholder = await asks(world, anna, zoo)
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    assert placeholder.content["has_media_spoiler"]
    gallery = await asks(world, anna, zoo, "/history")
    assert gallery.content["has_media_spoiler"]
    await (await anna.tap(gallery, "Favourite")).answered()
    assert gallery.content["has_media_spoiler"]


async def test_so_many_an_hour_for_each_and_for_all(world: World, group: tuple[Chat, Person, Person]) -> None:
    zoo, anna, boris = group
    shown = await opened(anna, zoo)
    for limit in ("👤 3", "👥 3"):
        await (await anna.tap(shown, limit)).answered()
    await world.app.ledger.choose(str(boris.id), count=4)
    assert "не больше 3 картинок" in (await asks(world, boris, zoo)).text
    await world.app.ledger.choose(str(boris.id), count=3)
    await asks(world, boris, zoo)
    jobs = await world.active(boris.id)
    assert len(jobs) == 3
    assert "Вы уже попросили" in (await asks(world, boris, zoo)).text
    assert "allow in an hour have been asked for" in (await asks(world, anna, zoo)).text
    # What does not count comes back.
    await world.failed(jobs[0], "moderated_input")
    await asks(world, anna, zoo)
    assert len(await world.active(anna.id)) == 1
    assert "allow in an hour have been asked for" in (await asks(world, anna, zoo)).text
    await world.app.redis.zadd(keys.HERE(zoo.id, "all"), {jobs[1].id: 1})
    await asks(world, anna, zoo)
    assert len(await world.active(anna.id)) == 2
