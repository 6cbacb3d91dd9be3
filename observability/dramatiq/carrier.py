"""What travels in a Dramatiq message's `otel` option: the sender's context and two things beside it.

    {"traceparent": …, "baggage": …,   # whatever the configured propagators write
     "anchor": …,                      # traceparent of the span its processing hangs under, if any
     "at": …}                          # when it is due, seconds since the epoch

The option comes off the wire, from any version of any program: whatever cannot be read counts as absent.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags

OPTION = "otel"

# As `_as_traceparent` writes it.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Carrier:
    """A message's context. `at`: seconds since the epoch at which it is due, None if unknown."""

    headers: Mapping[str, str] = field(default_factory=dict)
    anchor: SpanContext | None = None
    at: float | None = None

    @classmethod
    def of(cls, context: Context, delay: int | None, *, anchor: SpanContext | None) -> Carrier:
        """The carrier for a message sent in `context`, due in `delay` milliseconds."""
        headers: dict[str, str] = {}
        propagate.inject(headers, context)
        return cls(headers, anchor, _due(delay))

    @classmethod
    def read(cls, option: object) -> Carrier:
        if not isinstance(option, Mapping):
            return cls()
        headers = {
            key: value for key, value in option.items() if isinstance(key, str) and isinstance(value, str)
        }
        return cls(headers, _span_context_from(headers.pop("anchor", None)), _number(option.get("at")))

    def due_in(self, delay: int | None) -> Carrier:
        return replace(self, at=_due(delay))

    def as_option(self) -> dict[str, str | float]:
        option: dict[str, str | float] = dict(self.headers)
        if self.anchor is not None:
            option["anchor"] = _as_traceparent(self.anchor)
        if self.at is not None:
            option["at"] = round(self.at, 6)
        return option

    def context(self) -> Context:
        """The sender's context; an empty one if there is none, never what is current here."""
        try:
            return propagate.extract(self.headers, Context())
        except Exception:
            return Context()

    def seconds_waited(self, now_ns: int) -> float | None:
        """Seconds since it was due; clocks of two machines may differ, so not below 0."""
        return None if self.at is None else max(0.0, now_ns / 1e9 - self.at)


def _due(delay: int | None) -> float:
    return time.time() + (delay or 0) / 1e3


def _as_traceparent(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0xFF:02x}"


def _span_context_from(traceparent: str | None) -> SpanContext | None:
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    span_context = SpanContext(trace_id, span_id, True, TraceFlags(flags))
    return span_context if span_context.is_valid else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
