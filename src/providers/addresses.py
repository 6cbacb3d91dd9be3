"""Which addresses may be dialled: what a provider's answer names must not lead into our own network."""

from __future__ import annotations

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddressError(OSError):
    """A host name outside the operator's own settings leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Is this IP address on the public internet, also when wrapped in an IPv6 transition form?"""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class PublicResolver(AbstractResolver):
    """Resolves names for the connection that is then made, dropping addresses that are not public.

    Because the connector dials exactly what this returns, a name that changes its address between a
    check and the connection (DNS rebinding) gains nothing. Hosts in `trusted` may be private: the
    operator named them in the settings.
    """

    def __init__(self, trusted: frozenset[str], inner: AbstractResolver | None = None) -> None:
        self._trusted = trusted
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if host.lower().rstrip(".") in self._trusted:
            return found
        public = [entry for entry in found if is_public(entry["host"])]
        if found and not public:
            raise PrivateAddressError("the name leads to an address that is not public")
        return public

    async def close(self) -> None:
        await self._inner.close()
