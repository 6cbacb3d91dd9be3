"""OpenTelemetry for Dramatiq: one trace from the caller to the actor, whatever lies between.

For any Dramatiq project, 1.13 to 2.x, on any broker. Three ways in, all the same:

    DramatiqInstrumentor().instrument()                  # every broker; also `opentelemetry-instrument dramatiq app`
    instrument_broker(broker)                            # this broker
    RedisBroker(middleware=[TracingMiddleware(), ...])   # as middleware; it belongs first

Sending a message makes a PRODUCER span `send {actor}`, running it a CONSUMER span `process {actor}`:
the actor is what a Dramatiq message is addressed to, the queue is in `messaging.destination.name`.
The CONSUMER's parent is the PRODUCER (which it also links to), so a chain of actors is one trace;
with `links_only` it starts a trace of its own and only links. Attempts of one message are siblings.
The context travels in the message option `otel`; no other option is touched.

Messages sent inside `anchored(span)` name that span as the parent of their processing: steps of one
long piece of work then lie flat under it, each linked to its PRODUCER, instead of nesting for ever.

Attributes and metrics follow the messaging conventions (1.44); what these lack is `messaging.dramatiq.*`.
It exports nothing itself, except that it flushes when a worker stops: forked workers leave without
running `atexit`.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import dramatiq.broker
import dramatiq.worker
from dramatiq import Broker, Message, Middleware
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import SkipMessage
from opentelemetry import metrics, trace
from opentelemetry.context import Context, attach, detach, get_value, set_value
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, unwrap
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TracerProvider
from wrapt import wrap_function_wrapper

from observability.carrier import OPTION, Carrier
from observability.exceptions import error_type, record_exception
from observability.messaging import SCHEMA_URL, MessagingMetrics, attributes_of, labels_of

if TYPE_CHECKING:
    from dramatiq.broker import MessageProxy

_ANCHOR = "observability.dramatiq.anchor"
_ATTEMPT = "observability.dramatiq.attempt"
_STATE = "_opentelemetry_attempt"

_ConsumerThread: type = getattr(dramatiq.worker, "ConsumerThread", None) or dramatiq.worker._ConsumerThread


class _HasSpanContext(Protocol):
    @property
    def span_context(self) -> SpanContext: ...


@contextmanager
def anchored(span: Span | SpanContext | _HasSpanContext | None) -> Iterator[None]:
    """Messages sent inside are processed as children of `span`, as are those their actors send in turn.

    Args:
      span: a span, its context, or anything with a `span_context`, such as `observability.spans.SpanRef`;
        it need not be exported yet. None lifts an anchor set outside.
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


def outlasting() -> Callable[[BaseException | None], None]:
    """Called in an actor whose work goes on after it returns, in a loop or a thread of its own: the CONSUMER
    span of its message stays open.

    Returns:
      to be called when the work has ended, from anywhere and with its error, if any; a `SkipMessage` says that it
      was not begun. Does nothing where nothing is traced, and when called again.
    """
    attempt = get_value(_ATTEMPT)
    if not isinstance(attempt, _Attempt):
        return lambda error: None
    attempt.outlasts = True
    return attempt.end


def after_processing(then: Callable[[int], None]) -> None:
    """Called in an actor, or in work that outlasts one: `then` is called once its CONSUMER span has ended, with the
    moment in nanoseconds since the epoch; at once where nothing is traced."""
    attempt = get_value(_ATTEMPT)
    if isinstance(attempt, _Attempt) and attempt.then is not None:
        attempt.then.append(then)
    else:
        then(time.time_ns())


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
        self._tracer = trace.get_tracer(__name__, tracer_provider=tracer_provider, schema_url=SCHEMA_URL)
        self._metrics = MessagingMetrics(metrics.get_meter(__name__, "", meter_provider, SCHEMA_URL))
        self._providers = (tracer_provider, meter_provider)
        self._links_only = links_only
        self._flush = flush

    def before_declare_actor(self, broker: Broker, actor: Any) -> None:
        """Listed as middleware there is no other moment to see the broker before it is used."""
        _wrap_enqueue(broker, self)

    def send(
        self, enqueue: Callable[..., Message[Any]], message: Message[Any], delay: int | None
    ) -> Message[Any]:
        """Enqueue `message`, with a PRODUCER span unless it only goes round."""
        if not is_instrumentation_enabled():
            return enqueue(message, delay=delay)
        if isinstance(threading.current_thread(), _ConsumerThread):
            # A delayed message whose time has come: it was sent, and seen to be sent, long ago.
            return enqueue(message, delay=delay)
        attempt = get_value(_ATTEMPT)
        if isinstance(attempt, _Attempt) and attempt.message_id == message.message_id:
            return enqueue(attempt.going_round(message, delay), delay=delay)
        return self._send_anew(enqueue, message, delay)

    def _send_anew(
        self, enqueue: Callable[..., Message[Any]], message: Message[Any], delay: int | None
    ) -> Message[Any]:
        with self.sending(message, delay=delay) as (traced, span):
            token = attach(trace.set_span_in_context(span))
            try:
                return enqueue(traced, delay=delay)
            finally:
                detach(token)

    @contextmanager
    def sending(
        self, message: Message[Any], *, delay: int | None = None, context: Context | None = None
    ) -> Iterator[tuple[Message[Any], Span]]:
        """The PRODUCER span in `context`, open during the block, and the message to send in place of `message`."""
        labels = labels_of("send", message)
        start = time.time_ns()
        span = self._tracer.start_span(
            f"send {message.actor_name}",
            context,
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(labels, message, delay=delay),
            start_time=start,
        )
        context = trace.set_span_in_context(span, context)
        carrier = Carrier.of(context, delay, anchor=_anchor_in(context))
        failed: str | None = None
        try:
            yield message.copy(options={OPTION: carrier.as_option()}), span
        except BaseException as error:
            failed = error_type(error)
            record_exception(span, error, event_name="messaging.send.exception")
            raise
        finally:
            took = time.time_ns() - start
            token = attach(context)
            # While the span is current, for the exemplars.
            self._metrics.sent(labels, took / 1e9, failed)
            detach(token)
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
            f"process {message.actor_name}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes_of(labels, message, waited=waited),
            links=[Link(producer)] if producer.is_valid else None,
            start_time=start,
        )
        attempt = _Attempt(
            message.message_id, span, labels, start, self._metrics, has_sender=producer.is_valid
        )
        # On the message, not in a table by id: a redelivered message has the same id.
        setattr(message, _STATE, attempt)
        attempt.enter(trace.set_span_in_context(span, set_value(_ATTEMPT, attempt, parent)))
        self._metrics.received(labels, waited)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        attempt = _take_attempt(message)
        if attempt is None:
            return
        if attempt.outlasts and exception is None:
            attempt.leave()
            return
        outcome = "done"
        if exception is not None:
            outcome = "retried" if attempt.requeued else "dead" if message.failed else "dropped"
            if _is_expected(broker, message, exception):
                attempt.span.add_event(
                    "messaging.dramatiq.expected", {"exception.type": error_type(exception)}
                )
                exception = None
        elif message.failed:
            outcome = "dead"
        attempt.finish(outcome, exception)
        attempt.leave()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        attempt = _take_attempt(message)
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


@contextmanager
def sending(broker: Broker, message: Message[Any], context: Context | None = None) -> Iterator[Message[Any]]:
    """For a broker with a way of sending of its own, such as one that is awaited: its PRODUCER span.

    Args:
      context: in which it is sent; None for the current one.

    Yields:
      the message to send within the block, in place of the one given; the same where nothing is traced.
    """
    tracing = next((m for m in broker.middleware if isinstance(m, TracingMiddleware)), None)
    if tracing is None or not is_instrumentation_enabled():
        yield message
        return
    with tracing.sending(message, context=context) as (traced, _):
        yield traced


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
    _wrap_enqueue(broker, middleware)


def uninstrument_broker(broker: Broker) -> None:
    """Undo `instrument_broker`; do it while no message is being processed."""
    broker.middleware[:] = [m for m in broker.middleware if not isinstance(m, TracingMiddleware)]
    vars(broker).pop("enqueue", None)


class DramatiqInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every broker of the process: those that exist as the global one, and all made later.

    `instrument` takes the arguments of `instrument_broker`.
    """

    _brokers: weakref.WeakSet[Broker]

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("dramatiq >= 1.13, < 3",)

    def _instrument(self, **kwargs: Any) -> None:
        known = ("tracer_provider", "meter_provider", "links_only", "flush")
        options = {name: kwargs[name] for name in known if name in kwargs}
        self._brokers = weakref.WeakSet()

        def instrument(broker: Broker) -> None:
            instrument_broker(broker, **options)
            self._brokers.add(broker)

        def init_and_instrument(init: Any, broker: Broker, args: Any, kwargs: Any) -> None:
            init(*args, **kwargs)
            instrument(broker)

        wrap_function_wrapper("dramatiq.broker", "Broker.__init__", init_and_instrument)
        if dramatiq.broker.global_broker is not None:
            instrument(dramatiq.broker.global_broker)

    def _uninstrument(self, **kwargs: Any) -> None:
        unwrap(Broker, "__init__")
        for broker in list(self._brokers):
            uninstrument_broker(broker)


class _Attempt:
    """One run of one message: its span, and the context that was current before it."""

    __slots__ = (
        "_metrics",
        "_token",
        "has_sender",
        "labels",
        "message_id",
        "outlasts",
        "requeued",
        "span",
        "start",
        "then",
    )

    def __init__(
        self,
        message_id: str,
        span: Span,
        labels: dict[str, str],
        start: int,
        metrics: MessagingMetrics,
        *,
        has_sender: bool,
    ) -> None:
        self.message_id = message_id
        self.span = span
        self.labels = labels
        self.start = start
        self.has_sender = has_sender
        self.requeued = False
        self.outlasts = False
        self.then: list[Callable[[int], None]] | None = []
        self._metrics = metrics
        self._token: Any = None

    def enter(self, context: Context) -> None:
        self._token = attach(context)

    def leave(self) -> None:
        if self._token is not None:
            detach(self._token)

    def finish(self, outcome: str, error: BaseException | None = None) -> None:
        """End the span, once; while it is current, for the exemplars."""
        if self.then is None:
            return
        then, self.then = self.then, None
        took = time.time_ns() - self.start
        failure = None
        if error is not None:
            failure = error_type(error)
            record_exception(self.span, error, event_name="messaging.process.exception")
        self.span.set_attribute("messaging.dramatiq.outcome", outcome)
        self._metrics.processed(self.labels, took / 1e9, outcome, failure)
        self.span.end(self.start + took)
        for call in then:
            call(self.start + took)

    def skip(self) -> None:
        """End the span of a message that was not processed."""
        self.span.add_event("messaging.dramatiq.skipped")
        self.finish("skipped")

    def end(self, error: BaseException | None) -> None:
        """The end of work that outlasted its actor."""
        if isinstance(error, SkipMessage):
            self.skip()
        else:
            self.finish("done" if error is None else "dropped", error)

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


def _wrap_enqueue(broker: Broker, middleware: TracingMiddleware) -> None:
    """Every way of sending ends in `broker.enqueue`; its hooks alone would miss a broker that raises."""
    if "enqueue" in vars(broker):
        return
    enqueue = broker.enqueue

    @functools.wraps(enqueue)
    def traced_enqueue(message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        return middleware.send(enqueue, message, delay)

    vars(broker)["enqueue"] = traced_enqueue


def _take_attempt(message: MessageProxy) -> _Attempt | None:
    """The message's attempt, once: an interrupt may make Dramatiq call the closing hook twice."""
    attempt = vars(message).pop(_STATE, None)
    return attempt if isinstance(attempt, _Attempt) else None


def _is_expected(broker: Broker, message: MessageProxy, exception: BaseException) -> bool:
    """Whether the actor raised it on purpose: to be retried, to wait its turn, or as its `throws` says."""
    if isinstance(exception, Retry | RateLimitExceeded):
        return True
    actor = broker.actors.get(message.actor_name)
    throws: Any = message.options.get("throws") or (actor and actor.options.get("throws")) or ()
    try:
        return isinstance(exception, throws)
    except TypeError:
        return False


def _anchor_in(context: Context) -> SpanContext | None:
    anchor = get_value(_ANCHOR, context)
    return anchor if isinstance(anchor, SpanContext) and anchor.is_valid else None
