"""httpx's way to the network, on aiohttp: its pool costs the same with ten connections and with thousands.

What httpx offers of that (`httpx-aiohttp`) reads a body in pieces of 16 KB through four layers, has no limit on
a whole exchange, and takes a broken connection for a time-out; between them that was a third of a poll's and
two thirds of a picture's CPU. Not here: which addresses may be dialled and what an answer means
(`src.providers.http`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import lru_cache

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

# Of a body that nobody reads yet, so much waits here (aiohttp takes twice that) and the rest at the server.
# A picture of usual size is then never stopped on its way, which would cost more than its bytes do.
_BUFFER_BYTES = 262_144
_PREPARED = "aiohttp.prepared"
_NO_LIMITS: dict[str, float] = {}


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests through one aiohttp session, which is made at the first of them.

    A request's `timeout` extension may have httpx's `connect`, `pool` and `read`, and `total`: seconds for the
    whole exchange until its body was read. Bodies are sent whole. What aiohttp raises is the cause of httpx's
    errors.

    Args:
        session: makes the session, inside the loop.
    """

    def __init__(self, session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession) -> None:
        self._make = session
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._make()
        limits = request.extensions.get("timeout", _NO_LIMITS)
        try:
            address, headers = _prepared(request)
            answer = await self._session.request(
                request.method,
                address,
                headers=headers,
                data=await request.aread() or None,
                allow_redirects=False,
                auto_decompress=False,
                read_bufsize=_BUFFER_BYTES,
                timeout=_timeout(
                    limits.get("total"), limits.get("pool"), limits.get("connect"), limits.get("read")
                ),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """An answer's body, in pieces as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        try:
            while piece := await content.readany():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        self._answer.release()
        await self._answer.wait_for_close()


def _prepared(request: httpx.Request) -> tuple[URL, CIMultiDict[str]]:
    """A request's address and headers as aiohttp has them; kept with it, for it may be sent again."""
    found: tuple[URL, CIMultiDict[str]] | None = request.extensions.get(_PREPARED)
    if found is None:
        try:
            # httpx has encoded what needs it.
            address = URL(str(request.url), encoded=True)
        except ValueError as error:
            raise aiohttp.InvalidURL(str(error)) from error
        found = address, CIMultiDict(request.headers.multi_items())
        request.extensions[_PREPARED] = found
    return found


@lru_cache(256)
def _timeout(
    total: float | None, pool: float | None, connect: float | None, read: float | None
) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, connect=pool, sock_connect=connect, sock_read=read)


def _as_httpx(error: Exception) -> httpx.HTTPError:
    kind: type[httpx.HTTPError] = httpx.ReadError
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        kind = httpx.ConnectTimeout
    elif isinstance(error, TimeoutError):
        kind = httpx.ReadTimeout
    elif isinstance(error, aiohttp.ClientConnectorError):
        kind = httpx.ConnectError
    elif isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        kind = httpx.UnsupportedProtocol
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        kind = httpx.RemoteProtocolError
    return kind(str(error))
