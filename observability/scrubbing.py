"""The last line of defence: known secret values never leave the process inside telemetry or logs.

The instrumentations already avoid secrets; this catches what slips through them (an exception that
quotes an address, a library's log line). It knows only the values it is given, no patterns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

REDACTED = "[redacted]"

# Shorter values would redact ordinary words.
_SHORTEST_SECRET = 6


class Scrubber:
    """Replaces the given secrets, also as they stand in an address or in JSON, by `[redacted]`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        values |= {quote(secret, safe="") for secret in values}
        values |= {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in values}
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if values else None
        self._encoded = [value.encode() for value in longest_first]

    def __bool__(self) -> bool:
        return self._pattern is not None

    def text(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def finds(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None

    def finds_in(self, encoded: bytes) -> bool:
        """Whether bytes that hold texts in UTF-8 hold a secret."""
        for secret in self._encoded:  # noqa: SIM110 - a generator takes longer than the search
            if secret in encoded:
                return True
        return False

    def value(self, value: Any) -> Any:
        """`value` with every string in it scrubbed; other things as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return tuple(self.value(item) for item in value)
        return value

    def span(self, span: ReadableSpan) -> ReadableSpan:
        """The span itself, or a scrubbed copy where it holds a secret."""
        if not self.finds("\0".join(_strings_of(span))):
            return span
        return ReadableSpan(
            name=self.text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self.value(span.attributes or {}),
            events=[Event(e.name, self.value(e.attributes or {}), e.timestamp) for e in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code, self.text(span.status.description or "") or None),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )


class ScrubbingSpanExporter(SpanExporter):
    """Hands scrubbed spans to another exporter. Runs on the batch processor's thread."""

    def __init__(self, exporter: SpanExporter, scrubber: Scrubber) -> None:
        self._exporter = exporter
        self._scrub: Callable[[ReadableSpan], ReadableSpan] = scrubber.span

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._scrub(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class ScrubbingLogExporter(LogRecordExporter):
    """Hands scrubbed log records to another exporter."""

    def __init__(self, exporter: LogRecordExporter, scrubber: Scrubber) -> None:
        self._exporter = exporter
        self._scrubber = scrubber

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        for readable in batch:
            record = readable.log_record
            record.body = self._scrubber.value(record.body)
            record.attributes = self._scrubber.value(record.attributes or {})
        return self._exporter.export(batch)

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _strings_of(span: ReadableSpan) -> Iterable[str]:
    yield span.name
    yield from _strings_in(span.attributes or {})
    if span.status.description:
        yield span.status.description
    for event in span.events:
        yield from _strings_in(event.attributes or {})


def _strings_in(attributes: Mapping[str, Any]) -> Iterable[str]:
    for value in attributes.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple | list):
            yield from (item for item in value if isinstance(item, str))
