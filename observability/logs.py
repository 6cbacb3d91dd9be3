"""Logs: structlog in front, the standard library's logging behind, one format for both.

Every line, whether it comes from this project, Dramatiq, aiogram or another library, gets the trace
and span id that are current and what is bound in structlog's context variables (such as `job_id`).
Lines go to stderr, as JSON or for a terminal, and where asked to OpenTelemetry with the same ids.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

import orjson
import structlog
from opentelemetry import trace
from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from structlog.typing import EventDict, Processor, WrappedLogger

from observability.scrubbing import Scrubber

LogFormat = Literal["auto", "json", "console"]

# The first two log every address they call, and the Bot API's holds the token; the last each try to
# reach a collector that is away.
_QUIETER = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "opentelemetry.exporter": logging.ERROR,
}

_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


def configure(
    *,
    format: LogFormat = "auto",
    level: str = "INFO",
    scrubber: Scrubber | None = None,
    provider: LoggerProvider | None = None,
) -> None:
    """Set logging up for this process; a second call replaces the first.

    Args:
      format: `auto` is `console` on a terminal and `json` elsewhere.
      level: least level that is logged.
      provider: where log records go besides stderr; None for nowhere.
    """
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    structlog.configure(
        # The same list each time, for the loggers that have been used already.
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # No line says where in the code it was written; looking that up is a tenth of what it costs.
    vars(logging)["_srcfile"] = None
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(_ScrubbingFormatter(as_json, scrubber or Scrubber(())))
    handlers: list[logging.Handler] = [stderr]
    if provider is not None:
        handlers.append(OpenTelemetryHandler(provider))
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if _is_of_others(handler)] + handlers
    root.setLevel(level)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(least)


def stop_sending() -> None:
    """Send no more lines to OpenTelemetry; stderr goes on."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, OpenTelemetryHandler)]


def add_trace_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: the ids of the span that is current, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_trace_ids,
]
_PROCESSORS: list[Processor] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


class OpenTelemetryHandler(logging.Handler):
    """Sends each log line to OpenTelemetry. The SDK adds the ids of the span that is current."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider
        self._loggers: dict[str, Logger] = {}

    def emit(self, record: logging.LogRecord) -> None:
        # A failing exporter logs; sending that out would feed it its own failure.
        if record.name.startswith("opentelemetry") or not is_instrumentation_enabled():
            return
        try:
            self._logger(record.name).emit(_as_log_record(record))
        except Exception:
            self.handleError(record)

    def _logger(self, name: str) -> Logger:
        if name not in self._loggers:
            self._loggers[name] = self._provider.get_logger(name)
        return self._loggers[name]


class _ScrubbingFormatter(structlog.stdlib.ProcessorFormatter):
    """Scrubs the finished line, so that tracebacks and arguments are covered too."""

    def __init__(self, as_json: bool, scrubber: Scrubber) -> None:
        super().__init__(processors=_rendering(as_json), foreign_pre_chain=_SHARED)
        self._as_json = as_json
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        said = record.msg
        # A line of structlog's without an exception is rendered as it is: what goes around that costs thrice as much.
        if self._as_json and type(said) is dict and "exc_info" not in said and "stack_info" not in said:
            line = _as_json(said)
        else:
            line = super().format(record)
        return self._scrubber.text(line)


def _as_json(line: EventDict, **_: Any) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:
        # Such as text with half a surrogate pair.
        return json.dumps(line, default=str)


def _rendering(as_json: bool) -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_json:
        return [
            remove_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ]
    # Structlog's own choice, where `rich` is installed, prints every local variable, and so people's words
    # and pieces of secrets; and one such traceback takes seconds, in which a whole event loop stands still.
    plain = structlog.dev.plain_traceback
    return [remove_meta, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _as_log_record(record: logging.LogRecord) -> LogRecord:
    body: str
    attributes: dict[str, Any] = {}
    if isinstance(record.msg, Mapping):  # a line of structlog's, not rendered yet
        body = str(record.msg.get("event", ""))
        attributes = {
            key: value if isinstance(value, str | bool | int | float) else str(value)
            for key, value in record.msg.items()
            if key not in _ALREADY_IN_RECORD and value is not None
        }
    else:
        body = record.getMessage()
        attributes = dict(structlog.contextvars.get_contextvars())
    exception = record.exc_info[1] if record.exc_info else None
    return LogRecord(
        timestamp=int(record.created * 1e9),
        severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
        severity_text=record.levelname,
        body=body,
        attributes=attributes,
        exception=exception,
    )


_ALREADY_IN_RECORD = {"event", "level", "timestamp", "logger", "exc_info", "trace_id", "span_id"}


def _is_of_others(handler: logging.Handler) -> bool:
    """Whether a root handler is to stay: a test's or a host's own, not one that prints to stderr."""
    return not isinstance(handler, OpenTelemetryHandler) and type(handler) is not logging.StreamHandler
