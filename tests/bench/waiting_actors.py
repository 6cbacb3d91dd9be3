"""Dramatiq as it comes: an async actor that waits for its generation, asking every second."""

from __future__ import annotations

import asyncio
import json
import os
import random

import dramatiq
import httpx
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO

from src.providers.http import make_client
from src.settings import load_settings
from tests.bench import wire

dramatiq.set_broker(
    RedisBroker(  # type: ignore[no-untyped-call]
        client=redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost")), middleware=[AsyncIO()]
    )
)
_clients: list[httpx.AsyncClient] = []


@dramatiq.actor
async def make_picture() -> None:
    """One job from its placeholder to its picture."""
    if not _clients:
        _clients.append(make_client(load_settings(kie_base_url=f"{wire.URL}/kie", allow_private_hosts=True)))
    client = _clients[0]
    chat = random.choice(wire.PEOPLE)
    sent = (await client.post(wire.method("sendMessage"), json={"chat_id": chat, "text": "a moment"})).json()
    created = (await client.post(wire.CREATE, json=wire.task(), headers=wire.HEADERS)).json()
    address = None
    while address is None:
        await asyncio.sleep(1)
        record = await client.get(wire.RECORD + created["data"]["taskId"], headers=wire.HEADERS)
        address = wire.picture_of(record.json())
    data = (await client.get(address)).content
    fields = {"chat_id": str(chat), "message_id": str(sent["result"]["message_id"])}
    fields["media"] = json.dumps({"type": "photo", "media": "attach://p"})
    await client.post(wire.method("editMessageMedia"), data=fields, files={"p": ("p.png", data)})
