"""The dead man's switch: HEARTBEAT_URL is called each minute while there is no problem.

An alarm clock elsewhere (healthchecks.io, Uptime Kuma's push monitor …) rings when it is not. So the operator hears
also of what nobody here is left to tell: the machine, its network or the bot itself is gone.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import structlog

from src.ops.snapshot import Snapshot
from src.ops.thresholds import Level
from src.settings import Settings

log = structlog.get_logger(__name__)

_EVERY = 60.0
_SECONDS = 5.0


class Pulse:
    """Calls the address; without one it does nothing."""

    def __init__(self, settings: Settings) -> None:
        url = settings.heartbeat_url
        self._url = url.get_secret_value() if url else ""
        self._client = httpx.AsyncClient(timeout=_SECONDS, follow_redirects=True) if url else None
        self._at = -_EVERY
        self._failing_since: float | None = None

    async def beat(self, snapshot: Snapshot) -> None:
        """Call it if it is time and there is no problem; a call that fails is tried again with the next sample."""
        if snapshot.level is Level.PROBLEM:
            self.rest()
            return
        if self._client is None or time.monotonic() - self._at < _EVERY:
            return
        try:
            # The client's own limit is for each piece. What the answer holds is not read: it may have no end.
            async with asyncio.timeout(_SECONDS), self._client.stream("GET", self._url) as answer:
                answer.raise_for_status()
            self._at = time.monotonic()
            self._failing_since = None
        except (httpx.HTTPError, TimeoutError) as error:
            # Its text has the address, which is a secret.
            log.warning("heartbeat not heard", error=type(error).__name__)
            self._failing_since = self._failing_since or time.monotonic()

    def rest(self) -> None:
        """No calls are made for now: none fails."""
        self._failing_since = None

    def unheard(self) -> float:
        """Seconds for which the calls have failed; 0 while they are heard, or not made."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
