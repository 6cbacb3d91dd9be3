"""No update is lost: not by a restart, an outage, a failing handler or a signal in mid batch; and nobody waits for
another chat's."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from typing import Any

import pytest
from aiogram.types import Message
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from src.bot.handling import Handling
from src.bot.middlewares import _sorry
from src.bot.process import run_bot
from src.jobs import keys
from src.ops.report import deaf
from src.ops.snapshot import look
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World


async def test_what_came_while_the_bot_was_down_is_answered(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    await world.stop()
    asked = [await anna.send_text("a fox"), await boris.send_text("a bear")]
    world.start()
    for person, message in zip((anna, boris), asked, strict=True):
        assert "Drawing" in (await person.reply_after(message)).text


async def test_after_a_stop_nothing_is_handled_twice(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("/help"))
    await world.stop()
    assert not world.sandbox.bot.updates.pending
    world.start()
    await anna.reply_after(await anna.send_text("a fox"))
    assert len([m for m in anna.messages if m.from_bot]) == 2


async def test_a_batch_that_was_not_confirmed_comes_again_and_changes_nothing(world: World) -> None:
    anna = world.sandbox.person()
    helped, asked = await anna.send_text("/help"), await anna.send_text("a fox")
    await anna.wait_until(lambda messages: len(messages) == 4)
    await world.settled()
    # As after a kill between taking them and the next poll.
    again = [{"update_id": m.update_id, "message": m.as_json()} for m in (helped, asked)]
    assert await world.inbox.put(again) == 0
    await world.settled()
    assert len(anna.messages) == 4
    assert len(await world.active(anna.id)) == 1


async def test_one_admitted_before_a_kill_gets_its_placeholder_from_the_repeat(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.faults.add("reset", "sendMessage")
    asked = await anna.send_text("a fox")
    await world.settled()
    [job] = await world.active(anna.id)
    update = {"update_id": asked.update_id, "message": asked.as_json()}
    await world.parts.dispatcher.feed_raw_update(world.bot, update)
    assert [j.id for j in await world.active(anna.id)] == [job.id]
    assert "Drawing" in anna.messages[-1].text


async def test_redis_away_for_a_while_only_delays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = world.sandbox.person()
    away = 3
    real = world.app.ledger.person

    async def person(user: str) -> Any:
        nonlocal away
        away -= 1
        if away >= 0:
            raise RedisConnectionError("away")
        return await real(user)

    monkeypatch.setattr(type(world.app.ledger), "person", lambda ledger, user: person(user))
    asked = await anna.send_text("a fox")
    assert "Drawing" in (await anna.reply_after(asked)).text
    assert away < 0
    assert len(await world.active(anna.id)) == 1


async def test_telegram_away_for_a_while_only_delays(world: World) -> None:
    anna = world.sandbox.person()
    await world.settled()
    for kind in ("500", "html", "reset"):
        world.sandbox.faults.add(kind, "getUpdates")
    world.sandbox.faults.add("reset", "sendMessage")
    asked = await anna.send_text("/help")
    assert "How to use me" in (await anna.reply_after(asked)).text


async def test_a_handler_that_raises_apologises_and_loses_nothing(world: World) -> None:
    async def explode(message: Message) -> None:
        raise RuntimeError("secret detail of the sort nobody should see")

    # As the first of all, so that it is asked before the conversations.
    world.parts.dispatcher.message.register(explode, lambda message: message.text == "/explode")
    boris = world.sandbox.person("Борис", language_code="ru")
    await world.stop()
    broken = await boris.send_text("/explode")
    fine = await boris.send_text("лиса")
    world.start()
    apology = await boris.reply_after(broken)
    assert "что-то пошло не так" in apology.text
    assert "secret" not in apology.text
    assert "Рисую" in (await boris.wait_for(lambda m: m.reply_to == fine.message_id)).text


async def test_a_button_whose_handler_raises_apologises_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    shown = await anna.reply_after(await anna.send_text("/settings"))

    async def choose(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(world.app.ledger), "choose", choose)
    answer = await (await anna.tap(shown, "2:3")).answered()
    assert "went wrong" in answer["text"]


async def test_chats_do_not_wait_for_each_other_but_keep_their_order(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    order: list[str] = []
    go = asyncio.Event()

    async def slow(message: Message) -> None:
        if message.chat.id == anna.id and message.text == "one":
            await go.wait()
        order.append(f"{message.chat.first_name} {message.text}")
        if message.chat.id == boris.id:
            go.set()

    world.parts.dispatcher.message.register(slow)
    await world.stop()
    for text in ("one", "two", "three"):
        await anna.send_text(text)
    await boris.send_text("one")
    world.start()
    await world.settled()
    assert order == ["Boris one", "Anna one", "Anna two", "Anna three"]


async def test_who_writes_while_another_is_served_is_served_too(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    began, go = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def slow(message: Message) -> None:
        if message.chat.id == anna.id:
            began.set()
            await go.wait()
        handled.append(f"{message.chat.first_name} {message.text}")
        await message.answer("done")

    world.parts.dispatcher.message.register(slow)
    first = await anna.send_text("one")
    await began.wait()
    for text in ("one", "two"):
        await boris.reply_after(await boris.send_text(text))
    assert handled == ["Boris one", "Boris two"]
    # The process that follows one that dies now finds it.
    async with asyncio.timeout(20):
        while await world.inbox.waiting() != 1:
            await asyncio.sleep(0.01)
    go.set()
    await anna.reply_after(first)
    await world.settled()
    assert handled == ["Boris one", "Boris two", "Anna one"]


async def test_behind_one_that_hangs_everybody_is_served_and_nobody_twice(world: World) -> None:
    anna = world.sandbox.person("Anna")
    crowd = [world.sandbox.person(f"Guest {number}") for number in range(250)]
    go = asyncio.Event()
    handled: list[int] = []

    async def slow(message: Message) -> None:
        if message.chat.id == anna.id:
            await go.wait()
        handled.append(message.chat.id)

    world.parts.dispatcher.message.register(slow)
    await anna.send_text("one")
    for guest in crowd:
        await guest.send_text("one")
    async with asyncio.timeout(40):
        while len(handled) < len(crowd):
            await asyncio.sleep(0.01)
    assert sorted(handled) == [guest.id for guest in crowd]
    go.set()
    await world.settled()
    assert sorted(handled) == sorted([anna.id, *(guest.id for guest in crowd)])


async def test_what_a_dead_process_had_under_way_is_handled_by_the_next(world: World) -> None:
    anna = world.sandbox.person("Anna")
    began = asyncio.Event()

    async def hang(message: Message) -> None:
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()
        await message.answer("done")

    world.parts.dispatcher.message.register(hang, lambda message: message.text == "/slow")
    first, second = await anna.send_text("/slow"), await anna.send_text("/help")
    await began.wait()
    for task in world.running:
        task.cancel()
    await asyncio.gather(*world.running, return_exceptions=True)
    world.running.clear()
    world.start()
    await anna.reply_after(first)
    await anna.reply_after(second)
    await world.settled()
    assert [m.text.split()[0] for m in anna.messages if m.from_bot] == ["done", "🎨"]


async def test_only_one_process_handles_until_it_stops(world: World) -> None:
    app = dataclasses.replace(world.app, holder="another")
    other = Handling(app, world.inbox, world.bot, world.parts.dispatcher)
    assert await world.handling.leads()
    assert not await other.leads()
    await world.stop()
    assert await other.leads()
    other.stop()
    await other.run()


async def test_numbers_that_start_lower_after_a_silent_week(world: World) -> None:
    anna = world.sandbox.person("Anna")
    await anna.reply_after(await anna.send_text("/help"))
    await world.settled()
    world.sandbox.bot.updates.renumber(117_000)
    for text in ("/help", "a fox"):
        await anna.reply_after(await anna.send_text(text))
    await world.settled()
    assert len([m for m in anna.messages if m.from_bot]) == 3
    assert world.sandbox.bot.updates.polled


async def test_a_full_inbox_leaves_updates_with_telegram(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person("Anna")
    await world.settled()
    monkeypatch.setattr("src.bot.inbox._LONGEST", 0)
    asked = await anna.send_text("/help")
    async with asyncio.timeout(20):
        while world.sandbox.bot.updates.sent < 2:
            await asyncio.sleep(0.01)
    assert world.sandbox.bot.updates.pending
    assert await world.inbox.waiting() == 0
    monkeypatch.undo()
    await anna.reply_after(asked)


async def test_stopped_in_mid_outage_it_hands_the_batch_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    tried = asyncio.Event()

    async def away(ledger: Any, user: str) -> None:
        tried.set()
        raise RedisConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.app.ledger), "person", away)
        asked = await anna.send_text("a fox")
        await tried.wait()
        await world.stop()
    assert await world.inbox.waiting() == 1
    world.start()
    assert "Drawing" in (await anna.reply_after(asked)).text


@pytest.mark.filterwarnings("ignore:Detected unknown update type")
async def test_unknown_and_unreadable_updates_hold_nothing_up(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.bot.updates.allowed = None
    world.sandbox.inject("a_kind_of_the_future", {"id": "1"})
    world.sandbox.inject("edited_message", {"message_id": 1})
    await world.settled()
    world.sandbox.inject("message", {"message_id": "not a number"})
    asked = await anna.send_text("/help")
    world.sandbox.inject("message", {"message_id": "not a number either"})
    assert "How to use me" in (await anna.reply_after(asked)).text
    await world.settled()


async def test_only_the_kinds_that_are_used_are_asked_for(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("/help"))
    inline, paying = {"inline_query", "chosen_inline_result"}, {"pre_checkout_query", "subscription"}
    chat = {"message", "callback_query", "my_chat_member"}
    assert world.sandbox.bot.updates.allowed == chat | inline | paying


async def test_a_stopped_poller_confirms_what_it_took(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("/help"))
    await world.stop()
    assert not world.sandbox.bot.updates.pending


async def test_a_webhook_left_from_before_is_taken_back(world: World) -> None:
    await world.stop()
    await world.bot.set_webhook("http://127.0.0.1:9/hook")
    anna = world.sandbox.person()
    asked = await anna.send_text("/help")
    world.start()
    assert "How to use me" in (await anna.reply_after(asked)).text


@pytest.mark.parametrize("webhook", [None, "http://127.0.0.1:9"])
async def test_the_process_ends_at_sigterm(world: World, webhook: str | None) -> None:
    await world.stop()
    anna = world.sandbox.person()
    given = {"webhook_url": webhook, "webhook_secret": SecretStr("s" * 32)} if webhook else {}
    process = asyncio.create_task(run_bot(world.settings.model_copy(update=given)))
    async with asyncio.timeout(40):
        while not world.sandbox.bot.commands:
            await asyncio.sleep(0.01)
    asked = await anna.send_text("/help")
    if webhook is None:
        await anna.reply_after(asked)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(40):
        await process
    assert bool(world.sandbox.bot.updates.pending) is (webhook is not None)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("getUpdates", {}),
        ("setWebhook", {"webhook_url": "http://127.0.0.1:9", "webhook_secret": SecretStr("s" * 32)}),
    ],
)
@pytest.mark.parametrize(
    ("kind", "words"), [("401", "is refused"), ("404", "no such bot"), ("html", "be reached")]
)
async def test_one_that_never_heard_telegram_says_why(
    kind: str, words: str, method: str, given: dict[str, Any], world: World
) -> None:
    await world.stop()
    world.sandbox.faults.add(kind, method, times=None)
    await world.app.redis.delete(keys.HEARD())
    process = asyncio.create_task(run_bot(world.settings.model_copy(update=given)))
    async with asyncio.timeout(40):
        while words not in deaf(get_texts().translator("en"), (await look(world.app)).deaf_why):
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(40):
        await process


def test_an_apology_names_the_trace() -> None:
    context = SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 1, is_remote=False)
    with trace.use_span(NonRecordingSpan(context)):
        assert "code: 12345678" in _sorry(get_texts().translator("en"))
