"""A lean histogram says what the SDK's says of the same, and is not used where it could not."""

from __future__ import annotations

import enum
import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    CardinalityLimits,
    InMemoryMetricReader,
    MetricReader,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from observability.histograms import LeanHistogram, LeanMeterProvider, meter_provider

RESOURCE = Resource({"service.name": "s"})
SCHEMA = "https://example.com/schema"
SAMPLED, UNSAMPLED = SpanContext(5, 6, True, TraceFlags(1)), SpanContext(7, 8, True, TraceFlags(0))


class Kind(enum.StrEnum):
    BAD = "bad"


def under(context: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def measure(provider: MeterProvider, *, more: int = 0) -> None:
    """All that can be measured, rightly and wrongly."""
    meter = provider.get_meter("scope", "1", SCHEMA, {"k": 1})
    meter.create_counter("counted").add(1)
    histogram = meter.create_histogram("Some.Name", "s", "d", explicit_bucket_boundaries_advisory=(0.1, 1, 5))
    token = attach(under(SAMPLED))
    for amount in (0, 0.1, 0.05, 0.5, 7):
        histogram.record(amount, {"a": "x", "b": 1})
    histogram.record(3, {"a": "x", "b": 1}, under(UNSAMPLED))
    histogram.record(4, {"b": 1, "a": "x"}, under(SpanContext(9, 10, False, TraceFlags(3))))
    detach(token)
    values: list[Any] = [1, 1.0, True, "1", None, b"1", [1, "x"], (True,), {"deep": [1]}, "a" * 300, Kind.BAD]
    for value in values:
        histogram.record(0.2, {"a": value})
    wrong: Any = {"": 1, "c": object, 5: "x"}
    histogram.record(0.3, wrong)
    histogram.record(0.3, {})
    histogram.record(0.4)
    not_attributes: Any = [("a", 1)]
    histogram.record(0.5, not_attributes)
    for amount in (-1, math.inf, math.nan):
        histogram.record(amount, {"never": "seen"})
    meter.create_histogram("other").record(1, {"a": 1})
    meter.create_histogram("unused", explicit_bucket_boundaries_advisory=(1, 2))
    alone = provider.get_meter("alone").create_histogram("h", explicit_bucket_boundaries_advisory=(1, 2))
    for number in range(more):
        alone.record(number, {"n": number})


def said(reader: InMemoryMetricReader) -> Any:
    """What is collected, as OTLP has it, without the times' chance; the order of what has names means nothing."""
    data = reader.get_metrics_data()
    if data is None:
        return None

    def settle(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: "" if key.lower().endswith("timeunixnano") else settle(item)
                for key, item in node.items()
            }
        if not isinstance(node, list):
            return node
        settled = [settle(item) for item in node]
        return sorted(settled, key=json.dumps) if settled and isinstance(settled[0], dict) else settled

    return settle(MessageToDict(encode_metrics(data)))


def both() -> Iterator[tuple[MeterProvider, InMemoryMetricReader]]:
    reader = InMemoryMetricReader()
    yield LeanMeterProvider(reader, RESOURCE), reader
    reader = InMemoryMetricReader()
    yield sdk.MeterProvider([reader], RESOURCE, shutdown_on_exit=False), reader


def test_it_says_what_the_sdk_says() -> None:
    collected = []
    for provider, reader in both():
        before = said(reader)
        measure(provider)
        first, second = said(reader), said(reader)
        measure(provider)
        collected.append((before, first, second, said(reader)))
    ours, official = collected
    assert ours == official
    assert ours[0] is None
    (of_resource,) = ours[1]["resourceMetrics"]
    assert [len(scope["metrics"]) for scope in of_resource["scopeMetrics"]] == [3]
    assert "exemplars" in json.dumps(ours[1])
    assert "exemplars" not in json.dumps(ours[2])


def test_what_is_too_much_is_counted_as_one() -> None:
    collected = []
    for provider, reader in both():
        measure(provider, more=2010)
        measure(provider, more=2010)
        collected.append(said(reader))
    assert collected[0] == collected[1]


def test_one_of_a_name() -> None:
    provider = LeanMeterProvider(InMemoryMetricReader(), RESOURCE)
    first, second = (
        provider.get_meter("scope").create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
        for _ in range(2)
    )
    assert first is second
    assert isinstance(first, LeanHistogram)


@pytest.mark.parametrize("buckets", [None, [], [2, 1], [1, 1], [1, math.inf], ["a", "b"]])
def test_other_buckets_are_the_sdk_s(buckets: Any) -> None:
    meter = LeanMeterProvider(InMemoryMetricReader(), RESOURCE).get_meter("scope")
    histogram = meter.create_histogram("h", explicit_bucket_boundaries_advisory=buckets)
    assert isinstance(histogram, sdk.Histogram)


def test_no_measurement_of_a_thread_is_lost() -> None:
    reader = InMemoryMetricReader()
    meter = LeanMeterProvider(reader, RESOURCE).get_meter("scope")
    histogram = meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        for _ in range(2000):
            histogram.record(1, {"n": number % 2})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = reader.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert [(point.count, point.sum) for point in points if hasattr(point, "count")] == [(8000, 8000)] * 2


def test_after_shutdown_there_is_no_more() -> None:
    provider = LeanMeterProvider(InMemoryMetricReader(), RESOURCE)
    provider.shutdown()
    meter = provider.get_meter("scope")
    assert not isinstance(meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]), LeanHistogram)


DELTA = {sdk.Histogram: AggregationTemporality.DELTA}
BUCKETS = {sdk.Histogram: ExplicitBucketHistogramAggregation([1, 2])}
LIMITS = CardinalityLimits({sdk.Histogram: 10})


@pytest.mark.parametrize(
    ("readers", "exemplars", "is_lean"),
    [
        ([InMemoryMetricReader()], None, True),
        ([InMemoryMetricReader()], "", True),
        ([InMemoryMetricReader()], "trace_based", True),
        ([InMemoryMetricReader()], "always_on", False),
        ([InMemoryMetricReader(), InMemoryMetricReader()], None, False),
        ([InMemoryMetricReader(preferred_temporality=DELTA)], None, False),
        ([InMemoryMetricReader(preferred_aggregation=BUCKETS)], None, False),
        ([InMemoryMetricReader(cardinality_limits=LIMITS)], None, False),
    ],
)
def test_what_it_does_not_do_is_left_to_the_sdk(
    readers: list[MetricReader], exemplars: str | None, is_lean: bool
) -> None:
    assert isinstance(meter_provider(readers, RESOURCE, exemplars), LeanMeterProvider) is is_lean
