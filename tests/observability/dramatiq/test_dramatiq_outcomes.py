"""How attempts end: failures, retries, limits, skips; and what follows from one message to the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq import group, pipeline
from dramatiq.middleware import Shutdown, SkipMessage, TimeLimitExceeded
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import StubBackend
from harness import Bench, Recorded
from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode


def outcome(span: ReadableSpan) -> object:
    return (span.attributes or {})["messaging.dramatiq.outcome"]


def event_names(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def assert_one_trace(recorded: Recorded) -> None:
    spans = recorded.all()
    present = {span.context.span_id for span in spans}
    assert len({span.context.trace_id for span in spans}) == 1
    assert len(present) == len(spans)
    assert [span.name for span in spans if span.parent is None] == ["caller"]
    assert all(span.parent is None or span.parent.span_id in present for span in spans)


def test_each_attempt_is_a_span_of_the_same_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(max_retries=2)
    def work() -> None:
        raise ValueError("broken")

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send()
    send, attempts = recorded.one("send work"), recorded.all("process work")
    assert_one_trace(recorded)
    assert [outcome(span) for span in attempts] == ["retried", "retried", "dead"]
    assert [span.attributes.get("messaging.dramatiq.retries") for span in attempts] == [None, 1, 2]
    for attempt in attempts:
        assert attempt.parent.span_id == send.context.span_id
        assert attempt.status.status_code is StatusCode.ERROR
        assert attempt.attributes["error.type"] == "ValueError"
        (exception,) = [event for event in attempt.events if event.name == "exception"]
        assert exception.attributes["exception.message"] == "broken"
        assert "raise ValueError" in exception.attributes["exception.stacktrace"]
        assert exception.timestamp <= attempt.end_time
    assert "messaging.dramatiq.requeued" in event_names(attempts[0])


def test_the_wait_of_a_retry_counts_from_when_it_was_due(bench: Bench, recorded: Recorded) -> None:
    failed: list[int] = []

    @bench.actor(max_retries=1, min_backoff=80, max_backoff=80)
    def work() -> None:
        if not failed:
            failed.append(time.time_ns())
            raise ValueError("once")

    with bench.working():
        work.send()
    _, second = recorded.all("process work")
    # Due half the backoff after it failed, at the earliest.
    gap = (second.start_time - failed[0]) / 1e6
    assert second.attributes["messaging.dramatiq.queue_wait_ms"] < gap - 38


def test_a_retry_on_purpose_is_no_error(bench: Bench, recorded: Recorded) -> None:
    tries: list[int] = []

    @bench.actor(max_retries=3)
    def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise dramatiq.errors.Retry("later", delay=5)

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send()
    first, second = recorded.all("process work")
    assert_one_trace(recorded)
    assert first.status.status_code is second.status.status_code is StatusCode.UNSET
    assert (outcome(first), outcome(second)) == ("retried", "done")
    assert event_names(first) == ["messaging.dramatiq.requeued", "messaging.dramatiq.expected"]


def test_waiting_for_a_rate_limit_is_no_error(bench: Bench, recorded: Recorded) -> None:
    limiter = ConcurrentRateLimiter(StubBackend(), "one-at-a-time", limit=1)
    tries: list[int] = []

    @bench.actor(max_retries=3)
    def work() -> None:
        tries.append(1)
        with limiter.acquire(raise_on_failure=len(tries) > 1):
            if len(tries) == 1:
                with limiter.acquire():
                    pytest.fail("taken twice")

    with bench.working():
        work.send()
    first, second = recorded.all("process work")
    assert first.status.status_code is StatusCode.UNSET
    assert (outcome(first), outcome(second)) == ("retried", "done")


@pytest.mark.parametrize("kind", [dramatiq.errors.Retry, dramatiq.errors.RateLimitExceeded])
def test_a_retry_that_nobody_makes_is_an_error(
    bench: Bench, recorded: Recorded, kind: type[Exception]
) -> None:
    @bench.actor(max_retries=1)
    def work() -> None:
        raise kind("later")

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send()
    first, second = recorded.all("process work")
    assert_one_trace(recorded)
    assert (outcome(first), outcome(second)) == ("retried", "dead")
    assert first.status.status_code is StatusCode.UNSET
    assert second.status.status_code is StatusCode.ERROR
    assert second.attributes["error.type"].endswith(kind.__name__)
    assert event_names(second) == ["exception"]
    by_outcome = {
        point.attributes["messaging.dramatiq.outcome"]: point.attributes.get("error.type")
        for point in recorded.points("messaging.process.duration")
    }
    assert by_outcome == {"retried": None, "dead": second.attributes["error.type"]}


def test_what_the_actor_throws_by_declaration_is_no_error(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(throws=LookupError, max_retries=3)
    def work() -> None:
        raise KeyError("known")

    with bench.working():
        work.send()
    process = recorded.one("process work")
    assert process.status.status_code is StatusCode.UNSET
    assert outcome(process) == "dead"
    assert process.events[0].attributes == {"exception.type": "KeyError"}


def test_a_time_limit_ends_the_span(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(time_limit=60)
    def work() -> None:
        while True:
            time.sleep(0.005)

    with bench.working():
        work.send()
    process = recorded.one("process work")
    assert process.status.status_code is StatusCode.ERROR
    assert process.attributes["error.type"].endswith(TimeLimitExceeded.__name__)


def test_a_shutdown_ends_the_span(bench: Bench, recorded: Recorded) -> None:
    started = threading.Event()

    @bench.actor(notify_shutdown=True, max_retries=3, min_backoff=60_000, max_backoff=60_000)
    def work() -> None:
        started.set()
        while True:
            time.sleep(0.005)

    bench.broker.emit_after("process_boot")
    worker = dramatiq.Worker(bench.broker, worker_timeout=20, worker_threads=1)
    worker.start()
    work.send()
    assert started.wait(10)
    worker.stop()
    process = recorded.one("process work")
    assert process.attributes["error.type"].endswith(Shutdown.__name__)
    assert outcome(process) == "retried"


def test_a_skipped_message_is_seen_as_such(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(max_age=1)
    def work() -> None:
        pytest.fail("too old to run")

    new = work.message()
    old = new.copy(message_timestamp=new.message_timestamp - 10_000)
    with bench.working():
        bench.broker.enqueue(old)
    process = recorded.one("process work")
    assert outcome(process) == "skipped"
    assert event_names(process) == ["messaging.dramatiq.skipped"]
    assert process.status.status_code is StatusCode.UNSET


def test_an_interrupted_closing_hook_ends_the_span_once(bench: Bench, recorded: Recorded) -> None:
    class InterruptOnce(dramatiq.Middleware):
        interrupted = False

        def after_process_message(self, *_: object, **__: object) -> None:
            if not self.interrupted:
                self.interrupted = True
                raise TimeLimitExceeded

    bench.broker.add_middleware(InterruptOnce())

    @bench.actor
    def work() -> None: ...

    with bench.working():
        work.send()
    recorded.one("process work")


def test_nothing_stays_current_on_the_workers_thread(bench: Bench, recorded: Recorded) -> None:
    left: list[bool] = []
    workers: set[int] = set()

    class Look(dramatiq.Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            workers.add(threading.get_ident())
            if message.actor_name == "skipped":
                raise SkipMessage

        def before_ack(self, *_: object) -> None:
            if threading.get_ident() in workers:
                left.append(trace.get_current_span().get_span_context().is_valid)

        before_nack = before_ack

    bench.broker.add_middleware(Look())

    @bench.actor(max_retries=1)
    def failing() -> None:
        raise ValueError

    @bench.actor
    def succeeding() -> None: ...

    @bench.actor
    def skipped() -> None: ...

    with bench.working(threads=1):
        failing.send()
        succeeding.send()
        skipped.send()
    assert left == [False] * 4


def test_a_context_that_an_actor_leaves_behind_ends_with_it(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def careless() -> None:
        attach(Context())

    @bench.actor
    def next_one() -> None: ...

    with bench.working(threads=1):
        careless.send()
        careless.send()
        next_one.send()
    for name in ("careless", "careless", "next_one"):
        for process in recorded.all(f"process {name}"):
            assert process.parent.span_id in [s.context.span_id for s in recorded.all(f"send {name}")]
    assert len(recorded.all("process careless")) == 2


def test_an_exception_that_cannot_be_written_out_is_an_error_all_the_same(
    bench: Bench, recorded: Recorded
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nothing to say")

    @bench.actor
    def work() -> None:
        raise Mute

    with bench.working():
        work.send()
    process = recorded.one("process work")
    assert process.status.status_code is StatusCode.ERROR
    assert process.attributes["error.type"].endswith("Mute")


@pytest.fixture
def _silent() -> Iterator[None]:
    """What is captured of the log could not be sent from pytest's worker process to its master."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("name", ["work", "work \ud83d"], ids=["whole", "half"])
def test_half_a_surrogate_loses_no_batch(bench: Bench, recorded: Recorded, name: str) -> None:
    """Of the official exporter, which has nothing of this house before it."""

    @bench.actor(actor_name=name, max_retries=0)
    def work(text: str) -> None:
        raise ValueError(text)

    with bench.working():
        work.send("half \ud83d")
    for span in recorded.all():
        texts = [span.name, span.status.description, *span.attributes.items()]
        texts += [event.attributes.items() for event in span.events]
        assert "".join(map(str, texts)).encode()
    found = recorded.all()[-1]
    assert found.status.description == "ValueError: half ?"
    assert found.events[-1].attributes["exception.message"] == "half ?"


def test_attempts_of_a_message_without_context_share_a_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(max_retries=2)
    def work() -> None:
        raise ValueError

    with bench.working():
        type(bench.broker).enqueue(bench.broker, work.message())
    first, second, third = recorded.all("process work")
    assert first.parent is None
    assert second.parent.span_id == third.parent.span_id == first.context.span_id


def test_a_chain_of_ten_is_one_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def step(left: int) -> None:
        if left:
            step.send(left - 1)

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        step.send(9)
    assert_one_trace(recorded)
    assert len(recorded.all("process step")) == 10


def test_a_pipeline_is_one_trace(bench: Bench, recorded: Recorded) -> None:
    results: list[int] = []

    @bench.actor
    def add(a: int, b: int) -> int:
        return a + b

    @bench.actor
    def keep(result: int) -> None:
        results.append(result)

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        pipeline([add.message(1, 2), add.message(3), keep.message()], broker=bench.broker).run()
    assert results == [6]
    assert_one_trace(recorded)
    assert len(recorded.all()) == 7


def test_a_group_with_a_callback_is_one_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def part() -> None: ...

    @bench.actor
    def whole() -> None: ...

    parts = group([part.message() for _ in range(3)], broker=bench.broker)
    parts.add_completion_callback(whole.message())
    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        parts.run()
    assert_one_trace(recorded)
    assert len(recorded.all("process part")) == 3
    parent = recorded.one("send whole").parent.span_id
    assert parent in [span.context.span_id for span in recorded.all("process part")]


def test_callbacks_and_the_last_resort_belong_to_the_trace(bench: Bench, recorded: Recorded) -> None:
    if "on_retry_exhausted" not in bench.broker.actor_options:
        pytest.skip("this Dramatiq has no last resort")

    @bench.actor
    def done(message: object, result: object) -> None: ...

    @bench.actor
    def given_up(message: object, retries: object) -> None: ...

    @bench.actor
    def good() -> None: ...

    @bench.actor(on_retry_exhausted="given_up")
    def bad() -> None:
        raise ValueError

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        good.send_with_options(on_success="done")
        bad.send()
    assert_one_trace(recorded)
    assert recorded.one("send done").parent.span_id == recorded.one("process good").context.span_id
    assert recorded.one("send given_up").parent.span_id == recorded.one("process bad").context.span_id
