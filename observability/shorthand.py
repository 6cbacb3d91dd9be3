"""A span as a line of JSON, for the disk: a fifth of the CPU time of its OTLP form, which is made where many are
made at once. Read only where the process that wrote it could not send the span itself.

What JSON has no form for, such as bytes in an attribute, and what is seldom, such as attributes that were dropped, is
kept in OTLP's form. Nothing is sent here; that is `observability.durable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from observability.otlp import encode_span

# An OTLP part begins with the tag of a message's field, which is another byte.
_JSON = b"["
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def written(span: ReadableSpan) -> bytes:
    """The span in short; it may not have ended."""
    context, parent, scope = span.context, span.parent, span.instrumentation_scope
    if context is None or scope is None or type(span.attributes) is not dict:
        return encode_span(span)
    # As the tuple it is: each of its properties is a call.
    trace_id, span_id, remote, _, state, _ = context
    if state:
        return encode_span(span)
    events, links = span.events, span.links
    if scope.attributes or type(events) is not tuple or type(links) is not tuple:
        return encode_span(span)
    if any(part.dropped_attributes for part in (*events, *links)):
        return encode_span(span)
    rest: list[Any] = []
    if events or links or span.status.status_code is not StatusCode.UNSET:
        rest = [
            (span.status.status_code.value, span.status.description),
            [(event.name, event.timestamp, _plain(event.attributes)) for event in events],
            [(*_identity(link.context), _plain(link.attributes)) for link in links],
        ]
    try:
        return orjson.dumps(
            (
                f"{trace_id:032x}",
                span_id,
                remote,
                0 if parent is None else parent[1],
                parent is not None and parent[2],
                (scope.name, scope.version, scope.schema_url),
                span.name,
                span.kind._value_,
                span.start_time,
                span.end_time,
                span.attributes,
                *rest,
            )
        )
    except TypeError:
        return encode_span(span)


def as_otlp(kept: bytes) -> bytes:
    """What `written` made, as `observability.otlp.encode_span` gives it.

    Raises:
        ValueError, TypeError: it was made by something else.
    """
    return encode_span(_read(kept)) if kept.startswith(_JSON) else kept


def _read(line: bytes) -> ReadableSpan:
    trace_id, span_id, remote, parent, parent_remote, scope, name, kind, start, end, attributes, *rest = (
        orjson.loads(line)
    )
    status, events, links = rest or ((StatusCode.UNSET.value, None), (), ())
    return ReadableSpan(
        name,
        _context(trace_id, span_id, remote),
        _context(trace_id, parent, parent_remote) if parent else None,
        attributes=attributes,
        events=[Event(name, attributes, at) for name, at, attributes in events],
        links=[Link(_context(*identity), attributes) for *identity, attributes in links],
        kind=SpanKind(kind),
        status=Status(StatusCode(status[0]), status[1]),
        start_time=start,
        end_time=end,
        instrumentation_scope=InstrumentationScope(*scope),
    )


def _identity(context: SpanContext) -> tuple[str, int, bool]:
    return f"{context.trace_id:032x}", context.span_id, context.is_remote


def _context(trace_id: str, span_id: int, remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), span_id, remote, _SAMPLED)


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(attributes) if attributes else None
