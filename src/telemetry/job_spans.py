"""The spans of a job that no single process sees whole: the job, its generation, a lost attempt.

They are begun as references kept in the ledger and written once, by whoever ends them; see
`observability.spans`. Spans that begin and end in one place are made there, by instrumentation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dramatiq import Broker
from dramatiq.middleware import Middleware
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from observability.dramatiq.messaging import SCHEMA_URL
from observability.otlp_reader import PROCESS_LOST
from observability.spans import (
    SpanEvent,
    SpanRef,
    attached,
    context_of,
    reserve_span,
    resume_span,
    write_span,
)
from src.app import App
from src.jobs import Job, Ledger, State, transitions
from src.jobs.records import ENDED
from src.settings import Settings
from src.store.clients import make_sync_redis
from src.telemetry import metrics

_tracer = trace.get_tracer("imagebot", metrics.VERSION, schema_url=SCHEMA_URL)

# A wait is worth a span of its own from here on.
_LONG_NS = 1_000_000_000
_STATES = frozenset(State)
_WAITS = {State.WAITING: "wait in line", State.READY: "wait for delivery"}
# Redis's clock may be another machine's: what it says of a job's beginning is believed within this.
_LATENCY_NS = 10_000_000_000
_servers: dict[str, str] = {}


def open_job() -> str:
    """Begin a job's span under the current one; the text goes into `Wake.trace`."""
    return str(reserve_span())


def job_ref(job: Job) -> SpanRef | None:
    """The job's span, or None where the record has none."""
    return SpanRef.parse(job.wake.trace)


def trace_id(job: Job) -> str:
    """The job's trace id in hex, or '' where the record has none."""
    ref = job_ref(job)
    return f"{ref.trace_id:032x}" if ref else ""


def jaeger_link(settings: Settings, trace: str) -> str | None:
    """Where Jaeger shows a trace, or None without JAEGER_UI_URL."""
    return f"{settings.jaeger_ui_url.rstrip('/')}/trace/{trace}" if settings.jaeger_ui_url and trace else None


@contextmanager
def under(reference: SpanRef | str | None) -> Iterator[None]:
    """Make a kept span the current one inside the block; without one nothing is current."""
    ref = SpanRef.parse(reference) if isinstance(reference, str) else reference
    if ref is None:
        with attached(trace.set_span_in_context(trace.INVALID_SPAN)):
            yield
    else:
        with attached(context_of(ref)):
            yield


def fail_step(kind: str) -> None:
    """Mark the step under way as failed, though it raises nothing: the ledger says what comes next.

    Args:
        kind: `error.type`.
    """
    step = trace.get_current_span()
    step.set_status(Status(StatusCode.ERROR, kind))
    step.set_attribute("error.type", kind)


def attempt() -> str:
    """A reference to the current span, for a successor that must write it if this process dies."""
    span = trace.get_current_span()
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    parent = getattr(span, "parent", None)
    started = getattr(span, "start_time", None) or time.time_ns()
    parent_id = parent.span_id if parent is not None else 0
    return str(SpanRef(context.trace_id, context.span_id, parent_id, int(context.trace_flags), started))


def waited(name: str, began_ns: int, attributes: Mapping[str, AttributeValue] | None = None) -> None:
    """Tell of a wait of the step under way that ends now, if it was long.

    Args:
        began_ns: nanoseconds since the epoch.
    """
    now = time.time_ns()
    if now - began_ns >= _LONG_NS and trace.get_current_span().get_span_context().is_valid:
        _tracer.start_span(name, attributes=attributes, start_time=began_ns).end(now)


def spans_folder(settings: Settings) -> Path:
    """Where the processes of this machine keep the spans that the Collector does not have yet."""
    return settings.data_dir / "spans"


def first_to_write(settings: Settings) -> Callable[[str], bool]:
    """Whether a dead process's span is for its machine to write; asked from a thread, seldom."""

    def first(span_id: str) -> bool:
        client = make_sync_redis(settings)
        try:
            return Ledger(sync_client=client).run_sync(transitions.lost(span_id, "disk"))
        finally:
            client.close()

    return first


def open_generation(job: Job) -> str:
    """Begin the span of a job's generation at the provider."""
    ref = job_ref(job)
    return str(reserve_span(ref)) if ref else ""


def note_servers(settings: Settings, providers: Iterable[str]) -> None:
    """Remember where these providers are, for the spans of their generations."""
    for name in providers:
        host = urlsplit(str(getattr(settings, f"{name}_base_url", ""))).hostname
        if host:
            _servers[name] = host


def write_generation(
    job: Job,
    *,
    error: str = "",
    attributes: Mapping[str, AttributeValue] | None = None,
    end_ns: int | None = None,
) -> None:
    """Write the generation's span: from accepted to now.

    Args:
        error: `error.type` where it ended without a picture.
        end_ns: nanoseconds since the epoch; None for now.
    """
    ref = SpanRef.parse(job.generation)
    if ref is None:
        return
    known: dict[str, AttributeValue] = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": job.provider,
        "gen_ai.request.model": job.spec.model,
        "gen_ai.output.type": "image",
        "imagebot.job.id": job.id,
        **_wish(job),
        **(attributes or {}),
    }
    if job.provider in _servers:
        known["server.address"] = _servers[job.provider]
    if job.ticket:
        known["gen_ai.response.id"] = str(job.ticket.get("external_id", ""))
    if error:
        known["error.type"] = error
    _measure(ref, known, end_ns)
    write_span(
        ref,
        f"generate_content {job.spec.model}",
        kind=SpanKind.CLIENT,
        end_ns=end_ns,
        attributes=known,
        status=Status(StatusCode.ERROR, error) if error else None,
        tracer=_tracer,
    )


_MEASURED = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type")


def _measure(ref: SpanRef, known: Mapping[str, AttributeValue], end_ns: int | None) -> None:
    labels = {name: known[name] for name in _MEASURED if name in known}
    seconds = max(0, (end_ns or time.time_ns()) - ref.start_ns) / 1e9
    metrics.inference_duration.record(seconds, labels, context_of(ref))


def _wish(job: Job) -> dict[str, AttributeValue]:
    """What was asked for, without its words."""
    wish: dict[str, AttributeValue] = {"imagebot.aspect": job.spec.aspect}
    wish["imagebot.edit"] = job.spec.source is not None
    if job.spec.quality:
        wish["imagebot.quality"] = job.spec.quality
    return wish


async def write_lost_attempt(app: App, job: Job, step: str) -> None:
    """Write the span of an attempt whose process died: from its claim to now, when its lease is over.

    Skipped if the span spool of that process's machine will send it, or has (see `first_to_write`): that one
    knows the span as the process did, which may also only have stood still.
    """
    ref = SpanRef.parse(job.lost_attempt)
    if ref is None or not job.lost:
        return
    same_machine = job.lost.rpartition(":")[0] == app.holder.rpartition(":")[0]
    if same_machine and spans_folder(app.settings).is_dir():
        return
    if not await app.ledger.run(transitions.lost(f"{ref.span_id:016x}", "step")):
        return
    write_span(
        ref,
        f"process {step}",
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "dramatiq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.dramatiq.actor": step,
            "messaging.message.conversation_id": job.id,
            "error.type": PROCESS_LOST,
        },
        status=Status(StatusCode.ERROR, "the worker was lost"),
        events=[SpanEvent("imagebot.lease_expired", time.time_ns(), {"imagebot.holder": job.lost})],
        tracer=_tracer,
    )


def write_end(job: Job, outcome: str, *, seconds: float | None = None, kind: str = "") -> None:
    """Write the job's span, from admission to its end. Only the one who ended the job calls it.

    It is written once the step that ended the job has ended too: a job's last step lies within it.

    Args:
        seconds: from its admission to its end, where the job as it was claimed does not say.
        kind: why it could not be shown, where the job itself does not say.
    """
    if seconds is not None:
        job = replace(job, story=f"{job.story} {outcome}@{round(seconds * 1000)}")
    # Begun at once: from here on it is not lost with this process.
    span = _begin_end(job, outcome, kind or job.kind)
    step = _step.get()
    if step is None or step.over:
        span.end()
    else:
        step.spans.append(span)


def write_owed_end(job: Job) -> None:
    """Write the span of a job whose process died before it could, as the ledger tells it."""
    span = _begin_end(job, job.state, job.kind)
    ref, ms = job_ref(job), max((ms for _, ms in story(job)), default=0)
    if ref is not None:
        # The ledger's times are whole milliseconds: a generation that began within the last one is inside, too.
        generation = SpanRef.parse(job.generation)
        span.end(max(began(job, ref) + ms * 1_000_000, generation.start_ns if generation else 0))


@dataclass(slots=True)
class _Step:
    """What ends with the message in hand."""

    spans: list[trace.Span] = field(default_factory=list)
    over: bool = False


_step: ContextVar[_Step | None] = ContextVar("step_under_way", default=None)


class EndJobSpans(Middleware):
    """Ends the spans of the jobs that a message ended. Stands before `TracingMiddleware`, whose span of the
    message has ended by then."""

    def before_process_message(self, broker: Broker, message: Any) -> None:
        _step.set(_Step())

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        step = _step.get()
        if step is not None:
            step.over = True
            for span in step.spans:
                span.end()
        _step.set(None)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        _step.set(None)


def _begin_end(job: Job, outcome: str, kind: str) -> trace.Span:
    """The job's span with everything but its end; the generation's, where nobody else could write it."""
    ref = job_ref(job)
    if ref is None:
        return trace.INVALID_SPAN
    if job.state in (State.FAILED, State.CANCELLED) and not job.ready:
        # It was running when it was ended from outside; whoever had it could not know.
        told: dict[str, AttributeValue] = {"imagebot.error.code": job.code} if job.code else {}
        if job.ticket:
            told["imagebot.polls"] = job.polls
        write_generation(
            job, error=kind or str(job.state), attributes=told, end_ns=_time_of(job, ref, job.state)
        )
    attributes: dict[str, AttributeValue] = {
        "imagebot.job.id": job.id,
        "imagebot.request.id": job.request,
        "imagebot.outcome": outcome,
        "imagebot.provider": job.provider,
        "gen_ai.request.model": job.spec.model,
        "imagebot.tries": job.tries,
        "imagebot.deliveries": job.deliveries,
        "imagebot.polls": job.polls,
        **_wish(job),
        **_price(job),
    }
    if job.spec.instead_of:
        attributes["imagebot.instead_of"] = job.spec.instead_of
    if kind:
        attributes["error.type"] = kind
    if job.code:
        attributes["imagebot.error.code"] = job.code
    span = resume_span(ref, "job", attributes=attributes, tracer=_tracer)
    for event in _events(job, ref):
        span.add_event(event.name, event.attributes, event.at_ns)
    _write_waits(job, ref)
    if outcome == State.FAILED:
        span.set_status(Status(StatusCode.ERROR, kind))
    return span


def _price(job: Job) -> dict[str, AttributeValue]:
    """What the provider said of the picture."""
    told = job.result or {}
    names = {"seed": "gen_ai.request.seed", "cost": "imagebot.cost", "unit": "imagebot.cost.unit"}
    return {name: told[key] for key, name in names.items() if key in told}


def _write_waits(job: Job, ref: SpanRef) -> None:
    """Write the long waits between the steps, of which no process had any: they are spans of the job."""
    start, context = began(job, ref), context_of(ref)
    moves = [(name, start + ms * 1_000_000) for name, ms in story(job) if name in _STATES]
    for (state, since), (_, until) in pairwise(moves):
        if state in _WAITS and until - since >= _LONG_NS:
            name = _WAITS[State(state)]
            _tracer.start_span(name, context=context, start_time=since).end(until)


def began(job: Job, ref: SpanRef) -> int:
    """When the job was admitted, which its story counts from: its span began before that, by the admission's call."""
    at = job.created * 1_000_000
    return at if 0 <= at - ref.start_ns <= _LATENCY_NS else ref.start_ns


def _time_of(job: Job, ref: SpanRef, state: str) -> int | None:
    """When the job came to a state, in nanoseconds since the epoch."""
    return next((began(job, ref) + ms * 1_000_000 for name, ms in story(job) if name == state), None)


def _events(job: Job, ref: SpanRef) -> Iterator[SpanEvent]:
    start, seen = began(job, ref), set[str]()
    for name, ms in story(job):
        # One without a picture comes to its state once more when its person was told.
        word = "told" if name in seen and name in ENDED else name.partition(":")[0]
        seen.add(name)
        yield SpanEvent(f"imagebot.{word}", start + ms * 1_000_000, _detail(name))


def _detail(name: str) -> dict[str, AttributeValue] | None:
    _, found, detail = name.partition(":")
    return {"imagebot.detail": detail} if found else None


def story(job: Job) -> Iterator[tuple[str, int]]:
    """What happened to a job, in order: a state or a note, and ms since it was admitted."""
    for entry in job.story.split():
        name, _, at = entry.rpartition("@")
        if name and at.isdigit():
            yield name, int(at)
