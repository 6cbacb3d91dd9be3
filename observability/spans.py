"""Spans that outlive the process that began them.

A span that begins in one process and ends in another cannot be an open SDK span. Here it is first a
`SpanRef`: ids, sampling flags and start time, small enough to keep in a database row. Children hang
themselves under it with `context_of`, and whoever ends it calls `write_span`, which lets the SDK
write the span then, with that id and start. Until it is written nothing of it is exported.

This needs a tracer provider made with `PinnableIdGenerator` (`observability.setup` makes one).
It holds no spans and keeps no state; where references are stored is the caller's matter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

logger = logging.getLogger(__name__)

Attributes = Mapping[str, AttributeValue]

_random_ids = RandomIdGenerator()
_pinned: ContextVar[SpanRef | None] = ContextVar("pinned_span", default=None)


class PinnableIdGenerator(RandomIdGenerator):
    """Random ids, except for the span that `write_span` is writing: it gets the ids it was promised."""

    def generate_span_id(self) -> int:
        ref = _pinned.get()
        return ref.span_id if ref is not None else super().generate_span_id()

    def generate_trace_id(self) -> int:
        ref = _pinned.get()
        return ref.trace_id if ref is not None else super().generate_trace_id()


@dataclass(frozen=True, slots=True)
class SpanRef:
    """A span that has begun somewhere and is not written yet.

    `str(ref)` is its stored form (at most 86 characters, safe in JSON and in Redis); `SpanRef.parse` reads it.

    Attributes:
      parent_span_id: 0 for a span that is the root of its trace.
      flags: W3C trace flags; the lowest bit says that the trace is sampled.
      start_ns: nanoseconds since the epoch.
    """

    trace_id: int
    span_id: int
    parent_span_id: int
    flags: int
    start_ns: int

    @property
    def sampled(self) -> bool:
        return bool(self.flags & TraceFlags.SAMPLED)

    @property
    def span_context(self) -> SpanContext:
        """The span's identity as OpenTelemetry has it, for links and parents."""
        return self._context_with(self.span_id)

    def __str__(self) -> str:
        return f"{self.trace_id:032x}-{self.span_id:016x}-{self.parent_span_id:016x}-{self.flags:02x}-{self.start_ns:x}"

    @classmethod
    def parse(cls, value: object) -> SpanRef | None:
        """The reference `value` holds, or None for anything that is not one: a lost trace is no error."""
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("ascii", "replace")
        return _parsed(value) if isinstance(value, str) else None

    def _context_with(self, span_id: int) -> SpanContext:
        return SpanContext(self.trace_id, span_id, is_remote=True, trace_flags=TraceFlags(self.flags))


# A job's are read again at each of its steps.
@lru_cache(8192)
def _parsed(value: str) -> SpanRef | None:
    parts = value.split("-")
    if [len(part) for part in parts[:4]] != [32, 16, 16, 2] or len(parts) != 5:
        return None
    try:
        ref = SpanRef(*(int(part, 16) for part in parts))
    except ValueError:
        return None
    return ref if ref.trace_id > 0 and ref.span_id > 0 and 0 < ref.start_ns < 1 << 63 else None


class SpanEvent(NamedTuple):
    """Something that happened during a span, for `write_span`. `at_ns`: nanoseconds since the epoch."""

    name: str
    at_ns: int
    attributes: Attributes | None = None


def reserve_span(parent: Context | SpanRef | None = None, *, start_ns: int | None = None) -> SpanRef:
    """Begin a span without starting one: take an id for it under `parent`.

    Args:
      parent: a context or a reference; None for the current context.
      start_ns: when it began, nanoseconds since the epoch; None for now.
    """
    above = parent.span_context if isinstance(parent, SpanRef) else _span_context_in(parent)
    span_id = _random_ids.generate_span_id()
    start = time.time_ns() if start_ns is None else start_ns
    if above.is_valid:
        return SpanRef(above.trace_id, span_id, above.span_id, int(above.trace_flags), start)
    trace_id = _random_ids.generate_trace_id()
    return SpanRef(trace_id, span_id, 0, _flags_of_new_trace(trace_id), start)


@lru_cache(8192)
def context_of(ref: SpanRef) -> Context:
    """A context whose current span is `ref`: spans begun in it become its children.

    It holds nothing else; what is current in the caller (another job's span, baggage) stays out of it.
    """
    return trace.set_span_in_context(NonRecordingSpan(ref.span_context), Context())


@contextmanager
def attached(context: Context) -> Iterator[None]:
    """Make `context` the current one inside the block."""
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def write_span(
    ref: SpanRef,
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    end_ns: int | None = None,
    attributes: Attributes | None = None,
    status: Status | StatusCode | None = None,
    events: Iterable[SpanEvent] = (),
    links: Iterable[SpanRef | SpanContext] = (),
    tracer: trace.Tracer | None = None,
) -> None:
    """End the span `ref` and hand it to the exporter, with the id and start that `ref` promised.

    An unsampled one is dropped, as the rest of its trace is. Call it once, from whoever ended the thing.

    Args:
      end_ns: nanoseconds since the epoch; None for now. Never before the start.
      tracer: whose scope the span carries; None for this module's.
    """
    span = resume_span(ref, name, kind=kind, attributes=attributes, links=links, tracer=tracer)
    for event in events:
        span.add_event(event.name, event.attributes, event.at_ns)
    if status is not None:
        span.set_status(status)
    end = time.time_ns() if end_ns is None else end_ns
    span.end(max(end, ref.start_ns))


def resume_span(
    ref: SpanRef,
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    links: Iterable[SpanRef | SpanContext] = (),
    tracer: trace.Tracer | None = None,
) -> trace.Span:
    """The span `ref` as one that this process will end; not recording where it is unsampled."""
    if not ref.sampled:
        return trace.INVALID_SPAN
    tracer = tracer or trace.get_tracer(__name__)
    token = _pinned.set(ref)
    try:
        span = tracer.start_span(
            name,
            context=_context_above(ref),
            kind=kind,
            attributes=attributes,
            links=_as_links(links),
            start_time=ref.start_ns,
        )
    finally:
        _pinned.reset(token)
    if span.is_recording() and span.get_span_context().span_id != ref.span_id:
        logger.warning("Span %r got another id: the tracer provider lacks PinnableIdGenerator", name)
    return span


def _context_above(ref: SpanRef) -> Context:
    if not ref.parent_span_id:
        return Context()
    return trace.set_span_in_context(NonRecordingSpan(ref._context_with(ref.parent_span_id)), Context())


def _as_links(links: Iterable[SpanRef | SpanContext]) -> Sequence[Link]:
    return [Link(link.span_context if isinstance(link, SpanRef) else link) for link in links]


def _span_context_in(context: Context | None) -> SpanContext:
    return trace.get_current_span(context).get_span_context()


def _flags_of_new_trace(trace_id: int) -> int:
    """The provider's sampler decides once, here, for the whole trace; without an SDK nothing is sampled."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return TraceFlags.DEFAULT
    decision = provider.sampler.should_sample(Context(), trace_id, "reserved").decision
    return TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
