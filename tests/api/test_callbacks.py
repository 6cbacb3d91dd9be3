"""What a provider's client is shown of a call, and what it may not be able to tell."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
from fastapi import FastAPI

from src.api import callbacks
from src.api.problems import add_problems
from src.providers.base import Callback, Capabilities, ErrorKind, ProviderError


class Unsure:
    """A provider whose keys cannot be had."""

    capabilities = Capabilities(callback=True)
    seen: Callback | None = None

    async def callback_hint(self, call: Callback) -> str | None:
        self.seen = call
        raise ProviderError(ErrorKind.NETWORK, "connection")


async def test_what_cannot_be_checked_now_shall_come_again() -> None:
    api, provider = FastAPI(), Unsure()
    api.include_router(callbacks.router)
    add_problems(api)
    api.state.app = SimpleNamespace(providers={"unsure": provider})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://here") as client:
        answer = await client.post("/callbacks/unsure?token=a", content=b"body", headers={"X-Sign": "s"})
    assert (answer.status_code, answer.json()["code"]) == (503, "not_known_yet")
    assert provider.seen is not None
    assert (provider.seen.path, dict(provider.seen.query), provider.seen.body) == (
        "/callbacks/unsure",
        {"token": "a"},
        b"body",
    )
    assert provider.seen.headers["x-sign"] == "s"
