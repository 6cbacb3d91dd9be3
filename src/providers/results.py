"""Fetching a finished picture from where the provider says it is, trusting nothing it says.

Each hop of a redirect is checked like the first address; no key is ever sent; the connection itself
refuses private addresses (`src.providers.network.transport.PublicResolver`); bytes are capped and sniffed.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import structlog

from src.providers.base import ErrorKind, ImageBytes, ImageRef, Picture, ProviderError
from src.providers.http import OpenAnswer, begin, retry_after
from src.providers.images import END_BYTES, has_end, inspect, pixels_in, sniff
from src.providers.network.addresses import is_public
from src.providers.refusals import kind_of_status

log = structlog.get_logger(__name__)

_FETCH_SECONDS = 120.0
# A head is looked at when it has so many bytes, then twice as many, and so on.
_HEAD_BYTES = 16_384
_LONGEST_HEAD = 1_000_000
_HOPS = 3
_HEADERS = {"Accept": "image/*"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ResultHosts:
    """Where a provider's results may come from.

    Args:
        own: addresses from the settings; their exact origins (scheme, host, port) are allowed as they are.
        known: host names, `.example.com` with its subdomains: https on its usual port only. One with a scheme, as
            `https://files.example.com:8443`, is an origin like those of `own`.
        private: the operator let the known hosts be private, on http and on any port.
    """

    def __init__(self, own: Iterable[str], known: Iterable[str], *, private: bool = False) -> None:
        named = tuple(name.lower() for name in known)
        origins = (*own, *(name for name in named if "://" in name))
        self._own = {_origin(httpx.URL(url)) for url in origins}
        self._known = tuple(name for name in named if "://" not in name)
        self._private = private

    def check(self, url: httpx.URL) -> None:
        """Let a good address pass.

        Raises:
            ProviderError: BAD_RESULT, with the code bad_url, foreign_host, not_https or private_address.
        """
        scheme, host, port = _origin(url)
        if scheme not in _DEFAULT_PORTS or not host or url.userinfo:
            raise ProviderError(ErrorKind.BAD_RESULT, "bad_url")
        if (scheme, host, port) in self._own:
            return
        if not any(host == name or (name[:1] == "." and f".{host}".endswith(name)) for name in self._known):
            named = host if (scheme, port) == ("https", 443) else f"{scheme}://{host}:{port}"
            log.warning("result at a host that is not allowed", host=named, allow="PROVIDER_RESULT_HOSTS")
            raise ProviderError(ErrorKind.BAD_RESULT, "foreign_host", host=named)
        if self._private:
            return
        if scheme != "https" or port != 443:
            raise ProviderError(ErrorKind.BAD_RESULT, "not_https")
        if _is_literal(host) and not is_public(host):
            # aiohttp does not resolve an address that is a number, so its resolver would not see it.
            raise ProviderError(ErrorKind.BAD_RESULT, "private_address")


async def fetch_image(client: httpx.AsyncClient, hosts: ResultHosts, url: str, *, limit: int) -> ImageBytes:
    """Download a finished picture of at most `limit` bytes and check it.

    Raises:
        ProviderError: BAD_RESULT (address or bytes), NOT_FOUND (gone or expired), or a retryable kind.
    """
    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            answer = await _found(client, hosts, url, limit)
            try:
                return inspect(await answer.read())
            finally:
                await answer.aclose()
    except TimeoutError:
        raise ProviderError(ErrorKind.TIMEOUT, "timeout") from None


@asynccontextmanager
async def open_image(
    client: httpx.AsyncClient, hosts: ResultHosts, url: str, *, limit: int
) -> AsyncIterator[Picture]:
    """Begin to download a finished picture of at most `limit` bytes: its head is read and checked.

    A picture whose length was not announced, or whose head says too little, is read whole.

    Raises:
        ProviderError: as `fetch_image`; also while its pieces are read.
    """
    answer = None
    try:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                answer = await _found(client, hosts, url, limit)
                pieces = answer.pieces()
                head, pixels = await _head(answer, pieces)
        except TimeoutError:
            raise ProviderError(ErrorKind.TIMEOUT, "timeout") from None
        if pixels is None or answer.size is None:
            yield inspect(head)
            return
        again = functools.partial(_found, client, hosts, url, limit)
        yield _Passing(sniff(head) or "", *pixels, answer.size, head, pieces, again)
    finally:
        if answer is not None:
            await answer.aclose()


async def fetch_ref(
    client: httpx.AsyncClient, hosts: ResultHosts, ref: ImageRef, *, limit: int
) -> ImageBytes:
    """The picture a provider's answer names or holds, of at most `limit` bytes.

    Raises:
        ProviderError: as `fetch_image`.
    """
    if ref.data is None:
        return await fetch_image(client, hosts, ref.url or "", limit=limit)
    if len(ref.data) > limit:
        raise ProviderError(ErrorKind.BAD_RESULT, "too_large")
    return inspect(ref.data)


def open_ref(
    client: httpx.AsyncClient, hosts: ResultHosts, ref: ImageRef, *, limit: int
) -> AbstractAsyncContextManager[Picture]:
    """`fetch_ref`, begun only: a picture that is elsewhere passes in pieces.

    Raises:
        ProviderError: as `open_image`.
    """
    if ref.data is None:
        return open_image(client, hosts, ref.url or "", limit=limit)
    return _held(client, hosts, ref, limit)


@asynccontextmanager
async def _held(
    client: httpx.AsyncClient, hosts: ResultHosts, ref: ImageRef, limit: int
) -> AsyncIterator[Picture]:
    yield await fetch_ref(client, hosts, ref, limit=limit)


async def _head(answer: OpenAnswer, pieces: AsyncIterator[bytes]) -> tuple[bytes, tuple[int, int] | None]:
    """The first bytes of a picture and its width and height; all bytes and None where no head tells."""
    # An array: adding to bytes copies all that is there, thousands of times for a picture of many megabytes.
    head, enough = bytearray(), _HEAD_BYTES
    async for piece in pieces:
        head += piece
        if answer.size is not None and enough <= min(len(head), _LONGEST_HEAD):
            enough = 2 * len(head)
            if (pixels := pixels_in(bytes(head))) is not None:
                return bytes(head), pixels
    return bytes(head), None


class _Passing:
    """A picture on its way: what is asked for again is downloaded again."""

    def __init__(
        self,
        mime: str,
        width: int,
        height: int,
        size: int,
        head: bytes,
        rest: AsyncIterator[bytes],
        again: Callable[[], Awaitable[OpenAnswer]],
    ) -> None:
        self.mime, self.width, self.height, self.size = mime, width, height, size
        self._begun: tuple[bytes, AsyncIterator[bytes]] | None = (head, rest)
        self._again = again

    async def pieces(self) -> AsyncIterator[bytes]:
        begun, self._begun = self._begun, None
        answer = None
        try:
            if begun is None:
                async with asyncio.timeout(_FETCH_SECONDS):
                    answer = await self._again()
                begun = b"", answer.pieces()
            head, rest = begun
            tail = head[-END_BYTES:]
            yield head
            async for piece in rest:
                tail = piece[-END_BYTES:] if len(piece) >= END_BYTES else (tail + piece)[-END_BYTES:]
                yield piece
        except TimeoutError:
            raise ProviderError(ErrorKind.TIMEOUT, "timeout") from None
        finally:
            if answer is not None:
                await answer.aclose()
        if not has_end(self.mime, tail):
            raise ProviderError(ErrorKind.BAD_RESULT, "truncated")


async def _found(client: httpx.AsyncClient, hosts: ResultHosts, url: str, limit: int) -> OpenAnswer:
    """The answer that has the picture, after its redirects; to be closed by the caller."""
    for _ in range(_HOPS + 1):
        target = _parse(url)
        hosts.check(target)
        answer = await begin(client, target, headers=_HEADERS, seconds=_FETCH_SECONDS, limit=limit)
        if answer.status == 200:
            return answer
        await answer.aclose()
        location = answer.headers.get("location")
        if answer.status not in (301, 302, 303, 307, 308) or not location:
            raise _refusal(answer)
        url = _join(target, location)
    raise ProviderError(ErrorKind.BAD_RESULT, "too_many_redirects")


def _refusal(answer: OpenAnswer) -> ProviderError:
    if answer.status in (401, 403, 404, 410):
        return ProviderError(ErrorKind.NOT_FOUND, "result_gone", status=answer.status)
    if answer.status < 400:
        return ProviderError(ErrorKind.BAD_RESULT, "no_picture", status=answer.status)
    return ProviderError(
        kind_of_status(answer.status),
        "result_refused",
        status=answer.status,
        retry_after=retry_after(answer.headers),
    )


def _parse(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None


def _join(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError):
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    # The raw host: the plain one decodes punycode, and fails on what only looks like it.
    return (
        url.scheme,
        url.raw_host.decode("ascii").lower().rstrip("."),
        url.port or _DEFAULT_PORTS.get(url.scheme),
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
