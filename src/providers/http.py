"""One HTTP exchange with a provider: the pooled client, time and size limits, errors as `ProviderError`.

Not here: what an answer means (each provider's module) and which addresses a result may come from
(`src.providers.results`).
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from src.providers.base import ErrorKind, ProviderError, Room
from src.settings import Settings, Way

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

CONNECT_SECONDS = 5.0
# So much of an answer is read before there has to be room for a picture; a server that goes on has this long for
# each further piece of that size, since others wait for that room.
_SMALL = 65_536
_PIECE_SECONDS = 60.0
# A stream of events may pause while the picture is drawn: after so long without such a piece the room is left.
_PAUSE_SECONDS = 5.0
# What comes behind an event that is an answer by itself, as what it cost, comes at once.
_REST_SECONDS = 5.0
# Some gateways' file servers refuse what does not look like a browser or names itself barely.
_USER_AGENT = "Mozilla/5.0 (compatible; imagebot)"
_LONGEST_RETRY_AFTER = 86_400.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


# What ends an event in a stream of them.
_EVENT_END = re.compile(rb"\r?\n\r?\n")
ROOM: ContextVar[Room | None] = ContextVar("room", default=None)
"""What `exchange` awaits as its `room` where it is given none: for polls, whose answers are seldom large."""


def make_client(
    settings: Settings, way: Way | None = None, *, resolver: AbstractResolver | None = None
) -> httpx.AsyncClient:
    """An HTTP client for the providers that are reached one way, and their results.

    HTTP/1.1 on aiohttp, whose pool costs the same with ten connections and with thousands; no cookies, redirects
    never followed by themselves. Proxy variables of the environment are not read: `SSL_CERT_FILE` is.

    Args:
        settings: the hosts of its addresses, and those of `provider_result_hosts` that are named with a scheme,
            may be private.
        way: a proxy and certificates; a proxy resolves names itself, so they are looked at before it is asked.
        resolver: for tests, in place of the system's name resolution.
    """
    return _Client(
        transport=_Lazy(settings, way or Way(), resolver),
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    )


class _NoCookies(httpx.Cookies):
    """What one gateway sets is neither kept nor shown to another."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


_NO_COOKIES = _NoCookies()


class _Client(httpx.AsyncClient):
    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError("this client keeps none")


def make_clients(settings: Settings) -> dict[str, httpx.AsyncClient]:
    """A client for each provider that has a key. Those reached the same way share one."""
    made: dict[Way, httpx.AsyncClient] = {}
    for way in map(settings.way, settings.providers):
        if way not in made:
            made[way] = make_client(settings, way)
    return {name: made[settings.way(name)] for name in settings.providers}


class _Lazy(httpx.AsyncBaseTransport):
    """What requests go over, loaded by the first."""

    def __init__(self, *how: Any) -> None:
        self._how = how
        self._opened: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._opened is None:
            from src.providers.network.transport import Edge

            self._opened = Edge(*self._how)
        return await self._opened.handle_async_request(request)

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()


def of_the_network() -> tuple[type[Exception], ...]:
    """What a request fails with."""
    from src.providers.network.transport import OF_THE_NETWORK

    return OF_THE_NETWORK


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, whatever its status."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asked us to stay away, or None."""
        return retry_after(self.headers)

    @property
    def request_id(self) -> str | None:
        """The server's id of this exchange, if it looks like one."""
        found = self.headers.get("x-request-id", "")
        return found if _REQUEST_ID.fullmatch(found) else None

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none.
        """
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deep") from None

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object; None where it is none."""
        try:
            found = self.json()
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


class Heard(Enum):
    """What an event in a stream of them is to the answer: no part of it (ASIDE), a PART, all that has to be there
    (ENOUGH), or the END of it."""

    ASIDE = auto()
    PART = auto()
    ENOUGH = auto()
    END = auto()


File = tuple[str, tuple[str, bytes, str]]
"""A field of a form that is a file: its name, then (file name, bytes, media type)."""


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    seconds: float,
    limit: int,
    json_body: Any = None,
    fields: Mapping[str, str] | None = None,
    files: Sequence[File] | None = None,
    creates: bool = False,
    room: Room | None = None,
    event: Callable[[bytes], Heard] | None = None,
) -> Answer:
    """Send one request and read its whole answer.

    Args:
        client: from `make_client`.
        method: HTTP method.
        url: full address.
        headers: those of the request; the client adds its agent's name.
        seconds: limit on the whole exchange; a server that drips bytes does not stretch it.
        limit: largest body accepted, in bytes.
        json_body: sent as JSON.
        fields: form fields, sent as multipart with `files`.
        files: their fields, which may come again.
        creates: the request makes something that may be billed: when it fails after the connection
            was made, the error says `submitted`.
        room: awaited when the body proves to be large; the rest of it waits in the network meanwhile.
        event: where the answer is a stream of events, called with each as it comes. Those that are ASIDE are no part
            of the body, nor of its limit; how a stream ends behind ENOUGH does not matter.

    Raises:
        ProviderError: NETWORK, TIMEOUT, BAD_RESULT for a body over the limit or a private address, or
            INVALID_REQUEST for text that has no UTF-8 form (half of a surrogate pair).
    """
    body: dict[str, Any] = {"data": fields, "files": files}
    if json_body is not None:
        headers = {"Content-Type": "application/json", **headers}
        try:
            body = {"content": json.dumps(json_body, ensure_ascii=False).encode()}
        except UnicodeEncodeError:
            raise ProviderError(ErrorKind.INVALID_REQUEST, "not_encodable") from None
    request = _request(client, method, url, headers, {"total": seconds}, **body)
    until = asyncio.get_running_loop().time() + seconds
    try:
        answer = OpenAnswer(await client.send(request, stream=True), limit, creates)
        try:
            async with asyncio.timeout_at(until):
                if event is not None and answer.is_stream:
                    found = await answer.read_events(event, room or ROOM.get())
                else:
                    found = await answer.read(room or ROOM.get())
        finally:
            await answer.aclose()
    except of_the_network() as error:
        raise _failure(error, creates) from None
    return Answer(answer.status, answer.headers, found)


async def begin(
    client: httpx.AsyncClient, url: httpx.URL, *, headers: Mapping[str, str], seconds: float, limit: int
) -> OpenAnswer:
    """GET an address and hand out the answer before its body is read; to be closed by the caller.

    Args:
        seconds: limit on each wait for the next piece.
        limit: largest body accepted, in bytes.

    Raises:
        ProviderError: as `exchange`; also while pieces are read.
    """
    request = _request(client, "GET", url, headers, {"read": seconds})
    try:
        return OpenAnswer(await client.send(request, stream=True), limit)
    except of_the_network() as error:
        raise _failure(error, False) from None


class OpenAnswer:
    """An answer whose body is still to be read.

    Attributes:
        status: of HTTP.
        size: length of the body in bytes, where it was announced.
    """

    def __init__(self, response: httpx.Response, limit: int, creates: bool = False) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._limit = limit
        self._read = 0
        self._creates = creates
        announced = self.headers.get("content-length", "")
        known = "content-encoding" not in self.headers and announced.isdigit() and len(announced) < 20
        self.size = int(announced) if known else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces; once.

        Raises:
            ProviderError: it is too large, or the connection broke.
        """
        if self.size is not None and self.size > self._limit:
            raise self._too_large()
        try:
            async for piece in self._response.aiter_bytes():
                self._read += len(piece)
                if self._read > self._limit:
                    raise self._too_large()
                yield piece
        except of_the_network() as error:
            raise _failure(error, self._creates) from None

    @property
    def is_stream(self) -> bool:
        """Whether its body is a stream of events."""
        return self.status < 300 and self.headers.get("content-type", "").startswith("text/event-stream")

    async def read_events(self, hear: Callable[[bytes], Heard], room: Room | None = None) -> bytes:
        """A stream of events as far as these are parts of the answer. Long pauses in it hold up nobody.

        Args:
            room: awaited once an event proves to be large, and left when it is no part, or for a pause.
        """
        kept, event, looked, step = bytearray(), bytearray(), 0, _SMALL
        enough = ended = False
        loop = asyncio.get_running_loop()
        pause: asyncio.TimerHandle | None = None
        try:
            async with asyncio.timeout(None) as limit:
                async for piece in self.pieces():
                    event += piece
                    while end := _EVENT_END.search(event, looked):
                        whole, looked = bytes(event[: end.end()]), 0
                        del event[: end.end()]
                        heard = hear(whole)
                        if heard is Heard.ASIDE:
                            self._read -= len(whole)
                            continue
                        kept += whole
                        ended = heard is Heard.END
                        if ended:
                            event.clear()
                        elif heard is Heard.ENOUGH and not enough:
                            enough = True
                            limit.reschedule(loop.time() + _REST_SECONDS)
                    # What ends an event may come in two pieces.
                    looked = max(0, len(event) - 3)
                    size = len(kept) + len(event)
                    if room is not None and size >= (_SMALL if ended else step):
                        await room()
                        step = size + _SMALL
                        if pause is not None:
                            pause.cancel()
                        pause = loop.call_later(_PAUSE_SECONDS, room.leave)
                    elif room is not None and size < _SMALL < step:
                        room.leave()
                        step = _SMALL
                    if ended:
                        break
        except (ProviderError, TimeoutError):
            if not enough and hear(bytes(event)) not in (Heard.ENOUGH, Heard.END):
                raise
        finally:
            if pause is not None:
                pause.cancel()
        return bytes(kept + event)

    async def read(self, room: Room | None = None) -> bytes:
        """The whole body.

        Args:
            room: awaited once it proves to be large, before the rest is read.
        """
        found: list[bytes] = []
        loop = asyncio.get_running_loop()
        size, step = 0, _SMALL
        async with asyncio.timeout(None) as limit:
            async for piece in self.pieces():
                found.append(piece)
                size += len(piece)
                if room is not None and size >= step:
                    if step == _SMALL:
                        await room()
                    step = size + _SMALL
                    limit.reschedule(loop.time() + _PIECE_SECONDS)
        return b"".join(found)

    async def aclose(self) -> None:
        """Give the connection back, or end it where the body was not read to its end."""
        await self._response.aclose()

    def _too_large(self) -> ProviderError:
        return ProviderError(ErrorKind.BAD_RESULT, "too_large", status=self.status, submitted=self._creates)


def data_of(event: bytes) -> bytes:
    """The data of an event in a stream; empty where it has none, as a comment that keeps the connection open."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


def _request(
    client: httpx.AsyncClient,
    method: str,
    url: str | httpx.URL,
    headers: Mapping[str, str],
    limits: dict[str, float],
    **body: Any,
) -> httpx.Request:
    timeout = {"connect": CONNECT_SECONDS, "pool": 2 * CONNECT_SECONDS, **limits}
    try:
        return client.build_request(method, url, headers=headers, extensions={"timeout": timeout}, **body)
    except httpx.InvalidURL:
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None
    except ValueError:
        # Its message quotes what could not be encoded, so it goes no further.
        raise ProviderError(ErrorKind.INVALID_REQUEST, "not_encodable") from None


def _failure(error: Exception, creates: bool) -> ProviderError:
    from src.providers.network.transport import BadTLS, PrivateAddress, plain

    if not isinstance(error, httpx.TransportError) or error.__cause__ is not None:
        error = plain(error)
    if isinstance(error, PrivateAddress):
        return ProviderError(ErrorKind.BAD_RESULT, "private_address")
    if isinstance(error, BadTLS):
        return ProviderError(ErrorKind.NETWORK, "tls")
    if isinstance(error, httpx.ProxyError):
        return ProviderError(ErrorKind.NETWORK, "proxy")
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
    submitted = creates and not never_sent
    if isinstance(error, httpx.TimeoutException):
        return ProviderError(ErrorKind.TIMEOUT, "timeout", submitted=submitted)
    return ProviderError(ErrorKind.NETWORK, "connection", submitted=submitted)


def bearer(key: SecretStr | None, header: str = "") -> dict[str, str]:
    """Headers of a request to an API that answers in JSON, with a bearer key, or with the key alone in a header of its
    own."""
    value = key.get_secret_value().strip() if key else ""
    said = {header: value} if header else {"Authorization": f"Bearer {value}"}
    return {**said, "Accept": "application/json"}


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """`Retry-After` in seconds: given as seconds or as an HTTP date; None when absent or nonsense."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return None
        seconds = at - (time.time() if now is None else now)
    if seconds != seconds:
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
