"""Receiving updates, into the inbox: by long polling, or by the webhook of the `api` process. (aiogram's own polling confirms an update before it is handled.)

Telegram is asked for what comes after the last update taken, whatever its number: after a week without updates it
numbers them anew, perhaps lower.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import TelegramAPIError, TelegramConflictError, TelegramRetryAfter
from aiogram.methods import TelegramMethod
from aiogram.utils.backoff import Backoff, BackoffConfig
from redis.exceptions import RedisError

from src.bot.handling import Handling, unless
from src.bot.inbox import WEBHOOK_PATH, Inbox, InboxFull
from src.ops.hearing import Hearing, webhook_trouble
from src.settings import Settings
from src.telegram.client import says

log = structlog.get_logger(__name__)

_BACKOFF = BackoffConfig(min_delay=0.1, max_delay=10.0, factor=2.0, jitter=0.1)
_POLL_SECONDS = 30
# Telegram answers a question asked again sooner than this with one update only.
_SAME_QUESTION_SECONDS = 0.6
_WEBHOOK_LOOK_SECONDS = 20.0
# At once from Telegram to the webhook.
_CONNECTIONS = 40


class GetRawUpdates(TelegramMethod[list[dict[str, Any]]]):
    """`getUpdates` whose answer stays as it came: one update that aiogram cannot read must not hide the others."""

    __returning__ = list[dict[str, Any]]
    __api_method__ = "getUpdates"

    offset: int | None = None
    limit: int | None = None
    timeout: int = 0
    allowed_updates: list[str] | None = None


class Poller:
    """Asks Telegram for a bot's updates and puts them into the inbox until it is stopped.

    Args:
        handling: only the process that handles asks too; Telegram refuses two at once.
    """

    def __init__(
        self,
        bot: Bot,
        dispatcher: Dispatcher,
        inbox: Inbox,
        handling: Handling,
        hearing: Hearing,
        *,
        poll_seconds: int = _POLL_SECONDS,
    ) -> None:
        self._bot = bot
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._handling = handling
        self._hearing = hearing
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self._offset: int | None = None

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive until stopped; then tell Telegram what was taken."""
        trouble = Backoff(_BACKOFF)
        while not self._stopping.is_set():
            try:
                if not await unless(self._stopping, self._handling.leads()):
                    self._hearing.idle()
                    await self._pause(1.0)
                    continue
                updates = await self._poll()
                if not self._stopping.is_set():
                    await self._hearing.good()
                if updates:
                    await self._inbox.put(updates)
                    self._offset = int(updates[-1]["update_id"]) + 1
                trouble.reset()
            except (TelegramAPIError, RedisError, InboxFull) as error:
                log.warning("no updates", error=type(error).__name__)
                await self._make_way(error)
                if isinstance(error, TelegramAPIError):
                    with suppress(RedisError):
                        await self._hearing.bad(error)
                wait = max(next(trouble), _SAME_QUESTION_SECONDS)
                if isinstance(error, TelegramRetryAfter):
                    wait = max(wait, error.retry_after)
                await self._pause(wait)
        await self._confirm()

    async def _poll(self) -> list[dict[str, Any]]:
        """The next batch; empty when stopped meanwhile, which loses nothing: it was not confirmed."""
        question = GetRawUpdates(
            offset=self._offset,
            timeout=self._poll_seconds,
            allowed_updates=self._dispatcher.resolve_used_update_types(),
        )
        asking = self._bot(question, request_timeout=self._poll_seconds + 30)
        return await unless(self._stopping, asking) or []

    async def _make_way(self, error: Exception) -> None:
        """Take back a webhook left from before: Telegram gives updates only one way."""
        if isinstance(error, TelegramConflictError) and says(error, "webhook is active"):
            with suppress(TelegramAPIError):
                await self._bot.delete_webhook()

    async def _confirm(self) -> None:
        if self._offset is None:
            return
        try:
            await self._bot(GetRawUpdates(offset=self._offset, limit=1), request_timeout=5)
        except TelegramAPIError as error:
            log.warning("updates not confirmed, they will come again", error=type(error).__name__)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def keep_webhook(
    settings: Settings, bot: Bot, dispatcher: Dispatcher, handling: Handling, hearing: Hearing
) -> None:
    """Set the webhook, then look every so often how it fares, for ever."""
    await set_webhook(settings, bot, dispatcher, hearing)
    while True:
        try:
            if await handling.leads():
                info = await bot.get_webhook_info()
                if wrong := webhook_trouble(info, str(settings.webhook_url)):
                    await hearing.bad(wrong)
                else:
                    await hearing.good()
            else:
                hearing.idle()
        except (TelegramAPIError, RedisError) as error:
            log.warning("webhook not looked at", error=type(error).__name__)
            if isinstance(error, TelegramAPIError):
                with suppress(RedisError):
                    await hearing.bad(error)
        await asyncio.sleep(_WEBHOOK_LOOK_SECONDS)


async def set_webhook(settings: Settings, bot: Bot, dispatcher: Dispatcher, hearing: Hearing) -> None:
    """Tell Telegram to call the `api` process, as often as it takes."""
    assert settings.webhook_secret is not None
    backoff = Backoff(_BACKOFF)
    while True:
        try:
            await bot.set_webhook(
                f"{settings.webhook_url}{WEBHOOK_PATH}",
                secret_token=settings.webhook_secret.get_secret_value(),
                allowed_updates=dispatcher.resolve_used_update_types(),
                max_connections=_CONNECTIONS,
            )
            log.info("webhook set")
            return
        except TelegramAPIError as error:
            log.warning("webhook not set", error=type(error).__name__)
            with suppress(RedisError):
                await hearing.bad(error)
        await asyncio.sleep(next(backoff))
