"""Our encoding of a span says what the official encoder says."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from observability.otlp import encode_resource, encode_span, export_request

RESOURCE = Resource({"service.name": "s", "parts": ("a", "b")}, "https://example.com/schema")


@pytest.fixture(scope="module")
def spans() -> list[ReadableSpan]:
    """One of each: kinds, parents, values, events, links, states, and more of each than is kept."""
    exporter = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=7, max_events=2, max_links=1, max_event_attributes=1)
    provider = TracerProvider(resource=RESOURCE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    plain, rich = provider.get_tracer("plain"), provider.get_tracer("rich", "1", "https://s", {"k": 1})
    remote = SpanContext(1, 2, True, TraceFlags(1), TraceState([("vendor", "x"), ("other", "y")]))
    for tracer in (plain, rich):
        for kind in SpanKind:
            with tracer.start_as_current_span("Ünïcode", kind=kind, context=Context()) as parent:
                tracer.start_span("child").end()
                parent.set_attributes({"n": 1, "yes": True, "f": 1.0, "t": "x", "long": "y" * 500})
        many = tracer.start_span(
            "many",
            set_span_in_context(NonRecordingSpan(remote)),
            links=[Link(remote, {"a": 1}), Link(parent.get_span_context())],
            attributes={"list": [1, 2], "mixed": {"deep": [None, b"raw"]}} | {f"a{i}": -i for i in range(9)},
        )
        for number in range(4):
            many.add_event(f"event {number}", {"a": number, "b": "c"})
        many.set_status(StatusCode.ERROR, "broke")
        many.end()
    return list(exporter.get_finished_spans())


def test_a_span_is_what_the_official_encoder_makes_of_it(spans: list[ReadableSpan]) -> None:
    assert len(spans) == 22
    for span in spans:
        request = export_request(encode_resource(RESOURCE), [encode_span(span)])
        assert ExportTraceServiceRequest.FromString(request) == encode_spans([span])


def test_parts_join_into_one_request(spans: list[ReadableSpan]) -> None:
    request = export_request(encode_resource(RESOURCE), map(encode_span, spans))
    (found,) = ExportTraceServiceRequest.FromString(request).resource_spans
    names = [span.name for of_scope in found.scope_spans for span in of_scope.spans]
    assert names == [span.name for span in spans]
