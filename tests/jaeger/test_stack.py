"""The configured Collector and Jaeger do what the bot's traces need of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode, Tracer, set_span_in_context
from stack import OBSERVABILITY, Stack, running

pytestmark = pytest.mark.jaeger


@contextmanager
def process(stack: Stack, name: str) -> Iterator[Tracer]:
    """A tracer as another process would have it: every span leaves at its end."""
    provider = TracerProvider(resource=Resource.create({"service.name": name, "host.name": "one"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{stack.otlp_endpoint}/v1/traces")))
    yield provider.get_tracer("test")
    provider.shutdown()


def test_a_trace_of_two_processes_arrives_whole(stack: Stack) -> None:
    with process(stack, "bot") as bot, process(stack, "worker") as worker:
        update = bot.start_span("update message", Context(), SpanKind.SERVER)
        job = bot.start_span("job", set_span_in_context(update))
        send = bot.start_span("send submit", set_span_in_context(update), SpanKind.PRODUCER)
        send.end()
        update.end()
        submit = worker.start_span(
            "process submit",
            set_span_in_context(job),
            SpanKind.CONSUMER,
            links=[Link(send.get_span_context())],
        )
        submit.set_status(StatusCode.ERROR, "refused")
        submit.record_exception(RuntimeError("refused"))
        submit.end()
        trace_id = submit.get_span_context().trace_id

        # While the job runs its span is missing, and its link still ties the step to the tree.
        running_job = stack.trace(trace_id, until=lambda t: len(t.spans) == 3)
        (step,) = running_job.orphans
        assert (running_job.id, running_job.named("send submit")[0].id) in step.links

        job.end()
        trace = stack.trace(trace_id)

    (root,) = trace.roots
    assert [span.name for span in trace.children(root)] == ["job", "send submit"]
    (found,) = trace.children(trace.named("job")[0])
    assert (found.name, found.service, found.tags["span.kind"]) == ("process submit", "worker", "consumer")
    assert found.tags["error"] is True
    assert found.events[0]["exception.message"] == "refused"
    assert root.start <= found.start <= found.end
    # The step began after its parent's parent had ended: nobody is to "correct" that.
    assert not [warning for span in trace.spans.values() for warning in span.warnings]


def test_spans_become_metrics_that_lead_back_to_their_trace(stack: Stack) -> None:
    with process(stack, "worker") as worker:
        span = worker.start_span("process deliver", Context(), SpanKind.CONSUMER)
        span.set_attribute("error.type", "TelegramRetryAfter")
        span.set_status(StatusCode.ERROR)
        span.end()
    trace_id = f"{span.get_span_context().trace_id:032x}"
    page = stack.metrics(until=lambda text: trace_id in text)
    (calls,) = (
        line
        for line in page.splitlines()
        if line.startswith("traces_span_metrics_calls_total") and "deliver" in line and '"worker"' in line
    )
    for label in (
        'span_name="process deliver"',
        'status_code="STATUS_CODE_ERROR"',
        'error_type="TelegramRetryAfter"',
    ):
        assert label in calls


@pytest.fixture
def sampling_stack(_binaries: None, tmp_path: Path) -> Iterator[Stack]:
    """The tail-sampling option as it is, but for its wait and for the share of ordinary traces: none."""
    overlay = OBSERVABILITY / "collector" / "tail-sampling.yaml"
    sampling = yaml.safe_load(overlay.read_text())["processors"]["tail_sampling"]
    for policy in sampling["policies"]:
        if policy["type"] == "probabilistic":
            policy["probabilistic"]["sampling_percentage"] = 0
    changes = {"processors": {"tail_sampling": {"decision_wait": "2s", "policies": sampling["policies"]}}}
    with running(tmp_path, overlay=overlay, changes=changes) as stack:
        yield stack


def test_tail_sampling_keeps_what_failed_was_slow_or_limited(sampling_stack: Stack) -> None:
    start = time.time_ns() - 120 * 10**9

    def job(tracer: Tracer, seconds: float = 20, event: str | None = None, failed: bool = False) -> int:
        root = tracer.start_span("update message", Context(), SpanKind.SERVER, start_time=start)
        root.end(start + 10**6)
        span = tracer.start_span("job", set_span_in_context(root), start_time=start)
        if event:
            span.add_event(event)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(start + int(seconds * 1e9))
        return root.get_span_context().trace_id

    with process(sampling_stack, "worker") as tracer:
        ordinary = job(tracer)
        kept = [job(tracer, seconds=61), job(tracer, failed=True), job(tracer, event="imagebot.limited")]
    for trace_id in kept:
        assert len(sampling_stack.trace(trace_id).spans) == 2
    # It was decided with or before those.
    assert not sampling_stack.trace(ordinary, until=lambda _: True).spans
