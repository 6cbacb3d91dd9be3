"""OpenTelemetry for a process: traces, metrics, logs and propagation, by one call of `setup`.

Where things go is decided by the standard `OTEL_*` variables. With no exporter named and no OTLP
endpoint given nothing is exported and OpenTelemetry's no-op implementation stays in place.
The instrumentations are modules of their own: `observability.dramatiq`, `.aiogram`; for httpx the
official one is used, with `observability.addresses`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from observability import exporters, logs
from observability.histograms import meter_provider
from observability.logs import LogFormat
from observability.process import observe_process
from observability.recording import tracer_provider
from observability.scrubbing import Scrubber
from observability.spans import PinnableIdGenerator

__all__ = ["Telemetry", "setup"]

logger = logging.getLogger(__name__)

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
      first_to_write: asked with a span's id before one is written that a killed process had not ended, where
        somebody else may do so too. May raise: then it is asked again later.
    """
    global _running
    _use_stable_http_names()
    scrubber = Scrubber(secrets)
    if _running is not None:
        logs.configure(
            format=log_format, level=log_level, scrubber=scrubber, provider=_current_log_provider()
        )
        return _running
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        logs.configure(format=log_format, level=log_level, scrubber=scrubber)
        _running = Telemetry()
        return _running

    resource = exporters.resource(service, version)
    meters = tracers = loggers = None
    # Metrics first: the others report about themselves through them.
    if readers := [*metric_readers, *exporters.metric_readers()]:
        meters = meter_provider(readers, resource, os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER"))
        metrics.set_meter_provider(meters)
        observe_process(meters.get_meter("observability.process"))
    if processors := [*span_processors, *exporters.span_processors(scrubber, spool, first_to_write)]:
        tracers = tracer_provider(resource, PinnableIdGenerator())
        for processor in processors:
            tracers.add_span_processor(processor)
        trace.set_tracer_provider(tracers)
    if log_processors := exporters.log_processors(scrubber):
        loggers = LoggerProvider(resource, shutdown_on_exit=False)
        for log_processor in log_processors:
            loggers.add_log_record_processor(log_processor)
        _logs.set_logger_provider(loggers)
    logs.configure(format=log_format, level=log_level, scrubber=scrubber, provider=loggers)

    _running = Telemetry(tracers, meters, loggers)
    atexit.register(_running.shutdown)
    return _running


def _use_stable_http_names() -> None:
    """The instrumentations of HTTP emit pre-standard names unless told otherwise, and read this once."""
    chosen = [name.strip() for name in os.environ.get(_NAMES_OPT_IN, "").split(",") if name.strip()]
    if not {"http", "http/dup"} & set(chosen):
        os.environ[_NAMES_OPT_IN] = ",".join((*chosen, "http"))


def _current_log_provider() -> LoggerProvider | None:
    provider = _logs.get_logger_provider()
    return provider if isinstance(provider, LoggerProvider) else None


def _run_all(actions: Sequence[Callable[[], object]], timeout: float) -> bool:
    """Run `actions` side by side and wait `timeout` seconds for all; the SDK's own timeouts add up."""
    deadline = time.monotonic() + timeout
    threads = [threading.Thread(target=_quietly, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        logger.warning("Telemetry could not be sent", exc_info=True)
