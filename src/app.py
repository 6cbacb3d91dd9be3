"""What every process of the system shares: settings, ledger, limiter, providers, one pool each.

`open_app` makes it inside a running event loop and closes it again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from observability.addresses import address_hook
from src.jobs import Ledger, keys
from src.jobs.switches import Switches
from src.jobs.uploads import name_of
from src.limits import Limiter
from src.providers import make_providers
from src.providers.base import Provider
from src.providers.http import make_client, make_clients
from src.providers.words import WordModels
from src.routing import Routing
from src.settings import Settings
from src.store.blobs import ORIGINALS, UPLOADS, Blobs
from src.store.clients import is_replicated, make_redis

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class App:
    """The shared parts of one process.

    Attributes:
        words: help with words, where a key for it is set.
        switches: what admins have switched off.
        holder: name of this process in leases, such as `host:4711`.
    """

    settings: Settings
    redis: Any
    ledger: Ledger
    limiter: Limiter
    blobs: Blobs
    providers: dict[str, Provider]
    words: WordModels | None
    switches: Switches
    holder: str

    async def original(self, job_id: str) -> bytes | None:
        """A picture that came in the provider's answer, while it is kept."""
        return await self._kept(f"{ORIGINALS}/{job_id}", keys.BLOB(job_id))

    async def upload(self, source: str) -> bytes | None:
        """A picture to be changed that came over REST, while it is kept."""
        return await self._kept(f"{UPLOADS}/{name_of(source)}", keys.PREFIX + source)

    async def close_store(self) -> None:
        """Let nothing be asked for whose picture could not be kept, until a sweep finds room."""
        await self.redis.hset(keys.ORIGINALS(), "room", 0)

    async def has_room(self) -> bool:
        """Whether one more picture that comes in an answer could be kept."""
        room = await self.redis.hget(keys.ORIGINALS(), "room")
        return room is None or int(room) > 0

    async def _kept(self, name: str, key: str) -> bytes | None:
        data = await self.blobs.get(name)
        if data is None:
            # Jobs of before the store had their pictures in Redis.
            data = await self.redis.execute_command("GET", key, NEVER_DECODE=True)
        return data

    def cap(self, provider: str) -> int:
        """Generations in flight that a provider may have."""
        return int(getattr(self.settings, f"{provider}_concurrency", 1))

    @property
    def routing(self) -> Routing:
        """Who makes a picture, and for how much."""
        return Routing(self.settings, self.providers, self.switches)


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the shared parts; nothing is asked of Redis or a provider yet.

    Raises:
        SettingsError: the catalog is wrong, or lacks a price that a cap needs.
    """
    client = make_redis(settings)
    clients = make_clients(settings)
    helper = make_client(settings, settings.way("text")) if settings.text_api_key else None
    every = {*clients.values(), *([helper] if helper else [])}
    for http in every:
        HTTPXClientInstrumentor.instrument_client(http, request_hook=address_hook(settings.secrets()))
    try:
        app = App(
            settings=settings,
            redis=client,
            ledger=Ledger(client, replicated=is_replicated(settings)),
            limiter=Limiter(client, trial=settings.lease),
            blobs=Blobs(settings),
            providers=make_providers(settings, clients),
            words=WordModels(settings, helper) if helper else None,
            switches=Switches(client),
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )
        app.routing.check_prices()
        yield app
    finally:
        for http in every:
            await http.aclose()
        await client.aclose()


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel background tasks and wait for their end.

    Cancelled again each second: a client that waits for a connection can take one cancellation for
    its own time-out and go on.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
