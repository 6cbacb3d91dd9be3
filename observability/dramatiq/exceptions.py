"""How an exception is put on a span, in one place.

OpenTelemetry is moving exceptions from span events to log records. `OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN`
chooses: unset, a span event (Jaeger shows it); `logs`, a log record; `logs/dup`, both.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.semconv.attributes import error_attributes, exception_attributes
from opentelemetry.trace import Span, Status, StatusCode

SIGNAL_OPT_IN = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"


def error_type(exception: BaseException) -> str:
    """The exception's class with its module, as `error.type` and `exception.type` want it."""
    cls = type(exception)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def record_exception(
    span: Span,
    exception: BaseException,
    *,
    event_name: str = "exception",
    scrub: Callable[[str], str] = str,
) -> None:
    """Mark `span` as failed by `exception`: status, `error.type` and the exception itself.

    Args:
      event_name: name of the log record, where exceptions go to the logs.
      scrub: applied to the message and the traceback, which may quote a secret.
    """
    if not span.is_recording():
        return
    kind, message = error_type(exception), scrub(_text(exception))
    span.set_status(Status(StatusCode.ERROR, f"{type(exception).__name__}: {message}"))
    span.set_attribute(error_attributes.ERROR_TYPE, kind)
    attributes = {
        exception_attributes.EXCEPTION_TYPE: kind,
        exception_attributes.EXCEPTION_MESSAGE: message,
        exception_attributes.EXCEPTION_STACKTRACE: scrub(
            encodable("".join(traceback.format_exception(exception)))
        ),
    }
    signals = os.environ.get(SIGNAL_OPT_IN, "").lower().split(",")
    if "logs" not in signals:
        span.add_event("exception", attributes)
    if "logs" in signals or "logs/dup" in signals:
        get_logger(__name__).emit(
            LogRecord(
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                event_name=event_name,
                attributes=attributes,
            )
        )


def encodable(text: str) -> str:
    """`text` without halves of surrogate pairs, at which the official exporters lose a whole batch."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(exception: BaseException) -> str:
    """A program's own exception may fail at this too, which must not hide what it was raised for."""
    try:
        return encodable(str(exception))
    except Exception:
        return "<exception str() failed>"
