"""A clock for the limiter's scripts that a test sets: nobody waits, and everything is exact."""

from __future__ import annotations

import json
from typing import Any

import pytest

import src.limits.limiter as limiter_module

_START = 1_800_000_000.0
_KEY = "test:clock"


class Clock:
    """Seconds since the test began, as the scripts see them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.now = 0.0
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """Move to this time, never back."""
        self.now = max(self.now, seconds)
        whole, micro = divmod(round((_START + self.now) * 1_000_000), 1_000_000)
        self._client.set(_KEY, json.dumps([whole, micro]))

    def advance(self, seconds: float) -> None:
        self.set(self.now + seconds)


@pytest.fixture
def clock(sync_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The scripts ask this clock instead of Redis's own."""
    original = limiter_module._text

    def with_clock(name: str) -> str:
        text = original(name)
        asking = f"cjson.decode(redis.call('GET', '{_KEY}'))"
        assert "redis.call('TIME')" in text
        return text.replace("redis.call('TIME')", asking)

    monkeypatch.setattr(limiter_module, "_text", with_clock)
    return Clock(sync_redis)
