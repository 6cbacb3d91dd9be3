"""What the official encoder made of spans, as the SDK's spans again: an exporter takes nothing else."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

PROCESS_LOST = "process_lost"
"""`error.type` of a span whose process did not live to end it."""

_LEAST_NS = 1_000  # viewers count in microseconds, and wonder at spans that take none


def read_spans(content: bytes, *, lost_ns: int = 0) -> list[ReadableSpan]:
    """The spans of encoded requests, one after another.

    Args:
      lost_ns: they had begun and not ended when their process was last heard of, then.
    """
    return [
        _span(span, of_scope, of_resource, lost_ns)
        for of_resource in ExportTraceServiceRequest.FromString(content).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _span(
    span: otlp.Span, of_scope: otlp.ScopeSpans, of_resource: otlp.ResourceSpans, lost_ns: int
) -> ReadableSpan:
    attributes, status = _attributes(span), Status(StatusCode(span.status.code), span.status.message or None)
    if lost_ns and span.kind != otlp.Span.SPAN_KIND_INTERNAL:
        attributes["error.type"], status = PROCESS_LOST, Status(StatusCode.ERROR, "the process was lost")
    scope = of_scope.scope
    return ReadableSpan(
        name=span.name,
        context=_context(span, span.span_id, state=TraceState.from_header([span.trace_state])),
        parent=_context(span, span.parent_span_id) if span.parent_span_id else None,
        resource=Resource(_attributes(of_resource.resource), of_resource.schema_url),
        attributes=attributes,
        events=[Event(e.name, _attributes(e), e.time_unix_nano) for e in span.events],
        links=[Link(_context(link, link.span_id), _attributes(link)) for link in span.links],
        kind=SpanKind(span.kind - 1),
        status=status,
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano or max(lost_ns, span.start_time_unix_nano + _LEAST_NS),
        instrumentation_scope=InstrumentationScope(
            scope.name, scope.version, of_scope.schema_url, _attributes(scope)
        ),
    )


def _context(of: otlp.Span | otlp.Span.Link, span_id: bytes, state: TraceState | None = None) -> SpanContext:
    is_remote = bool(of.flags & otlp.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
    ids = int.from_bytes(of.trace_id, "big"), int.from_bytes(span_id, "big")
    return SpanContext(*ids, is_remote, TraceFlags(TraceFlags.SAMPLED), state)


def _attributes(of: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in of.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    if kind == "kvlist_value":
        return {item.key: _value(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind) if kind else None
