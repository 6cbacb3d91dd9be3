"""A lean span says what the SDK's says of the same, and is not used where it could not."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from observability.otlp import encode_resource, encode_span, export_request
from observability.recording import LeanSpan, LeanTracerProvider, tracer_provider

RESOURCE = Resource({"service.name": "s"})
REMOTE = SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "x")]))


class _Counting(IdGenerator):
    """The same ids each time."""

    def __init__(self) -> None:
        self._last = 0

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last

    generate_trace_id = generate_span_id


def lean() -> LeanTracerProvider:
    return LeanTracerProvider(RESOURCE, _Counting())


def full() -> TracerProvider:
    return TracerProvider(resource=RESOURCE, id_generator=_Counting(), shutdown_on_exit=False)


def finished(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def under(context: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def live(tracer: trace.Tracer) -> None:
    """A life of spans, with all that can be said of one, done rightly and wrongly."""
    with tracer.start_as_current_span("root", Context(), SpanKind.SERVER, start_time=1) as root:
        root.set_attribute("n", 1)
        values: dict[str, Any] = {"list": [1, 2], "deep": {"a": [None]}, "none": None, "other": object}
        child = tracer.start_span("child", kind=SpanKind.CLIENT, attributes={"a": 1, **values}, start_time=2)
        child.set_attributes({"a": "again", "b": [b"raw"], "f": 1.5})
        child.add_event("bare", timestamp=3)
        child.add_event("event", {"k": "v", "list": ["x"]}, 4)
        child.add_link(REMOTE, {"why": "so"})
        child.add_link(trace.INVALID_SPAN_CONTEXT)
        child.update_name("renamed")
        child.set_status(StatusCode.UNSET)
        child.set_status(StatusCode.ERROR, "broke")
        child.end(5)
        child.set_attribute("late", 1)
        child.add_event("late")
        child.set_status(StatusCode.OK)
        child.update_name("late")
        child.end(6)
        links = [Link(REMOTE), Link(root.get_span_context(), {"a": [1]}), Link(trace.INVALID_SPAN_CONTEXT)]
        fine = tracer.start_span("fine", under(REMOTE), links=links, start_time=7)
        fine.set_status(Status(StatusCode.OK))
        fine.set_status(StatusCode.ERROR, "too late")
        fine.end(8)
        many = tracer.start_span("many", attributes={f"a{n}": n for n in range(130)}, start_time=9)
        many.set_attributes({f"b{n}": n for n in range(100)})
        many.set_attribute("b99", "again")
        for number in range(130):
            many.add_event("event", timestamp=number)
            many.add_link(SpanContext(1, number + 1, is_remote=False))
        many.end(10)
        for record, status in ((True, True), (False, False)):
            failing = tracer.start_span(
                "failing", start_time=11, record_exception=record, set_status_on_exception=status
            )
            with suppress(LookupError), failing:
                raise LookupError("gone")
        unsampled = tracer.start_span("unsampled", under(SpanContext(1, 2, True)))
        unsampled.end()
    with suppress(ValueError), tracer.start_as_current_span("current", under(REMOTE), start_time=12) as span:
        assert trace.get_current_span() is span
        raise ValueError("wrong")


def said(span: ReadableSpan) -> Any:
    """The span as OTLP has it, without its times' chance; the order of attributes means nothing."""
    (of_resource,) = encode_spans([span]).resource_spans
    (of_scope,) = of_resource.scope_spans
    (message,) = of_scope.spans
    message.attributes.sort(key=lambda attribute: attribute.key)
    if span.name in ("root", "failing", "current"):
        message.end_time_unix_nano = 0
        for event in message.events:
            event.time_unix_nano = 0
            for attribute in event.attributes:
                if attribute.key == "exception.stacktrace":
                    attribute.value.string_value = attribute.value.string_value[-30:]
    return of_resource


def test_it_says_what_the_sdk_says() -> None:
    recorded = []
    for provider in (lean(), full()):
        exporter = finished(provider)
        live(provider.get_tracer("scope", "1", "https://example.com/schema", {"k": 1}))
        recorded.append(exporter.get_finished_spans())
    ours, official = recorded
    assert [isinstance(span, LeanSpan) for span in ours] == [span.name != "root" for span in ours]
    assert len(ours) == len(official) == 7
    for one, other in zip(ours, official, strict=True):
        assert said(one) == said(other)
        assert one.parent == other.parent
        if one.name == "many":
            assert json.loads(one.to_json()) == json.loads(other.to_json())


def test_ours_is_encoded_as_the_sdk_s_is() -> None:
    provider = lean()
    exporter = finished(provider)
    live(provider.get_tracer("scope"))
    for span in exporter.get_finished_spans():
        request = export_request(encode_resource(RESOURCE), [encode_span(span)])
        assert type(encode_spans([span])).FromString(request) == encode_spans([span])


def test_of_many_who_end_a_span_one_does() -> None:
    provider = lean()
    exporter = finished(provider)
    span = provider.get_tracer("scope").start_span("span", under(REMOTE))
    ready = threading.Barrier(8)

    def end() -> None:
        ready.wait()
        span.end()

    threads = [threading.Thread(target=end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(exporter.get_finished_spans()) == 1


def test_one_scope_has_one_tracer() -> None:
    provider = lean()
    assert provider.get_tracer("a", "1") is provider.get_tracer("a", "1")
    assert provider.get_tracer("a") is not provider.get_tracer("b")


@pytest.mark.parametrize(
    ("variable", "value", "is_lean"),
    [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", True),
        ("OTEL_TRACES_SAMPLER", "always_off", False),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1", False),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", False),
        ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true", False),
    ],
)
def test_what_it_does_not_do_is_left_to_the_sdk(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, is_lean: bool
) -> None:
    monkeypatch.setenv(variable, value)
    provider = tracer_provider(RESOURCE, _Counting())
    span = provider.get_tracer("scope").start_span("span", under(REMOTE))
    assert isinstance(span, LeanSpan) is is_lean
