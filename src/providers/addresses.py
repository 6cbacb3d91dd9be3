"""Which addresses may be dialled: what a provider's answer names must not lead into our own network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_CHECK_SECONDS = 5.0
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
    operator named them in the settings. `private`: all may.
    """

    def __init__(
        self, trusted: frozenset[str], inner: AbstractResolver | None = None, *, private: bool = False
    ) -> None:
        self._trusted = trusted
        self._private = private
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if self._may_be_private(host):
            return found
        public = [entry for entry in found if is_public(entry["host"])]
        if found and not public:
            raise PrivateAddressError("the name leads to an address that is not public")
        return public

    async def check(self, host: str) -> None:
        """Look at a name that a proxy will resolve. Where it leads for the proxy cannot be seen from here: a name that
        is not known here passes, and that the answers agree is not certain. What then stands behind the name still
        has to have its certificate, as results come over https (`src.providers.results.ResultHosts`).

        Raises:
            PrivateAddressError: it leads, as far as is known here, to an address that is not public.
        """
        if self._may_be_private(host):
            return
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                found = await self._inner.resolve(host)
        except OSError:
            return
        if not all(is_public(entry["host"]) for entry in found):
            raise PrivateAddressError("the name leads to an address that is not public")

    def _may_be_private(self, host: str) -> bool:
        return self._private or host.lower().rstrip(".") in self._trusted

    async def close(self) -> None:
        await self._inner.close()
