"""OpenTelemetry for a process: traces, metrics, logs and propagation, by one call of `setup`.

Where things go is decided by the standard `OTEL_*` variables. With no exporter named and no OTLP
endpoint given nothing is exported and OpenTelemetry's no-op implementation stays in place.
The instrumentations are modules of their own: `observability.dramatiq`, `.aiogram`; for httpx the
official one is used, with `observability.addresses`.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from observability import logs
from observability.crash_spool import CrashSpool
from observability.logs import LogFormat
from observability.process import observe_process
from observability.scrubbing import Scrubber, scrubbing
from observability.spans import PinnableIdGenerator

__all__ = ["Telemetry", "setup"]

logger = logging.getLogger(__name__)

Signal = Literal["traces", "metrics", "logs"]

# What the standard variables are where nobody has set them, or to nothing. OpenTelemetry's own choices are made for
# other programs: batches leave every second here, and a collector that is dead is given up on after two.
_DEFAULTS = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "512",
    "OTEL_BSP_MAX_QUEUE_SIZE": "2048",
    # Whoever follows a log as it grows reads the process's own output.
    "OTEL_BLRP_SCHEDULE_DELAY": "2000",
    "OTEL_METRIC_EXPORT_INTERVAL": "10000",
}
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_SECRET_HEADER = re.compile(
    "auth|key|token|secret|password|cookie|credential|dsn|honeycomb-team", re.IGNORECASE
)
_NAMES_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


class Telemetry:
    """What `setup` started in this process. Both methods never raise and end within their time."""

    def __init__(
        self,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
        loggers: LoggerProvider | None = None,
    ) -> None:
        self._providers = [provider for provider in (tracers, meters, loggers) if provider is not None]
        self._down = threading.Lock()
        self._is_down = False

    @property
    def exporting(self) -> bool:
        return bool(self._providers)

    def flush(self, timeout: float = 2.5) -> bool:
        """Send what is buffered; False if it did not all go out within `timeout` seconds."""
        return _run_all([provider.force_flush for provider in self._providers], timeout)

    def shutdown(self, timeout: float = 2.5) -> bool:
        """Send what is buffered and stop; False if that took more than `timeout` seconds. Once is enough."""
        with self._down:
            if self._is_down:
                return True
            self._is_down = True
        logs.stop_sending()
        return _run_all([provider.shutdown for provider in self._providers], timeout)


_running: Telemetry | None = None


def setup(
    service: str,
    *,
    version: str | None = None,
    secrets: Sequence[str] = (),
    log_format: LogFormat = "auto",
    log_level: str = "INFO",
    span_processors: Sequence[SpanProcessor] = (),
    metric_readers: Sequence[MetricReader] = (),
    spool: Path | None = None,
    first_to_write: Callable[[str], bool] | None = None,
) -> Telemetry:
    """Start telemetry and logging in this process; call it once, after any fork.

    A second call changes only the logging: OpenTelemetry's providers are set once a process.

    Args:
      service: `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says another.
      secrets: values that must not appear in anything exported or logged.
      span_processors, metric_readers: further ones, such as a test's in-memory exporter.
      spool: folder, shared by the processes of a machine, in which spans wait that the Collector does not
        have yet, so that neither a killed process nor an outage loses them; None for memory only.
      first_to_write: asked with a span's id before one of a killed process is written that somebody else may write
        too: one that it had not ended, or that had begun elsewhere. May raise: then it is asked again later.
    """
    global _running
    _use_stable_http_names()
    for name, value in _DEFAULTS.items():
        os.environ[name] = os.environ.get(name) or value
    scrubber = Scrubber([*secrets, *_secret_headers()])

    def log_to(provider: object) -> None:
        ours = provider if isinstance(provider, LoggerProvider) else None
        logs.configure(format=log_format, level=log_level, scrubber=scrubber, provider=ours)

    if _running is not None:
        log_to(_logs.get_logger_provider())
        return _running
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        log_to(None)
        _running = Telemetry()
        return _running

    resource = _resource(service, version, scrubber)
    meters = tracers = loggers = None
    # Metrics first: the others report about themselves through them.
    readers = [*metric_readers]
    for _, exporter_class in _exporters("metrics"):
        readers.append(PeriodicExportingMetricReader(scrubbing(exporter_class, scrubber)()))
    if readers:
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        observe_process(meters.get_meter("observability.process"))
    processors: list[SpanProcessor] = [*span_processors]
    for name, exporter_class in _exporters("traces"):
        if name in _OTLP.values():
            processors.append(
                CrashSpool(
                    exporter_class(),
                    folder=spool,
                    first_to_write=first_to_write,
                    scrubber=scrubber,
                    delay=_number("OTEL_BSP_SCHEDULE_DELAY") / 1e3,
                    batch=_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
                    queue=_number("OTEL_BSP_MAX_QUEUE_SIZE"),
                )
            )
        else:
            processors.append(BatchSpanProcessor(scrubbing(exporter_class, scrubber)()))
    if processors:
        tracers = TracerProvider(
            resource=resource, id_generator=PinnableIdGenerator(), shutdown_on_exit=False
        )
        for processor in processors:
            tracers.add_span_processor(processor)
        trace.set_tracer_provider(tracers)
    if log_exporters := _exporters("logs"):
        loggers = LoggerProvider(resource, shutdown_on_exit=False)
        for _, exporter_class in log_exporters:
            exporter = scrubbing(exporter_class, scrubber)()
            loggers.add_log_record_processor(BatchLogRecordProcessor(exporter))
        _logs.set_logger_provider(loggers)
    log_to(loggers)

    _running = Telemetry(tracers, meters, loggers)
    atexit.register(_running.shutdown)
    return _running


def _use_stable_http_names() -> None:
    """The instrumentations of HTTP emit pre-standard names unless told otherwise, and read this once."""
    chosen = [name.strip() for name in os.environ.get(_NAMES_OPT_IN, "").split(",") if name.strip()]
    if not {"http", "http/dup"} & set(chosen):
        os.environ[_NAMES_OPT_IN] = ",".join((*chosen, "http"))


def _secret_headers() -> Iterator[str]:
    """The SDK logs a header that it cannot read. Others' values, such as a tenant's name, are ordinary words."""
    for variable, text in os.environ.items():
        if variable.startswith("OTEL_") and variable.endswith("HEADERS"):
            for name, _, value in (header.partition("=") for header in text.split(",")):
                if _SECRET_HEADER.search(name):
                    value = value.strip()
                    plain = unquote(value)
                    yield from (value, plain, plain.rpartition(" ")[2])


def _resource(service: str, version: str | None, scrubber: Scrubber) -> Resource:
    """Who exports. What the environment says about it stands over what the program says."""
    own = {"service.name": service, "host.name": socket.gethostname()}
    if version:
        own["service.version"] = version
    found = Resource.create(scrubber.value(own | dict(OTELResourceDetector().detect().attributes)))
    return _HashedOnce(
        scrubber.value(found.attributes), found.schema_url
    )  # detectors may name the command line


class _HashedOnce(Resource):
    """The encoder asks for a resource's hash with every span, and the SDK writes all of it as JSON for that."""

    @functools.cached_property
    def _once(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._once

    __eq__ = Resource.__eq__


def _exporters(signal: Signal) -> list[tuple[str, type[Any]]]:
    """Names and classes of the signal's exporters; none unless one is named or an OTLP endpoint is given."""
    named = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").split(",")
    names = [name.strip() for name in named if name.strip()]
    if not names and _otlp_setting(signal, "ENDPOINT"):
        names = ["otlp"]
    return [_exporter(signal, name) for name in names if name != "none"]


def _exporter(signal: Signal, name: str) -> tuple[str, type[Any]]:
    if name == "otlp":
        protocol = _otlp_setting(signal, "PROTOCOL")
        if protocol not in _OTLP:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: expected {' or '.join(_OTLP)}, not {protocol!r}")
        name = _OTLP[protocol]
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        raise ValueError(f"OTEL_{signal.upper()}_EXPORTER: no exporter named {name!r} is installed")
    return name, found[0].load()


def _otlp_setting(signal: Signal, name: str) -> str | None:
    """An OTLP setting: the signal's own variable, else the one for all signals."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")


def _number(variable: str) -> int:
    text = os.environ[variable].strip()
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{variable}: expected a whole number above 0, not {text!r}")
    return int(text)


def _run_all(actions: Sequence[Callable[[], object]], timeout: float) -> bool:
    """Run `actions` side by side and wait `timeout` seconds for all; the SDK's own timeouts add up."""
    deadline = time.monotonic() + timeout
    threads = []
    for action in actions:
        thread = threading.Thread(target=_quietly, args=(action,), daemon=True)
        try:
            thread.start()
            threads.append(thread)
        except RuntimeError:  # Python 3.12 starts none once the program has ended
            _quietly(action)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        logger.warning("Telemetry could not be sent", exc_info=True)
