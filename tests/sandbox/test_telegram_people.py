"""The people's side, and what tests lean on: waits, the audit, limits, faults, bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramRetryAfter
from aiogram.types import BufferedInputFile, InputMediaPhoto

from src.sandbox.telegram import DEMO_TOKEN, Person, TelegramSandbox
from src.sandbox.telegram.errors import ApiError
from src.sandbox.telegram.limits import Limits
from src.sandbox.telegram.store import FolderStore
from tests.sandbox.conftest import Picture, aiogram_bot, close


async def test_a_wait_ends_with_the_change_it_waits_for(bot: Bot, anna: Person, picture: Picture) -> None:
    sent = await bot.send_message(anna.id, "wait")
    waiting = asyncio.create_task(anna.wait_for(lambda message: message.has_photo, 10))
    await asyncio.sleep(0)
    assert not waiting.done()
    media = InputMediaPhoto(media=BufferedInputFile(picture(), "a.png"))
    await bot.edit_message_media(media, chat_id=anna.id, message_id=sent.message_id)
    assert (await waiting).message_id == sent.message_id
    assert await anna.reply_after(anna.messages[0], 1) is anna.messages[1]
    assert await anna.wait_until(lambda messages: len(messages) == 2, 1) == anna.messages


async def test_a_wait_in_vain_shows_the_conversation(anna: Person) -> None:
    with pytest.raises(TimeoutError, match=r"(?s)the chat ends so:.*1 Anna: '/start'"):
        await anna.wait_for(lambda message: message.has_photo, 0.01)


async def test_what_a_telegram_client_would_not_send(anna: Person, picture: Picture) -> None:
    for text in ("", " ", "x" * 4097):
        with pytest.raises(ValueError, match="1 to 4096"):
            await anna.send_text(text)
    with pytest.raises(ApiError, match="IMAGE_PROCESS_FAILED"):
        await anna.send_photo(b"not a photo")
    broken = await anna.send_photo(b"not a photo", "as it is", as_is=True)
    assert broken.update_id is not None
    await anna.block()
    with pytest.raises(ValueError, match="blocked"):
        await anna.send_text("x")


async def test_albums_stickers_edits_and_anything_injected(
    bot: Bot, telegram: TelegramSandbox, anna: Person, picture: Picture
) -> None:
    first, second = await anna.send_album([picture(), picture(colour="red")], "both")
    assert first.content["media_group_id"] == second.content["media_group_id"]
    await anna.send_sticker(animated=True)
    await anna.edit_text(anna.messages[0], "/help")
    await anna.send_content({"location": {"latitude": 1.0, "longitude": 2.0}})
    telegram.inject("message_reaction_count", {})
    telegram.inject("inline_query", {"id": "1", "from": anna.record.as_user(), "query": "fox", "offset": ""})
    updates = (await bot.get_updates())[3:]
    assert [update.event_type for update in updates[:3]] == ["message", "edited_message", "message"]
    assert [update.event_type for update in updates[3:]] == ["inline_query"]
    assert updates[0].message
    assert updates[0].message.sticker
    assert updates[0].message.sticker.is_animated


async def test_the_audit_proves_one_picture_in_one_message(
    bot: Bot, telegram: TelegramSandbox, anna: Person, picture: Picture
) -> None:
    sent = await bot.send_message(anna.id, "x" * 500)
    media = InputMediaPhoto(media=BufferedInputFile(picture(), "a.png"))
    await bot.edit_message_media(media, chat_id=anna.id, message_id=sent.message_id)
    await bot.send_chat_action(anna.id, "upload_photo")
    calls = list(telegram.audit.of(chat_id=anna.id))
    assert [(call.method, call.message_id, call.status) for call in calls] == [
        ("sendMessage", sent.message_id, 200),
        ("editMessageMedia", sent.message_id, 200),
        ("sendChatAction", None, 200),
    ]
    assert calls[1].sha256 == (anna.messages[-1].sha256,)
    assert len(calls[0].payload["text"]) == 201
    assert telegram.audit.by_chat[anna.id, "editMessageMedia"] == 1
    assert DEMO_TOKEN not in str(calls)


def test_the_limits_are_those_of_the_faq() -> None:
    now = 0.0
    limits = Limits(enabled=True, clock=lambda: now)

    def admitted(chat_id: int, count: int, *, group: bool = False) -> int:
        refusals = []
        for _ in range(count):
            try:
                limits.admit(chat_id, group=group)
            except ApiError as error:
                refusals.append(error)
        assert all(error.code == 429 and error.parameters["retry_after"] >= 1 for error in refusals)
        return count - len(refusals)

    assert admitted(1, 10) == 5
    assert sum(admitted(number, 1) for number in range(2, 100)) == 25
    now = 1.0
    assert admitted(1, 10) == 1
    now = 10.0
    assert admitted(-1, 30, group=True) == 20
    now = 13.0
    assert admitted(-1, 30, group=True) == 1
    with pytest.raises(ApiError, match="Too Many Requests: retry after"):
        limits.admit(-1, group=True, messages=10)


async def test_a_limit_met_is_a_retry_after() -> None:
    async with TelegramSandbox(limits=True) as telegram:
        client = aiogram_bot(telegram.url)
        anna = telegram.person()
        await anna.send_text("hi")
        sent = [client.send_message(anna.id, str(number)) for number in range(10)]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, TelegramRetryAfter)]
        assert len(refused) == 5
        assert {error.retry_after for error in refused} == {1}
        await client.send_chat_action(anna.id, "typing")
        await close(client)


@pytest.mark.parametrize("kind", ["bare_429", "500", "html", "403"])
async def test_faults_answer_as_told(
    telegram: TelegramSandbox, http: httpx.AsyncClient, anna: Person, kind: str
) -> None:
    telegram.faults.add(kind, "sendMessage", times=2, chat_id=anna.id)
    other = telegram.person("Ben")
    await other.send_text("hi")
    assert (await http.post("sendMessage", json={"chat_id": other.id, "text": "x"})).status_code == 200
    for _ in range(2):
        answer = await http.post("sendMessage", json={"chat_id": anna.id, "text": "x"})
        assert answer.status_code == {"bare_429": 429, "500": 500, "html": 502, "403": 403}[kind]
        assert "parameters" not in answer.text
        assert (kind == "html") == ("html" in answer.headers["content-type"])
    assert (await http.post("sendMessage", json={"chat_id": anna.id, "text": "x"})).status_code == 200
    assert telegram.audit.by_status["sendMessage", 200] == 2


def test_an_unknown_fault_is_refused(telegram: TelegramSandbox) -> None:
    with pytest.raises(ValueError, match="unknown fault 'gremlins'"):
        telegram.faults.add("gremlins")


async def test_long_runs_keep_hashes_not_bytes(picture: Picture) -> None:
    async with TelegramSandbox(
        strict_images=False, keep_bytes=0, keep_messages=50, keep_calls=20
    ) as telegram:
        client = aiogram_bot(telegram.url)
        anna = telegram.person()
        await anna.send_text("hi")
        for _ in range(60):
            sent = await client.send_photo(anna.id, BufferedInputFile(picture(), "a.png"))
        assert sent.photo
        assert len(sent.photo) == 1
        assert len(anna.messages) == 50
        assert anna.messages[-1].sha256
        assert len(telegram.audit.calls) == 20
        assert telegram.audit.by_method["sendPhoto"] == 60
        assert telegram.bot.file_bytes(telegram.bot.files[sent.photo[0].file_id]) is None
        await close(client)


async def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    """It knew no closed topics and no roles."""
    async with TelegramSandbox(data_dir=tmp_path) as sandbox:
        anna = sandbox.person("Anna")
        await anna.send_text("a fox")
    with contextlib.closing(FolderStore(tmp_path)) as store:
        for record in [*store.load("chat")]:
            for later in ("closed_topics", "roles", "permissions", "restrictions"):
                del record[later]
            store.put("chat", f"{record['bot_id']}:{record['id']}", record)
    async with TelegramSandbox(data_dir=tmp_path) as sandbox:
        assert [message.text for message in sandbox.bot.chats[anna.id].messages.values()] == ["a fox"]
