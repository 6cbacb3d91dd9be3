"""Handling what is in the inbox: one chat's updates in order, different chats' side by side.

One bot process at a time does it. An update that was cut short is handled again. Handlers get, beside what their
middlewares give, the `album`: the messages that were sent as one, and `later`, for what need not hold the chat.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import TelegramAPIError
from aiogram.types import Update
from aiogram.types.update import UpdateTypeLookupError
from aiogram.utils.backoff import Backoff, BackoffConfig
from pydantic import ValidationError
from redis.exceptions import RedisError

from src.app import App, cancel_all
from src.bot.inbox import Inbox
from src.ops.leader import Leader
from src.telegram.throttle import priority

log = structlog.get_logger(__name__)

_BACKOFF = BackoffConfig(min_delay=0.1, max_delay=10.0, factor=2.0, jitter=0.1)
_UNDER_WAY = 500
_BATCH = 100
_LEADER_SECONDS = 4.0
_LEADER_AGAIN = 1.0
# How often an update is handled again because Telegram did not answer us.
_TRIES = 3
# What is not done this long after a stop is done by the next process.
_DRAIN_SECONDS = 8.0
_CHAT_PATIENCE = 10.0
_A_FEW = 5
_ENVELOPE = ("message_id", "date", "chat", "from")
# Telegram tells of an album's messages one by one, though all at once; ten at most.
_ALBUM_SECONDS = 0.3
_ALBUM = 10

T = TypeVar("T")
Entry = tuple[str, Update]
"""What stands in the inbox, and under which number."""
Later = Callable[[Coroutine[Any, Any, None]], None]
"""Lets something be done while the chat's next updates are handled; this one is done when that is."""


class Handling:
    """Handles what is in the inbox while this process is the one that does."""

    def __init__(self, app: App, inbox: Inbox, bot: Bot, dispatcher: Dispatcher) -> None:
        self._inbox = inbox
        self._bot = bot
        self._dispatcher = dispatcher
        self._leader = Leader(app, f"inbox:{bot.id}", _LEADER_SECONDS)
        self._leads_until = 0.0
        self._stopping = asyncio.Event()
        self._after = "0"
        self._open: set[str] = set()
        self._room = asyncio.Event()
        self._waiting: dict[int, deque[Entry]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Begin nothing more; end when what is under way is done, or soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Handle updates until stopped."""
        trouble = Backoff(_BACKOFF)
        try:
            while not self._stopping.is_set():
                try:
                    if await unless(self._stopping, self.leads()):
                        await self._look()
                    else:
                        await self._pause(_LEADER_AGAIN)
                    trouble.reset()
                except RedisError as error:
                    log.warning("the inbox cannot be read", error=type(error).__name__)
                    await self._pause(next(trouble))
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)
        finally:
            await cancel_all(self._tasks)
            await self._leader.resign()

    async def leads(self) -> bool:
        """Whether this process is the one that handles; two would take one chat's out of order.

        Raises:
            redis.RedisError: it cannot be known.
        """
        now = time.monotonic()
        if now < self._leads_until:
            return True
        if not await self._leader.held():
            # Whoever leads now does what was left; from the start, should it be this process again.
            self._after = "0"
            return False
        self._leads_until = now + _LEADER_AGAIN
        return True

    async def _look(self) -> None:
        room = _UNDER_WAY - len(self._open)
        if room <= 0:
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEADER_AGAIN):
                    await self._room.wait()
            return
        reading = self._inbox.read(self._after, min(room, _BATCH))
        for entry, text in await unless(self._stopping, reading) or ():
            self._after = entry
            if entry not in self._open:
                await self._begin(entry, text)

    async def _begin(self, entry: str, text: str) -> None:
        update = self._read(text)
        if update is None:
            await self._inbox.done(entry)
            return
        self._open.add(entry)
        chat = chat_of(update)
        if chat in self._waiting:
            self._waiting[chat].append((entry, update))
            return
        self._waiting[chat] = deque([(entry, update)])
        self._hold(self._handle_chat(chat))

    def _read(self, text: str) -> Update | None:
        """An update; of one whose message aiogram cannot read, who wrote it and where. None: not even that."""
        context = {"bot": self._bot}
        try:
            return Update.model_validate_json(text, context=context)
        except ValidationError:
            # Its kinds, not its words.
            raw = json.loads(text)
            log.error("unreadable update", kinds=sorted(raw))
        if not isinstance(message := raw.get("message"), dict):
            return None
        bare = {name: message[name] for name in _ENVELOPE if name in message}
        with suppress(ValidationError):
            return Update.model_validate(
                {"update_id": raw.get("update_id"), "message": bare}, context=context
            )
        return None

    async def _handle_chat(self, chat: int) -> None:
        """Handle what has come of a chat, one after another."""
        waiting = self._waiting[chat]
        try:
            while waiting and not self._stopping.is_set():
                taken = await self._next(waiting)
                # A person gets every answer, however busy the chat is with placeholders; who floods it misses
                # some, for the others' sake.
                with priority("answer", chat_patience=_CHAT_PATIENCE if len(waiting) <= _A_FEW else None):
                    works = await self._feed([update for _, update in taken])
                if works:
                    self._hold(self._finish_after(works, taken))
                else:
                    await self._finish(taken)
                for entry in taken:
                    waiting.remove(entry)
        except _Interrupted:
            log.info("updates left for the next process", count=len(waiting))
        finally:
            self._open.difference_update(entry for entry, _ in waiting)
            del self._waiting[chat]

    async def _next(self, waiting: deque[Entry]) -> list[Entry]:
        """The first that waits, or of an album all that has come of it once no more comes."""
        group = _group_of(waiting[0])
        if group is None:
            return [waiting[0]]
        taken: list[Entry] = []
        while len(taken) < _ALBUM:
            found = [entry for entry in waiting if _group_of(entry) == group]
            if len(found) == len(taken):
                break
            taken = found
            await self._pause_or_leave(_ALBUM_SECONDS)
        return taken

    async def _feed(self, updates: Sequence[Update]) -> list[asyncio.Task[None]]:
        """Handle one update, or an album's as the one that has its words: as often as it takes while Redis is away, a
        few times when Telegram is. What its handler left for later goes on."""
        backoff = Backoff(_BACKOFF)
        failures = 0
        album = [update.message for update in updates if update.message is not None]
        update = next((u for u in updates if u.message is not None and u.message.caption), updates[0])
        while True:
            works: list[asyncio.Task[None]] = []

            def later(work: Coroutine[Any, Any, None], works: list[asyncio.Task[None]] = works) -> None:
                works.append(asyncio.create_task(work))

            try:
                await self._dispatcher.feed_update(self._bot, update, album=album, later=later)
                return works
            except RedisError as error:
                log.warning("the ledger is away", update_id=update.update_id, error=type(error).__name__)
            except TelegramAPIError as error:
                failures += 1
                if failures == _TRIES:
                    log.error("update given up", update_id=update.update_id, error=type(error).__name__)
                    return works
            except Exception:
                log.exception("update failed", update_id=update.update_id)
                return works
            await cancel_all(works)
            await self._pause_or_leave(next(backoff))

    def _hold(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_after(self, works: Sequence[asyncio.Task[None]], taken: Sequence[Entry]) -> None:
        """Tick an update off when the last is done of what its handler left for later."""
        try:
            for failure in await asyncio.gather(*works, return_exceptions=True):
                if isinstance(failure, BaseException):
                    log.error("not done later", update_id=taken[0][1].update_id, exc_info=failure)
            with suppress(_Interrupted):
                await self._finish(taken)
        finally:
            await cancel_all(works)

    async def _finish(self, taken: Sequence[Entry]) -> None:
        backoff = Backoff(_BACKOFF)
        while True:
            try:
                for entry, _ in taken:
                    await self._inbox.done(entry)
                break
            except RedisError as error:
                log.warning("update not ticked off", error=type(error).__name__)
            await self._pause_or_leave(next(backoff))
        self._open.difference_update(entry for entry, _ in taken)
        self._room.set()

    async def _pause_or_leave(self, seconds: float) -> None:
        await self._pause(seconds)
        if self._stopping.is_set():
            raise _Interrupted

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What comes of `work`; None, and it is cancelled, when told to stop meanwhile."""
    working, told = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, told):
            task.cancel()
        await asyncio.gather(working, told, return_exceptions=True)


class _Interrupted(Exception):
    """Told to stop while an update could not be handled: the next process does it."""


def _group_of(entry: Entry) -> str | None:
    """The album that an update is of."""
    message = entry[1].message
    return None if message is None else message.media_group_id


def chat_of(update: Update) -> int:
    """Whose order an update belongs to."""
    if update.pre_checkout_query is not None:
        # It is answered within ten seconds, whatever its chat is at. No group has a number that small.
        return -(10**15) - update.pre_checkout_query.from_user.id
    try:
        event = update.event
    except UpdateTypeLookupError:
        return 0
    chat = getattr(event, "chat", None)
    if chat is None and (message := getattr(event, "message", None)) is not None:
        chat = message.chat
    if chat is not None:
        return int(chat.id)
    user = getattr(event, "from_user", None) or getattr(event, "user", None)
    return int(user.id) if user is not None else 0
