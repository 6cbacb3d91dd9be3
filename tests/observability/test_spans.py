"""Spans that begin in one place and are written in another."""

from __future__ import annotations

import json
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from observability.dramatiq import anchored, instrument_broker
from observability.spans import SpanEvent, SpanRef, attached, context_of, reserve_span, write_span
from tests.observability.conftest import Recorded
from tests.observability.dramatiq.harness import Bench, make_broker


def test_written_with_the_id_and_start_that_were_reserved(recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("update"):
        job = reserve_span()
    with attached(context_of(job)), recorded.tracer.start_as_current_span("step"):
        pass
    assert [span.name for span in recorded.all()] == ["update", "step"]
    write_span(
        job,
        "job",
        kind=SpanKind.INTERNAL,
        end_ns=job.start_ns + 5_000,
        attributes={"outcome": "failed"},
        status=StatusCode.ERROR,
        events=[SpanEvent("refused", job.start_ns + 1_000, {"gate": "x"})],
        links=[SpanContext(1, 2, is_remote=True)],
        tracer=recorded.tracer,
    )
    update, written, step = (recorded.one(name) for name in ("update", "job", "step"))
    assert (written.context.trace_id, written.context.span_id) == (job.trace_id, job.span_id)
    assert written.parent.span_id == update.context.span_id
    assert step.parent.span_id == job.span_id
    assert (written.start_time, written.end_time) == (job.start_ns, job.start_ns + 5_000)
    assert written.status.status_code is StatusCode.ERROR
    assert dict(written.attributes) == {"outcome": "failed"}
    assert [(event.name, event.timestamp) for event in written.events] == [("refused", job.start_ns + 1_000)]
    assert [link.context.span_id for link in written.links] == [2]


def test_reserved_under_another_reserved_span(recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("update"):
        job = reserve_span()
    generation = reserve_span(job, start_ns=job.start_ns + 7)
    assert (generation.trace_id, generation.parent_span_id) == (job.trace_id, job.span_id)
    assert generation.start_ns == job.start_ns + 7
    assert reserve_span(context_of(job)).parent_span_id == job.span_id


def test_the_next_span_gets_an_id_of_its_own(recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("update"):
        job = reserve_span()
    write_span(job, "job", tracer=recorded.tracer)
    with recorded.tracer.start_as_current_span("later"):
        pass
    assert recorded.one("later").context.span_id != job.span_id
    assert recorded.one("later").context.trace_id != job.trace_id


def test_threads_write_side_by_side(recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("update"):
        refs = [reserve_span() for _ in range(200)]
    ready = threading.Barrier(4)

    def write(part: list[SpanRef]) -> None:
        ready.wait()
        for ref in part:
            write_span(ref, "job", tracer=recorded.tracer)

    threads = [threading.Thread(target=write, args=(refs[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {span.context.span_id for span in recorded.all("job")} == {ref.span_id for ref in refs}


def test_sampling_by_ratio_keeps_or_drops_whole_traces() -> None:
    recorded = Recorded(sampler=ParentBased(TraceIdRatioBased(0.5)))
    for _ in range(60):
        with recorded.tracer.start_as_current_span("update", context=Context()):
            job = reserve_span()
        with attached(context_of(job)), recorded.tracer.start_as_current_span("step"):
            pass
        write_span(job, "job", tracer=recorded.tracer)
    spans = recorded.all()
    traces = {span.context.trace_id for span in spans}
    assert 0 < len(traces) < 60
    assert len(spans) == 3 * len(traces)


def test_an_unsampled_one_is_never_written() -> None:
    recorded = Recorded(sampler=ALWAYS_OFF)
    with recorded.tracer.start_as_current_span("update"):
        job = reserve_span()
    assert not job.sampled
    write_span(job, "job", tracer=recorded.tracer)
    assert recorded.all() == []
    child = reserve_span(job)
    assert child.trace_id == job.trace_id
    assert not child.sampled


def test_without_a_trace_around_it_begins_one_unsampled_without_an_sdk() -> None:
    ref = reserve_span(Context())
    assert ref.parent_span_id == 0
    assert trace.get_current_span(context_of(ref)).get_span_context().trace_id == ref.trace_id


def test_a_root_keeps_its_trace_id(recorded: Recorded) -> None:
    ref = SpanRef(0xABC, 0xDEF, 0, TraceFlags.SAMPLED, time.time_ns())
    write_span(ref, "root", tracer=recorded.tracer)
    root = recorded.one("root")
    assert (root.context.trace_id, root.context.span_id, root.parent) == (0xABC, 0xDEF, None)


def test_an_end_before_the_start_is_the_start(recorded: Recorded) -> None:
    ref = SpanRef(0xABC, 0xDEF, 0, TraceFlags.SAMPLED, 1_000)
    write_span(ref, "skewed", end_ns=10, tracer=recorded.tracer)
    assert recorded.one("skewed").end_time == 1_000


def test_stored_and_read_again() -> None:
    ref = SpanRef(0xABC, 0xDEF, 0x123, 3, 1_700_000_000_000_000_000)
    stored = json.loads(json.dumps(str(ref)))
    assert len(stored) <= 86
    assert SpanRef.parse(stored) == ref
    assert SpanRef.parse(stored.encode()) == ref


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        5,
        b"\xff\xfe",
        "rubbish",
        "-".join(["0" * 32, "0" * 16, "0" * 16, "01", "1"]),
        "-".join(["z" * 32, "1" * 16, "0" * 16, "01", "1"]),
        "-".join(["1" * 32, "1" * 16, "0" * 16, "01", "f" * 17]),
        "-".join(["1" * 32, "1" * 16, "0" * 16, "01"]),
    ],
)
def test_what_is_no_reference_reads_as_none(value: object) -> None:
    assert SpanRef.parse(value) is None


def test_messages_can_be_anchored_to_a_reserved_span(recorded: Recorded) -> None:
    bench = Bench(make_broker("stub", None))
    instrument_broker(bench.broker, tracer_provider=recorded.provider)

    @bench.actor
    def work() -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("update"):
        job = reserve_span()
        with anchored(SpanRef.parse(str(job))):
            work.send()
    write_span(job, "job", tracer=recorded.tracer)
    update, written = recorded.one("update"), recorded.one("job")
    assert written.parent.span_id == update.context.span_id
    assert recorded.one("process work").parent.span_id == written.context.span_id == job.span_id
