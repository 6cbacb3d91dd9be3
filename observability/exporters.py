"""Which exporters the standard `OTEL_*` variables ask for, and the resource they export with.

The SDK's own reading of them lives in a private module and has defaults made for other programs;
here OTLP goes over HTTP unless told otherwise, batches leave every second, and a dead collector is
given up on after two seconds. Traces over HTTP go through `observability.durable`, the rest through the SDK's own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from observability.durable import DurableSpanProcessor
from observability.endpoint import TraceEndpoint
from observability.scrubbing import Scrubber, ScrubbingLogExporter, ScrubbingSpanExporter

Signal = Literal["traces", "metrics", "logs"]

_BATCH_DELAY_MS = 1_000
# Whoever follows a log as it grows reads the process's own output.
_LOG_DELAY_MS = 2_000
_METRIC_INTERVAL_MS = 10_000
_TIMEOUT_SECONDS = 2
_HTTP = "http/protobuf"
_OTLP = {_HTTP: "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def resource(service: str, version: str | None) -> Resource:
    """Who exports. What the environment says about it stands over what the program says."""
    own = {"service.name": service, "host.name": socket.gethostname()}
    if version:
        own["service.version"] = version
    return Resource.create(own | dict(OTELResourceDetector().detect().attributes))


def span_processors(
    scrubber: Scrubber, spool: Path | None = None, first_to_write: Callable[[str], bool] | None = None
) -> list[SpanProcessor]:
    """A processor for each exporter. The last two arguments as for `observability.setup`."""
    return [_span_processor(name, scrubber, spool, first_to_write) for name in _names("traces")]


def _span_processor(
    name: str, scrubber: Scrubber, spool: Path | None, first_to_write: Callable[[str], bool] | None
) -> SpanProcessor:
    if name == "otlp" and (_setting("traces", "PROTOCOL") or _HTTP) == _HTTP:
        endpoint = TraceEndpoint(partial(_setting, "traces"), timeout=_TIMEOUT_SECONDS)
        return DurableSpanProcessor(
            endpoint.post,
            folder=spool,
            first_to_write=first_to_write,
            scrubber=scrubber,
            delay=_number("OTEL_BSP_SCHEDULE_DELAY", _BATCH_DELAY_MS) / 1e3,
            batch=_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            queue=_number("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
        )
    exporter = _exporter("traces", name)
    delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else _BATCH_DELAY_MS
    return BatchSpanProcessor(
        ScrubbingSpanExporter(exporter, scrubber) if scrubber else exporter, schedule_delay_millis=delay
    )


def metric_readers() -> list[MetricReader]:
    interval = None if "OTEL_METRIC_EXPORT_INTERVAL" in os.environ else _METRIC_INTERVAL_MS
    return [PeriodicExportingMetricReader(exporter, interval) for exporter in _exporters("metrics")]


def log_processors(scrubber: Scrubber) -> list[LogRecordProcessor]:
    delay = None if "OTEL_BLRP_SCHEDULE_DELAY" in os.environ else _LOG_DELAY_MS
    return [
        BatchLogRecordProcessor(
            ScrubbingLogExporter(exporter, scrubber) if scrubber else exporter, schedule_delay_millis=delay
        )
        for exporter in _exporters("logs")
    ]


def _exporters(signal: Signal) -> list[Any]:
    return [_exporter(signal, name) for name in _names(signal)]


def _names(signal: Signal) -> list[str]:
    """Names of the signal's exporters; none unless one is named or an OTLP endpoint is given."""
    named = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER")
    if named is not None and named.strip():
        return [name for name in map(str.strip, named.split(",")) if name and name != "none"]
    return ["otlp"] if _setting(signal, "ENDPOINT") else []


def _exporter(signal: Signal, name: str) -> Any:
    if name == "otlp":
        protocol = _setting(signal, "PROTOCOL") or _HTTP
        if protocol not in _OTLP:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {' or '.join(_OTLP)}, not {protocol!r}")
        name = _OTLP[protocol]
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        raise ValueError(f"OTEL_{signal.upper()}_EXPORTER: no exporter named {name!r} is installed")
    exporter_class = found[0].load()
    if name in _OTLP.values() and not _setting(signal, "TIMEOUT"):
        return exporter_class(timeout=_TIMEOUT_SECONDS)
    return exporter_class()


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if text and not text.isdecimal():
        raise ValueError(f"{variable}: expected a whole number, not {text!r}")
    return int(text) if text else default


def _setting(signal: Signal, name: str) -> str | None:
    """An OTLP setting: the signal's own variable, else the one for all signals."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}") or os.environ.get(
        f"OTEL_EXPORTER_OTLP_{name}"
    )
