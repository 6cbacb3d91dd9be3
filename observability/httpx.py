"""OpenTelemetry for httpx: the official instrumentation around a transport, minus what must not leave.

Query strings carry signatures and keys, and some paths a token; so `url.full` is recorded without its
query, and with the path parts that look like a bot's token or were named secret taken out.
The context is not sent along: the servers called here are other people's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import httpx
from opentelemetry import propagate
from opentelemetry.trace import Span, TracerProvider

from observability.scrubbing import REDACTED, Scrubber

if TYPE_CHECKING:
    from opentelemetry.instrumentation.httpx import RequestInfo
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
    # Read once, when the instrumentation is first used: without it, it speaks the old names.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport

    scrubber = Scrubber(secrets)

    async def record_safe_url(span: Span, request: RequestInfo) -> None:
        if span.is_recording():
            span.set_attribute("url.full", safe_url(str(request.url), scrubber))

    return AsyncOpenTelemetryTransport(
        _KeepingContextHome(transport),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        request_hook=record_safe_url,
    )


class _KeepingContextHome(httpx.AsyncBaseTransport):
    """Takes the propagation headers off again, which the instrumentation always adds."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._headers = tuple(propagate.get_global_textmap().fields)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for header in self._headers:
            request.headers.pop(header, None)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


def safe_url(url: str, scrubber: Scrubber | None = None) -> str:
    """`url` without credentials, query and fragment, its secret path parts redacted."""
    scheme, separator, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    clean = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    clean = _BOT_TOKEN.sub(REDACTED, clean)
    return scrubber.text(clean) if scrubber else clean
