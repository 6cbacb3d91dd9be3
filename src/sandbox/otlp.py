"""What an OTLP export request says, as plain records: spans, metric points, log lines.

Reads the protobuf of `/v1/traces`, `/v1/metrics` and `/v1/logs`; keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

__all__ = [
    "DecodeError",
    "LogLine",
    "Point",
    "SpanLink",
    "SpanRecord",
    "TimedEvent",
    "logs",
    "metrics",
    "spans",
]

Attributes = dict[str, Any]

_KINDS = {
    SpanMessage.SPAN_KIND_INTERNAL: "internal",
    SpanMessage.SPAN_KIND_SERVER: "server",
    SpanMessage.SPAN_KIND_CLIENT: "client",
    SpanMessage.SPAN_KIND_PRODUCER: "producer",
    SpanMessage.SPAN_KIND_CONSUMER: "consumer",
}
_STATUSES = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True)
class TimedEvent:
    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class SpanLink:
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A finished span. Ids are lower-case hex, `parent_id` empty for a root; times in ns since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: Attributes
    events: tuple[TimedEvent, ...]
    links: tuple[SpanLink, ...]
    service: str
    resource: Attributes
    scope: str


@dataclass(frozen=True, slots=True)
class Point:
    """The newest value of a metric for one set of attributes; of a histogram, its sum and its count."""

    name: str
    unit: str
    attributes: Attributes
    value: float
    count: int | None
    exemplar_trace_ids: tuple[str, ...]
    instance: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log record; `trace_id` and `span_id` are empty where none was current."""

    at_ns: int
    severity: str
    body: str
    attributes: Attributes
    trace_id: str
    span_id: str
    service: str


def spans(body: bytes) -> Iterator[SpanRecord]:
    """The spans of an export request; raises DecodeError for anything else."""
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield SpanRecord(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=_KINDS.get(span.kind, "internal"),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    status=_STATUSES[span.status.code] if span.status.code < len(_STATUSES) else "unset",
                    status_message=span.status.message,
                    attributes=_attributes(span.attributes),
                    events=tuple(
                        TimedEvent(event.name, event.time_unix_nano, _attributes(event.attributes))
                        for event in span.events
                    ),
                    links=tuple(SpanLink(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    service=str(resource.get("service.name", "unknown")),
                    resource=resource,
                    scope=of_scope.scope.name,
                )


def metrics(body: bytes) -> Iterator[Point]:
    """The metric points of an export request; raises DecodeError for anything else."""
    request = ExportMetricsServiceRequest.FromString(body)
    for of_resource in request.resource_metrics:
        instance = str(_attributes(of_resource.resource.attributes).get("service.instance.id", ""))
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield from _points(metric, instance)


def logs(body: bytes) -> Iterator[LogLine]:
    """The log records of an export request; raises DecodeError for anything else."""
    request = ExportLogsServiceRequest.FromString(body)
    for of_resource in request.resource_logs:
        service = str(_attributes(of_resource.resource.attributes).get("service.name", "unknown"))
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                yield LogLine(
                    at_ns=record.time_unix_nano or record.observed_time_unix_nano,
                    severity=record.severity_text,
                    body=str(_value(record.body)),
                    attributes=_attributes(record.attributes),
                    trace_id=record.trace_id.hex(),
                    span_id=record.span_id.hex(),
                    service=service,
                )


def _points(metric: MetricMessage, instance: str) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    if kind in ("gauge", "sum"):
        for number in getattr(metric, kind).data_points:
            yield Point(
                name=metric.name,
                unit=metric.unit,
                attributes=_attributes(number.attributes),
                value=float(getattr(number, number.WhichOneof("value") or "as_double")),
                count=None,
                exemplar_trace_ids=_exemplar_traces(number.exemplars),
                instance=instance,
            )
    elif kind == "histogram":
        for histogram in metric.histogram.data_points:
            yield Point(
                name=metric.name,
                unit=metric.unit,
                attributes=_attributes(histogram.attributes),
                value=histogram.sum,
                count=histogram.count,
                exemplar_trace_ids=_exemplar_traces(histogram.exemplars),
                instance=instance,
            )


def _exemplar_traces(exemplars: Sequence[Any]) -> tuple[str, ...]:
    return tuple(exemplar.trace_id.hex() for exemplar in exemplars if exemplar.trace_id)


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind)
