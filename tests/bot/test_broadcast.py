"""A notice to everybody: written, seen and let go by an admin; sent once, also where its process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from src.bot import broadcasting
from src.bot.broadcasting import Broadcasting, Notice
from src.jobs import keys
from src.limits import Gate, Refusal
from src.ops import journal
from src.sandbox.telegram import Message, Person
from src.telegram.client import make_bot
from tests.bot.bot_world import World, png

NOTICE = Notice({"en": {"text": "News!", "entities": []}})
OTHER = Notice({"en": {"text": "Others!", "entities": []}})


async def _come(world: World, *names: str) -> list[Person]:
    people = [world.sandbox.person(name) for name in names]
    for person in people:
        await person.reply_after(await person.send_text("/start"))
    return people


def _news(person: Person) -> int:
    return sum(message.text == "News!" for message in person.messages)


async def _answered(world: World, admin: Person, message: Message, button: str) -> None:
    await (await admin.tap(message, button)).answered()
    await world.settled()


@pytest.mark.parametrize(
    ("lang", "english", "photo", "skip", "buttons", "sure", "send", "running", "look", "done"),
    [
        ("en", "the English text", "Send a photo", "Skip", "one a line", "to 5 people", "Send to", "On its way: sent to 0 of 5", "Refresh",
         "gone out: sent to 2 of 4, left 0, blocked the bot 2, failed 0"),
        ("ru", "английский текст", "Пришлите фото", "Пропустить", "по одной", "Отправить 5 людям", "всем", "Рассылается: отправлено 0 из 5", "Обновить",
         "Разослано: отправлено 2 из 4, осталось 0, заблокировали бота 2, не удалось 0"),
    ],
)  # fmt: skip
async def test_from_the_first_word_to_the_count(
    world: World,
    lang: str,
    english: str,
    photo: str,
    skip: str,
    buttons: str,
    sure: str,
    send: str,
    running: str,
    look: str,
    done: str,
) -> None:
    anna, boris, eve = await _come(world, "Anna", "Boris", "Eve")
    await world.app.ledger.choose(str(boris.id), lang="ru")
    await world.app.ledger.choose(str(eve.id), blocked=1)
    carl = world.sandbox.person("Carl")
    await carl.block()
    await world.settled()
    # Carl has blocked the bot while nobody looked; 999 never was.
    await world.app.redis.zadd(keys.PEOPLE(), {str(carl.id): 1, "999": 1})
    admin = world.sandbox.person("Root", id=77, language_code=lang)

    first = await admin.reply_after(await admin.send_text("/broadcast"))
    await world.settled()
    await world.app.redis.zrem(keys.PEOPLE(), "77")
    assert len(first.buttons) == 1
    asked = await admin.reply_after(await admin.send_text("Новые цвета"))
    assert english in asked.text
    asked = await admin.reply_after(await admin.send_text("New colours"))
    assert photo in asked.text
    assert (await admin.reply_after(await admin.send_text("no photo"))).text == asked.text
    asked = await admin.reply_after(await admin.send_photo(png()))
    assert buttons in asked.text
    assert buttons in (await admin.reply_after(await admin.send_text("Новости | http://bad"))).text
    written = await admin.send_text("Новости | News | https://t.me/example")
    question = await admin.wait_for(lambda m: sure in m.text)
    seen = [m for m in admin.messages if m.message_id > written.message_id and m.has_photo]
    assert [(m.text, m.buttons[0]["text"]) for m in seen] == [
        ("New colours", "News"),
        ("Новые цвета", "Новости"),
    ]
    await _answered(world, admin, question, send)
    status = await admin.wait_for(lambda m: running in m.text)

    await Broadcasting(world.app, world.bot).send()
    for person, text, label in ((anna, "New colours", "News"), (boris, "Новые цвета", "Новости")):
        [got] = [m for m in person.messages if m.has_photo]
        assert (got.text, got.buttons[0]["text"]) == (text, label)
        assert got.buttons[0]["url"] == "https://t.me/example"
    assert not [m for m in eve.messages if m.has_photo]
    assert [done in m.text for m in admin.messages][-1]
    await _answered(world, admin, status, look)
    assert done in status.text
    assert status.buttons == []
    assert set(await world.app.redis.zrange(keys.PEOPLE(), 0, -1)) == {str(p.id) for p in (anna, boris, eve)}
    assert (
        "Новые цвета" in (await admin.reply_after(await admin.send_text("/journal"))).text
        or "New colours" in admin.messages[-1].text
    )

    # Another may be written now, and left.
    await world.settled()
    first = await admin.reply_after(await admin.send_text("/broadcast"))
    await admin.reply_after(await admin.send_text("Ещё"))
    asked = await admin.wait_for(lambda m: english in m.text)
    await _answered(world, admin, asked, skip)
    before = await broadcasting.progress(world.app)
    await (await admin.tap(first, first.buttons[0]["text"])).answered()
    assert await broadcasting.progress(world.app) == before
    assert (await (await anna.tap_data(anna.messages[0], "bc:send:")).answered())["text"]


async def test_killed_stopped_and_gone_on_with_everybody_gets_it(world: World) -> None:
    people = await _come(world, *"abcde")
    await broadcasting.start(world.app, "a", 77, NOTICE)
    assert not await broadcasting.start(world.app, "b", 77, NOTICE)
    audience = await world.app.redis.zrange(keys.AUDIENCE(), 0, -1)
    third = next(person for person in people if str(person.id) == audience[2])
    # Telegram has sent it to the third when the process is killed, which has not heard so.
    world.sandbox.faults.add("timeout_after_commit", "sendMessage", chat_id=third.id, seconds=60)
    killed = asyncio.create_task(Broadcasting(world.app, world.bot).send())
    await third.wait_for(lambda m: m.text == "News!")
    killed.cancel()
    await asyncio.wait({killed})
    assert sum(_news(person) for person in people) == 3

    assert await broadcasting.steer(world.app, "a", "stop")
    await Broadcasting(world.app, world.bot).send()
    assert sum(_news(person) for person in people) == 3
    # Whoever asks to be forgotten meanwhile is sent nothing.
    gone = next(person for person in people if str(person.id) == audience[4])
    sure = await gone.reply_after(await gone.send_text("/delete_me"))
    await _answered(world, gone, sure, "Yes, delete all")
    assert await broadcasting.steer(world.app, "a", "go on")
    await Broadcasting(world.app, world.bot).send()
    got = {person.id: _news(person) for person in people}
    assert got == {int(user): 1 for user in audience} | {third.id: 2, gone.id: 0}
    now = await broadcasting.progress(world.app)
    assert now is not None
    assert (now.state, now.sent, now.left) == ("done", 4, 0)
    # Whoever began it is handled again, as after a kill: it has been sent.
    assert await broadcasting.start(world.app, "a", 77, NOTICE)
    assert await broadcasting.progress(world.app) == now


async def test_a_draft_waits_for_the_broadcast_of_another(world: World) -> None:
    (anna,) = await _come(world, "Anna")
    admin = world.sandbox.person("Root", id=77)
    await admin.reply_after(await admin.send_text("/broadcast"))
    await world.settled()
    # The question that follows is lost, so the text is handled again: it stays the Russian one.
    world.sandbox.faults.add("reset", "sendMessage", chat_id=admin.id)
    await admin.send_text("Ещё")
    for part in ("English text", "Send a photo", "one a line"):
        asked = await admin.wait_for(lambda m, part=part: part in m.text)  # type: ignore[misc]
        await _answered(world, admin, asked, "Skip")
    sure = await admin.wait_for(lambda m: "to 2 people" in m.text)
    await broadcasting.start(world.app, "a", 78, NOTICE)
    await _answered(world, admin, sure, "Send to")
    await admin.wait_for(lambda m: "Yours is kept" in m.text)
    status = await admin.wait_for(lambda m: "On its way" in m.text)
    await _answered(world, admin, status, "Stop")
    await _answered(world, admin, sure, "Send to")
    assert (await broadcasting.progress(world.app) or status).state == "stopped"
    await _answered(world, admin, status, "Drop it")
    assert ("Dropped: sent to 0" in status.text, status.buttons) == (True, [])
    await _answered(world, admin, sure, "Send to")
    # What is about the one before it steers nothing.
    assert not await broadcasting.steer(world.app, "a", "stop")
    await Broadcasting(world.app, world.bot).send()
    assert [m.text for m in anna.messages[-1:]] == ["Ещё"]
    acts = [(entry.what, entry.how) for entry in (await journal.page(world.app, 0))[0]]
    assert acts == [("broadcast", "Ещё"), ("no_broadcast", ""), ("stop", "")]


class Meanwhile:
    """A limiter that lets something be done before the first message to one chat."""

    def __init__(self, chat: int, act: Callable[[], Awaitable[None]]) -> None:
        self._chat = f"chat:{chat}"
        self._act: Callable[[], Awaitable[None]] | None = act

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, spread: bool = False) -> None:
        if gates[-1].name == self._chat and self._act is not None:
            act, self._act = self._act, None
            await act()


@pytest.mark.parametrize("amid", [True, False])
async def test_what_another_sends_meanwhile_is_another_broadcast(world: World, amid: bool) -> None:
    people = await _come(world, *"abc")
    by = world.sandbox.person("Root", id=77)
    await by.reply_after(await by.send_text("/start"))
    await world.app.redis.zrem(keys.PEOPLE(), "77")
    await broadcasting.start(world.app, "a", by.id, NOTICE)
    first, *_ = await world.app.redis.zrange(keys.AUDIENCE(), 0, -1)

    async def another() -> None:
        # Amid it: an admin drops it and another sends theirs; at its end: another process was quicker.
        if amid:
            await broadcasting.steer(world.app, "a", "stop")
            await broadcasting.steer(world.app, "a", "drop")
        else:
            await world.app.redis.hset(keys.BROADCAST(), "state", "done")
        assert await broadcasting.start(world.app, "b", by.id, OTHER)

    limiter: Any = Meanwhile(int(first) if amid else by.id, another)
    bot: Any = make_bot(world.settings, limiter)
    await Broadcasting(world.app, bot).send()
    await bot.session.close()
    assert sum(_news(person) for person in people) == (1 if amid else 3)
    now = await broadcasting.progress(world.app)
    assert now is not None
    assert (now.number, now.state, now.left) == ("b", "running", 3)
    await Broadcasting(world.app, world.bot).send()
    assert [person.messages[-1].text for person in people] == ["Others!"] * 3


class OneBusyChat:
    """A limiter where one chat is too busy the first time; it remembers which gates were passed without waiting."""

    def __init__(self, chat: str) -> None:
        self._busy: str | None = f"chat:{chat}"
        self.passed: list[Gate] = []

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, spread: bool = False) -> Refusal | None:
        if gates[-1].name == self._busy:
            self._busy = None
            return Refusal(gates[-1].name, 30.0)
        self.passed += gates if wait == 0 else []
        return None

    async def shut(self, gate: str, seconds: float) -> None:
        return None


async def test_it_goes_behind_all_else_and_a_busy_chat_holds_up_nobody(world: World) -> None:
    people = await _come(world, *"abc")
    await broadcasting.start(world.app, "a", 77, NOTICE)
    busy, *others = await world.app.redis.zrange(keys.AUDIENCE(), 0, -1)
    limiter = OneBusyChat(busy)
    bot: Any = make_bot(world.settings, limiter)  # type: ignore[arg-type]
    await Broadcasting(world.app, bot).send()
    await bot.session.close()
    assert [_news(person) for person in people] == [1, 1, 1]
    assert [gate.name for gate in limiter.passed[1::2]] == [f"chat:{user}" for user in (*others, busy)]
    # Without room for a burst it goes only where nobody else wants to.
    assert {(gate.name, gate.burst) for gate in limiter.passed[::2]} == {("telegram", 1.0)}


async def test_many_are_gathered_in_pages_also_where_it_broke_off(world: World) -> None:
    people = {str(n): n for n in range(5_000)}
    await world.app.redis.zadd(keys.PEOPLE(), people)
    assert await broadcasting.start(world.app, "1", 77, NOTICE)
    sender = Broadcasting(world.app, world.bot)
    assert 0 < await world.app.redis.zcard(keys.AUDIENCE()) < 2_000, "no command walks through all of them"
    await world.app.redis.zadd(keys.AUDIENCE(), {"7": broadcasting.Reached.SENT})
    for _ in range(2):
        await sender._gather("1")
        now = await broadcasting.progress(world.app)
        assert now is not None
        assert (now.left, now.sent) == (4_999, 1)
    assert not await world.app.redis.hexists(keys.BROADCAST(), "gathering")
    assert await world.app.redis.ttl(keys.AUDIENCE()) > 0
