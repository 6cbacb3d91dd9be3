"""What every process of the system shares: settings, ledger, limiter, providers, one pool each.

`open_app` makes it inside a running event loop and closes it again.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import MasterDownError, TryAgainError
from redis.retry import Retry

from observability.httpx import traced_transport
from src.jobs import Ledger
from src.jobs.transitions import Transition
from src.limits import Limiter
from src.providers import make_providers
from src.providers.base import Provider
from src.providers.http import make_client
from src.settings import Settings, SettingsError

T = TypeVar("T")

_SOCKET_SECONDS = 5.0
_PATIENCE = 30.0
_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class App:
    """The shared parts of one process.

    Attributes:
        holder: name of this process in leases, such as `host:4711`.
    """

    settings: Settings
    redis: Any
    ledger: Ledger
    limiter: Limiter
    http: httpx.AsyncClient
    providers: dict[str, Provider]
    holder: str

    async def commit(self, transition: Transition[T]) -> T:
        """Make a transition whose loss would cost something, patiently: Redis may be restarting.

        A transition guarded by a fence can be said twice, so an answer that was lost does no harm.

        Raises:
            redis.RedisError: Redis stayed away for half a minute; the lease will tell the others.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return await self.ledger.run(transition)
            except redis.RedisError as error:
                if time.monotonic() > until or not is_passing(error):
                    raise
                await asyncio.sleep(0.2)

    def cap(self, provider: str) -> int:
        """Generations in flight that a provider may have."""
        return int(getattr(self.settings, f"{provider}_concurrency", 1))

    def model(self, provider: str, *, edit: bool) -> str:
        """Name of the model for new jobs."""
        name: str | None = getattr(self.settings, f"{provider}_edit_model", None) if edit else None
        return name or str(getattr(self.settings, f"{provider}_model"))


# Redis says these while it cannot write: a replica before it takes over, memory or disk full, loading.
# redis-py has classes for some and takes the word off their text; a script's error carries it inside.
_PASSING_ERRORS = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    TryAgainError,
    MasterDownError,
)
_PASSING_WORDS = re.compile(r"\b(READONLY|OOM|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|BUSY|TRYAGAIN)\b")


def is_passing(error: redis.RedisError) -> bool:
    """Whether Redis is only away or cannot write for now, so that the same command may succeed later."""
    if isinstance(error, redis.AuthenticationError):
        return False
    return isinstance(error, _PASSING_ERRORS) or _PASSING_WORDS.search(str(error)) is not None


def redis_url(settings: Settings) -> str:
    """The address of Redis.

    Raises:
        SettingsError: there is none.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "REDIS_URL: is needed here, such as redis://localhost:6379/0 "
            "(`imagebot run` and `imagebot demo` start a Redis of their own)"
        )
    return settings.redis_url


def make_redis(settings: Settings) -> Any:
    """The asyncio client: one pool, callers wait their turn for a connection."""
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        redis_url(settings),
        max_connections=_CONNECTIONS,
        timeout=20,
        decode_responses=True,
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        health_check_interval=15,
        retry=AsyncRetry(ExponentialBackoff(cap=0.5, base=0.02), 3),
    )
    return Redis.from_pool(pool)


def make_sync_redis(settings: Settings, *, decode_responses: bool = True) -> Any:
    """A client for threads: Dramatiq's broker and the limiter's middleware."""
    return redis.Redis.from_url(
        redis_url(settings),
        decode_responses=decode_responses,
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 3),
    )


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the shared parts; nothing is asked of Redis or a provider yet."""
    client = make_redis(settings)
    secrets = settings.secrets()
    http = make_client(settings, wrap=lambda transport: traced_transport(transport, secrets=secrets))
    try:
        yield App(
            settings=settings,
            redis=client,
            ledger=Ledger(client),
            limiter=Limiter(client),
            http=http,
            providers=make_providers(settings, http),
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )
    finally:
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
