"""What every update passes: who speaks and in which language, and errors made polite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from aiogram import BaseMiddleware
from aiogram.dispatcher.event.bases import UNHANDLED
from aiogram.enums import ChatType
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Chat, ErrorEvent, Message, TelegramObject, Update, User
from opentelemetry import trace
from redis.exceptions import RedisError

from src.app import App
from src.bot.chats import speaker_of, speaks_for
from src.bot.handling import Later
from src.jobs import Person, keys
from src.pipeline import notify
from src.telegram import keyboards
from src.telegram.client import is_missing, is_unchanged, says
from src.telegram.i18n import LANGUAGES, Texts, Translator, language_of
from src.telegram.placeholders import Placeholders

log = structlog.get_logger(__name__)

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]


class Speaker(BaseMiddleware):
    """Gives handlers the `speaker` (an id), the `person`, their `say`, their `state` and the `update_id`."""

    def __init__(self, app: App, texts: Texts) -> None:
        self._app = app
        self._texts = texts

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        user: User | None = data.get("event_from_user")
        if user is not None and isinstance(event, Update):
            speaker: int | str = user.id if event.message is None else speaker_of(event.message)
            person = await self._app.ledger.person(str(speaker))
            await self._app.switches.look()
            data["speaker"], data["person"] = speaker, person
            if (chat := speaks_for(str(speaker))) is not None:
                data["state"] = state_of(data["state"], chat)
            lang = await self._of_group(data) or language_of(person.lang, user.language_code)
            data["say"] = self._texts.translator(lang)
            if speaker == user.id and _is_private(event):
                await self._app.ledger.noticed(person, lang)
            data["update_id"] = event.update_id
        return await handler(event, data)

    async def _of_group(self, data: dict[str, Any]) -> str | None:
        """The language that a group's admins chose for it."""
        chat: Chat | None = data.get("event_chat")
        if chat is None or chat.type == ChatType.PRIVATE:
            return None
        lang: str | None = await self._app.redis.hget(keys.CHAT(chat.id), "lang")
        return lang if lang in LANGUAGES else None


class Found(BaseMiddleware):
    """A tap on a placeholder, or an answer to it, tells which message it is: so one is found that nobody knew of, or
    whose last words never came. What a tap asks for does not wait until such a message is deleted."""

    def __init__(self, app: App, placeholders: Placeholders) -> None:
        self._app = app
        self._placeholders = placeholders

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        message = _held_up(event) if isinstance(event, Update) else None
        if message is not None and (number := keyboards.promised_in(message.reply_markup)) is not None:
            later: Later = data["later"]
            request = await self._app.ledger.request(number)
            if request is None:
                later(_remove(message))
            elif request.chat == message.chat.id:
                await notify.deliver(await self._placeholders.found(request, message.message_id, later))
        return await handler(event, data)


async def _remove(message: Message) -> None:
    with suppress(TelegramAPIError):
        await message.delete()


def _held_up(update: Update) -> Message | None:
    """The message of ours that a tap or an answer is about."""
    if update.callback_query is not None:
        tapped = update.callback_query.message
        return tapped if isinstance(tapped, Message) else None
    answered = update.message.reply_to_message if update.message is not None else None
    if answered is None or answered.from_user is None or answered.bot is None:
        return None
    return answered if answered.from_user.id == answered.bot.id else None


def _is_private(update: Update) -> bool:
    """Whether it is what somebody said or tapped in private."""
    tapped = update.callback_query.message if update.callback_query is not None else None
    message = update.message or tapped
    return message is not None and message.chat.type == ChatType.PRIVATE


def state_of(state: FSMContext, user: int) -> FSMContext:
    """Where somebody else's conversation in the same chat is."""
    return FSMContext(state.storage, replace(state.key, user_id=user))


async def apologise(event: ErrorEvent, texts: Texts, app: App) -> Any:
    """Error handler: what failed is said shortly, with the trace's first digits, never what it was.

    An error that says the ledger or Telegram is away is left to the inbox, which has the update
    handled again.
    """
    error = event.exception
    if isinstance(error, RedisError | TelegramNetworkError | TelegramServerError):
        return UNHANDLED
    if isinstance(error, TelegramRetryAfter | TelegramForbiddenError):
        log.info("answer not sent", error=type(error).__name__)
        return None
    if isinstance(error, TelegramBadRequest) and _is_of_no_matter(error):
        return None
    log.error("handler failed", update_id=event.update.update_id, exc_info=error)
    message = event.update.message
    callback = event.update.callback_query
    user = callback.from_user if callback else message.from_user if message else None
    if user is None:
        return None
    person = Person(str(user.id))
    with suppress(RedisError):
        person = await app.ledger.person(str(user.id))
    words = _sorry(texts.translator(language_of(person.lang, user.language_code)))
    with suppress(TelegramAPIError):
        await _tell(message, callback, words)
    return None


async def _tell(message: Message | None, callback: CallbackQuery | None, words: str) -> None:
    if callback is not None:
        await callback.answer(words, show_alert=True)
    elif message is not None:
        await message.answer(words)


def _sorry(say: Translator) -> str:
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return say("sorry")
    return say("sorry-code", code=f"{context.trace_id:032x}"[:8])


def _is_of_no_matter(error: TelegramBadRequest) -> bool:
    """The person was faster than we: the message is gone, or shows it already, or the tap is too old."""
    return is_unchanged(error) or is_missing(error) or says(error, "query is too old", "query id is invalid")
