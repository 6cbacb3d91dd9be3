"""One running system for this folder: Redis, a worker, the bot without polling, and the api."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.system import System, running

SECRET = "a-secret-of-the-webhook"
KEY = "a-key-of-the-shop-0123456789"
PASSWORD = "open sesame"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    port = free_port()
    async with running(
        tmp_path_factory.mktemp("system"),
        LEASE="3",
        WEBHOOK_URL=f"http://127.0.0.1:{port}",
        WEBHOOK_SECRET=SECRET,
        KIE_WEBHOOK_KEY="sandbox-webhook-key",
        POLL_INTERVAL="60",
        API_KEYS=f"shop:{KEY},other:{KEY}-of-another",
        API_DOCS="true",
        STATUS_PASSWORD=PASSWORD,
        RATE_LIMIT="200",
        MAX_ACTIVE_PER_USER="100",
        JAEGER_UI_URL="http://jaeger.example",
    ) as system:
        await system.start_api(port)
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def api(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=system.api_url, timeout=20, trust_env=False) as client:
        yield client
