"""What a group refuses is told in words, and nothing is drawn that nobody could see."""

from __future__ import annotations

from typing import Any

import pytest

from src.jobs import keys
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image

BOT = "@imagebot_sandbox_bot"


def words(lang: str, key: str) -> str:
    return get_texts().get(lang, key)


def uncounted(lang: str, key: str) -> str:
    return f"{words(lang, key)}\n{words(lang, 'counts-not')}"


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_no_pictures_is_said_before_any_is_drawn(world: World, lang: str) -> None:
    anna = world.sandbox.person("Anna", language_code=lang)
    group = world.sandbox.group("Zoo", [anna])
    group.permissions = {"can_send_photos": False, "can_send_documents": False}
    asked = await anna.send_text("/imagine a fox", chat=group)
    said = await anna.reply_after(asked, chat=group)
    assert (said.text, said.reply_to) == (uncounted(lang, "refused-no-pictures"), asked.message_id)
    assert await world.active(anna.id) == []
    # What was just allowed is soon known of.
    assert 0 < await world.app.redis.ttl(keys.RIGHTS(group.id)) <= 10
    world.sandbox.set_role(group, None, "administrator", by=anna)
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    assert len(await world.active(anna.id)) == 1


async def test_where_photos_are_forbidden_it_is_one_file(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    group.permissions["can_send_photos"] = False
    await world.app.ledger.choose(str(anna.id), count=3)
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    shown = await anna.wait_for(lambda m: "document" in m.content, chat=group)
    assert "Cancel" not in str(shown.buttons)


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_who_may_not_write_says_so_in_private(world: World, lang: str) -> None:
    anna, eve = (world.sandbox.person(name, language_code=lang) for name in ("Anna", "Eve"))
    started = await anna.send_text("/start")
    greeting = await anna.reply_after(started)
    group = world.sandbox.group("Zoo", [anna, eve])
    world.sandbox.set_role(group, None, "restricted", by=anna, can_send_messages=False)
    await eve.send_text("/imagine a bear", chat=group)
    await anna.send_text("/imagine a fox", chat=group)
    assert (await anna.reply_after(greeting)).text == uncounted(lang, "refused-no-text")
    assert await world.active(anna.id) == await world.active(eve.id) == []
    assert not [m for m in group.messages.values() if m.from_bot]


async def test_slow_mode_allows_one_picture_at_a_time(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    group.slow_mode = 3600
    await world.app.ledger.choose(str(anna.id), count=4)
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    await anna.wait_for(lambda m: m.has_photo, chat=group)


async def test_a_closed_topic_is_told_in_private_and_costs_nothing(world: World) -> None:
    anna = world.sandbox.person("Anna")
    greeting = await anna.reply_after(await anna.send_text("/start"))
    group = world.sandbox.group("Zoo", [anna], topics=["art"])
    group.closed_topics.add(2)
    await anna.send_text("/imagine a fox", chat=group, thread_id=2)
    assert (await anna.reply_after(greeting)).text == words("en", "failed-no-rights")
    assert await world.active(anna.id) == [] or all(job.ended for job in await world.active(anna.id))


async def test_an_album_refused_is_told_though_the_rights_were_not_known(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna])
    await world.app.ledger.choose(str(anna.id), count=2)
    refused: dict[str, Any] = {"description": "Bad Request: not enough rights to send photos to the chat"}
    world.sandbox.faults.add("400", "sendMediaGroup", chat_id=group.id, times=None, **refused)
    asked = await anna.send_text("/imagine a fox", chat=group)
    said = await anna.reply_after(asked, chat=group)
    assert said.text == words("en", "failed-no-rights")
    assert not said.buttons


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_being_added_says_hello_and_what_is_missing(world: World, lang: str) -> None:
    anna = world.sandbox.person("Anna", language_code=lang)
    group = world.sandbox.group("Zoo", [anna])
    world.sandbox.set_role(group, None, "left", by=anna)
    group.permissions = {"can_send_photos": False, "can_send_documents": False}
    world.sandbox.set_role(group, None, "member", by=anna)
    hello = await anna.wait_for(lambda m: m.from_bot, chat=group)
    assert hello.text == "\n\n".join(words(lang, key) for key in ("start-group", "refused-no-pictures"))


async def test_who_is_removed_draws_nothing_more(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group, other = world.sandbox.group("Zoo", [anna]), world.sandbox.group("Club", [anna])
    for chat in (group, other):
        await anna.reply_after(await anna.send_text("/imagine a fox", chat=chat), chat=chat)
    world.sandbox.set_role(group, None, "kicked", by=anna)
    assert [job.spec.chat for job in await world.active(anna.id) if not job.state.startswith("cancel")] == [
        other.id
    ]
