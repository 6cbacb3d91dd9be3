"""The guide's design: an RQ job that holds its worker and asks the provider every second."""

from __future__ import annotations

import json
import random
import time

import httpx

from tests.bench import wire

_client = httpx.Client(trust_env=False, timeout=30)


def make_picture() -> None:
    """One job from its placeholder to its picture."""
    chat = random.choice(wire.PEOPLE)
    sent = _client.post(wire.method("sendMessage"), json={"chat_id": chat, "text": "a moment"}).json()
    created = _client.post(wire.CREATE, json=wire.task(), headers=wire.HEADERS).json()
    address = None
    while address is None:
        time.sleep(1)
        record = _client.get(wire.RECORD + created["data"]["taskId"], headers=wire.HEADERS).json()
        address = wire.picture_of(record)
    data = _client.get(address).content
    fields = {"chat_id": str(chat), "message_id": str(sent["result"]["message_id"])}
    fields["media"] = json.dumps({"type": "photo", "media": "attach://p"})
    _client.post(wire.method("editMessageMedia"), data=fields, files={"p": ("p.png", data)})
