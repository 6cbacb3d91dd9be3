"""What the official encoder made of spans, as the SDK's spans again: an exporter takes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState


def spans_in(request: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    for of_resource in request.resource_spans:
        resource = Resource(_attributes(of_resource.resource), of_resource.schema_url)
        for of_scope in of_resource.scope_spans:
            told = of_scope.scope
            scope = InstrumentationScope(told.name, told.version, of_scope.schema_url, _attributes(told))
            for span in of_scope.spans:
                yield ReadableSpan(
                    name=span.name,
                    context=_context(span, span.span_id, state=TraceState.from_header([span.trace_state])),
                    parent=_context(span, span.parent_span_id) if span.parent_span_id else None,
                    resource=resource,
                    attributes=_attributes(span),
                    events=[Event(e.name, _attributes(e), e.time_unix_nano) for e in span.events],
                    links=[Link(_context(link, link.span_id), _attributes(link)) for link in span.links],
                    kind=SpanKind(span.kind - 1),
                    status=Status(StatusCode(span.status.code), span.status.message or None),
                    start_time=span.start_time_unix_nano,
                    end_time=span.end_time_unix_nano,
                    instrumentation_scope=scope,
                )


def _context(of: otlp.Span | otlp.Span.Link, span_id: bytes, state: TraceState | None = None) -> SpanContext:
    is_remote = bool(of.flags & otlp.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
    ids = int.from_bytes(of.trace_id, "big"), int.from_bytes(span_id, "big")
    return SpanContext(*ids, is_remote, TraceFlags(TraceFlags.SAMPLED), state)


def _attributes(of: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in of.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    if kind == "kvlist_value":
        return {item.key: _value(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind)
