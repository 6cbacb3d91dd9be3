"""OpenTelemetry for httpx: the official instrumentation around a transport, minus what must not leave.

Query strings carry signatures and keys, and some paths a token; so `url.full` is recorded without its
query, and with the path parts that look like a bot's token or were named secret taken out.
The context is not sent along: the servers called here are other people's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.trace import TracerProvider

from observability.scrubbing import REDACTED, Scrubber

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

_BOT_TOKEN = re.compile(r"(?<=/bot)\d+:[\w-]+")


def traced_transport(
    transport: httpx.AsyncBaseTransport,
    *,
    secrets: Iterable[str] = (),
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> httpx.AsyncBaseTransport:
    """`transport` with a CLIENT span and a duration for each request.

    Args:
      secrets: values that may stand in a path.
    """
    return _TracedTransport(transport, Scrubber(secrets), tracer_provider, meter_provider)


class _TracedTransport(httpx.AsyncBaseTransport):
    """Sends a request, and shows the instrumentation no more of it than it may record.

    That is its method and its clean address, no header of either side: what it does not see it can neither
    record nor change, and reading headers and addresses again is most of what it costs. It is told in the form
    of older versions of httpx, which it speaks too: method, address, headers, stream, extensions; the
    request itself passes through in the last.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        scrubber: Scrubber,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        # Read once, when the instrumentation is first used: without it, it speaks the old names.
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
        from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport

        self._transport = transport
        self._instrumented = AsyncOpenTelemetryTransport(
            _Inside(transport), tracer_provider=tracer_provider, meter_provider=meter_provider
        )
        self._scrubber = scrubber

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = _parsed(safe_url(str(request.url), self._scrubber))
        exchange = _Exchange(request)
        await self._instrumented.handle_async_request(
            request.method.encode(), address, [], None, {_EXCHANGE: exchange}
        )
        return exchange.answered

    async def aclose(self) -> None:
        await self._transport.aclose()


_EXCHANGE = "observability.exchange"


class _Exchange:
    """A request on its way through the instrumentation, and its response on the way back."""

    __slots__ = ("request", "response")

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.response: httpx.Response | None = None

    @property
    def answered(self) -> httpx.Response:
        if self.response is None:
            raise RuntimeError("the instrumentation sent nothing")
        return self.response


class _Inside(httpx.AsyncBaseTransport):
    """What the instrumentation stands around: sends the request and says how it ended."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, *shown: Any, **headers: Any) -> Any:
        exchange: _Exchange = shown[-1][_EXCHANGE]
        exchange.response = response = await self._transport.handle_async_request(exchange.request)
        return response.status_code, None, response.stream, response.extensions


# Few addresses but those of pictures are without anything of their own, once the query is off.
@lru_cache(1024)
def _parsed(address: str) -> httpx.URL:
    return httpx.URL(address)


def safe_url(url: str, scrubber: Scrubber | None = None) -> str:
    """`url` without credentials, query and fragment, its secret path parts redacted."""
    scheme, separator, rest = url.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    clean = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    if "/bot" in clean:
        clean = _BOT_TOKEN.sub(REDACTED, clean)
    return scrubber.text(clean) if scrubber else clean
