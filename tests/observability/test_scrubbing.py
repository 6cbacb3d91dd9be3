"""Secrets in whatever part of a span or a log record, and the exceptions' other way out."""

from __future__ import annotations

import html
import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from observability.dramatiq import exceptions
from observability.scrubbing import Scrubber, scrubbing

SECRET = "123456789:AAbbCC"


def exported(scrubber: Scrubber) -> tuple[TracerProvider, InMemorySpanExporter]:
    provider = TracerProvider(shutdown_on_exit=False)
    memory = scrubbing(InMemorySpanExporter, scrubber)()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider, memory


def test_no_part_of_a_span_keeps_a_secret() -> None:
    provider, memory = exported(Scrubber([SECRET]))
    tracer = provider.get_tracer(f"scope {SECRET}", attributes={"of": SECRET})
    parent = tracer.start_span("parent")
    with tracer.start_as_current_span(f"GET {SECRET}") as span:
        deep: Any = {"list": [{SECRET: SECRET}], "raw": SECRET.encode()}
        span.set_attributes(
            {
                "url": f"/bot{SECRET}/x",
                "quoted": "123456789%3AAAbbCC",
                "all": ["a", SECRET],
                "n": 1,
                "deep": deep,
            }
        )
        span.add_event(f"told {SECRET}", {"what": SECRET, SECRET: 1})
        span.add_link(parent.get_span_context(), {"why": SECRET})
        span.set_status(Status(StatusCode.ERROR, f"with {SECRET}"))
    (result,) = memory.get_finished_spans()
    assert b"AAbbCC" not in encode_spans([result]).SerializeToString()
    assert dict(result.attributes or {}) == {
        "url": "/bot[redacted]/x",
        "quoted": "[redacted]",
        "all": ("a", "[redacted]"),
        "n": 1,
        "deep": {"list": ({"[redacted]": "[redacted]"},), "raw": b"[redacted]"},
    }
    assert result.status.description == "with [redacted]"
    assert (result.context, result.start_time, result.end_time) == (
        span.context,
        span.start_time,
        span.end_time,
    )
    assert [link.context for link in result.links] == [parent.get_span_context()]


def test_no_measurement_keeps_a_secret() -> None:
    kept: list[MetricsData] = []

    class Memory(MetricExporter):
        def export(self, metrics_data: MetricsData, *args: Any, **kwargs: Any) -> MetricExportResult:
            kept.append(metrics_data)
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            pass

    reader = PeriodicExportingMetricReader(scrubbing(Memory, Scrubber([SECRET]))(), 600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter(f"scope {SECRET}")
    labels = {"url": SECRET, SECRET: "key", "n": 1}
    meter.create_counter("counted", description=SECRET).add(3, labels)
    meter.create_histogram("measured").record(0.5, labels)
    meter.create_observable_gauge("seen", [lambda _: [Observation(7, labels)]])
    provider.shutdown()
    request = encode_metrics(kept[0])
    assert b"AAbbCC" not in request.SerializeToString()
    (of_scope,) = request.resource_metrics[0].scope_metrics
    by_name = {metric.name: metric for metric in of_scope.metrics}
    assert set(by_name) == {"counted", "measured", "seen"}
    (point,) = by_name["counted"].sum.data_points
    assert point.as_int == 3
    assert by_name["counted"].sum.is_monotonic
    (point,) = by_name["measured"].histogram.data_points
    assert (point.count, point.sum, sum(point.bucket_counts)) == (1, 0.5, 1)
    (point,) = by_name["seen"].gauge.data_points
    assert point.as_int == 7


def test_no_log_record_keeps_a_secret() -> None:
    memory = scrubbing(InMemoryLogRecordExporter, Scrubber([SECRET]))()
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(memory))
    loggers.get_logger(f"of {SECRET}").emit(
        LogRecord(body={"said": SECRET}, attributes={"url": SECRET, SECRET: 1}, event_name=SECRET)
    )
    (found,) = memory.get_finished_logs()
    assert "AAbbCC" not in found.to_json()
    assert found.instrumentation_scope.name == "of [redacted]"
    assert found.log_record.attributes == {"url": "[redacted]", "[redacted]": 1}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_secret_is_found_in_base64(before: str, encode: Callable[[bytes], bytes]) -> None:
    line = encode(f"{before}{SECRET}:password".encode()).decode()
    scrubbed = Scrubber([SECRET]).text(f"Basic {line}")
    hidden = len(line) + len("[redacted]") - len(scrubbed.removeprefix("Basic "))
    assert hidden >= len(SECRET) * 8 // 6 - 1


def test_what_was_scrubbed_can_be_encoded() -> None:
    half: Any = {"\ud83d": ["\ude00"]}
    assert Scrubber([]).value(half) == {"?": ("?",)}


@pytest.mark.parametrize("secrets", [[], [""], ["short"]])
def test_nothing_to_hide_hides_nothing(secrets: list[str]) -> None:
    scrubber = Scrubber(secrets)
    assert not scrubber
    assert scrubber.text("a short text") == "a short text"


@pytest.mark.parametrize(("opt_in", "events", "records"), [("", 1, 0), ("logs", 0, 1), ("logs/dup", 1, 1)])
def test_exceptions_go_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, opt_in: str, events: int, records: int
) -> None:
    sent = InMemoryLogRecordExporter()
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(sent))
    monkeypatch.setenv(exceptions.SIGNAL_OPT_IN, opt_in)
    monkeypatch.setattr(exceptions, "get_logger", loggers.get_logger)
    provider, memory = exported(Scrubber([]))
    with provider.get_tracer("test").start_as_current_span("work") as span:
        try:
            raise LookupError("gone")
        except LookupError as error:
            exceptions.record_exception(span, error, event_name="messaging.process.exception")
    (result,) = memory.get_finished_spans()
    assert result.status.status_code is StatusCode.ERROR
    assert [event.name for event in result.events] == ["exception"] * events
    logged = [finished.log_record for finished in sent.get_finished_logs()]
    assert [record.event_name for record in logged] == ["messaging.process.exception"] * records
    assert all(record.span_id == span.get_span_context().span_id for record in logged)


ODD = 'pä"ss/wö\\r d+&<é😀:x'


@pytest.mark.parametrize(
    "write",
    [
        str,
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: json.dumps(json.dumps(text)),
        lambda text: json.dumps(text).replace("/", "\\/").replace("\\u00e4", "\\u00E4"),
        repr,
        ascii,
        lambda text: repr(text.encode()),
        lambda text: json.dumps(repr(text.encode())),
        html.escape,
        lambda text: "".join(f"&#{ord(char)};" for char in text),
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex().upper(),
    ],
)
@pytest.mark.parametrize("secret", [SECRET, ODD])
def test_a_secret_is_found_however_it_is_written(secret: str, write: Callable[[str], str]) -> None:
    scrubber = Scrubber([secret, "another-secret"])
    line = f"before {write(secret)} after"
    scrubbed = scrubber.text(line)
    assert scrubbed.startswith("before ")
    assert scrubbed.endswith(" after")
    assert len(scrubbed.replace("[redacted]", "")) <= len("before '' after") + 4
    assert "[redacted]" in scrubbed
    assert scrubber.finds_in(line.encode())
    assert scrubber.value(line.encode()) == scrubbed.encode()


@pytest.mark.parametrize(
    "text",
    ["100 % of it & more", "%41%42", "C:\\new\\table", '{"a": "\\u0041"}', "&amp;&lt;", "a+b 1234567890"],
)
def test_what_is_no_secret_stays_as_it_is_written(text: str) -> None:
    scrubber = Scrubber([SECRET, ODD])
    assert scrubber.text(text) == text
    assert not scrubber.finds_in(text.encode())


@pytest.mark.parametrize(
    "row", ["\\", "\\\\x", "\\" * 31 + "u", "%", "%25", "25", "&", "amp;", "&amp;", "&#0", "0", "A"]
)
def test_no_stranger_makes_the_search_long(row: str) -> None:
    """Each of these runs along what may be repeated: from each of its characters again it would be minutes."""
    scrubber = Scrubber([SECRET, ODD, "\\begins-so", "%25-so", "&amp;so"])
    text = f"/\\%25&#{row * (60_000 // len(row))}"
    began = time.thread_time()
    assert scrubber.text(text) == text
    assert not scrubber.finds_in(text.encode())
    assert time.thread_time() - began < 10


def test_a_secret_behind_a_long_row_is_found() -> None:
    assert Scrubber(["hush-hush"]).text("\\" * 999 + "x68ush-hush").endswith("\\[redacted]")
