"""The client of the Bot API that the bot and the workers share: address, pace, migrated groups.

Texts are plain unless a message brings its own entities, so a person's words are never read as markup.
Not here: what is sent and when; that is `src.bot` and `src.delivery`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import structlog
from aiogram import Bot
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.session.middlewares.base import BaseRequestMiddleware
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
)
from aiogram.methods import (
    AnswerCallbackQuery,
    DeleteMessage,
    DeleteMessages,
    EditMessageMedia,
    EditMessageText,
    GetUpdates,
    Response,
    SendMediaGroup,
    SendMessage,
)
from aiogram.types import LinkPreviewOptions
from redis.exceptions import RedisError

from observability.aiogram import instrument_bot
from src.limits import Limiter, telegram_gates
from src.settings import Settings, SettingsError

if TYPE_CHECKING:
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType

log = structlog.get_logger(__name__)

Lane = Literal["result", "progress", "paid"]

# Calls that count against Telegram's limits: those that put something into a chat or change it.
_PACED = frozenset(
    {
        "sendMessage",
        "sendPhoto",
        "sendDocument",
        "sendMediaGroup",
        "editMessageText",
        "editMessageMedia",
        "editMessageCaption",
        "editMessageReplyMarkup",
    }
)
# Held, because pydantic keeps the class of an answer only while somebody uses it, and makes it anew for
# milliseconds of CPU: by and by at every call.
_ANSWERS = tuple(
    Response[method.__returning__]  # type: ignore[name-defined]
    for method in (
        SendMessage,
        SendMediaGroup,
        EditMessageText,
        EditMessageMedia,
        DeleteMessage,
        DeleteMessages,
        AnswerCallbackQuery,
        GetUpdates,
    )
)
_BARE_429_SECONDS = 5
_ALL_CHATS_SECONDS = 5.0

_lane: ContextVar[Lane] = ContextVar("telegram_lane", default="result")


@contextmanager
def lane(name: Lane) -> Iterator[None]:
    """How the calls inside are paced.

    `result` waits a while for its turn, `progress` is refused at once (it may be dropped), `paid` has
    taken its gates elsewhere, as the rate-limit middleware does for an actor.
    """
    token = _lane.set(name)
    try:
        yield
    finally:
        _lane.reset(token)


def make_bot(settings: Settings, limiter: Limiter, *, patience: float = 3.0) -> Bot:
    """The bot of `TELEGRAM_TOKEN`; close its session when done.

    Args:
        patience: seconds a call in the `result` lane waits for its turn before it is refused
            with `TelegramRetryAfter`.

    Raises:
        SettingsError: there is no token.
    """
    if settings.telegram_token is None:
        raise SettingsError("TELEGRAM_TOKEN: is needed here, the bot's token as @BotFather gave it")
    session = AiohttpSession(api=TelegramAPIServer.from_base(settings.telegram_api_url))
    bot = Bot(
        settings.telegram_token.get_secret_value(),
        session=session,
        default=DefaultBotProperties(parse_mode=None, link_preview=LinkPreviewOptions(is_disabled=True)),
    )
    session.middleware(Migration())
    session.middleware(Pace(settings, limiter, patience))
    # Innermost: a span of each call that really goes out.
    instrument_bot(bot)
    return bot


class Pace(BaseRequestMiddleware):
    """Keeps all processes together within Telegram's limits, and away while Telegram says so.

    A gate that stays closed raises `TelegramRetryAfter`, as if Telegram had refused the call itself.
    """

    def __init__(self, settings: Settings, limiter: Limiter, patience: float) -> None:
        self._settings = settings
        self._limiter = limiter
        self._patience = patience
        self._flooded: dict[int, float] = {}

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        chat = _chat_of(method)
        if method.__api_method__ in _PACED:
            await self._take(method, chat)
        try:
            return await make_request(bot, method)
        except ClientDecodeError:
            # A gateway's page instead of Telegram's answer. The receiving loop reads its own batches.
            if isinstance(method, GetUpdates):
                raise
            # Without the cause: it quotes the answer, and so a person's words.
            raise TelegramNetworkError(method, "the answer cannot be read") from None
        except TelegramRetryAfter as error:
            await self._stay_away(chat, error.retry_after)
            raise
        except TelegramAPIError as error:
            # Telegram's gateways answer 429 without its parameters; aiogram has no class for that.
            if type(error) is not TelegramAPIError or "too many requests" not in error.message.lower():
                raise
            await self._stay_away(chat, _BARE_429_SECONDS)
            raise TelegramRetryAfter(method, error.message, _BARE_429_SECONDS) from error

    async def _take(self, method: TelegramMethod[Any], chat: int | None) -> None:
        name = _lane.get()
        if name == "paid":
            return
        group = chat is not None and chat < 0
        messages = len(method.media) if isinstance(method, SendMediaGroup) else 1
        gates = telegram_gates(self._settings, chat, group=group, lane=name, messages=messages)
        refusal = await self._limiter.take(gates, wait=self._patience if name == "result" else 0.0)
        if refusal is not None:
            seconds = math.ceil(refusal.seconds)
            raise TelegramRetryAfter(
                method, f"our own gate {refusal.gate.partition(':')[0]} is closed", seconds
            )

    async def _stay_away(self, chat: int | None, seconds: float) -> None:
        """Shut the chat's gate; Telegram does not say whose limit it was, so when a second chat meets
        one within seconds, shut all for a moment."""
        if chat is None:
            await self._close("telegram", min(seconds, _ALL_CHATS_SECONDS))
            return
        await self._close(f"chat:{chat}", seconds)
        now = time.monotonic()
        self._flooded = {c: at for c, at in self._flooded.items() if now - at < _ALL_CHATS_SECONDS}
        self._flooded[chat] = now
        if len(self._flooded) > 1:
            await self._close("telegram", min(seconds, _ALL_CHATS_SECONDS))

    async def _close(self, gate: str, seconds: float) -> None:
        try:
            await self._limiter.close(gate, seconds)
        except RedisError as error:
            # What Telegram said still counts for this call; the others will hear it themselves.
            log.warning("gate not closed", gate=gate.partition(":")[0], error=type(error).__name__)


class Migration(BaseRequestMiddleware):
    """Follows a group that became a supergroup, once: the ledger keeps the id it was asked from."""

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        try:
            return await make_request(bot, method)
        except TelegramMigrateToChat as error:
            moved = method.model_copy(update={"chat_id": error.migrate_to_chat_id})
            return await make_request(bot, moved)


def _chat_of(method: TelegramMethod[Any]) -> int | None:
    chat = getattr(method, "chat_id", None)
    return chat if isinstance(chat, int) else None


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
    )
