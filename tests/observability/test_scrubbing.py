"""Secrets in whatever part of a span or a log record, and the exceptions' other way out."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from observability.dramatiq import exceptions
from observability.scrubbing import Scrubber, ScrubbingSpanExporter

SECRET = "123456789:AAbbCC"


def exported(scrubber: Scrubber) -> tuple[TracerProvider, InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ScrubbingSpanExporter(memory, scrubber)))
    return provider, memory


def test_no_part_of_a_span_keeps_a_secret() -> None:
    provider, memory = exported(Scrubber([SECRET]))
    parent = provider.get_tracer("test").start_span("parent")
    with provider.get_tracer("test").start_as_current_span(f"GET {SECRET}") as span:
        span.set_attributes(
            {"url": f"/bot{SECRET}/x", "quoted": "123456789%3AAAbbCC", "all": ["a", SECRET], "n": 1}
        )
        span.add_event("told", {"what": SECRET})
        span.add_link(parent.get_span_context())
        span.set_status(Status(StatusCode.ERROR, f"with {SECRET}"))
    (result,) = memory.get_finished_spans()
    assert "AAbbCC" not in result.to_json()
    assert dict(result.attributes or {}) == {
        "url": "/bot[redacted]/x",
        "quoted": "[redacted]",
        "all": ("a", "[redacted]"),
        "n": 1,
    }
    assert result.status.description == "with [redacted]"
    assert (result.context, result.start_time, result.end_time) == (
        span.context,
        span.start_time,
        span.end_time,
    )
    assert result.links == span.links


def test_a_clean_span_passes_as_it_is() -> None:
    span = ReadableSpan("GET", attributes={"url": "/", "n": 1, "all": ("a",)})
    assert Scrubber([SECRET]).span(span) is span


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


def test_a_secret_is_found_as_it_stands_in_json() -> None:
    scrubber = Scrubber(['pass"word\\1'])
    line = json.dumps({"what": 'pass"word\\1'})
    assert scrubber.text(line) == '{"what": "[redacted]"}'
    assert scrubber.finds_in(line.encode())
