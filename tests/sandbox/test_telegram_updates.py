"""Updates are handed out as Telegram does it: long polling, webhook, and over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramConflictError
from aiohttp import web

from src.sandbox.telegram import Person, TelegramSandbox, updates
from tests.sandbox.conftest import Picture, aiogram_bot, close


async def waiting_poll(telegram: TelegramSandbox) -> None:
    """Returns once a getUpdates call waits for something to come."""
    async with asyncio.timeout(5):
        while not telegram.bot.updates.polled:
            await asyncio.sleep(0.001)


async def test_an_offset_confirms(bot: Bot, anna: Person) -> None:
    for number in range(3):
        await anna.send_text(f"m{number}")
    first = await bot.get_updates(limit=2)
    assert [update.message.text for update in first if update.message] == ["/start", "m0"]
    # The same question again at once: one update only.
    assert [update.update_id for update in await bot.get_updates(limit=2)] == [first[0].update_id]
    rest = await bot.get_updates(offset=first[-1].update_id + 1)
    assert [update.message.text for update in rest if update.message] == ["m1", "m2"]
    last = await bot.get_updates(offset=-1)
    assert [update.update_id for update in last] == [rest[-1].update_id]
    assert await bot.get_updates(offset=last[0].update_id + 1) == []


async def test_a_waiting_poll_is_woken(bot: Bot, telegram: TelegramSandbox, anna: Person) -> None:
    offset = (await bot.get_updates())[-1].update_id + 1
    poll = asyncio.create_task(bot.get_updates(offset=offset, timeout=30))
    await waiting_poll(telegram)
    await anna.send_text("now")
    async with asyncio.timeout(5):
        assert [update.message.text for update in await poll if update.message] == ["now"]


async def test_the_newer_poll_wins(bot: Bot, telegram: TelegramSandbox, anna: Person) -> None:
    offset = (await bot.get_updates())[-1].update_id + 1
    older = asyncio.create_task(bot.get_updates(offset=offset, timeout=30))
    await waiting_poll(telegram)
    newer = asyncio.create_task(bot.get_updates(offset=offset, timeout=30))
    with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
        await older
    await anna.send_text("to the newer")
    assert len(await newer) == 1


async def test_allowed_updates_stick(bot: Bot, anna: Person) -> None:
    last = (await bot.get_updates(allowed_updates=["callback_query"]))[-1].update_id
    await anna.send_text("not wanted")
    assert await bot.get_updates(offset=last + 1) == []
    await bot.get_updates(allowed_updates=[], offset=last)
    await anna.send_text("wanted")
    assert len(await bot.get_updates(offset=last + 1)) == 1


async def test_an_offset_of_an_older_count_confirms_nothing(
    bot: Bot, telegram: TelegramSandbox, anna: Person
) -> None:
    last = (await bot.get_updates())[-1].update_id
    assert await bot.get_updates(offset=last + 1) == []
    telegram.bot.updates.renumber(117_000)
    await anna.send_text("after a silent week")
    assert [u.update_id for u in await bot.get_updates(offset=last + 2)] == [117_000]
    assert [u.update_id for u in await bot.get_updates(offset=last + 3)] == [117_000]
    assert await bot.get_updates(offset=117_001) == []


class Receiver:
    """A bot's webhook that answers with the statuses it was given, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: list[tuple[str | None, dict[str, Any]]] = []
        self.changed = asyncio.Condition()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        async with self.changed:
            secret = request.headers.get("X-Telegram-Bot-Api-Secret-Token")
            self.got.append((secret, await request.json()))
            self.changed.notify_all()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def received(self, count: int) -> None:
        async with asyncio.timeout(40), self.changed:
            await self.changed.wait_for(lambda: len(self.got) >= count)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


async def test_a_webhook_gets_what_is_pending_and_again_what_failed(
    bot: Bot, telegram: TelegramSandbox, anna: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "_BACKOFF", (0.01,))
    receiver.statuses = [500, 302]
    await bot.set_webhook(receiver.url, secret_token="s3cret")
    await receiver.received(3)
    assert [secret for secret, _ in receiver.got] == ["s3cret"] * 3
    assert [body["message"]["text"] for _, body in receiver.got] == ["/start"] * 3
    await anna.send_text("second")
    await anna.send_text("third")
    await receiver.received(5)
    assert [body["message"]["text"] for _, body in receiver.got[3:]] == ["second", "third"]
    info = await bot.get_webhook_info()
    assert info.url == receiver.url
    assert info.last_error_message == "Wrong response from the webhook: 302 Found"


async def test_it_closes_while_an_update_waits_to_be_sent_again(
    bot: Bot, telegram: TelegramSandbox, anna: Person, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    await bot.set_webhook(receiver.url)
    await receiver.received(1)
    async with asyncio.timeout(5):
        while (await bot.get_webhook_info()).last_error_message is None:
            await asyncio.sleep(0.001)
        await telegram.bot.updates.close()


async def test_a_webhook_and_polling_exclude_each_other(
    bot: Bot, telegram: TelegramSandbox, receiver: Receiver
) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=30))
    await waiting_poll(telegram)
    await bot.set_webhook(receiver.url)
    with pytest.raises(TelegramConflictError, match="terminated by setWebhook request"):
        await poll
    with pytest.raises(TelegramConflictError, match="can't use getUpdates method while webhook is active"):
        await bot.get_updates()
    await bot.delete_webhook()
    assert await bot.get_updates() == []


async def test_dropping_what_is_pending(bot: Bot, anna: Person) -> None:
    await bot.delete_webhook()
    assert (await bot.get_webhook_info()).pending_update_count == 1
    await bot.delete_webhook(drop_pending_updates=True)
    assert (await bot.get_webhook_info()).pending_update_count == 0


async def test_everything_survives_a_restart(tmp_path: Path, picture: Picture) -> None:
    async with TelegramSandbox(data_dir=tmp_path) as before:
        client = aiogram_bot(before.url)
        anna = before.person("Anna", language_code="ru")
        group = before.group("Painters", [anna], topics=["Sketches"])
        sent = await anna.send_photo(picture(), "while you were away")
        answer = await client.send_message(anna.id, "hello")
        await client.edit_message_text("hello again", chat_id=anna.id, message_id=answer.message_id)
        await client.send_message(group.id, "hi", message_thread_id=2)
        await client.delete_message(anna.id, (await client.send_message(anna.id, "gone")).message_id)
        await close(client)

    async with TelegramSandbox(data_dir=tmp_path) as after:
        client = aiogram_bot(after.url)
        anna = after.person(id=anna.id)
        assert anna.record.language_code == "ru"
        assert [message.text for message in anna.messages] == ["while you were away", "hello again"]
        assert len(anna.messages[1].revisions) == 2
        [update] = await client.get_updates()
        assert update.update_id == sent.update_id
        assert update.message
        assert update.message.photo
        file = await client.get_file(update.message.photo[-1].file_id)
        assert file.file_path
        content = await client.download_file(file.file_path)
        assert content
        assert len(content.read()) == update.message.photo[-1].file_size
        again = await client.send_photo(anna.id, update.message.photo[-1].file_id)
        assert again.photo
        assert len(again.photo) == len(update.message.photo)
        assert again.message_id > answer.message_id
        assert (await client.send_message(group.id, "still here", message_thread_id=2)).message_id == 2
        fresh = await anna.send_text("new")
        assert fresh.update_id == update.update_id + 1
        await close(client)
