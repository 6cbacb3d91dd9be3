"""Addresses that settings hold: Redis behind sentinels, and what of an address is secret.

Sentinels are written as `redis+sentinel://[user[:password]@]host1:26379,host2:26379/name/0`, over TLS
`rediss+sentinel://`; user and password are those of Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_SENTINEL_SCHEMES = {"redis+sentinel": False, "rediss+sentinel": True}
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the sentinels are, what they call the Redis that is meant, and who asks it."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None
    tls: bool


def sentinel_address(url: str) -> SentinelAddress | None:
    """The sentinels that an address names; None: it names a server.

    Raises:
        ValueError: it cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SENTINEL_SCHEMES:
        return None
    places = [urlsplit(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
    service, _, database = parts.path.removeprefix("/").partition("/")
    hosts = tuple((host, place.port or _SENTINEL_PORT) for place in places if (host := host_in(place)))
    if len(hosts) != len(places) or not service:
        raise ValueError("a sentinel without a host, or no name of the master")
    return SentinelAddress(
        hosts=hosts,
        service=unquote(service),
        database=int(database or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=_SENTINEL_SCHEMES[parts.scheme],
    )


def host_in(parts: SplitResult) -> str:
    """An address's host; empty: it has none, or one like `a..b`, at which every look-up raises a UnicodeError."""
    host = parts.hostname or ""
    try:
        host.encode("idna")
    except UnicodeError:
        return ""
    return host


def passwords_in(addresses: str | None) -> set[str]:
    """The passwords in addresses separated by `;`, as they are written there and as they are."""
    passwords = {urlsplit(url).password for url in (addresses or "").split(";")}
    return {form for word in passwords if word for form in (word, unquote(word))}
