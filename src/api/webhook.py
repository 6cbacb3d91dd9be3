"""Updates by webhook: answered with 200 only when they were handled, so Telegram gives the rest again.

One chat's updates are handled in order within this process. The other way to receive is
`src.bot.polling`; what an update means is the conversations' matter.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import TelegramAPIError
from aiogram.types import Update
from aiogram.utils.backoff import Backoff, BackoffConfig
from fastapi import APIRouter, Header, Request, Response
from pydantic import ValidationError
from redis.exceptions import RedisError

from src.api import bodies
from src.api.problems import Problem
from src.bot.polling import answering, chat_of
from src.settings import Settings

log = structlog.get_logger(__name__)

PATH = "/telegram/webhook"
_CONNECTIONS = 40
_TRIES = 3
_BACKOFF = BackoffConfig(min_delay=0.2, max_delay=10.0, factor=1.7, jitter=0.1)


def make_router(settings: Settings, bot: Bot, dispatcher: Dispatcher) -> APIRouter:
    """The route that Telegram calls."""
    router = APIRouter(include_in_schema=False)
    secret = settings.webhook_secret.get_secret_value().encode() if settings.webhook_secret else b""
    turns = Turns()

    @router.post(PATH)
    async def receive(
        request: Request, x_telegram_bot_api_secret_token: Annotated[str, Header()] = ""
    ) -> Response:
        given = x_telegram_bot_api_secret_token.encode("utf-8", "replace")
        if not secret or not hmac.compare_digest(given, secret):
            raise Problem(401, "not_telegram", "the secret is not ours")
        body = await bodies.read(request)
        try:
            update = Update.model_validate_json(body, context={"bot": bot})
        except ValidationError:
            # One that this version cannot read would come again for a day.
            log.error("update not understood", size=len(body))
            return Response(status_code=200)
        async with turns.of(chat_of(update)) as behind:
            with answering(behind):
                await feed(bot, dispatcher, update)
        return Response(status_code=200)

    return router


class Turns:
    """One at a time for each chat; a chat that nobody waits for takes no memory."""

    def __init__(self) -> None:
        self._locks: dict[int, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, chat: int) -> AsyncIterator[int]:
        """Wait for the chat's turn and hold it; how many wait behind it."""
        lock, users = self._locks.get(chat, (asyncio.Lock(), 0))
        self._locks[chat] = lock, users + 1
        try:
            async with lock:
                yield self._locks[chat][1] - 1
        finally:
            lock, users = self._locks[chat]
            if users == 1:
                del self._locks[chat]
            else:
                self._locks[chat] = lock, users - 1


async def feed(bot: Bot, dispatcher: Dispatcher, update: Update) -> None:
    """Handle an update, a few times while Telegram does not answer us.

    Raises:
        RedisError: the ledger is away; Telegram is to give the update again.
    """
    backoff = Backoff(_BACKOFF)
    for attempt in range(1, _TRIES + 1):
        try:
            await dispatcher.feed_update(bot, update)
            return
        except RedisError:
            raise
        except TelegramAPIError as error:
            if attempt == _TRIES:
                log.error("update given up", update_id=update.update_id, error=type(error).__name__)
                return
        except Exception:
            log.exception("update failed", update_id=update.update_id)
            return
        await asyncio.sleep(next(backoff))


async def set_webhook(settings: Settings, bot: Bot, dispatcher: Dispatcher) -> None:
    """Tell Telegram to call us, as often as it takes."""
    assert settings.webhook_secret is not None
    backoff = Backoff(_BACKOFF)
    while True:
        try:
            await bot.set_webhook(
                f"{settings.webhook_url}{PATH}",
                secret_token=settings.webhook_secret.get_secret_value(),
                allowed_updates=dispatcher.resolve_used_update_types(),
                max_connections=_CONNECTIONS,
            )
            log.info("webhook set")
            return
        except TelegramAPIError as error:
            log.warning("webhook not set", error=type(error).__name__)
        await asyncio.sleep(next(backoff))
