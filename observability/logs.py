"""Logs: structlog in front, the standard library's logging behind, one format for both.

Every line, whether it comes from this project, Dramatiq, aiogram or another library, gets the trace
and span id that are current and what is bound in structlog's context variables (such as `job_id`).
Lines go to stderr, as JSON or for a terminal, and where asked to OpenTelemetry with the same ids.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import structlog
from opentelemetry import trace
from opentelemetry._logs import LoggerProvider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from structlog.typing import EventDict, Processor, WrappedLogger

from observability.scrubbing import Scrubber

LogFormat = Literal["auto", "json", "console"]

# The first log every address they call, and the Bot API's holds the token.
_QUIETER = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "opentelemetry.exporter": logging.ERROR,
}
_SELDOM = 60.0


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
    stderr = logging.StreamHandler(sys.stderr)
    stderr.addFilter(_Seldom())
    stderr.setFormatter(_ScrubbingFormatter(as_json, scrubber or Scrubber(())))
    handlers: list[logging.Handler] = [stderr]
    if provider is not None:
        sending = LoggingHandler(logger_provider=provider)
        sending.addFilter(_worth_sending)
        handlers.append(sending)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if _is_of_others(handler)] + handlers
    root.setLevel(level)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(least)


def stop_sending() -> None:
    """Send no more lines to OpenTelemetry; stderr goes on."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, LoggingHandler)]


def add_trace_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: the ids of the span that is current, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _with_free_names(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What is said in a line becomes attributes of logging's record, which has some of its own and is strict there."""
    taken = _RESERVED - {"exc_info", "stack_info"}
    return {f"{key}_" if key in taken else key: value for key, value in event.items()}


def _add_what_was_said(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update((key, value) for key, value in vars(event["_record"]).items() if key not in _RESERVED)
    return event


_RESERVED = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_PROCESSORS: list[Processor] = [
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _with_free_names,
    structlog.stdlib.render_to_log_kwargs,
]
_SHARED: list[Processor] = [
    _add_what_was_said,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_trace_ids,
]


class _ScrubbingFormatter(structlog.stdlib.ProcessorFormatter):
    """Scrubs the finished line, so that tracebacks and arguments are covered too."""

    def __init__(self, as_json: bool, scrubber: Scrubber) -> None:
        super().__init__(processors=_rendering(as_json), foreign_pre_chain=_SHARED)
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        return self._scrubber.text(super().format(record))


class _Seldom(logging.Filter):
    """An exporter says with each batch why it cannot be sent: once a minute is enough."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry.exporter"):
            return True
        if (now := time.monotonic()) - self._said.get(record.name, -_SELDOM) < _SELDOM:
            return False
        self._said[record.name] = now
        return True


def _rendering(as_json: bool) -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_json:
        as_line = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        return [remove_meta, structlog.processors.format_exc_info, as_line]
    # Structlog's own choice, where `rich` is installed, prints every local variable, and so people's words
    # and pieces of secrets; and one such traceback takes seconds, in which a whole event loop stands still.
    plain = structlog.dev.plain_traceback
    return [remove_meta, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _worth_sending(record: logging.LogRecord) -> bool:
    """A filter that also adds to a record what is bound in structlog's context variables."""
    # A failing exporter logs; sending that out would feed it its own failure.
    if record.name.startswith("opentelemetry") or not is_instrumentation_enabled():
        return False
    for key, value in structlog.contextvars.get_contextvars().items():
        vars(record).setdefault(key, value)
    return True


def _is_of_others(handler: logging.Handler) -> bool:
    """Whether a root handler is to stay: a test's or a host's own, not one that prints to stderr."""
    return not isinstance(handler, LoggingHandler) and type(handler) is not logging.StreamHandler
