"""What requests to providers go over: aiohttp's pool, which way, to which addresses, and what its errors mean.

Loaded with the first request (`src.providers.http.make_client`): most commands make none, and this costs them a
quarter of a second.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from httpx_aiohttp import AiohttpTransport
from opentelemetry.propagate import get_global_textmap

from src.providers.network.addresses import PrivateAddressError, is_public
from src.settings import Settings, Way

_CHECK_SECONDS = 5.0
_CONNECTIONS = 4096
# Below the idle limit of the usual servers and balancers, so that they seldom close first.
_KEEPALIVE_SECONDS = 15.0
_OF_THE_PROXY = (ProxyError, ProxyConnectionError, ProxyTimeoutError)
OF_THE_NETWORK = (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError, OSError, *_OF_THE_PROXY)


class PrivateAddress(httpx.ConnectError):
    """The connection was not made: it would have gone into a private network."""


class BadTLS(httpx.ConnectError):
    """The connection was not made: the server's certificate or its TLS is not right."""


class Edge(httpx.AsyncBaseTransport):
    """The last step before the network: what leaves is ours alone, and what goes wrong says so plainly.

    Takes out the trace context, since the servers called here are other people's. A request's `timeout` extension
    may have `total`: seconds until the head of the answer. `httpx-aiohttp` reports a broken connection as one that
    was never made; whether a request went out decides here whether a picture may have been paid for. Messages of
    aiohttp quote whole addresses, so none goes on to a span or a log.
    """

    def __init__(self, settings: Settings, way: Way, resolver: AbstractResolver | None) -> None:
        guard = _guard(settings, resolver)
        self._guard = guard if way.proxy else None
        self._transport = AiohttpTransport(
            verify=_certificates(way.ca_file), client=lambda: make_session(settings, way, guard)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for name in get_global_textmap().fields:
            request.headers.pop(name, None)
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("total")):
                if self._guard is not None:
                    await self._guard.check(request.url.host)
                return await self._transport.handle_async_request(request)
        except OF_THE_NETWORK as error:
            raise plain(error) from None

    async def aclose(self) -> None:
        await self._transport.aclose()


def make_session(settings: Settings, way: Way, guard: PublicResolver | None = None) -> aiohttp.ClientSession:
    """A session of aiohttp that goes that way, for what is not plain HTTP; to be closed by the caller."""
    how: dict[str, Any] = {
        "limit": _CONNECTIONS,
        "keepalive_timeout": _KEEPALIVE_SECONDS,
        "ssl": _certificates(way.ca_file),
    }
    connector: aiohttp.TCPConnector
    if way.proxy:
        connector = ProxyConnector.from_url(way.proxy, rdns=True, **how)
    else:
        connector = aiohttp.TCPConnector(resolver=guard or _guard(settings), **how)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def plain(error: Exception) -> httpx.TransportError:
    """What happened to a request, as the httpx error that means it, without an address in its message."""
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, PrivateAddressError) or (
        isinstance(cause, aiohttp.ClientConnectorError) and isinstance(cause.os_error, PrivateAddressError)
    ):
        return PrivateAddress("the name leads to an address that is not public")
    if isinstance(cause, _OF_THE_PROXY):
        return httpx.ProxyError("the proxy made no connection")
    # Behind a proxy it is only a cause.
    if isinstance(cause, aiohttp.ClientSSLError) or isinstance(
        cause and cause.__cause__, ssl.SSLCertVerificationError
    ):
        return BadTLS("no trusted connection")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("no connection in time")
    if isinstance(cause, TimeoutError):
        return httpx.ReadTimeout("no answer in time")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return httpx.ConnectError("no connection")
    if isinstance(cause, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return httpx.UnsupportedProtocol("not an address of HTTP")
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("the server hung up without an answer")
    return httpx.ReadError("the connection broke")


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


def _guard(settings: Settings, inner: AbstractResolver | None = None) -> PublicResolver:
    named = (host for host in settings.provider_result_hosts if "://" in host)
    trusted = frozenset(urlsplit(url).hostname or "" for url in (*settings.provider_addresses, *named))
    return PublicResolver(trusted, inner, private=settings.allow_private_hosts)


@functools.cache
def _certificates(beside: Path | None = None) -> ssl.SSLContext:
    """The machine's certificates and those of a file. Reading them takes a tenth of a second."""
    context = httpx.create_ssl_context()
    if beside is not None:
        context.load_verify_locations(beside)
    return context
