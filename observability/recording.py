"""Spans as the SDK records them, for a third of its CPU time: where what is usual can be taken for granted.

The tracers of `LeanTracerProvider` make a `LeanSpan` of each span whose parent is sampled, which is all of a trace
but its root, and leave the others to the SDK. `tracer_provider` has the SDK make all of them where a setting asks for
what a lean span does not do: another sampler, limits, metrics about spans. Otherwise the two say the same, and a test
holds them to it. How spans are written and sent is `observability.otlp` and `observability.durable`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util._decorator import _agnosticcontextmanager
from opentelemetry.util.types import AnyValue

logger = logging.getLogger(__name__)

Attributes = Mapping[str, AnyValue]

_MOST = 128  # attributes, events or links of a span: OpenTelemetry's default
_PLAIN = frozenset((str, bool, int, float))
_PLAIN_OR_TUPLE = _PLAIN | {tuple}
_SAMPLED = TraceFlags.SAMPLED
_FLAGS = {int(flags): flags for flags in map(TraceFlags, (_SAMPLED, _SAMPLED | TraceFlags.RANDOM_TRACE_ID))}
_UNSET = Status()


def tracer_provider(resource: Resource, id_generator: IdGenerator) -> sdk.TracerProvider:
    """A provider as the environment wants it: lean, unless a variable asks for what only the SDK's spans do."""
    provider = LeanTracerProvider(resource, id_generator)
    limited = any(name.startswith("OTEL_") and name.endswith("_LIMIT") for name in os.environ)
    counted = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED" in os.environ
    if isinstance(provider.sampler, ParentBased) and not limited and not counted:
        return provider
    return sdk.TracerProvider(resource=resource, id_generator=id_generator, shutdown_on_exit=False)


class LeanTracerProvider(sdk.TracerProvider):
    """The SDK's provider with tracers of its own."""

    def __init__(self, resource: Resource, id_generator: IdGenerator) -> None:
        super().__init__(resource=resource, id_generator=id_generator, shutdown_on_exit=False)
        self.processors: tuple[SpanProcessor, ...] = ()
        self._lean: dict[InstrumentationScope, LeanTracer] = {}

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        super().add_span_processor(span_processor)
        self.processors += (span_processor,)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes | None = None,
    ) -> trace.Tracer:
        told = instrumenting_module_name, instrumenting_library_version or "", schema_url, attributes
        full = super().get_tracer(*told)
        if not isinstance(full, sdk.Tracer):
            return full
        scope = InstrumentationScope(*told)
        return self._lean.setdefault(scope, LeanTracer(self, full, scope))


class LeanTracer(trace.Tracer):
    """Makes lean spans where it may. `full` makes the others."""

    def __init__(self, provider: LeanTracerProvider, full: sdk.Tracer, scope: InstrumentationScope) -> None:
        self._provider = provider
        self._full = full
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        parent = trace.get_current_span(context).get_span_context()
        # As the tuple it is: each of its properties is a call.
        trace_id, _, _, given, state, is_valid = parent
        flags = _FLAGS.get(given)
        if flags is None or not is_valid or len(links or ()) > _MOST:
            return self._full.start_span(
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )
        provider = self._provider
        span_id = provider.id_generator.generate_span_id()
        span = LeanSpan(
            name,
            SpanContext(trace_id, span_id, False, flags, state),
            parent,
            kind,
            start_time if start_time is not None else time.time_ns(),
            provider.resource,
            self._scope,
            provider.processors,
        )
        if attributes:
            span.set_attributes(attributes)
        if links:
            span.links = tuple(
                _settled(link) if link.attributes else link for link in links if link.context.is_valid
            )
        span.record_exceptions, span.set_status_on_exception = record_exception, set_status_on_exception
        for processor in provider.processors:
            processor.on_start(cast("sdk.Span", span), context)
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        told = record_exception, set_status_on_exception
        span = self.start_span(name, context, kind, attributes, links, start_time, *told)
        with trace.use_span(span, end_on_exit, *told):
            yield span


class LeanSpan(trace.Span, ReadableSpan):
    """A span that is recorded, and what the SDK hands to processors and exporters once it has ended."""

    # In place of the properties of the same names.
    __slots__ = (
        "_lock",
        "_processors",
        "attributes",
        "context",
        "end_time",
        "events",
        "instrumentation_scope",
        "kind",
        "links",
        "name",
        "parent",
        "record_exceptions",
        "resource",
        "set_status_on_exception",
        "start_time",
        "status",
    )
    name: str
    context: SpanContext
    parent: SpanContext
    kind: SpanKind
    start_time: int
    end_time: int | None
    resource: Resource
    instrumentation_scope: InstrumentationScope
    attributes: dict[str, AnyValue] | BoundedAttributes
    events: Sequence[Event]
    links: Sequence[Link]
    status: Status

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext,
        kind: SpanKind,
        start_time: int,
        resource: Resource,
        scope: InstrumentationScope,
        processors: tuple[SpanProcessor, ...],
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.start_time = start_time
        self.end_time = None
        self.resource = resource
        self.instrumentation_scope = scope
        self.attributes = {}
        self.events = self.links = ()
        self.status = _UNSET
        self.record_exceptions = self.set_status_on_exception = True
        self._processors = processors
        self._lock = threading.Lock()

    # What is said of it

    def set_attribute(self, key: str, value: AnyValue) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Attributes) -> None:
        if not _are_plain(attributes):
            attributes = BoundedAttributes(_MOST, attributes)
        with self._lock:
            if self._is_over("set_attributes"):
                return
            self.attributes.update(attributes)
            if len(self.attributes) > _MOST:
                self.attributes = BoundedAttributes(_MOST, self.attributes, immutable=False)

    def add_event(
        self, name: str, attributes: Attributes | None = None, timestamp: int | None = None
    ) -> None:
        event = Event(name, BoundedAttributes(_MOST, attributes), timestamp)
        with self._lock:
            if not self._is_over("add_event"):
                self.events = _with(self.events, event)

    def add_link(self, context: SpanContext, attributes: Attributes | None = None) -> None:
        if not context.is_valid and not attributes:
            return
        with self._lock:
            if not self._is_over("add_link"):
                self.links = _with(self.links, _settled(Link(context, attributes)))

    def update_name(self, name: str) -> None:
        with self._lock:
            if not self._is_over("update_name"):
                self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if isinstance(status, StatusCode):
            status = Status(status, description)
        with self._lock:
            # What was found to be fine stays so.
            final = self.status.status_code is StatusCode.OK or status.status_code is StatusCode.UNSET
            if not self._is_over("set_status") and not final:
                self.status = status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        known: dict[str, AnyValue] = {
            exception_attributes.EXCEPTION_TYPE: kind.__qualname__
            if kind.__module__ == "builtins"
            else f"{kind.__module__}.{kind.__qualname__}",
            exception_attributes.EXCEPTION_MESSAGE: str(exception),
            exception_attributes.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(exception)),
            exception_attributes.EXCEPTION_ESCAPED: str(escaped),
        }
        self.add_event("exception", {**known, **(attributes or {})}, timestamp)

    # Its end

    def end(self, end_time: int | None = None) -> None:
        with self._lock:
            if self._is_over("end"):
                return
            self.end_time = end_time if end_time is not None else time.time_ns()
        for processor in self._processors:
            processor.on_end(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None:
            if self.record_exceptions:
                self.record_exception(exc_val, escaped=True)
            if self.set_status_on_exception:
                self.set_status(StatusCode.ERROR, f"{type(exc_val).__name__}: {exc_val}")
        super().__exit__(exc_type, exc_val, exc_tb)

    def _is_over(self, asked: str) -> bool:
        if self.end_time is None:
            return False
        logger.warning("%s on a span that has ended: %s", asked, self.name)
        return True

    # What can be read of it, beside the plain attributes

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.end_time is None

    @property
    def dropped_attributes(self) -> int:
        return _dropped(self.attributes)

    @property
    def dropped_events(self) -> int:
        return _dropped(self.events)

    @property
    def dropped_links(self) -> int:
        return _dropped(self.links)

    def to_json(self, indent: int | None = 4) -> str:
        plain = ReadableSpan(
            self.name,
            self.context,
            self.parent,
            self.resource,
            self.attributes,
            self.events,
            self.links,
            self.kind,
            status=self.status,
            start_time=self.start_time,
            end_time=self.end_time,
            instrumentation_scope=self.instrumentation_scope,
        )
        return str(plain.to_json(indent))


def _are_plain(attributes: Attributes) -> bool:
    """Whether values are as they will be kept; so is a tuple of texts."""
    types = set(map(type, attributes.values()))
    if types <= _PLAIN:
        return True
    tuples = (value for value in attributes.values() if isinstance(value, tuple))
    return types <= _PLAIN_OR_TUPLE and all(type(item) is str for value in tuples for item in value)


def _settled(link: Link) -> Link:
    """The link with attributes that nobody changes later."""
    return Link(link.context, BoundedAttributes(_MOST, link.attributes))


def _with(known: Sequence[Any], one: Any) -> Sequence[Any]:
    """The sequence and one more; of too many the oldest is dropped, and counted."""
    if isinstance(known, BoundedList):
        known.append(one)
        return known
    if len(known) < _MOST:
        return (*known, one)
    return _with(BoundedList.from_seq(_MOST, known), one)


def _dropped(kept: Any) -> int:
    return kept.dropped if isinstance(kept, BoundedAttributes | BoundedList) else 0
