"""Receiving updates by long polling: none is lost, one chat's are handled in order, and no chat waits
for another's.

Handlers run while the next updates are fetched. The offset is the first update whose handlers are not
done: Telegram gives that one and up to 99 after it again, so a process that dies loses nothing, and at
most a hundred are under way. (aiogram's own polling confirms an update before it is handled.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractContextManager, suppress

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

from src.app import cancel_all
from src.telegram.client import says
from src.telegram.throttle import lane

log = structlog.get_logger(__name__)

_BACKOFF = BackoffConfig(min_delay=0.1, max_delay=10.0, factor=2.0, jitter=0.1)
_POLL_SECONDS = 30
_TRIES = 3
# A handler that waits holds up the hundred updates that can be under way; a thousand people send those in
# eight seconds.
_CHAT_PATIENCE = 10.0
_A_FEW = 5
# What is not done this long after a stop comes again at the next start.
_DRAIN_SECONDS = 8.0
# While something is under way Telegram answers at once, with that: it is asked again after a while.
_ASK_AGAIN = BackoffConfig(min_delay=0.05, max_delay=0.4, factor=1.6, jitter=0.0)


def answering(behind: int) -> AbstractContextManager[None]:
    """How the answers to an update are paced, behind which so many more of its chat wait: a person gets
    them all, however busy the chat is with placeholders; who floods it misses some, for the others' sake."""
    return lane("answer", chat_patience=_CHAT_PATIENCE if behind <= _A_FEW else None)


class Receiver:
    """Feeds a bot's updates to a dispatcher until it is stopped."""

    def __init__(self, bot: Bot, dispatcher: Dispatcher, *, poll_seconds: int = _POLL_SECONDS) -> None:
        self._bot = bot
        self._dispatcher = dispatcher
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._last: int | None = None
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._waiting: dict[int, deque[Update]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stopped(self) -> None:
        """Until told to stop, receiving nothing: updates come to the webhook of the `api` process."""
        await self._stopping.wait()

    def stop(self) -> None:
        """Fetch no more; end when what is under way is done, or soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive until stopped; then tell Telegram what was handled."""
        trouble, again = Backoff(_BACKOFF), Backoff(_ASK_AGAIN)
        try:
            while not self._stopping.is_set():
                try:
                    updates = await self._poll()
                except (TelegramAPIError, ClientDecodeError) as error:
                    log.warning("no updates", error=type(error).__name__)
                    await self._make_way(error)
                    wait = next(trouble)
                    if isinstance(error, TelegramRetryAfter):
                        wait = max(wait, error.retry_after)
                    await self._pause(wait)
                    continue
                trouble.reset()
                if self._take(updates):
                    again.reset()
                await self._until_idle(next(again))
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)
        finally:
            await cancel_all(self._tasks)
        await self._confirm()

    # Which updates are under way

    @property
    def _offset(self) -> int | None:
        """The first update that is not done, or the one to come: all before it are confirmed."""
        if self._open:
            return min(self._open)
        return None if self._last is None else self._last + 1

    def _take(self, updates: list[Update]) -> bool:
        """Begin to handle what is new among updates; whether anything was."""
        new = [u for u in updates if u.update_id not in self._open and u.update_id not in self._done]
        for update in new:
            self._last = max(update.update_id, self._last or 0)
            self._open.add(update.update_id)
            self._idle.clear()
            chat = chat_of(update)
            if chat in self._waiting:
                self._waiting[chat].append(update)
            else:
                self._waiting[chat] = deque([update])
                task = asyncio.create_task(self._handle_chat(chat))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return bool(new)

    def _finish(self, update_id: int) -> None:
        self._open.discard(update_id)
        self._done.add(update_id)
        if not self._open:
            self._idle.set()

    async def _until_idle(self, seconds: float) -> None:
        """Wait until nothing is under way, some seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    # Telegram's side

    async def _poll(self) -> list[Update]:
        """The next batch; empty when stopped meanwhile, which loses nothing: it was not confirmed."""
        offset = self._offset
        # Only now, not when one is done: it may be in the answer that was under way just then.
        self._done = {number for number in self._done if number >= (offset or 0)}
        asking = asyncio.ensure_future(
            self._bot.get_updates(
                offset=offset,
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
                number = raw["update_id"]
                if number not in self._done:
                    log.error("unreadable update skipped", update_id=number, kinds=sorted(raw))
                    self._last = max(number, self._last or 0)
                    self._done.add(number)
        return readable

    # The handlers' side

    async def _handle_chat(self, chat: int) -> None:
        """Handle what has come of a chat, one after another."""
        waiting = self._waiting[chat]
        try:
            while waiting:
                with answering(behind=len(waiting) - 1):
                    await self._feed(waiting[0])
                self._finish(waiting.popleft().update_id)
        except Interrupted:
            log.info("updates handed back", count=len(waiting))
        finally:
            del self._waiting[chat]

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
    """Told to stop while an update could not be handled: it comes again at the next start."""


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
