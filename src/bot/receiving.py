"""Receiving updates by long polling: none is lost, and one chat's are handled in order.

The offset moves only when the handlers of a batch are done. While Redis or Telegram is away the batch
waits; what was done of it is not done again. (aiogram's own polling confirms an update before that.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramConflictError,
    TelegramRetryAfter,
)
from aiogram.types import Update
from aiogram.types.update import UpdateTypeLookupError
from aiogram.utils.backoff import Backoff, BackoffConfig
from pydantic import ValidationError
from redis.exceptions import RedisError

from src.telegram import says

log = structlog.get_logger(__name__)

_BACKOFF = BackoffConfig(min_delay=0.1, max_delay=10.0, factor=2.0, jitter=0.1)
_POLL_SECONDS = 30
_TRIES = 3


class Receiver:
    """Feeds a bot's updates to a dispatcher until it is stopped."""

    def __init__(self, bot: Bot, dispatcher: Dispatcher, *, poll_seconds: int = _POLL_SECONDS) -> None:
        self._bot = bot
        self._dispatcher = dispatcher
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self._offset: int | None = None

    async def stopped(self) -> None:
        """Until told to stop, receiving nothing: updates come to the webhook of the `api` process."""
        await self._stopping.wait()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive until stopped; then tell Telegram what was handled."""
        backoff = Backoff(_BACKOFF)
        while not self._stopping.is_set():
            try:
                updates = await self._poll()
            except (TelegramAPIError, ClientDecodeError) as error:
                log.warning("no updates", error=type(error).__name__)
                await self._make_way(error)
                wait = next(backoff)
                if isinstance(error, TelegramRetryAfter):
                    wait = max(wait, error.retry_after)
                await self._pause(wait)
                continue
            backoff.reset()
            if updates:
                try:
                    await self._handle(updates)
                except Interrupted:
                    break
                self._offset = updates[-1].update_id + 1
        await self._confirm()

    async def _poll(self) -> list[Update]:
        """The next batch; empty when stopped meanwhile, which loses nothing: it was not confirmed."""
        asking = asyncio.ensure_future(
            self._bot.get_updates(
                offset=self._offset,
                timeout=self._poll_seconds,
                allowed_updates=self._dispatcher.resolve_used_update_types(),
                request_timeout=self._poll_seconds + 30,
            )
        )
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else []
        except ClientDecodeError as error:
            return self._readable(error)
        finally:
            for task in (asking, stopping):
                task.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)

    async def _make_way(self, error: Exception) -> None:
        """Take back a webhook left from before: Telegram gives updates only one way."""
        if isinstance(error, TelegramConflictError) and says(error, "webhook is active"):
            with suppress(TelegramAPIError):
                await self._bot.delete_webhook()

    def _readable(self, error: ClientDecodeError) -> list[Update]:
        """What can be read of a batch with an update in it that aiogram cannot: that one would else
        be asked for again for ever, and all behind it.

        Raises:
            ClientDecodeError: it is no batch at all.
        """
        batch = error.data.get("result") if isinstance(error.data, dict) else None
        if not isinstance(batch, list):
            raise error
        readable = []
        for raw in batch:
            try:
                readable.append(Update.model_validate(raw, context={"bot": self._bot}))
            except ValidationError:
                log.error("unreadable update skipped", update_id=raw.get("update_id"), kinds=sorted(raw))
        if batch and not readable:
            self._offset = batch[-1]["update_id"] + 1
        return readable

    async def _handle(self, updates: Sequence[Update]) -> None:
        chats: dict[int, list[Update]] = {}
        for update in updates:
            chats.setdefault(chat_of(update), []).append(update)
        ends = await asyncio.gather(*map(self._handle_chat, chats.values()), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _handle_chat(self, updates: Sequence[Update]) -> None:
        for update in updates:
            await self._feed(update)

    async def _feed(self, update: Update) -> None:
        """Handle one update: as often as it takes while Redis is away, a few times when Telegram is."""
        backoff = Backoff(_BACKOFF)
        failures = 0
        while True:
            try:
                await self._dispatcher.feed_update(self._bot, update)
                return
            except RedisError as error:
                log.warning("the ledger is away", update_id=update.update_id, error=type(error).__name__)
            except TelegramAPIError as error:
                failures += 1
                if failures == _TRIES:
                    log.error("update given up", update_id=update.update_id, error=type(error).__name__)
                    return
            except Exception:
                log.exception("update failed", update_id=update.update_id)
                return
            await self._pause(next(backoff))
            if self._stopping.is_set():
                raise Interrupted

    async def _confirm(self) -> None:
        if self._offset is None:
            return
        try:
            await self._bot.get_updates(offset=self._offset, limit=1, timeout=0, request_timeout=5)
        except TelegramAPIError as error:
            log.warning("updates not confirmed, they will come again", error=type(error).__name__)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


class Interrupted(Exception):
    """Told to stop while a batch could not be finished: its updates come again at the next start."""


def chat_of(update: Update) -> int:
    """Whose order an update belongs to."""
    try:
        event = update.event
    except UpdateTypeLookupError:
        return 0
    chat = getattr(event, "chat", None)
    if chat is None and (message := getattr(event, "message", None)) is not None:
        chat = message.chat
    if chat is not None:
        return int(chat.id)
    user = getattr(event, "from_user", None)
    return int(user.id) if user is not None else 0
