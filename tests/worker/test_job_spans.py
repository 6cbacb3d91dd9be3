"""The span of a job ends after that of the message that ended the job, under Dramatiq's own worker."""

from __future__ import annotations

import time
from dataclasses import replace

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO

from observability.dramatiq import TracingMiddleware, instrument_broker
from observability.spans import reserve_span
from src.jobs import Job, Spec, State, Wake
from src.telemetry import job_spans, metrics
from tests.observability.conftest import Recorded, recorded

__all__ = ["recorded"]


@pytest.fixture
def job(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(job_spans, "_tracer", recorded.tracer)
    with recorded.tracer.start_as_current_span("update message"):
        wake = Wake("j", "kie", 1, trace=str(reserve_span()))
    spec = Spec(prompt="a fox", model="m", aspect="1:1", chat=1, lang="en")
    return Job("j", State.DELIVERING, "1", "r", "kie", spec, wake, fence=1, created=1)


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_ends_with_the_message_that_ends_it(recorded: Recorded, job: Job, fails: bool) -> None:
    broker = StubBroker(middleware=[AsyncIO()])
    instrument_broker(broker, tracer_provider=recorded.provider, meter_provider=recorded.meters, flush=False)
    broker.add_middleware(job_spans.EndJobSpans(), before=TracingMiddleware)

    @dramatiq.actor(broker=broker)
    async def deliver() -> None:
        job_spans.write_end(job, "delivered")
        with recorded.tracer.start_as_current_span("a last word"):
            assert recorded.all("job") == []
        if fails:
            raise ValueError("after the end")

    deliver.send()
    worker = Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        broker.join("default", timeout=20_000, fail_fast=False)
    finally:
        worker.stop()
    assert recorded.one("a last word").parent.span_id == recorded.one("process deliver").context.span_id
    assert recorded.one("job").end_time >= recorded.one("process deliver").end_time


def test_without_a_message_a_job_ends_at_once(recorded: Recorded, job: Job) -> None:
    job_spans.write_end(job, "delivered")
    assert recorded.one("job").end_time


def test_a_jobs_span_tells_what_a_reader_of_traces_looks_for(recorded: Recorded, job: Job) -> None:
    ref = job_spans.job_ref(job)
    assert ref is not None
    admitted = ref.start_ns // 1_000_000 + 40
    job = replace(
        job,
        spec=replace(job.spec, instead_of="openai"),
        created=admitted,
        polls=3,
        code="too_large",
        result={"seed": 7, "cost": 0.04, "unit": "USD"},
        story="waiting@0 submitting@2500 running@3000 ready@9000 retry:x@9100 delivering@9400 delivered@9900",
    )
    job_spans.write_end(job, "delivered")
    span = recorded.one("job")
    assert {
        "imagebot.aspect": "1:1",
        "imagebot.edit": False,
        "imagebot.instead_of": "openai",
        "imagebot.polls": 3,
        "imagebot.cost": 0.04,
        "imagebot.cost.unit": "USD",
        "gen_ai.request.seed": 7,
        "imagebot.error.code": "too_large",
    }.items() <= dict(span.attributes).items()
    # Each event is at its moment, of Redis's clock.
    at = {event.name: event.timestamp // 1_000_000 - admitted for event in span.events}
    assert (at["imagebot.waiting"], at["imagebot.running"], at["imagebot.delivered"]) == (0, 3000, 9900)
    wait = recorded.one("wait in line")
    assert wait.parent.span_id == span.context.span_id
    assert (wait.end_time - wait.start_time) // 1_000_000 == 2500
    assert recorded.all("wait for delivery") == [], "less than a second is no span"


def test_a_clock_of_redis_that_is_far_off_moves_nothing(recorded: Recorded, job: Job) -> None:
    ref = job_spans.job_ref(job)
    assert ref is not None
    job_spans.write_end(replace(job, created=1, story="waiting@0 delivered@500"), "delivered")
    at = {event.name: event.timestamp for event in recorded.one("job").events}
    assert at["imagebot.waiting"] == ref.start_ns


def test_a_generation_is_measured_by_its_conventional_name(
    recorded: Recorded, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    histogram = recorded.meters.get_meter("test").create_histogram("gen_ai.client.inference.duration", "s")
    monkeypatch.setattr(metrics, "inference_duration", histogram)
    job = replace(job, generation=job_spans.open_generation(job))
    job_spans.write_generation(job, error="upstream", attributes={"server.address": "api.kie.ai"})
    span = recorded.one("generate_content m")
    assert span.attributes["server.address"] == "api.kie.ai"
    (point,) = recorded.points("gen_ai.client.inference.duration")
    assert dict(point.attributes) == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "kie",
        "gen_ai.request.model": "m",
        "error.type": "upstream",
    }


def test_a_long_wait_for_a_turn_is_a_span_of_the_step(recorded: Recorded, job: Job) -> None:
    now = time.time_ns()
    with recorded.tracer.start_as_current_span("process deliver"):
        job_spans.waited("wait for an upload", now - 2_000_000_000)
        job_spans.waited("wait for Telegram", now)
    job_spans.waited("wait for Telegram", now - 2_000_000_000)
    assert (
        recorded.one("wait for an upload").parent.span_id == recorded.one("process deliver").context.span_id
    )
    assert recorded.all("wait for Telegram") == [], "short, or of no trace"
