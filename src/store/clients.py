"""Clients of Redis, for the event loop and for threads: the one place that knows how Redis is reached.

By its address, over TLS, or by sentinels, which each new connection asks for the master of the moment.
What to do while Redis is away is the callers' matter; what its errors mean is said here.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import redis
from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import MasterNotFoundError as AsyncMasterNotFoundError
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from src.settings import Settings, SettingsError
from src.store.addresses import SentinelAddress, sentinel_address

_SOCKET_SECONDS = 5.0
# One sentinel's word is enough: those that are silent must not hold up the question.
_SENTINEL_SECONDS = 1.0
_CONNECTIONS = 32


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


def is_replicated(settings: Settings) -> bool:
    """Whether replicas take over from this Redis when it dies."""
    return sentinel_address(redis_url(settings)) is not None


def make_redis(
    settings: Settings, *, decode_responses: bool = True, socket_timeout: float = _SOCKET_SECONDS
) -> Any:
    """The asyncio client. Its tasks wait for a connection of its pool where more ask at once than it has.

    Args:
        socket_timeout: seconds that an answer may take.
    """
    url = redis_url(settings)
    sentinels = sentinel_address(url)
    options = {
        "max_connections": _CONNECTIONS,
        "timeout": 20,
        "decode_responses": decode_responses,
        "socket_timeout": socket_timeout,
        "retry": AsyncRetry(ExponentialBackoff(cap=0.5, base=0.05), 1),
        **_connection_options(settings, url, sentinels),
    }
    if sentinels is None:
        return Redis.from_pool(BlockingConnectionPool.from_url(url, **options))
    asked = AsyncSentinel(  # type: ignore[no-untyped-call]
        list(sentinels.hosts),
        sentinel_kwargs={**_asking_options(settings, sentinels), "retry": AsyncRetry(NoBackoff(), 0)},
    )
    return asked.master_for(sentinels.service, Redis, connection_pool_class=_AsyncSentinelPool, **options)


def make_sync_redis(settings: Settings, *, decode_responses: bool = True) -> Any:
    """A client for threads."""
    url = redis_url(settings)
    sentinels = sentinel_address(url)
    options = {
        "decode_responses": decode_responses,
        "socket_timeout": _SOCKET_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 1),
        **_connection_options(settings, url, sentinels),
    }
    if sentinels is None:
        return redis.Redis.from_url(url, **options)
    asked = Sentinel(  # type: ignore[no-untyped-call]
        list(sentinels.hosts),
        sentinel_kwargs={**_asking_options(settings, sentinels), "retry": Retry(NoBackoff(), 0)},
    )
    return asked.master_for(sentinels.service, **options)  # type: ignore[no-untyped-call]


class _AsyncSentinelPool(AsyncSentinelConnectionPool, BlockingConnectionPool):
    """Waits as the pool without sentinels does; the connections to the sentinels are closed with the others."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _connection_options(settings: Settings, url: str, sentinels: SentinelAddress | None) -> dict[str, Any]:
    """What both kinds of client are made with; user and password in the address come before these."""
    options: dict[str, Any] = {
        "socket_connect_timeout": _SOCKET_SECONDS,
        # A connection that asks whether it is well as the first thing does so without end where Redis is silent.
        "health_check_interval": 0,
        # Another is the master now: a new connection to the same address may find it.
        "retry_on_error": [redis.ReadOnlyError],
        "password": _value(settings.redis_password),
    }
    tls = url.startswith("rediss:")
    if sentinels is not None:
        tls = sentinels.tls
        options |= {
            "db": sentinels.database,
            "ssl": sentinels.tls,
            "username": sentinels.username,
            "password": sentinels.password or options["password"],
        }
    if tls and settings.redis_ca_file is not None:
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    return options


def _asking_options(settings: Settings, sentinels: SentinelAddress) -> dict[str, Any]:
    """What a client of a sentinel is made with."""
    options: dict[str, Any] = {
        "socket_timeout": _SENTINEL_SECONDS,
        "socket_connect_timeout": _SENTINEL_SECONDS,
        "password": _value(settings.redis_sentinel_password),
    }
    if sentinels.tls:
        options["ssl"] = True
        if settings.redis_ca_file is not None:
            options["ssl_ca_certs"] = str(settings.redis_ca_file)
    return options


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


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


def trouble(error: Exception) -> str:
    """What is wrong with Redis and what to do, in words, without anything secret."""
    if isinstance(error, (MasterNotFoundError, AsyncMasterNotFoundError)):
        # Its text goes on with what each sentinel said that was no answer.
        if " : " in str(error):
            return (
                "no sentinel answers: check REDIS_URL, REDIS_SENTINEL_PASSWORD and, over TLS, REDIS_CA_FILE"
            )
        return "the sentinels know no master of that name that is up: check the name in REDIS_URL"
    causes = list(_causes(error))
    for kinds, words in _TROUBLES:
        if any(isinstance(cause, kinds) for cause in causes):
            return words
    if "Multiple exceptions" in str(error):  # of asyncio, where none of a name's addresses answers
        return _NOBODY
    if "can't run this command" in str(error):  # a user's rights inside a script
        return _TROUBLES[1][1]
    for said, words in _SAID:
        if said.search(str(error)):
            return words
    word = _PASSING_WORDS.search(str(error))
    return f"cannot be written: {word[0] if word else type(error).__name__}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_NOBODY = "nothing listens at its address: check REDIS_URL"
_CLUSTER = "is a cluster, which tears a job's keys apart: use a single Redis, or sentinels"
_TROUBLES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (redis.AuthenticationError,),
        "refuses user and password: check REDIS_URL and REDIS_PASSWORD",
    ),
    (
        (NoPermissionError,),
        "its user may not do what is needed: give it the rights in compose/README.md, More machines",
    ),
    (
        (redis.ReadOnlyError,),
        "is a replica, which takes no writes: set REDIS_URL to the master, or to the sentinels",
    ),
    (
        (ssl.SSLCertVerificationError,),
        "its certificate is not trusted: check REDIS_CA_FILE, and that the certificate has the name in REDIS_URL",
    ),
    ((ssl.SSLError,), "does not speak TLS as it should: check the port and REDIS_CA_FILE"),
    ((socket.gaierror,), "its host name is not known: check REDIS_URL"),
    ((ConnectionRefusedError, FileNotFoundError), _NOBODY),
    ((ConnectionResetError,), "closes the connection: check the port, and whether it should be rediss://"),
    (
        (redis.TimeoutError, TimeoutError),
        "does not answer in time: check REDIS_URL, the network, and whether that port speaks TLS",
    ),
    (
        (redis.OutOfMemoryError,),
        "cannot be written: its memory is full: raise `--maxmemory`, and `mem_limit` in compose",
    ),
    ((BusyLoadingError,), "still loads what it keeps: wait a moment"),
    ((redis.InvalidResponse,), "does not speak Redis's language: check host and port in REDIS_URL"),
    ((AskError, ClusterCrossSlotError, ClusterDownError), _CLUSTER),
)
# What redis-py has no class for.
_SAID = tuple(
    (re.compile(said), words)
    for said, words in (
        ("MISCONF", "cannot be written: it cannot save to its disk: make room there, its log says more"),
        ("NOREPLICAS", "cannot be written: too few replicas follow it: check that they run"),
        (
            "[Uu]nknown (Redis )?command",
            "does not know what is asked: 6.2 is needed; `redis+sentinel://` names sentinels, and nothing else does",
        ),
        (
            "WRONGTYPE",
            "has something of another program's under our names: use a database of our own (its number ends REDIS_URL)",
        ),
        ("max number of clients", "has as many clients as it may: raise its `maxclients`"),
        ("DB index", "has no such database: check the number that ends REDIS_URL"),
        ("cluster mode", _CLUSTER),
    )
)
