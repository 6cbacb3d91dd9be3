"""Histograms as the SDK keeps them, for a fifth of its CPU time: where what is usual can be taken for granted.

A job is measured eighteen times, and the SDK looks at every attribute of each measurement three times over. The
histograms of `LeanMeterProvider` find the series by the attributes as they are given, count in place, and are added
to what the SDK collects. `meter_provider` has the SDK make all of them where a setting asks for what a lean histogram
does not do: several readers, deltas, other buckets or exemplars. Otherwise the two say the same, and a test holds them
to it. Other instruments are the SDK's.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExplicitBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import Attributes

_MOST = 2000  # series of a histogram: OpenTelemetry's default; more of them are counted as one
_PLAIN = frozenset((str, int))
_SAMPLED = trace.TraceFlags.SAMPLED
_TRACE_BASED = "trace_based"


def meter_provider(
    readers: Sequence[MetricReader], resource: Resource, exemplars: str | None = None
) -> sdk.MeterProvider:
    """A provider as its readers want it: lean, unless one asks for what only the SDK's histograms do.

    Args:
      exemplars: OTEL_METRICS_EXEMPLAR_FILTER.
    """
    if len(readers) == 1 and (exemplars or _TRACE_BASED) == _TRACE_BASED and _wants_the_usual(readers[0]):
        return LeanMeterProvider(readers[0], resource)
    return sdk.MeterProvider(readers, resource, shutdown_on_exit=False)


def _wants_the_usual(reader: MetricReader) -> bool:
    def wanted(what: str) -> Any:
        """What the reader has chosen for histograms; the SDK knows them by a class of its own."""
        chosen = getattr(reader, f"_instrument_class_{what}", {})
        return next((choice for kind, choice in chosen.items() if issubclass(kind, sdk.Histogram)), None)

    aggregation = wanted("aggregation")
    return (
        wanted("temporality") is AggregationTemporality.CUMULATIVE
        and any(
            type(aggregation) is type(usual) and vars(aggregation) == vars(usual)
            for usual in (DefaultAggregation(), ExplicitBucketHistogramAggregation())
        )
        and wanted("cardinality_limit") == _MOST
    )


class LeanMeterProvider(sdk.MeterProvider):
    """The SDK's provider with histograms of its own."""

    def __init__(self, reader: MetricReader, resource: Resource) -> None:
        super().__init__([reader], resource, shutdown_on_exit=False)
        self._resource = resource
        self._lean: dict[InstrumentationScope, LeanMeter] = {}
        # The one way in for what no instrument of the SDK's has collected.
        collect: Any = partial(self._collect, reader._collect)
        reader._set_collect_callback(collect)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> metrics.Meter:
        full = super().get_meter(name, version, schema_url, attributes)
        if not isinstance(full, sdk.Meter):
            return full
        scope = InstrumentationScope(name, version, schema_url, attributes)
        return self._lean.setdefault(scope, LeanMeter(scope, self._measurement_consumer))

    def _collect(self, collect: Any, reader: MetricReader, timeout_millis: float) -> MetricsData | None:
        """What the SDK collects by `collect`, and the lean histograms."""
        data = collect(reader, timeout_millis=timeout_millis)
        scopes = {
            scope.scope: scope for of in (data.resource_metrics if data else ()) for scope in of.scope_metrics
        }
        now = time.time_ns()
        for scope, meter in list(self._lean.items()):
            if found := meter.collected(now):
                others = scopes[scope].metrics if scope in scopes else ()
                scopes[scope] = ScopeMetrics(scope, [*others, *found], scope.schema_url or "")
        if not scopes:
            return None
        whole = ResourceMetrics(self._resource, list(scopes.values()), self._resource.schema_url)
        return MetricsData([whole])


class LeanMeter(sdk.Meter):
    """The SDK's meter with lean histograms where their buckets are given."""

    def __init__(self, scope: InstrumentationScope, consumer: Any) -> None:
        super().__init__(scope, consumer)
        self._histograms: dict[metrics.Histogram, LeanHistogram] = {}

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        advised = explicit_bucket_boundaries_advisory
        full = super().create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=advised)
        if isinstance(full, sdk.Histogram) and advised and _in_order(advised):
            return self._histograms.setdefault(full, LeanHistogram(full, advised))
        return full

    def collected(self, now: int) -> list[Metric]:
        """Its lean histograms that have measured, as of `now`: nanoseconds since the epoch."""
        return [
            metric for histogram in list(self._histograms.values()) if (metric := histogram.collected(now))
        ]


def _in_order(boundaries: Sequence[float]) -> bool:
    numbers = all(isinstance(boundary, int | float) and math.isfinite(boundary) for boundary in boundaries)
    return numbers and sorted(set(boundaries)) == list(boundaries)


class LeanHistogram(metrics.Histogram):
    """A histogram of known buckets. `full`, the SDK's of the same name, says what is wrong with a measurement."""

    def __init__(self, full: sdk.Histogram, boundaries: Sequence[float]) -> None:
        self._full = full
        self._boundaries = tuple(boundaries)
        self._lock = threading.Lock()
        self._series: dict[str, _Series] = {}
        # By keys and values in the order given, where none of them equals one of another type, as 1 and True do.
        self._by_given: dict[tuple[object, ...], _Series] = {}

    def record(
        self, amount: float, attributes: Attributes | None = None, context: Context | None = None
    ) -> None:
        if not 0 <= amount < math.inf:
            self._full.record(amount, attributes, context)
            return
        # Whoever gives what is not a mapping gets a series without attributes from the SDK too. A dict is asked
        # for first: to find out whether something else is a mapping takes longer than the rest.
        known = attributes if type(attributes) is dict or isinstance(attributes, Mapping) else {}
        given = (*known, *known.values())
        plain = _PLAIN.issuperset(map(type, given))
        span = trace.get_current_span(context).get_span_context()
        now = time.time_ns()
        bucket = bisect_left(self._boundaries, amount)
        with self._lock:
            series = self._by_given.get(given) if plain else None
            if series is None:
                series = self._series_of(known, now)
                if plain and len(self._by_given) < _MOST:
                    self._by_given[given] = series
            series.counts[bucket] += 1
            series.sum += amount
            if amount < series.least:
                series.least = amount
            if amount > series.most:
                series.most = amount
            if span.trace_flags & _SAMPLED:
                series.exemplars[bucket] = amount, now, span

    def collected(self, now: int) -> Metric | None:
        """What was measured, as of `now`, and exemplars since the last call; None before the first measurement."""
        with self._lock:
            points = [series.point(self._boundaries, now) for series in self._series.values()]
        if not points:
            return None
        full = self._full
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(full.name, full.description, full.unit, data)

    def _series_of(self, attributes: Mapping[str, Any], now: int) -> _Series:
        clean = dict(BoundedAttributes(attributes=attributes))
        name = repr(sorted(clean.items()))
        if name not in self._series and len(self._series) >= _MOST:
            name, clean = "", {"otel.metric.overflow": True}
        if name not in self._series:
            self._series[name] = _Series(clean, len(self._boundaries) + 1, now)
        return self._series[name]


class _Series:
    """What was measured under one set of attributes."""

    __slots__ = ("_attributes", "_began", "counts", "exemplars", "least", "most", "sum")

    def __init__(self, attributes: Mapping[str, Any], buckets: int, began: int) -> None:
        self._attributes = attributes
        self._began = began
        self.counts = [0] * buckets
        self.sum: float = 0
        self.least, self.most = math.inf, -math.inf
        # Of each bucket the last measurement in a sampled span.
        self.exemplars: list[tuple[float, int, SpanContext] | None] = [None] * buckets

    def point(self, boundaries: Sequence[float], now: int) -> HistogramDataPoint:
        seen, self.exemplars = self.exemplars, [None] * len(self.counts)
        return HistogramDataPoint(
            attributes=self._attributes,
            start_time_unix_nano=self._began,
            time_unix_nano=now,
            count=sum(self.counts),
            sum=self.sum,
            bucket_counts=tuple(self.counts),
            explicit_bounds=boundaries,
            min=self.least,
            max=self.most,
            exemplars=[
                sdk.Exemplar({} if self._attributes else None, amount, at, span.span_id, span.trace_id)
                for amount, at, span in filter(None, seen)
            ],
        )
