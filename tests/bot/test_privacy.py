"""What a person is told of their data, gets of it, and has deleted; first tap to last, in both languages."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from src.jobs import State, keys
from src.sandbox.telegram import Message, Person
from src.store.blobs import ORIGINALS
from tests.bot.bot_world import World, image

SAID = {
    "en": {
        "days": "7 d",
        "for": "for 7 days",
        "export": "Send me all",
        "begins": "packing",
        "done": "2 pictures, and all words",
        "already": "a few minutes ago",
        "delete": "Delete all",
        "stop": "Never mind",
        "not": "nothing was deleted",
        "sure": "Yes, delete all",
        "receipt": "Receipt",
        "pictures": "Pictures and their words: 3",
        "cancelled": "cancelled: 1",
        "backups": "the newest is 2 hours old, and the last of them is gone in 7 days",
    },
    "ru": {
        "days": "7 д.",
        "for": "7 дней",
        "export": "Прислать всё",
        "begins": "Собираю",
        "done": "2 картинки, и все слова",
        "already": "несколько минут назад",
        "delete": "Удалить всё",
        "stop": "Не надо",
        "not": "ничего не удалено",
        "sure": "Да, удалить всё",
        "receipt": "Квитанция",
        "pictures": "Картинок и слов к ним: 3",
        "cancelled": "отменено: 1",
        "backups": "новейшей 2 часа, последняя из них исчезнет через 7 дней",
    },
}


async def pressed(world: World, person: Person, message: Message, button: str) -> None:
    await (await person.tap(message, button)).answered()
    await world.settled()


async def drawn(world: World, person: Person, words: str, colour: str) -> str:
    await person.reply_after(await person.send_text(words))
    [job] = await world.active(person.id)
    await world.finished(job, image(colour=colour))
    return job.id


@pytest.mark.parametrize("lang", SAID)
async def test_all_that_is_kept_is_told_sent_and_deleted(world: World, lang: str) -> None:
    say = SAID[lang]
    anna, boris = world.sandbox.person(language_code=lang), world.sandbox.person("Boris")
    first, second = await drawn(world, anna, "a fox", "red"), await drawn(world, anna, "an owl", "blue")
    theirs = await drawn(world, boris, "a bear", "brown")

    told = await anna.reply_after(await anna.send_text("/privacy"))
    await pressed(world, anna, told, say["days"])
    assert say["for"] in told.text
    for job in (first, second):
        assert 6 * 86_400 < await world.app.redis.ttl(keys.JOB(job)) <= 7 * 86_400

    await pressed(world, anna, told, say["export"])
    assert say["begins"] in (await anna.reply_after(told)).text
    file = await anna.wait_for(lambda m: "document" in m.content)
    assert say["done"] in file.text
    with zipfile.ZipFile(io.BytesIO(world.sandbox.bot.store.get_bytes(file.sha256 or ""))) as archive:
        words = json.loads(archive.read("words.json"))
        assert [entry["words"] for entry in words["asked_for"]] == ["an owl", "a fox"]
        assert words["settings"]["keep"] == 7
        names = [entry["file"] for entry in words["asked_for"]]
        assert sorted(archive.namelist()) == sorted([*names, "words.json"])
        assert all(
            archive.read(name)[:3] == b"\xff\xd8\xff" or archive.read(name)[:4] == b"\x89PNG"
            for name in names
        )
    assert say["already"] in (await anna.reply_after(await anna.send_text("/export"))).text

    await world.app.ledger.choose(str(anna.id), blocked=0, tier="first")
    placeholder = await anna.reply_after(await anna.send_text("a wolf"))
    [open_job] = await world.active(anna.id)
    now = await world.app.ledger.now()
    await world.app.redis.hset(keys.BACKUP(), mapping={"at": now - 2 * 3_600_000, "days": 7})
    spent = {day: keys.SPENDER(now // 86_400_000 - day) for day in (0, 1)}
    for name in spent.values():
        await world.app.redis.hset(name, mapping={f"{anna.id} pictures": 1, f"{boris.id} pictures": 2})
        await world.app.redis.expire(name, 1000)
    asked = await anna.reply_after(await anna.send_text("/delete_me"))
    await pressed(world, anna, asked, say["stop"])
    assert say["not"] in asked.text
    assert await world.app.ledger.job(first) is not None

    # What history has no more goes all the same; a time to cool down stays.
    await world.app.redis.zrem(keys.HISTORY(anna.id), (await world.app.ledger.job(first)).request)  # type: ignore[union-attr]
    await world.app.redis.set(keys.COOLING(anna.id), 1, ex=1800)
    await pressed(world, anna, told, say["delete"])
    asked = await anna.wait_for(lambda m: say["sure"] in str(m.buttons))
    await pressed(world, anna, asked, say["sure"])
    for part in ("receipt", "pictures", "cancelled", "backups"):
        assert say[part] in asked.text
    ended = await world.app.ledger.job(open_job.id)
    assert ended is not None
    assert ended.state is State.CANCELLED
    await world.told(ended)
    assert not placeholder.has_photo
    assert 0 < await world.app.redis.ttl(keys.JOB(open_job.id)) <= 600
    left = {name async for name in world.app.redis.scan_iter(f"*:{anna.id}*")}
    assert {name.removeprefix(keys.PREFIX).partition(":")[0] for name in left} == {
        "user",
        "window",
        "cooling",
    }
    assert await world.app.redis.hgetall(keys.USER(anna.id)) == {"blocked": "0", "tier": "first"}
    for job in (first, second):
        assert await world.app.ledger.job(job) is None
        assert await world.app.blobs.get(f"{ORIGINALS}/{job}") is None
    assert await world.app.ledger.job(theirs) is not None
    # Today's stands against the cap.
    assert set(await world.app.redis.hkeys(spent[1])) == {f"{boris.id} pictures"}
    assert f"{anna.id} pictures" in await world.app.redis.hkeys(spent[0])


async def test_in_a_group_nobody_is_told_of_anybodys_data(world: World) -> None:
    anna = world.sandbox.person()
    group = world.sandbox.group("Zoo", [anna])
    said = await anna.send_text(f"/delete_me@{world.sandbox.bot.username}", chat=group)
    assert "between the two of us" in (await anna.reply_after(said, chat=group)).text


async def test_what_outgrows_a_file_comes_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.bot.handlers.privacy._PART_BYTES", 10)
    anna = world.sandbox.person()
    for words, colour in (("a fox", "red"), ("an owl", "blue")):
        await drawn(world, anna, words, colour)
    await anna.send_text("/export")
    await anna.wait_until(lambda messages: sum("document" in m.content for m in messages) == 2)
    parts = [m for m in anna.messages if "document" in m.content]
    assert ["Part 1" in parts[0].text, "That’s all" in parts[1].text] == [True, True]
