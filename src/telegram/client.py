"""The client of the Bot API that the bot and the workers share: address, migrated groups, what its errors say.

Texts are plain unless a message brings its own entities, so a person's words are never read as markup.
Not here: what is sent, that is `src.bot` and `src.telegram.messages`; and when, that is `src.telegram.throttle`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiogram import Bot
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.session.middlewares.base import BaseRequestMiddleware
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
)
from aiogram.methods import AnswerCallbackQuery, Response
from aiogram.types import LinkPreviewOptions, ReplyParameters
from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

from observability.aiogram import instrument_bot
from src.jobs import Request
from src.limits import Limiter
from src.settings import Settings, SettingsError
from src.telegram.throttle import Priority, Throttle

if TYPE_CHECKING:
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType


def make_bot(
    settings: Settings,
    limiter: Limiter,
    *,
    priority: Priority = "result",
    patience: float = 3.0,
) -> Bot:
    """The bot of `TELEGRAM_TOKEN`; close its session when done.

    Args:
        priority: of calls that are made under no `priority` of their own.
        patience: seconds a call waits for its turn before it is refused with `TelegramRetryAfter`.

    Raises:
        SettingsError: there is no token.
    """
    if settings.telegram_token is None:
        raise SettingsError("TELEGRAM_TOKEN: is needed here, the bot's token as @BotFather gave it")
    server = TelegramAPIServer.from_base(settings.telegram_api_url, is_local=settings.telegram_api_local)
    session = _Session(settings.way("telegram").proxy, api=server)
    bot = Bot(
        settings.telegram_token.get_secret_value(),
        session=session,
        default=DefaultBotProperties(
            parse_mode=None,
            link_preview=LinkPreviewOptions(is_disabled=True),
            # What is answered may have been deleted meanwhile.
            allow_sending_without_reply=True,
        ),
    )
    session.middleware(Migration())
    session.middleware(LateTaps())
    session.middleware(Throttle(settings, limiter, priority, patience))
    # Innermost: a span of each call that really goes out.
    instrument_bot(bot)
    return bot


class _Session(AiohttpSession):
    """aiogram's own, to which a proxy that makes no connection is the network's trouble like any other."""

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109
    ) -> TelegramType:
        try:
            return await super().make_request(bot, method, timeout)
        except OF_THE_PROXY as error:
            raise TelegramNetworkError(method, "the proxy made no connection") from error

    async def stream_content(self, *args: Any, **kwargs: Any) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in super().stream_content(*args, **kwargs):
                yield piece
        except OF_THE_PROXY as error:
            raise aiohttp.ClientConnectionError("the proxy made no connection") from error


OF_THE_PROXY = (ProxyError, ProxyConnectionError, ProxyTimeoutError)


class Migration(BaseRequestMiddleware):
    """Follows a group that became a supergroup with what is new there. What names a message is refused: it was the old
    group's, and its number may be another's now."""

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        try:
            return await make_request(bot, method)
        except TelegramMigrateToChat as error:
            if getattr(method, "message_id", None) or getattr(method, "message_ids", None):
                raise
            moved = method.model_copy(update={"chat_id": error.migrate_to_chat_id, "reply_parameters": None})
            return await make_request(bot, moved)


class LateTaps(BaseRequestMiddleware):
    """A tap that can no longer be answered counts as answered: what it asks for is done all the same."""

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        try:
            return await make_request(bot, method)
        except TelegramBadRequest as error:
            if isinstance(method, AnswerCallbackQuery) and says(
                error, "query is too old", "query id is invalid"
            ):
                return cast("Response[TelegramType]", Response[bool](ok=True, result=True))
            raise


class Undeliverable(Exception):
    """Nobody can ever see it.

    Attributes:
        kind: `blocked` (the person blocked the bot, or a group removed it), `chat_gone`, `no_rights` (the
            bot may not write there), `no_storage` (nor to where inline mode's pictures are stored).
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def address(request: Request, message: int) -> dict[str, Any]:
    """How an edit names one of a request's messages."""
    if request.inline is not None:
        return {"inline_message_id": request.inline}
    return {"chat_id": request.chat, "message_id": message}


def answer_to(message: int | None) -> ReplyParameters | None:
    """Answers a message, or none where there is none or it was deleted."""
    if not message:
        return None
    return ReplyParameters(message_id=message, allow_sending_without_reply=True)


def says(error: TelegramAPIError, *phrases: str) -> bool:
    """Whether Telegram's refusal is one of these; it gives reasons only in words."""
    text = error.message.lower()
    return any(phrase in text for phrase in phrases)


def is_unchanged(error: TelegramAPIError) -> bool:
    """An edit that would change nothing: what we wanted is already there."""
    return says(error, "message is not modified")


def is_missing(error: TelegramAPIError) -> bool:
    """The message to edit or delete is gone, or too old to be touched."""
    return says(
        error,
        "message to edit not found",
        "message can't be edited",
        "message_id_invalid",
        "message to delete not found",
        "message can't be deleted",
        "message identifier is not specified",
        "invalid inline message identifier",
    )


def is_unreachable(error: TelegramAPIError) -> bool:
    """There is no such chat, or no such topic of it."""
    return says(error, "chat not found", "peer_id_invalid", "deactivated", "thread not found")


@contextmanager
def reaching() -> Iterator[None]:
    """Turns the refusals that no later try can mend into `Undeliverable`."""
    try:
        yield
    except TelegramForbiddenError as error:
        raise Undeliverable("blocked") from error
    except TelegramBadRequest as error:
        if is_unreachable(error):
            raise Undeliverable("chat_gone") from error
        if says(
            error, "not enough rights", "have no rights", "chat_write_forbidden", "topic_closed", "restricted"
        ):
            raise Undeliverable("no_rights") from error
        raise
