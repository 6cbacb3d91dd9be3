"""One format for our lines and those of libraries, with ids and without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from observability import logs
from observability.scrubbing import Scrubber
from tests.observability.conftest import Recorded


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before, configured = (list(root.handlers), root.level), structlog.get_config()
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.configure(**configured)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_both_kinds_of_line_carry_the_ids(capsys: pytest.CaptureFixture[str], recorded: Recorded) -> None:
    logs.configure(format="json")
    with (
        recorded.tracer.start_as_current_span("work") as span,
        structlog.contextvars.bound_contextvars(job_id="j1"),
    ):
        structlog.get_logger("ours").info("said", n=1)
        logging.getLogger("theirs").warning("said %s", "this")
    ours, theirs = lines(capsys)
    context = span.get_span_context()
    common = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", "job_id": "j1"}
    assert common.items() <= ours.items()
    assert common.items() <= theirs.items()
    assert (ours["event"], ours["n"], ours["level"], ours["logger"]) == ("said", 1, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("said this", "warning", "theirs")


def test_secrets_are_taken_out_of_arguments_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="json", scrubber=Scrubber(["hush-hush"]))
    try:
        raise ValueError("at /hush-hush/x")
    except ValueError:
        logging.getLogger("theirs").exception("failed with %s", "hush-hush")
    (line,) = lines(capsys)
    assert line["event"] == "failed with [redacted]"
    assert "ValueError: at /[redacted]/x" in line["exception"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], format: logs.LogFormat) -> None:
    logs.configure(format=format)
    words = "zebra".join(["", "finch"])
    try:
        raise ValueError(len(words))
    except ValueError:
        structlog.get_logger("ours").exception("failed")
        logging.getLogger("theirs").exception("failed")
    shown = capsys.readouterr().err
    assert shown.count("ValueError: 10") == 2
    assert words not in shown


def test_libraries_that_log_addresses_are_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="json", level="DEBUG")
    for name in ("httpx", "httpcore.connection", "aiohttp.access"):
        logging.getLogger(name).info("GET https://api.telegram.org/bot…")
    assert lines(capsys) == []


def test_configured_twice_a_line_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="json")
    logs.configure(format="console", level="WARNING")
    logging.getLogger("theirs").info("not this")
    structlog.get_logger("ours").warning("but this")
    assert capsys.readouterr().err.count("this") == 1


def test_lines_go_to_opentelemetry_with_the_same_ids(
    capsys: pytest.CaptureFixture[str], recorded: Recorded
) -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logs.configure(format="json", provider=provider)
    with (
        recorded.tracer.start_as_current_span("work") as span,
        structlog.contextvars.bound_contextvars(job_id="j1"),
    ):
        # A record of logging's has a name of its own.
        structlog.get_logger("ours").error("said", n=1, parts=[1, 2], name="a")
        logging.getLogger("theirs").warning("said %s", "this")
    logging.getLogger("opentelemetry.sdk").error("must not feed itself")
    logs.stop_sending()
    logging.getLogger("theirs").warning("too late")
    ours, theirs = (finished.log_record for finished in exporter.get_finished_logs())
    assert (ours.body, ours.severity_text) == ("said", "ERROR")
    assert dict(ours.attributes or {}) == {"n": 1, "parts": (1, 2), "job_id": "j1", "name_": "a"}
    assert (theirs.body, dict(theirs.attributes or {})) == ("said this", {"job_id": "j1"})
    assert {ours.span_id, theirs.span_id} == {span.get_span_context().span_id}
    assert {ours.trace_id, theirs.trace_id} == {span.get_span_context().trace_id}
