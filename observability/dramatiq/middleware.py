"""The middleware: spans and metrics of one broker's messages, and the context that travels with them."""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from dramatiq import Broker, Message, Middleware
from dramatiq.errors import RateLimitExceeded, Retry
from opentelemetry import metrics, trace
from opentelemetry.context import Context, attach, detach, get_value, set_value
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TracerProvider

from .carrier import OPTION, Carrier
from .exceptions import error_type, record_exception
from .messaging import SCHEMA_URL, MessagingMetrics, attributes_of, body_size, labels_of
from .version import __version__

if TYPE_CHECKING:
    from dramatiq.broker import MessageProxy

_SCOPE = __name__.rpartition(".")[0]
_ANCHOR = f"{_SCOPE}.anchor"
_ATTEMPT = f"{_SCOPE}.attempt"


class _HasSpanContext(Protocol):
    @property
    def span_context(self) -> SpanContext: ...


@contextmanager
def anchored(span: Span | SpanContext | _HasSpanContext | None) -> Iterator[None]:
    """Messages sent inside are processed as children of `span`, as are those their actors send in turn.

    Args:
      span: a span, its context, or anything with a `span_context`; it need not be exported yet. None lifts an
        anchor set outside.
    """
    token = attach(anchored_context(span))
    try:
        yield
    finally:
        detach(token)


def anchored_context(
    span: Span | SpanContext | _HasSpanContext | None, context: Context | None = None
) -> Context:
    """`context`, or the current one, as it is inside `anchored(span)`."""
    if isinstance(span, Span):
        span = span.get_span_context()
    elif span is not None and not isinstance(span, SpanContext):
        span = span.span_context
    return set_value(_ANCHOR, span, context)


class TracingMiddleware(Middleware):
    """Spans and metrics of one broker's messages. Belongs first in the list of middleware.

    What stands before it and sends messages of its own (retries, pipelines, callbacks) would do so
    outside the span.

    Args:
      tracer_provider, meter_provider: None for the global ones.
      links_only: processing starts a trace of its own, linked to the sender's.
      flush: send what is buffered when a worker stops; False where something else does.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        links_only: bool = False,
        flush: bool = True,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider, SCHEMA_URL)
        self._metrics = MessagingMetrics(metrics.get_meter(_SCOPE, __version__, meter_provider, SCHEMA_URL))
        self._providers = (tracer_provider, meter_provider)
        self._links_only = links_only
        self._flush = flush
        # With what their `enqueue` became.
        self._brokers: weakref.WeakKeyDictionary[Broker, weakref.ref[Any]] = weakref.WeakKeyDictionary()
        self._thread = _Thread()

    def watch(self, broker: Broker) -> None:
        """See what is sent, too. Every way of sending ends in `broker.enqueue`; its hooks alone would miss a
        broker that raises."""
        if broker in self._brokers:
            return
        enqueue = broker.enqueue

        @functools.wraps(enqueue)
        def traced_enqueue(message: Message[Any], *, delay: int | None = None) -> Message[Any]:
            if broker not in self._brokers:
                return enqueue(message, delay=delay)  # another's wrapper still calls this one
            return self._send(enqueue, message, delay)

        self._brokers[broker] = weakref.ref(traced_enqueue)
        broker.enqueue = traced_enqueue  # type: ignore[method-assign]

    def unwatch(self, broker: Broker) -> None:
        ours = self._brokers.pop(broker, None)
        traced: Any = ours() if ours is not None else None
        before = getattr(traced, "__wrapped__", None)
        if before is not None and broker.enqueue is traced:
            broker.enqueue = before  # type: ignore[method-assign]

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        """Listed as middleware there is no other moment to see the broker before something is sent."""
        self.watch(broker)

    def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
        """Only the thread that hands delayed messages over when their time has come takes them up."""
        self._thread.hands_over = True

    def _send(
        self, enqueue: Callable[..., Message[Any]], message: Message[Any], delay: int | None
    ) -> Message[Any]:
        """Enqueue `message`, with a PRODUCER span unless it only goes round."""
        if not is_instrumentation_enabled() or self._thread.hands_over:
            return enqueue(message, delay=delay)
        attempt = get_value(_ATTEMPT)
        if isinstance(attempt, _Attempt) and attempt.message.message_id == message.message_id:
            return enqueue(attempt.going_round(message, delay), delay=delay)
        return self._send_anew(enqueue, message, delay)

    def _send_anew(
        self, enqueue: Callable[..., Message[Any]], message: Message[Any], delay: int | None
    ) -> Message[Any]:
        labels = labels_of("send", message)
        start = time.time_ns()
        span = self._tracer.start_span(
            f"send {labels['messaging.dramatiq.actor']}",
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(labels, message, delay=delay),
            start_time=start,
        )
        _add_size(span, message)
        context = trace.set_span_in_context(span)
        carrier = Carrier.of(context, delay, anchor=_anchor_in(context))
        traced = message.copy(options={OPTION: carrier.as_option()})
        failed: str | None = None
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                return enqueue(traced, delay=delay)
        except BaseException as error:
            failed = error_type(error)
            record_exception(span, error, event_name="messaging.send.exception")
            raise
        finally:
            took = time.time_ns() - start
            self._metrics.sent(labels, context, took / 1e9, failed)
            span.end(start + took)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        if not is_instrumentation_enabled():
            return
        start = time.time_ns()
        carrier = Carrier.read(message.options.get(OPTION))
        received = carrier.context()
        producer = trace.get_current_span(received).get_span_context()
        anchor = carrier.anchor
        if anchor is not None:
            parent = trace.set_span_in_context(NonRecordingSpan(anchor), set_value(_ANCHOR, anchor, received))
        elif self._links_only:
            parent = trace.set_span_in_context(trace.INVALID_SPAN, received)
        else:
            parent = received
        labels = labels_of("process", message)
        waited = carrier.seconds_waited(start)
        span = self._tracer.start_span(
            f"process {labels['messaging.dramatiq.actor']}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes_of(labels, message, waited=waited),
            links=[Link(producer)] if producer.is_valid else None,
            start_time=start,
        )
        _add_size(span, message)
        attempt = _Attempt(message, span, labels, start, self._metrics, has_sender=producer.is_valid)
        self._thread.attempt = attempt
        attempt.enter(parent)
        self._metrics.received(labels, attempt.context, waited)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        attempt = self._thread.take(message)
        if attempt is None:
            return
        try:
            outcome = "done"
            if exception is not None:
                outcome = "retried" if attempt.requeued else "dead" if message.failed else "dropped"
                if _is_expected(broker, message, exception, retried=attempt.requeued):
                    attempt.span.add_event(
                        "messaging.dramatiq.expected", {"exception.type": error_type(exception)}
                    )
                    exception = None
            elif message.failed:
                outcome = "dead"
            attempt.finish(outcome, exception)
        finally:
            attempt.leave()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        attempt = self._thread.take(message)
        if attempt is not None:
            attempt.skip()
            attempt.leave()

    def after_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        """The actors are done; what they left in the buffers would be lost with a forked process."""
        if not self._flush:
            return
        tracers, meters = self._providers
        for provider in (tracers or trace.get_tracer_provider(), meters or metrics.get_meter_provider()):
            flush = getattr(provider, "force_flush", None)
            if flush is not None:
                flush()


def instrument_broker(
    broker: Broker,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    links_only: bool = False,
    flush: bool = True,
) -> None:
    """Trace the messages of `broker`; a second call changes nothing. Arguments as for `TracingMiddleware`."""
    if any(isinstance(middleware, TracingMiddleware) for middleware in broker.middleware):
        return
    middleware = TracingMiddleware(
        tracer_provider=tracer_provider, meter_provider=meter_provider, links_only=links_only, flush=flush
    )
    broker.middleware.insert(0, middleware)
    middleware.watch(broker)


def uninstrument_broker(broker: Broker) -> None:
    """Undo `instrument_broker`; do it while no message is being processed."""
    for middleware in [m for m in broker.middleware if isinstance(m, TracingMiddleware)]:
        broker.middleware.remove(middleware)
        middleware.unwatch(broker)


class _Thread(threading.local):
    """What one of a worker's threads is at.

    A message begins and ends on one thread. It is not found by its id, which a redelivered one shares, nor by what
    is current, which an actor may leave changed.
    """

    hands_over = False
    attempt: _Attempt | None = None

    def take(self, message: MessageProxy) -> _Attempt | None:
        """The message's attempt, once: an interrupt may make Dramatiq call the closing hook twice."""
        attempt = self.attempt
        if attempt is None or attempt.message is not message:
            return None
        self.attempt = None
        return attempt


class _Attempt:
    """One run of one message: its span, and the context that was current before it."""

    def __init__(
        self,
        message: MessageProxy,
        span: Span,
        labels: dict[str, str],
        start: int,
        metrics: MessagingMetrics,
        *,
        has_sender: bool,
    ) -> None:
        self.message = message
        self.span = span
        self.labels = labels
        self.start = start
        self.has_sender = has_sender
        self.requeued = False
        self.context = Context()
        self._metrics = metrics
        self._token: Any = None

    def enter(self, parent: Context) -> None:
        self.context = trace.set_span_in_context(self.span, set_value(_ATTEMPT, self, parent))
        self._token = attach(self.context)

    def leave(self) -> None:
        if self._token is not None:
            detach(self._token)

    def finish(self, outcome: str, error: BaseException | None = None) -> None:
        """End the span."""
        failure = None
        if error is not None:
            failure = error_type(error)
            record_exception(self.span, error, event_name="messaging.process.exception")
        self.span.set_attribute("messaging.dramatiq.outcome", outcome)
        took = time.time_ns() - self.start
        self._metrics.processed(self.labels, self.context, took / 1e9, outcome, failure)
        self.span.end(self.start + took)

    def skip(self) -> None:
        """End the span of a message that was not processed."""
        self.span.add_event("messaging.dramatiq.skipped")
        self.finish("skipped")

    def going_round(self, message: Message[Any], delay: int | None) -> Message[Any]:
        """The message for its next attempt: same creation context, new time at which it is due."""
        self.requeued = True
        self.span.add_event(
            "messaging.dramatiq.requeued",
            {"delay_ms": delay or 0, "retries": message.options.get("retries", 0)},
        )
        carrier = Carrier.read(message.options.get(OPTION))
        if not self.has_sender:
            # Sent without a context: the attempts that follow hang on to the first one.
            carrier = Carrier.of(trace.set_span_in_context(self.span), delay, anchor=carrier.anchor)
        return message.copy(options={OPTION: carrier.due_in(delay).as_option()})


def _is_expected(broker: Broker, message: MessageProxy, exception: BaseException, *, retried: bool) -> bool:
    """Whether the actor raised it on purpose: to run again, which it will, or as its `throws` says."""
    if retried and isinstance(exception, Retry | RateLimitExceeded):
        return True
    actor = broker.actors.get(message.actor_name)
    throws: Any = message.options.get("throws") or (actor and actor.options.get("throws")) or ()
    try:
        return isinstance(exception, throws)
    except TypeError:
        return False


def _add_size(span: Span, message: Message[Any] | MessageProxy) -> None:
    if span.is_recording() and (size := body_size(message)) is not None:
        span.set_attribute("messaging.message.body.size", size)


def _anchor_in(context: Context) -> SpanContext | None:
    anchor = get_value(_ANCHOR, context)
    return anchor if isinstance(anchor, SpanContext) and anchor.is_valid else None
