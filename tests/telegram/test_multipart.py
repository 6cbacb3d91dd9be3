"""Bot API calls with files, as the server reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError
from aiogram.methods import SendMediaGroup
from aiogram.types import BufferedInputFile, InputFile, InputMediaDocument
from aiohttp import Payload

from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.telegram.multipart import Session, SizedFile

PIECES = (b"a" * 100_000, b"\r\n--x", b"b" * 70_000)
WHOLE = hashlib.sha256(b"".join(PIECES)).hexdigest()


class File(SizedFile):
    def __init__(self, size: int, filename: str = "a.bin") -> None:
        super().__init__(filename)
        self.size = size

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        for piece in PIECES:
            yield piece


FILE = File(sum(map(len, PIECES)))


@pytest.fixture
async def sandbox() -> AsyncIterator[TelegramSandbox]:
    async with TelegramSandbox() as running:
        yield running


@pytest.fixture
async def bot(sandbox: TelegramSandbox) -> AsyncIterator[Bot]:
    session = Session(api=TelegramAPIServer.from_base(sandbox.url))
    async with Bot(DEMO_TOKEN, session=session) as made:
        yield made


async def test_fields_and_files_arrive_as_they_are(sandbox: TelegramSandbox, bot: Bot) -> None:
    anna = sandbox.person()
    await anna.send_text("hello")
    words = 'größer "than"\r\n--this\r\n'
    for file in (FILE, BufferedInputFile(b"".join(PIECES), "a.bin"), FILE):
        await bot.send_document(anna.id, file, caption=words, disable_notification=True)
    media = [InputMediaDocument(media=FILE, caption=words), InputMediaDocument(media=FILE)]
    await bot.send_media_group(anna.id, media)
    *single, album = sandbox.audit.of(chat_id=anna.id)
    for call in single:
        assert call.sha256 == (WHOLE,)
        assert call.payload["caption"] == words
        assert call.payload["disable_notification"] == "true"
    assert album.sha256 == (WHOLE, WHOLE)
    assert json.loads(album.payload["media"])[0]["caption"] == words


@pytest.mark.parametrize("name", ['"; x="\r\n\r\n', "größer.png", ""])
async def test_a_name_cannot_break_out(sandbox: TelegramSandbox, bot: Bot, name: str) -> None:
    anna = sandbox.person()
    await anna.send_text("hello")
    await bot.send_document(anna.id, File(FILE.size, name), caption="words")
    (call,) = sandbox.audit.of("sendDocument")
    assert (call.sha256, call.payload["caption"]) == ((WHOLE,), "words")


async def test_the_length_is_announced_where_it_is_known(bot: Bot) -> None:
    def body(*files: InputFile) -> object:
        media = [InputMediaDocument(media=file) for file in files]
        return bot.session.build_form_data(bot, SendMediaGroup(chat_id=1, media=media))

    written = bytearray()

    class Writer:
        async def write(self, chunk: bytes) -> None:
            written.extend(chunk)

    known = body(FILE, FILE)
    assert isinstance(known, Payload)
    await known.write(Writer())
    assert known.size == len(written)
    assert not isinstance(body(FILE, BufferedInputFile(b"x", "x")), Payload)


@pytest.mark.parametrize("wrong", [-1, 1])
async def test_a_file_of_another_length_is_not_taken(sandbox: TelegramSandbox, bot: Bot, wrong: int) -> None:
    anna = sandbox.person()
    await anna.send_text("hello")
    with pytest.raises(TelegramNetworkError):
        await bot.send_document(anna.id, File(FILE.size + wrong))
    await bot.send_document(anna.id, FILE)
    assert len([message for message in anna.messages if "document" in message.content]) == 1
