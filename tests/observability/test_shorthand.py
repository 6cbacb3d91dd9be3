"""A span in short says, once read, what its OTLP form says."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.trace import ReadableSpan

from observability.otlp import encode_span
from observability.shorthand import as_otlp, written
from tests.observability.test_recording import finished, lean, live


@pytest.fixture(scope="module")
def spans() -> list[ReadableSpan]:
    provider = lean()
    exporter = finished(provider)
    live(provider.get_tracer("t", "1", "https://example.com/schema"))
    live(provider.get_tracer("t", attributes={"k": 1}))
    return list(exporter.get_finished_spans())


def test_it_is_the_same_span(spans: list[ReadableSpan]) -> None:
    for span in spans:
        kept = as_otlp(written(span))
        assert ResourceSpans.FromString(kept) == ResourceSpans.FromString(encode_span(span)), span.name


def test_most_are_short_and_what_json_cannot_say_is_not(spans: list[ReadableSpan]) -> None:
    short = {span.name for span in spans if written(span).startswith(b"[")}
    assert "failing" in short
    assert {"renamed", "many", "current"}.isdisjoint(short)


def test_what_an_earlier_version_kept_is_still_read(spans: list[ReadableSpan]) -> None:
    assert all(as_otlp(encode_span(span)) == encode_span(span) for span in spans)
