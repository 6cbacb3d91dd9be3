"""A Telegram sandbox on a free port, aiogram as its client, and someone to talk to."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from PIL import Image

from src.sandbox.telegram import DEMO_TOKEN, Person, TelegramSandbox

Picture = Callable[..., bytes]


def aiogram_bot(url: str, token: str = DEMO_TOKEN) -> Bot:
    return Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(url)))


async def close(client: Bot) -> None:
    """Closes the client's connections; aiogram's own way waits a quarter of a second for TLS."""
    session = client.session
    assert isinstance(session, AiohttpSession)
    if session._session is not None:
        await session._session.close()


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSandbox]:
    async with TelegramSandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def bot(telegram: TelegramSandbox) -> AsyncIterator[Bot]:
    client = aiogram_bot(telegram.url)
    yield client
    await close(client)


@pytest.fixture
async def http(telegram: TelegramSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{telegram.url}/bot{DEMO_TOKEN}/") as client:
        yield client


@pytest.fixture
async def anna(telegram: TelegramSandbox) -> Person:
    """Someone who has written to the bot."""
    person = telegram.person("Anna", language_code="en")
    await person.send_text("/start")
    return person


@pytest.fixture
def picture() -> Picture:
    """Makes a picture: `picture(640, 480, "PNG", "red")`."""

    def draw(width: int = 640, height: int = 480, form: str = "PNG", colour: str = "teal") -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), colour).save(buffer, form)
        return buffer.getvalue()

    return draw
