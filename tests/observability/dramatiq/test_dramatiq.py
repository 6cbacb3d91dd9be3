"""One message's spans: from the caller to the actor, for the stub and the Redis broker alike."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import dramatiq
import pytest
from harness import Bench, Recorded, middleware, needs_async_actors, tracing
from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags


def ids(links: tuple[Link, ...] | list[Link]) -> list[int]:
    return [link.context.span_id for link in links]


def current() -> SpanContext:
    return trace.get_current_span().get_span_context()


def test_caller_producer_and_consumer_are_one_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def add(a: int, b: int) -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        add.send(1, b=2)
    caller, send, process = (recorded.one(name) for name in ("caller", "send add", "process add"))
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert send.parent.span_id == caller.context.span_id
    assert process.parent.span_id == send.context.span_id
    assert process.parent.is_remote
    assert ids(process.links) == [send.context.span_id]
    assert {span.context.trace_id for span in (caller, send, process)} == {caller.context.trace_id}
    assert send.status.status_code is process.status.status_code is StatusCode.UNSET


def test_both_spans_follow_the_messaging_conventions(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(queue_name="sums")
    def add(a: int, b: int) -> None: ...

    with bench.working():
        message = add.send(1, b=2)
    send, process = recorded.one("send add"), recorded.one("process add")
    for span, operation in ((send, "send"), (process, "process")):
        assert span.attributes is not None
        assert span.attributes["messaging.system"] == "dramatiq"
        assert span.attributes["messaging.operation.name"] == operation
        assert span.attributes["messaging.operation.type"] == operation
        assert span.attributes["messaging.destination.name"] == "sums"
        assert span.attributes["messaging.message.id"] == message.message_id
        assert span.attributes["messaging.message.body.size"] == len(b'{"args":[1],"kwargs":{"b":2}}')
        assert span.attributes["messaging.dramatiq.actor"] == "add"
        assert span.instrumentation_scope.name == tracing.__name__
        assert span.instrumentation_scope.version == tracing.__version__
        assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"
    assert process.attributes["messaging.dramatiq.queue_wait_ms"] >= 0
    assert process.attributes["messaging.dramatiq.outcome"] == "done"


def test_the_consumer_covers_the_run(bench: Bench, recorded: Recorded) -> None:
    ran: list[int] = []

    @bench.actor
    def note() -> None:
        ran.append(time.time_ns())

    with bench.working():
        note.send()
    process = recorded.one("process note")
    assert process.start_time <= ran[0] <= process.end_time
    assert (
        recorded.one("send note").start_time <= ran[0]
    )  # it may end later: a worker can be quicker than its answer


@needs_async_actors
def test_the_span_is_current_in_the_actor_and_what_it_starts(bench: Bench, recorded: Recorded) -> None:
    seen: dict[str, int] = {}

    @bench.actor
    def plain() -> None:
        seen["sync"] = current().span_id
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(lambda: seen.update(thread=current().span_id),))
        thread.start()
        thread.join()

    @bench.actor
    async def coroutine() -> None:
        seen["async"] = current().span_id

        async def task() -> None:
            seen["task"] = current().span_id

        await asyncio.create_task(task())
        await asyncio.to_thread(lambda: seen.update(to_thread=current().span_id))

    with bench.working():
        plain.send()
        coroutine.send()
    sync = recorded.one("process plain").context.span_id
    other = recorded.one("process coroutine").context.span_id
    assert seen == {"sync": sync, "thread": sync, "async": other, "task": other, "to_thread": other}


@needs_async_actors
def test_interleaved_async_actors_do_not_mix(bench: Bench, recorded: Recorded) -> None:
    seen: dict[str, set[int]] = {"a": set(), "b": set()}
    turns = {"a": asyncio.Event(), "b": asyncio.Event()}

    @bench.actor
    async def take_turns(own: str, other: str) -> None:
        for _ in range(5):
            seen[own].add(current().span_id)
            turns[other].set()
            await turns[own].wait()
            turns[own].clear()
        turns[other].set()

    with bench.working():
        take_turns.send("a", "b")
        take_turns.send("b", "a")
    expected = {span.context.span_id for span in recorded.all("process take_turns")}
    assert [len(found) for found in seen.values()] == [1, 1]
    assert seen["a"] | seen["b"] == expected


def test_options_reach_the_worker_untouched(bench: Bench, recorded: Recorded) -> None:
    received: list[dict[str, object]] = []

    class Keep(dramatiq.Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            received.append(dict(message.options))

    bench.broker.add_middleware(Keep())

    @bench.actor
    def work() -> None: ...

    original = work.message_with_options(delay=5, max_retries=7, min_backoff=11, custom={"a": [1]})
    before = dict(original.options)
    with bench.working():
        bench.broker.enqueue(original, delay=5)
    assert original.options == before
    (options,) = received
    assert set(options.pop("otel")) == {"traceparent", "at"}
    options.pop("redis_message_id", None)
    assert options == before


def test_the_callers_context_is_untouched(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def work() -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("caller") as caller:
        work.send()
        assert trace.get_current_span() is caller
        with pytest.raises(TypeError):
            work.send(object())
        assert trace.get_current_span() is caller
    assert not current().is_valid


def test_a_message_enqueued_twice_is_sent_twice(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def work() -> None: ...

    message = work.message()
    with bench.working():
        again = bench.broker.enqueue(message)
        bench.broker.enqueue(again)
    sends, processes = recorded.all("send work"), recorded.all("process work")
    assert sorted(span.context.span_id for span in sends) == sorted(s.parent.span_id for s in processes)
    assert len({span.context.span_id for span in sends}) == 2


def test_a_failed_enqueue_is_an_error(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def work(what: object) -> None: ...

    with pytest.raises(TypeError):
        work.send(object())
    send = recorded.one("send work")
    assert send.status.status_code is StatusCode.ERROR
    assert send.attributes["error.type"] == "TypeError"
    assert [event.name for event in send.events] == ["exception"]
    (point,) = recorded.points("messaging.client.sent.messages")
    assert point.attributes["error.type"] == "TypeError"


def test_a_delayed_message_leaves_no_stray_span(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(queue_name="slow")
    def work() -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send_with_options(delay=60)
    assert [span.name for span in recorded.all()] == ["caller", "send work", "process work"]
    send, process = recorded.one("send work"), recorded.one("process work")
    assert send.attributes["messaging.dramatiq.delay_ms"] == 60
    assert send.attributes["messaging.destination.name"] == "slow"
    # Waiting counts from when it was due, so it is less than from when it was sent.
    since_sent = (process.start_time - send.start_time) / 1e6
    assert 0 <= process.attributes["messaging.dramatiq.queue_wait_ms"] <= since_sent - 60 + 1


@pytest.mark.parametrize(
    "option",
    [
        None,
        "text",
        17,
        [],
        {},
        {"traceparent": "rubbish"},
        {"traceparent": 5, "baggage": None, "at": "soon", "anchor": 3},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "at": True},
        {"anchor": "00-rubbish", "at": float("nan")},
    ],
)
def test_no_or_garbage_context_starts_a_trace(bench: Bench, recorded: Recorded, option: object) -> None:
    @bench.actor
    def work() -> None: ...

    message = work.message_with_options(otel=option)
    with bench.working(), recorded.tracer.start_as_current_span("elsewhere"):
        type(bench.broker).enqueue(bench.broker, message)  # as an uninstrumented program sends it
    process = recorded.one("process work")
    assert process.parent is None
    assert process.context.trace_id != recorded.one("elsewhere").context.trace_id
    assert "messaging.dramatiq.queue_wait_ms" not in process.attributes
    assert not process.links


def test_an_unsampled_parent_stays_unsampled(bench: Bench, recorded: Recorded) -> None:
    seen: list[SpanContext] = []

    @bench.actor
    def work() -> None:
        seen.append(current())

    parent = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(0))
    with bench.working(), trace.use_span(NonRecordingSpan(parent)):
        work.send()
    assert recorded.all() == []
    assert seen[0].trace_id == 0xA1
    assert not seen[0].trace_flags.sampled


def test_baggage_arrives(bench: Bench, recorded: Recorded) -> None:
    seen: list[object] = []

    @bench.actor
    def work() -> None:
        seen.append(baggage.get_baggage("tenant"))

    token = attach(baggage.set_baggage("tenant", "blue"))
    try:
        with bench.working():
            work.send()
    finally:
        detach(token)
    assert seen == ["blue"]


def test_linked_only_if_so_set(stub_bench: Bench, recorded: Recorded) -> None:
    tracing.instrument_broker(stub_bench.broker, tracer_provider=recorded.provider, links_only=True)

    @stub_bench.actor
    def work() -> None: ...

    with stub_bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send()
    send, process = recorded.one("send work"), recorded.one("process work")
    assert process.parent is None
    assert process.context.trace_id != send.context.trace_id
    assert ids(process.links) == [send.context.span_id]


def test_anchored_messages_hang_under_the_anchor(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def first() -> None:
        second.send()

    @bench.actor
    def second() -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("update"):
        job = recorded.tracer.start_span("job")
        with tracing.anchored(job):
            first.send()
    job.end()
    for name in ("first", "second"):
        process = recorded.one(f"process {name}")
        assert process.parent.span_id == job.get_span_context().span_id
        assert ids(process.links) == [recorded.one(f"send {name}").context.span_id]
    assert recorded.one("send first").parent.span_id == recorded.one("update").context.span_id
    assert recorded.one("send second").parent.span_id == recorded.one("process first").context.span_id


def test_an_anchor_can_be_lifted_and_left(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def work() -> None: ...

    with bench.working(), recorded.tracer.start_as_current_span("update") as update:
        with tracing.anchored(update), tracing.anchored(None):
            work.send()
        elsewhere = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)))
        token = attach(trace.set_span_in_context(elsewhere, Context()))
        work.send()
        detach(token)
    for process in recorded.all("process work"):
        assert process.parent.span_id in [span.context.span_id for span in recorded.all("send work")]


def test_suppressed_means_no_spans(bench: Bench, recorded: Recorded) -> None:
    @bench.actor
    def work() -> None: ...

    with suppress_instrumentation():
        message = work.send()
    assert "otel" not in message.options
    assert recorded.all() == []


def test_uninstrumented_again(stub_bench: Bench, recorded: Recorded) -> None:
    tracing.instrument_broker(stub_bench.broker, tracer_provider=recorded.provider)
    tracing.instrument_broker(stub_bench.broker, tracer_provider=recorded.provider)
    assert sum(isinstance(m, tracing.TracingMiddleware) for m in stub_bench.broker.middleware) == 1
    tracing.uninstrument_broker(stub_bench.broker)
    assert stub_bench.broker.enqueue.__func__ is type(stub_bench.broker).enqueue

    @stub_bench.actor
    def work() -> None: ...

    with stub_bench.working():
        work.send()
    assert recorded.all() == []


def test_anothers_wrapper_stays_and_works_when_ours_goes(stub_bench: Bench, recorded: Recorded) -> None:
    broker, seen = stub_bench.broker, []

    def wrap(name: str) -> None:
        enqueue = broker.enqueue

        def enqueue_and_note(message: Any, *, delay: int | None = None) -> Any:
            seen.append(name)
            return enqueue(message, delay=delay)

        broker.enqueue = enqueue_and_note

    @stub_bench.actor
    def work() -> None: ...

    wrap("below")
    tracing.instrument_broker(broker, tracer_provider=recorded.provider)
    wrap("above")
    tracing.uninstrument_broker(broker)
    work.send()
    assert seen == ["above", "below"]
    assert recorded.all() == []
    tracing.instrument_broker(broker, tracer_provider=recorded.provider)
    work.send()
    assert seen == ["above", "below"] * 2
    assert len(recorded.all("send work")) == 1
    tracing.uninstrument_broker(broker)
    work.send()
    assert len(recorded.all("send work")) == 1


def test_what_is_not_recorded_is_not_weighed(
    stub_bench: Bench, request: pytest.FixtureRequest, recorded: Recorded
) -> None:
    weighed: list[Any] = []
    encoder = dramatiq.get_encoder()

    class Scales(type(encoder)):
        def encode(self, data: Any) -> bytes:
            weighed.extend([data] if set(data) == {"args", "kwargs"} else [])
            return super().encode(data)

    @stub_bench.actor
    def work(text: str) -> None: ...

    request.addfinalizer(lambda: dramatiq.set_encoder(encoder))
    dramatiq.set_encoder(Scales())
    for provider, most in ((TracerProvider(sampler=ALWAYS_OFF), 0), (recorded.provider, 1)):
        tracing.instrument_broker(stub_bench.broker, tracer_provider=provider)
        work.send("a" * 1000)
        tracing.uninstrument_broker(stub_bench.broker)
        assert len(weighed) == most
    assert recorded.one("send work").attributes["messaging.message.body.size"] > 1000


def test_listed_as_middleware(recorded: Recorded) -> None:
    from dramatiq.brokers.stub import StubBroker

    own = tracing.TracingMiddleware(tracer_provider=recorded.provider)
    bench = Bench(StubBroker(middleware=[own, *middleware()]))

    @bench.actor
    def work() -> None: ...

    with bench.working():
        work.send()
    assert recorded.one("process work").parent.span_id == recorded.one("send work").context.span_id


def test_added_as_middleware_when_the_actors_are_declared(stub_bench: Bench, recorded: Recorded) -> None:
    @stub_bench.actor
    def work() -> None: ...

    stub_bench.broker.add_middleware(
        tracing.TracingMiddleware(tracer_provider=recorded.provider), before=type(middleware()[0])
    )
    with stub_bench.working():
        work.send()
    assert recorded.one("process work").parent.span_id == recorded.one("send work").context.span_id


def test_metrics_count_and_point_at_the_trace(bench: Bench, recorded: Recorded) -> None:
    @bench.actor(queue_name="sums")
    def work(fail: bool) -> None:
        if fail:
            raise ValueError("no")

    with bench.working(), recorded.tracer.start_as_current_span("caller"):
        work.send(True)
        work.send(False)
        work.send(False)
    common = {
        "messaging.system": "dramatiq",
        "messaging.destination.name": "sums",
        "messaging.dramatiq.actor": "work",
    }
    (sent,) = recorded.points("messaging.client.sent.messages")
    (consumed,) = recorded.points("messaging.client.consumed.messages")
    (waited,) = recorded.points("messaging.dramatiq.queue.wait")
    durations = recorded.points("messaging.process.duration")
    assert sent.value == consumed.value == waited.count == 3
    assert common.items() <= dict(consumed.attributes).items()
    by_error = {point.attributes.get("error.type"): point for point in durations}
    assert {error: point.count for error, point in by_error.items()} == {None: 2, "ValueError": 1}
    failed = next(s for s in recorded.all("process work") if s.status.status_code is StatusCode.ERROR)
    (exemplar,) = by_error["ValueError"].exemplars
    assert exemplar.span_id == failed.context.span_id
    assert by_error["ValueError"].sum == pytest.approx((failed.end_time - failed.start_time) / 1e9)
