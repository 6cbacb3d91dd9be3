"""Every metric of the contract in observability/README.md, sent once, has its promised name behind the Collector."""

from __future__ import annotations

import re

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from stack import Stack

from tests.monitoring.contract import promised

pytestmark = pytest.mark.jaeger

CONTRACT = promised()


def send_once(meter: Meter, name: str, kind: str, unit: str) -> None:
    if kind == "counter":
        meter.create_counter(name, unit).add(1)
    elif kind == "histogram":
        meter.create_histogram(name, unit).record(1)
    else:

        def observe(_: CallbackOptions) -> list[Observation]:
            return [Observation(1)]

        assert kind == "gauge"
        meter.create_observable_gauge(name, [observe], unit)


def test_names_behind_the_collector(stack: Stack) -> None:
    assert len(CONTRACT) > 20
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{stack.otlp_endpoint}/v1/metrics"))
    provider = MeterProvider(
        [reader], Resource.create({"service.name": "contract", "service.instance.id": "one"})
    )
    with TracerProvider().get_tracer("test").start_as_current_span("job") as span:
        for row in CONTRACT:
            send_once(provider.get_meter("test"), row["name"], row["kind"], row["unit"])
    provider.shutdown()

    page = stack.metrics(until=lambda text: 'target_info{instance="one",job="contract"' in text)
    found = {match[1] for match in re.finditer(r'^(\w+)\{[^}]*job="contract"', page, re.M)}
    suffixes = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    expected = {row["prometheus"] + suffix for row in CONTRACT for suffix in suffixes[row["kind"]]}
    assert found - {"target_info"} == expected
    assert 'instance="one"' in page

    # A point leads to its trace: counters and histograms carry it.
    trace_id = f"{span.get_span_context().trace_id:032x}"
    with_exemplar = {
        match[1] for match in re.finditer(rf'^(\w+)\{{.*# {{[^}}]*trace_id="{trace_id}"', page, re.M)
    }
    assert with_exemplar == {
        row["prometheus"] + ("_bucket" if row["kind"] == "histogram" else "")
        for row in CONTRACT
        if row["kind"] != "gauge"
    }
