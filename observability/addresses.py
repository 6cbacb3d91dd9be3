"""What telemetry may say of an address that was called.

Query strings carry signatures and keys, and some paths a token: so an address is recorded without its credentials,
query and fragment, and with those parts of its path taken out that look like a bot's token or were named secret.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from observability.scrubbing import REDACTED, Scrubber

if TYPE_CHECKING:
    from opentelemetry.instrumentation.httpx import RequestInfo

_BOT_TOKEN = re.compile(r"(?<=/bot)\d+:[\w-]+")
# The stable name, and the one before it, which the instrumentation still writes for whoever asks for both.
_ADDRESS_NAMES = ("url.full", "http.url")


def address_hook(secrets: Iterable[str] = ()) -> Callable[[Span, RequestInfo], Awaitable[None]]:
    """A request hook for OpenTelemetry's instrumentation of httpx which cleans the recorded address.

    Args:
      secrets: values that may stand in a path.
    """
    scrubber = Scrubber(secrets)

    async def clean(span: Span, request: RequestInfo) -> None:
        if not isinstance(span, ReadableSpan):
            return
        for name in _ADDRESS_NAMES:
            address = (span.attributes or {}).get(name)
            if isinstance(address, str):
                span.set_attribute(name, safe_url(address, scrubber))

    return clean


def safe_url(url: str, scrubber: Scrubber | None = None) -> str:
    """`url` without credentials, query and fragment, its secret path parts redacted."""
    scheme, separator, rest = url.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    clean = _BOT_TOKEN.sub(REDACTED, f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}")
    return scrubber.text(clean) if scrubber else clean
