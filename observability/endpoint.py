"""Where traces go by OTLP over HTTP, as the standard `OTEL_EXPORTER_OTLP_*` variables say it.

One attempt a request, without waiting: who calls decides when to try again.
"""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import urllib3
from opentelemetry.util.re import parse_env_headers

from observability.durable import Answer

logger = logging.getLogger(__name__)

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda body: gzip.compress(body, 1),
    "deflate": zlib.compress,
}


class TraceEndpoint:
    """The endpoint; `post` is safe to call from any thread.

    Args:
      setting: looks a setting up, such as `ENDPOINT`, first for traces and then for all signals.
      timeout: seconds for a request, unless a setting says another.

    Raises:
      ValueError: a setting cannot be read.
    """

    def __init__(self, setting: Callable[[str], str | None], *, timeout: float) -> None:
        self.url = _url(setting)
        compression = (setting("COMPRESSION") or "none").strip().lower()
        if compression not in _COMPRESSIONS:
            raise ValueError(
                f"OTEL_EXPORTER_OTLP_COMPRESSION: expected {', '.join(_COMPRESSIONS)}, not {compression!r}"
            )
        self._compress = _COMPRESSIONS[compression]
        self._headers = {
            **parse_env_headers(setting("HEADERS") or "", liberal=True),
            "Content-Type": "application/x-protobuf",
        }
        if compression != "none":
            self._headers["Content-Encoding"] = compression
        self._timeout = float(setting("TIMEOUT") or timeout)
        self._pool = urllib3.PoolManager(
            maxsize=1,
            ca_certs=setting("CERTIFICATE"),
            cert_file=setting("CLIENT_CERTIFICATE"),
            key_file=setting("CLIENT_KEY"),
        )

    def post(self, body: bytes) -> Answer:
        """Send an export request."""
        try:
            response = self._pool.request(
                "POST",
                self.url,
                body=self._compress(body),
                headers=self._headers,
                timeout=urllib3.Timeout(total=self._timeout),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return Answer.AWAY
        if response.status < 300:
            return Answer.TAKEN
        if response.status in _PASSING:
            return Answer.AWAY
        logger.error("the Collector refuses traces with status %s", response.status)
        return Answer.REFUSED


def _url(setting: Callable[[str], str | None]) -> str:
    own = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    url = own or f"{(setting('ENDPOINT') or 'http://localhost:4318').rstrip('/')}/v1/traces"
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_ENDPOINT: expected an http address, not {url!r}")
    return url
