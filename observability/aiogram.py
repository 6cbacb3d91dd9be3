"""OpenTelemetry for aiogram: a SERVER span for each update, a CLIENT span for each Bot API call.

    instrument_dispatcher(dispatcher)
    instrument_bot(bot)

An update's span is the root of a trace, `update message` or `update callback_query`, and covers what the
handlers do, error handlers too. A webhook that received a context passes it on:
`dispatcher.feed_update(bot, update, trace_parent=context)`. A call's span has the method's name.
Long polling makes no span. The Bot API's address holds the token, so no address is recorded, and the
token is taken out of the errors that quote one. Nor are people: only an update's id and kind of chat.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiogram import BaseMiddleware, Bot, Dispatcher
from aiogram import exceptions as telegram
from aiogram.client.session.middlewares.base import BaseRequestMiddleware
from aiogram.types import Chat, TelegramObject, Update
from aiogram.types.update import UpdateTypeLookupError
from opentelemetry import metrics, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from observability.dramatiq.exceptions import error_type, record_exception
from observability.dramatiq.messaging import SCHEMA_URL
from observability.dramatiq.version import __version__
from observability.scrubbing import REDACTED

if TYPE_CHECKING:
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
    from aiogram.methods import Response, TelegramMethod
    from aiogram.methods.base import TelegramType

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]

# aiogram names the answer's status by the exception's class and keeps the number to itself.
_STATUS: dict[type[telegram.TelegramAPIError], int] = {
    telegram.TelegramRetryAfter: 429,
    telegram.TelegramMigrateToChat: 400,
    telegram.TelegramBadRequest: 400,
    telegram.TelegramUnauthorizedError: 401,
    telegram.TelegramForbiddenError: 403,
    telegram.TelegramNotFound: 404,
    telegram.TelegramConflictError: 409,
    telegram.TelegramEntityTooLarge: 413,
    telegram.RestartingTelegram: 500,
    telegram.TelegramServerError: 500,
}

_SCOPE = __name__


def instrument_dispatcher(dispatcher: Dispatcher, *, tracer_provider: TracerProvider | None = None) -> None:
    """Give each update of `dispatcher` its span."""
    # In front of aiogram's own: what its error handlers send belongs to the update's trace too.
    middlewares = dispatcher.update.outer_middleware
    aiograms = list(middlewares)
    for middleware in aiograms:
        middlewares.unregister(middleware)
    middlewares.register(UpdateSpans(tracer_provider))
    for middleware in aiograms:
        middlewares.register(middleware)
    middlewares.register(record_handler_errors)


def instrument_bot(
    bot: Bot, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Give each Bot API call of `bot` its span, and count the refused ones."""
    bot.session.middleware(CallSpans(tracer_provider, meter_provider))


class UpdateSpans(BaseMiddleware):
    """Outer middleware of updates: the span an update is handled in."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider, SCHEMA_URL)

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        if not isinstance(event, Update):
            return await handler(event, data)
        parent = data.get("trace_parent")
        kind = _kind_of(event)
        with self._tracer.start_as_current_span(
            f"update {kind}",
            # Never what happens to be current in the polling task.
            context=parent if isinstance(parent, Context) else Context(),
            kind=SpanKind.SERVER,
            attributes={"telegram.update.id": event.update_id, "telegram.update.type": kind},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await handler(event, data)
            finally:
                # Known only now: aiogram's own middleware looks it up.
                if isinstance(chat := data.get("event_chat"), Chat):
                    span.set_attribute("telegram.chat.type", chat.type)


async def record_handler_errors(handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
    """Outer middleware: marks the update's span as failed, whatever an error handler makes of it later."""
    try:
        return await handler(event, data)
    except Exception as error:
        _record(trace.get_current_span(), data.get("bot"), error)
        raise


class CallSpans(BaseRequestMiddleware):
    """Request middleware of a session: the span of a Bot API call."""

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider, SCHEMA_URL)
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider, SCHEMA_URL)
        self._errors = meter.create_counter(
            "imagebot.telegram.errors", "{error}", "Bot API calls that failed."
        )
        self._retry_after = meter.create_counter(
            "imagebot.telegram.retry_after", "s", "Seconds of silence that Telegram's 429 answers asked for."
        )
        self._duration = meter.create_histogram(
            "imagebot.telegram.duration",
            "s",
            "Time of a Bot API call.",
            explicit_bucket_boundaries_advisory=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        if method.__api_method__ == "getUpdates":
            return await make_request(bot, method)
        name = method.__api_method__
        labels: dict[str, str] = {"telegram.method": name}
        start = time.monotonic()
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=labels)
        token = attach(trace.set_span_in_context(span))
        try:
            return await make_request(bot, method)
        except BaseException as error:
            if not _is_not_modified(error):
                self._failed(span, bot, error, labels)
            else:
                span.set_attribute("telegram.not_modified", True)
            raise
        finally:
            self._duration.record(time.monotonic() - start, labels)
            detach(token)
            span.end()

    def _failed(self, span: Span, bot: Bot, error: BaseException, labels: dict[str, str]) -> None:
        _record(span, bot, error)
        code = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
        labels["error.type"] = str(code) if code else type(error).__name__
        span.set_attribute("error.type", labels["error.type"])
        if code:
            span.set_attribute("telegram.error_code", code)
        if isinstance(error, telegram.TelegramRetryAfter):
            span.set_attribute("telegram.retry_after", error.retry_after)
            self._retry_after.add(error.retry_after)
        self._errors.add(1, labels)


def _kind_of(update: Update) -> str:
    try:
        return update.event_type
    except UpdateTypeLookupError:
        return "unknown"


def _is_not_modified(error: BaseException) -> bool:
    """An edit that changes nothing has already been done: Telegram refuses it, nobody failed."""
    return isinstance(error, telegram.TelegramBadRequest) and "message is not modified" in error.message


def _record(span: Span, bot: object, error: BaseException) -> None:
    """Mark a span as failed, with what the error says, but nothing secret and nobody's words."""
    if isinstance(error, telegram.ClientDecodeError):
        # It quotes the whole answer.
        why = type(error.original).__name__
        span.set_status(Status(StatusCode.ERROR, f"the answer cannot be read: {why}"))
        span.set_attribute("error.type", error_type(error))
    else:
        record_exception(span, error, scrub=_without_token(bot))


def _without_token(bot: object) -> Callable[[str], str]:
    if not isinstance(bot, Bot):
        return str
    token = bot.token
    return lambda text: text.replace(token, REDACTED)
