"""Leader election by a lease in Redis: of several processes that could do a thing, one does it.

The lease runs out by itself when its holder dies. Not for what must never be done twice: a holder that stops
for longer than the lease may find another at work.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from redis.exceptions import RedisError

from src.app import App
from src.jobs import keys

# A process that ends does not wait for a Redis that is silent: its lease runs out.
_RESIGN_SECONDS = 2.0


class Leader:
    """One of the processes that want `name`: it leads for `seconds` after each call of `held`."""

    def __init__(self, app: App, name: str, seconds: float) -> None:
        self._app = app
        self._key = keys.LEASE(name)
        self._milliseconds = round(seconds * 1000)

    async def held(self) -> bool:
        """Take or renew the lease. Returns whether this process leads."""
        if await self._app.redis.set(self._key, self._app.holder, nx=True, px=self._milliseconds):
            return True
        if await self._app.redis.get(self._key) != self._app.holder:
            return False
        await self._app.redis.pexpire(self._key, self._milliseconds)
        return True

    async def resign(self) -> None:
        """Give the lease up, so that another process can lead at once."""
        with suppress(RedisError, TimeoutError):
            async with asyncio.timeout(_RESIGN_SECONDS):
                if await self._app.redis.get(self._key) == self._app.holder:
                    await self._app.redis.delete(self._key)
