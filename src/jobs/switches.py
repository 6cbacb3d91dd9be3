"""What admins have switched off for everybody, features and models, and whether new wishes are taken at all.

Each process reads it when somebody asks for something, and with its heartbeat, a few seconds apart at most; no step of
a job does. What was ordered before goes on.
"""

from __future__ import annotations

import time
from typing import Any, Literal, get_args

from src.jobs import keys

Feature = Literal["edits", "tools", "several", "groups", "inline", "api", "improve", "voice"]
"""Changes of pictures; larger ones and cut-outs; several at once; groups; inline mode; the REST API; better words; voice messages."""
FEATURES: tuple[Feature, ...] = get_args(Feature)
_KNOWN_SECONDS = 3.0
_MODEL = "model:"


class Switches:
    """The switches as this process knows them.

    Attributes:
        paused: why new wishes are not taken; empty: for no reason that was said; None: they are taken.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._off: frozenset[str] = frozenset()
        self._known_until = 0.0
        self.paused: str | None = None

    async def look(self, *, at_once: bool = False) -> None:
        """Read them, if that was not done just now."""
        if not at_once and time.monotonic() < self._known_until:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.smembers(keys.SWITCHES())
            pipe.get(keys.PAUSE())
            off, self.paused = await pipe.execute()
        self._off = frozenset(off)
        self._known_until = time.monotonic() + _KNOWN_SECONDS

    def is_on(self, feature: Feature) -> bool:
        return feature not in self._off

    def has_model(self, key: str | None) -> bool:
        """Whether a model of the catalog is on; one that the catalog does not have always is."""
        return key is None or _MODEL + key not in self._off

    async def turn(self, feature: Feature, *, on: bool) -> None:
        await self._turn(feature, on)

    async def turn_model(self, key: str, *, on: bool) -> None:
        await self._turn(_MODEL + key, on)

    async def _turn(self, name: str, on: bool) -> None:
        change = self._client.srem if on else self._client.sadd
        await change(keys.SWITCHES(), name)
        await self.look(at_once=True)

    async def pause(self, why: str) -> None:
        """Take no new wishes; what waits is made."""
        await self._client.set(keys.PAUSE(), why)
        await self.look(at_once=True)

    async def resume(self) -> None:
        await self._client.delete(keys.PAUSE())
        await self.look(at_once=True)
