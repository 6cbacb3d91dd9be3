"""The floor: a bare asyncio loop that makes the requests and nothing else.

    python -m tests.bench.floor httpx|aiohttp asyncio|uvloop JOBS_IN_FLIGHT

`httpx`: the clients the system uses (httpx on aiohttp's transport, aiogram), bare. `aiohttp`: that alone.
The times of the polls are the system's own, so that their number is.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import uvloop
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import BufferedInputFile, InputMediaPhoto

from src.pipeline import poll_schedule
from src.providers.http import make_client
from src.settings import load_settings
from tests.bench import wire

KNOWN = [20 + 20 * n / 199 for n in range(200)]


async def _with_httpx(flight: int) -> None:
    settings = load_settings(kie_base_url=f"{wire.URL}/kie", allow_private_hosts=True)
    session = AiohttpSession(api=TelegramAPIServer.from_base(wire.URL))
    async with make_client(settings) as client, Bot(wire.TOKEN, session=session) as bot:

        async def job(chat: int, message: int) -> None:
            created = await client.post(wire.CREATE, json=wire.task(), headers=wire.HEADERS)
            task, began = created.json()["data"]["taskId"], time.monotonic()
            after = poll_schedule.first_poll(KNOWN)
            while True:
                await asyncio.sleep(after)
                record = (await client.get(wire.RECORD + task, headers=wire.HEADERS)).json()
                if (address := wire.picture_of(record)) is not None:
                    break
                elapsed = time.monotonic() - began
                after = poll_schedule.next_poll(KNOWN, elapsed, wire.progress_of(record))
            data = (await client.get(address)).content
            media = InputMediaPhoto(media=BufferedInputFile(data, "p.png"))
            await bot.edit_message_media(media, chat_id=chat, message_id=message)

        await _keep(flight, job)


async def _with_aiohttp(flight: int) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def job(chat: int, message: int) -> None:
            async with session.post(wire.CREATE, json=wire.task(), headers=wire.HEADERS) as answer:
                task, began = (await answer.json())["data"]["taskId"], time.monotonic()
            after = poll_schedule.first_poll(KNOWN)
            while True:
                await asyncio.sleep(after)
                async with session.get(wire.RECORD + task, headers=wire.HEADERS) as answer:
                    record = await answer.json()
                if (address := wire.picture_of(record)) is not None:
                    break
                elapsed = time.monotonic() - began
                after = poll_schedule.next_poll(KNOWN, elapsed, wire.progress_of(record))
            async with session.get(address) as answer:
                data = await answer.read()
            form = aiohttp.FormData()
            form.add_field("chat_id", str(chat))
            form.add_field("message_id", str(message))
            form.add_field("media", json.dumps({"type": "photo", "media": "attach://p"}))
            form.add_field("p", data, filename="p.png")
            async with session.post(wire.method("editMessageMedia"), data=form) as answer:
                await answer.read()

        await _keep(flight, job)


async def _keep(flight: int, job: Callable[[int, int], Awaitable[None]]) -> None:
    placeholders = iter(json.loads(Path(os.environ["BENCH_PLACEHOLDERS"]).read_text("utf-8")))

    async def one() -> None:
        await asyncio.sleep(random.uniform(0, 30))
        for chat, message in placeholders:
            await job(chat, message)

    await asyncio.gather(*(one() for _ in range(flight)))


if __name__ == "__main__":
    _, client, loop, flight = sys.argv
    run = uvloop.run if loop == "uvloop" else asyncio.run
    run((_with_httpx if client == "httpx" else _with_aiohttp)(int(flight)))
