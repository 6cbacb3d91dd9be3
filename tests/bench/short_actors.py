"""Dramatiq as it comes: short async actors, and a poll that is a message of its own, delayed by a second."""

from __future__ import annotations

import json
import os
import random

import dramatiq
import httpx
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, Retries

from src.providers.http import make_client
from src.settings import load_settings
from tests.bench import wire

dramatiq.set_broker(
    RedisBroker(  # type: ignore[no-untyped-call]
        client=redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost")),
        namespace="short",
        middleware=[AsyncIO(), Retries()],
    )
)
_clients: list[httpx.AsyncClient] = []


def _client() -> httpx.AsyncClient:
    if not _clients:
        _clients.append(make_client(load_settings(kie_base_url=f"{wire.URL}/kie", allow_private_hosts=True)))
    return _clients[0]


@dramatiq.actor
async def begin() -> None:
    """The placeholder, and the provider's acceptance."""
    client = _client()
    chat = random.choice(wire.PEOPLE)
    sent = (await client.post(wire.method("sendMessage"), json={"chat_id": chat, "text": "a moment"})).json()
    created = (await client.post(wire.CREATE, json=wire.task(), headers=wire.HEADERS)).json()
    placeholder = [chat, sent["result"]["message_id"]]
    poll.send_with_options(args=(created["data"]["taskId"], placeholder), delay=1000)


@dramatiq.actor
async def poll(task: str, placeholder: list[int]) -> None:
    """One question about a generation; the next in a second."""
    record = await _client().get(wire.RECORD + task, headers=wire.HEADERS)
    address = wire.picture_of(record.json())
    if address is None:
        poll.send_with_options(args=(task, placeholder), delay=1000)
    else:
        show.send(address, placeholder)


@dramatiq.actor
async def show(address: str, placeholder: list[int]) -> None:
    """The picture in place of the placeholder. Another order takes the slot."""
    client = _client()
    data = (await client.get(address)).content
    chat, message = placeholder
    fields = {"chat_id": str(chat), "message_id": str(message)}
    fields["media"] = json.dumps({"type": "photo", "media": "attach://p"})
    await client.post(wire.method("editMessageMedia"), data=fields, files={"p": ("p.png", data)})
    begin.send()
