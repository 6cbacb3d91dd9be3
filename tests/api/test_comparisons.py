"""What strangers may guess at is compared in a time that tells nothing: `hmac.compare_digest`, wherever it comes in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dramatiq
import httpx
import pytest
import uvicorn

from src.api.app import running_api
from src.bot.inbox import WEBHOOK_PATH as PATH
from src.providers.kie import sign
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import load_settings
from tests.api.conftest import KEY, PASSWORD, SECRET

_CALLBACKS = b"key-of-the-callbacks"
_OTHER = f"{KEY}-of-another"


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The api in this process, asked over a socket."""
    previous = dramatiq.get_broker()
    async with TelegramSandbox() as telegram:
        settings = load_settings(
            telegram_token=DEMO_TOKEN,
            telegram_api_url=telegram.url,
            redis_url=redis_url,
            webhook_url="http://127.0.0.1:9",
            webhook_secret=SECRET,
            kie_api_key="key-of-a-test",
            kie_webhook_key=_CALLBACKS.decode(),
            api_keys=f"shop:{KEY},other:{_OTHER}",
            status_password=PASSWORD,
        )
        async with running_api(settings) as application:
            listening = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
                yield client
            server.should_exit = True
            await serving
    dramatiq.set_broker(previous)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, ...]]:
    """The pairs that `hmac.compare_digest` was given."""
    pairs: list[tuple[bytes, ...]] = []
    really = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        pairs.append(_pair(a, b))
        return really(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return pairs


def _pair(a: bytes, b: bytes) -> tuple[bytes, ...]:
    return tuple(sorted((a, b)))


@dataclass(frozen=True)
class Door:
    """A way in: how one asks there with a secret, and with which it opens."""

    opened_by: str
    ask: Callable[[str], dict[str, Any]]
    compared_with: list[bytes]
    passed: int = 200
    """The status that shows that it opened."""
    form: Callable[[str], bytes] = str.encode
    """What is compared in a secret's place."""


def _doors() -> dict[str, Door]:
    stamp = str(int(time.time()))
    signature = sign(_CALLBACKS, "task-1", stamp)
    return {
        "webhook": Door(SECRET, _as_telegram, [SECRET.encode()]),
        "callback": Door(signature, partial(_as_provider, stamp), [signature.encode()]),
        # Nobody has this picture. Every key is compared, also after one that fits.
        "images": Door(KEY, _as_client, [_hash(KEY), _hash(_OTHER)], 404, _hash),
        "status": Door(PASSWORD, _as_operator, [PASSWORD.encode()]),
    }


def _as_telegram(secret: str) -> dict[str, Any]:
    # No update, of which nothing comes; but it is read only after the secret.
    return {"method": "POST", "url": PATH, "json": {}, "headers": {"X-Telegram-Bot-Api-Secret-Token": secret}}


def _as_provider(stamp: str, signature: str) -> dict[str, Any]:
    headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": signature}
    return {"method": "POST", "url": "/callbacks/kie", "json": {"taskId": "task-1"}, "headers": headers}


def _as_client(key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    return {"method": "GET", "url": f"/v1/images/{'0' * 17}", "headers": headers}


def _as_operator(password: str) -> dict[str, Any]:
    return {"method": "GET", "url": "/status", "auth": ("", password)}


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def test_how_much_of_a_secret_is_right_cannot_be_timed(
    api: httpx.AsyncClient, compared: list[tuple[bytes, ...]]
) -> None:
    for name, door in _doors().items():
        right = door.opened_by
        for given in (right, right[:-1] + "?", right[:3], f"{right}x"):
            compared.clear()
            answer = await api.request(**door.ask(given))
            assert answer.status_code == (door.passed if given == right else 401), (name, given)
            assert compared == [_pair(door.form(given), ours) for ours in door.compared_with], (name, given)
