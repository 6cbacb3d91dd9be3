"""Who is who in groups: shared senders, groups that become supergroups, lists that show whose they are."""

from __future__ import annotations

import pytest

from src.telegram.placeholders import NotYet
from tests.bot.bot_world import World, image

BOT = "@imagebot_sandbox_bot"


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"max_active_per_user": 2}


async def test_anonymous_admins_of_two_groups_are_two_people(world: World) -> None:
    ann, bob, eve = (world.sandbox.person(name) for name in ("Ann", "Bob", "Eve"))
    zoo, club = world.sandbox.group("Zoo", [ann, eve]), world.sandbox.group("Club", [bob])
    for words in ("a secret fox", "a secret bear"):
        asked = await ann.send_text(f"/imagine {words}", chat=zoo, as_chat=zoo)
        placeholder = await ann.reply_after(asked, chat=zoo)
    listed = await bob.reply_after(await bob.send_text(f"/queue{BOT}", chat=club, as_chat=club), chat=club)
    assert "secret" not in listed.text
    assert "no pictures" in listed.text
    # Zoo's two pictures limit nobody in the club.
    await bob.reply_after(await bob.send_text("/imagine a wolf", chat=club, as_chat=club), chat=club)
    cancelled = await bob.send_text(f"/cancel{BOT}", chat=club, as_chat=club)
    assert (await bob.reply_after(cancelled, chat=club)).text == "Cancelled."
    owner = f"{zoo.id}@{zoo.id}"
    assert [job.spec.prompt for job in await world.app.ledger.active(owner)] == [
        "a secret fox",
        "a secret bear",
    ]
    assert "someone else" in (await (await eve.tap(placeholder, "Cancel")).answered())["text"]
    assert (await (await ann.tap(placeholder, "Cancel")).answered())["text"] == "Cancelled."
    assert [job.spec.prompt for job in await world.app.ledger.active(owner)] == ["a secret fox"]


async def test_an_anonymous_admin_has_list_words_and_settings(world: World) -> None:
    ann = world.sandbox.person("Ann")
    zoo = world.sandbox.group("Zoo", [ann])
    await ann.reply_after(await ann.send_text("/imagine a fox", chat=zoo, as_chat=zoo), chat=zoo)
    listed = await ann.reply_after(await ann.send_text(f"/queue{BOT}", chat=zoo, as_chat=zoo), chat=zoo)
    [job] = await world.app.ledger.active(f"{zoo.id}@{zoo.id}")
    await world.failed(job, "moderated_input")
    await (await ann.tap(listed, "Refresh")).answered()
    await ann.wait_for(lambda m: m is listed and "no pictures" in m.text, chat=zoo)
    declined = await ann.wait_for(lambda m: "safety filter" in m.text, chat=zoo)
    await (await ann.tap(declined, "Edit prompt")).answered()
    question = await ann.wait_for(lambda m: "new description" in m.text, chat=zoo)
    await ann.reply_after(
        await ann.send_text("a nicer fox", chat=zoo, as_chat=zoo, reply_to=question), chat=zoo
    )
    shown = await ann.reply_after(await ann.send_text(f"/settings{BOT}", chat=zoo, as_chat=zoo), chat=zoo)
    await (await ann.tap(shown, "s|count|2")).answered()
    await ann.wait_for(lambda m: m is shown and "at once: 2" in m.text, chat=zoo)
    assert (await world.app.ledger.person(str(ann.id))).count == 1
    [job] = await world.app.ledger.active(f"{zoo.id}@{zoo.id}")
    assert job.spec.prompt == "a nicer fox"


async def test_channels_are_people_of_their_own(world: World) -> None:
    ann, bob = world.sandbox.person("Ann"), world.sandbox.person("Bob")
    zoo = world.sandbox.group("Zoo", [ann, bob])
    news, sport = (world.sandbox.group(name, [], type="channel") for name in ("News", "Sport"))
    asked = await bob.send_text("/imagine a fox", chat=zoo, as_chat=news)
    placeholder = await bob.reply_after(asked, chat=zoo)
    nothing = await bob.send_text(f"/cancel{BOT}", chat=zoo, as_chat=sport)
    assert "nothing to cancel" in (await bob.reply_after(nothing, chat=zoo)).text
    assert "someone else" in (await (await bob.tap(placeholder, "Cancel")).answered())["text"]
    cancelled = await bob.send_text(f"/cancel{BOT}", chat=zoo, as_chat=news)
    assert (await bob.reply_after(cancelled, chat=zoo)).text == "Cancelled."


async def test_a_group_that_moves_keeps_everything(world: World) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna], type="group")
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    await world.app.ledger.choose(str(anna.id), count=2)
    [fox] = await world.active(anna.id)
    await world.finished(fox, image())
    shown = await anna.wait_for(lambda m: m.has_photo, chat=group)
    await world.app.ledger.choose(str(anna.id), count=1)
    await anna.reply_after(await anna.send_text("/imagine a bear", chat=group), chat=group)
    [bear] = await world.active(anna.id)
    moved = world.sandbox.migrate(group)
    # Messages of the new group have the numbers of the old one's.
    other = await anna.reply_after(await anna.send_text("/imagine a wolf", chat=moved), chat=moved)
    listed = await anna.reply_after(await anna.send_text(f"/queue{BOT}", chat=moved), chat=moved)
    assert "a bear" in listed.text
    await world.finished(bear, image())
    [picture] = [m for m in moved.messages.values() if m.has_photo]
    assert not other.has_photo
    assert picture.buttons
    known = await anna.reply_after(await anna.send_text(f"/history{BOT}", chat=moved), chat=moved)
    await (await anna.tap(known, "▶️")).answered()
    await anna.wait_until(lambda _: "2 / 2" in [b["text"] for b in known.buttons], chat=moved)
    await (await anna.tap(known, "Open")).answered()
    await anna.wait_until(lambda ms: sum(m.has_photo for m in ms) == 3, chat=moved)
    # A button of the old group's, which people still see above.
    await (await anna.tap(shown, "Again")).answered()
    again = (await world.active(anna.id))[-1]
    assert (again.spec.prompt, again.spec.chat) == ("a fox", moved.id)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_move_that_nobody_told_us_of(world: World, count: int) -> None:
    anna = world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [anna], type="group")
    await world.app.ledger.choose(str(anna.id), count=count)
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=group), chat=group)
    job, *others = await world.active(anna.id)
    world.sandbox.bot.updates.allowed = {"callback_query"}
    moved = world.sandbox.migrate(group)
    request, before = await world.request_of(job), set(moved.messages)
    counts: tuple[int, ...] = ()
    if others:
        # One tile alone is no album: it goes, and all is sent anew.
        with pytest.raises(NotYet):
            await world.messages.placeholders.replace(job, request)
        assert all(m.deleted for n, m in moved.messages.items() if n not in before)
    else:
        counts = (await world.messages.placeholders.replace(job, request),)
        assert counts[0] in moved.messages
    request = await world.request_of(job)
    assert (request.chat, request.messages, request.reply_to) == (moved.id, counts, None)
    for one in (job, *others):
        await world.finished(one, image())
    assert (await world.request_of(job)).chat == moved.id


async def test_a_list_in_a_group_is_of_who_asked_and_of_that_group(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    zoo = world.sandbox.group("Zoo", [anna, eve])
    await anna.reply_after(await anna.send_text("a private bear"))
    placeholder = await anna.reply_after(await anna.send_text("/imagine a fox", chat=zoo), chat=zoo)
    listed = await anna.reply_after(await anna.send_text(f"/queue{BOT}", chat=zoo), chat=zoo)
    assert "a fox" in listed.text
    assert "private" not in listed.text
    for data in ("q:look:", listed.buttons[0]["callback_data"]):
        assert "someone else" in (await (await eve.tap(listed, data)).answered())["text"]
    assert (await (await anna.tap(listed, "✖️ 1")).answered())["text"] == "Cancelled."
    await anna.wait_for(lambda m: m is listed and "no pictures" in m.text, chat=zoo)
    assert placeholder.message_id != listed.message_id
    again = await anna.send_text(f"/cancel{BOT}", chat=zoo)
    assert "nothing to cancel" in (await anna.reply_after(again, chat=zoo)).text
    [job] = await world.active(anna.id)
    assert job.spec.prompt == "a private bear"


async def test_settings_are_of_who_taps(world: World) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Ева", language_code="ru")
    zoo = world.sandbox.group("Zoo", [anna, eve])
    shown = await anna.reply_after(await anna.send_text(f"/settings{BOT}", chat=zoo), chat=zoo)
    assert "Сохранено" in (await (await eve.tap(shown, "s|count|3")).answered())["text"]
    await (await anna.tap(shown, "s|count|2")).answered()
    await anna.wait_for(lambda m: m is shown and "at once: 2" in m.text, chat=zoo)
    assert (await world.app.ledger.person(str(eve.id))).count == 3
