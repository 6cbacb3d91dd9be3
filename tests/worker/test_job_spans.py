"""The span of a job ends after that of the message that ended the job, under Dramatiq's own worker."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO

from observability.dramatiq import TracingMiddleware, instrument_broker
from observability.spans import reserve_span
from src.jobs import Job, Spec, State, Wake
from src.telemetry import job_spans
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
