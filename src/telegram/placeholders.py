"""The placeholder: the message that will become the picture, sent once for a request.

The Bot API cannot tell a repeated message from a new one. So the ledger decides which placeholder counts, any other is
deleted, and where one may be left in the chat, the placeholder that counts says so. What Telegram has answered is noted
however long Redis is away and whoever is told to end meanwhile, or taken back.

One kind of message cannot be known: Telegram has taken `sendMessage`, and its answer was cut on its way, or the process
died before it had noted it. There is no key by which a repeat would be the same message, nothing by which a bot could ask
what it has sent, and deleting by guessed numbers would take away what people wrote. So the sending is counted before it
goes out, whatever is said of that picture later says that it counts, and a tap on such a message's buttons, or an answer
to it, makes it the placeholder or takes it away (`found`).

Not here: what it says, that is `src.telegram.status_text`.

Why it is a message like any other, and no draft (sendMessageDraft) and not ephemeral (in groups, for one person): neither
can become the picture, which then would be one more message, and one more call of three. A draft shows half a minute of
text without buttons: no Cancel, no choice while one waits. An ephemeral message may never arrive, says its documentation,
and a place in line that nobody sees is a bot that does not answer. The Bot API says of neither whether a chat has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import InlineKeyboardMarkup, Message
from redis.exceptions import RedisError

from src.jobs import PENDING, Job, Ledger, Request, Wake, transitions
from src.jobs.answers import Placed
from src.jobs.estimate import Estimate
from src.jobs.transitions import Transition
from src.telegram import keyboards, status_text
from src.telegram.client import Undeliverable, answer_to, reaching
from src.telegram.i18n import Texts
from src.telegram.photos import Media
from src.telegram.status_text import Offer, Status, offers
from src.telegram.throttle import Priority, before_leaving, priority, unpaced
from src.telemetry import metrics

log = structlog.get_logger(__name__)

# No ETA: the picture already exists.
_NO_ESTIMATE = Estimate(None, 5.0, 10.0)

# Seconds the message under an album waits for its turn: the tiles above it are already in the chat.
_STATUS_SECONDS = 30.0
# Seconds the deletion of a surplus placeholder waits for its turn.
_STRAY_SECONDS = 20.0
# After it, tiles whose message did not come are taken away: all patience with that message is over.
_TILES_SECONDS = 60.0
# For taking back what could not be noted when a process ends.
_LAST_SECONDS = 2.0

T = TypeVar("T")


class NotYet(Exception):
    """There is no placeholder yet to show anything in: another job's step sends it, and wakes this one."""


class NotNeeded(Exception):
    """What waited for its turn need not go any more: another has sent the placeholder, or its request has ended."""


@dataclass(slots=True, eq=False)
class _Sending:
    """A placeholder that is being sent; `gone`: it may be in the chat already."""

    gone: bool = False
    task: asyncio.Task[Any] | None = None


class Placeholders:
    """Sends placeholders. Raises what `Messages` does."""

    def __init__(self, bot: Bot, ledger: Ledger, texts: Texts, media: Media) -> None:
        self._bot = bot
        self._ledger = ledger
        self._texts = texts
        self._media = media
        self._sendings: set[_Sending] = set()

    async def place(
        self,
        request: Request,
        jobs: Sequence[Job],
        estimates: Sequence[Estimate],
        offer: Offer | None = None,
    ) -> tuple[Wake, ...]:
        """Send the placeholder and let it count, unless another has already done so.

        Args:
            estimates: one for each of the jobs.

        Returns:
            The jobs that waited for it; the caller wakes them.
        """
        if request.messages:
            return ()
        say = self._texts.translator(request.lang)
        status = status_text.status(say, jobs, estimates, offer)
        markup = keyboards.placeholder(say, request.id, status.offer)
        request = replace(request, sendings=request.sendings + 1)
        text = status.text + status_text.note(say, request)

        async def send(sending: _Sending) -> Placed:
            status_message = None
            async with self._counted(request, sending):
                if len(jobs) == 1:
                    messages = [(await self._send_text(request, text, markup)).message_id]
                else:
                    messages, status_message = await self._send_album(request, jobs, text, markup)
            placing = transitions.placed(
                request.id, messages, status_message, shown=status.shape, eta=_told(estimates)
            )
            sent = messages if status_message is None else [*messages, status_message]
            placed = await self._note(request, sent, placing)
            if not placed.ours:
                await self._take_back(request, sent, "answer", whole=True)
            return placed

        try:
            placed = await self._seen_through(send)
        except NotNeeded:
            return ()
        if placed.ours:
            count_offer(request, status)
        return placed.wake

    async def replace(self, job: Job, request: Request) -> int:
        """Send a new placeholder for one that was deleted, and let it count before anything is shown in it, so that a
        repeat edits it instead of sending another. Its number."""
        say = self._texts.translator(request.lang)

        async def send(sending: _Sending) -> int:
            async with self._counted(request, sending, instead=True):
                markup = keyboards.placeholder(say, request.id)
                sent = await self._send_text(request, say("placeholder-sending"), markup)
            moving = transitions.moved(request.id, request.jobs.index(job.id), sent.message_id)
            if not await self._note(request, [sent.message_id], moving):
                there = replace(request, chat=sent.chat.id)
                await self._take_back(there, [sent.message_id], "answer", whole=True)
                raise NotYet
            if sent.chat.id == request.chat:
                await self._ledger.sent(request.id)
            return sent.message_id

        try:
            return await self._seen_through(send)
        except NotNeeded:
            raise Undeliverable("chat_gone") from None

    async def _seen_through(self, send: Callable[[_Sending], Coroutine[Any, Any, T]]) -> T:
        """Send a placeholder. What Telegram may have taken is awaited and noted though the caller is cancelled: its
        process is told to end, and the message would stay without anybody who knows of it."""
        sending = _Sending()
        sending.task = task = asyncio.create_task(send(sending))
        self._sendings.add(sending)
        task.add_done_callback(lambda _: self._sendings.discard(sending))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_let_pass)
            if not sending.gone:
                task.cancel()
            raise

    async def finish(self, seconds: float) -> None:
        """Before this process ends: wait so long for what is on its way, and take back what cannot be noted then."""
        for sending in self._sendings:
            if sending.task is not None and not sending.gone:
                sending.task.cancel()
        if tasks := [sending.task for sending in self._sendings if sending.task is not None]:
            _, pending = await asyncio.wait(tasks, timeout=seconds)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=_LAST_SECONDS)

    @asynccontextmanager
    async def _counted(
        self, request: Request, sending: _Sending, *, instead: bool = False
    ) -> AsyncIterator[None]:
        """Count a placeholder as sent from before it goes out until Telegram is known to have refused it."""

        async def goes() -> None:
            if not sending.gone:
                if not await self._ledger.sending(request.id, instead=instead):
                    raise NotNeeded
                sending.gone = True

        async def useful() -> None:
            current = await self._ledger.request(request.id)
            if current is None or (current.messages and not instead):
                raise NotNeeded

        with before_leaving(goes, useful=useful), reaching():
            try:
                yield
            except TelegramAPIError as error:
                # These two say nothing about what became of the message.
                if sending.gone and not isinstance(error, TelegramNetworkError | TelegramServerError):
                    await self._ledger.sent(request.id)
                raise

    async def _note(self, request: Request, sent: Sequence[int], noting: Transition[T]) -> T:
        """Let the ledger know of messages that are in the chat. What it cannot be told of must not stay there."""
        try:
            return await self._ledger.commit(noting)
        except (RedisError, asyncio.CancelledError):
            log.warning("placeholder not noted, taken back", request_id=request.id)
            with suppress(TelegramAPIError), unpaced():
                await self._bot.delete_messages(request.chat, list(sent))
            raise

    async def hold(self, job: Job, request: Request) -> tuple[Request, tuple[Wake, ...]]:
        """Send the placeholder of a job that waits to be shown, if there is none yet: the bot died before it
        could, or its turn has not come while Telegram is busy. The request as it is now, and the jobs to wake.

        Raises:
            NotYet: of an album's jobs only the first that waits sends it.
        """
        standing = await self._ledger.standing(request.id)
        current, jobs = (standing.request, standing.jobs) if standing else (request, ())
        if current.messages or not jobs:
            return current, ()
        if next((other.id for other in jobs if _waits(other)), job.id) != job.id:
            raise NotYet
        wakes = await self.place(current, jobs, [_NO_ESTIMATE] * len(jobs))
        return await self._ledger.request(current.id) or current, wakes

    async def _send_text(self, request: Request, text: str, markup: InlineKeyboardMarkup) -> Message:
        """Send a message that becomes the picture: without a sound, in answer to what was asked."""
        sent = await self._bot.send_message(
            request.chat,
            text,
            message_thread_id=request.thread,
            reply_parameters=answer_to(request.reply_to),
            reply_markup=markup,
            disable_notification=True,
        )
        if sent.chat.id != request.chat:
            moving = transitions.migrated(request.chat, sent.chat.id, request.id)
            await self._note(replace(request, chat=sent.chat.id), [sent.message_id], moving)
            # Nothing else of it is in the new group.
            await self._ledger.sent(request.id, 1)
        return sent

    async def _send_album(
        self, request: Request, jobs: Sequence[Job], text: str, markup: InlineKeyboardMarkup
    ) -> tuple[list[int], int]:
        """Send the tiles and the message under them: the tiles' ids and that message's."""
        tiled = await self._media.send_tiles(request, jobs)
        # Without their message they do not count, should this process die before it is sent.
        noted = transitions.strays(request.id, tiled, _TILES_SECONDS)
        await self._note(request, tiled, noted)
        try:
            status = await self._send_under_album(request, text, markup)
        except TelegramAPIError:
            await self._take_back(request, tiled, "result")
            raise
        return tiled, status.message_id

    async def _send_under_album(self, request: Request, text: str, markup: InlineKeyboardMarkup) -> Message:
        """Send the message under tiles that are there, waiting where Telegram says so."""
        until = time.monotonic() + _STATUS_SECONDS
        with priority("result", patience=_STATUS_SECONDS, chat_patience=_STATUS_SECONDS):
            while True:
                try:
                    return await self._send_text(request, text, markup)
                except TelegramRetryAfter as error:
                    if time.monotonic() + error.retry_after > until:
                        raise
                    await asyncio.sleep(error.retry_after)

    async def _take_back(
        self, request: Request, messages: Sequence[int], name: Priority, *, whole: bool = False
    ) -> None:
        """Delete messages that do not count, which may be the `whole` of a placeholder; what cannot be deleted now is
        looked after later."""
        await self._ledger.commit(transitions.strays(request.id, messages, _STRAY_SECONDS, whole=whole))
        await self._delete(request, messages, name)

    async def _delete(self, request: Request, messages: Sequence[int], name: Priority) -> None:
        with (
            suppress(TelegramAPIError),
            priority(name, patience=_STRAY_SECONDS, chat_patience=_STRAY_SECONDS),
        ):
            await self._bot.delete_messages(request.chat, list(messages))
            await self._ledger.run(transitions.strays_gone(request.id, messages))

    async def take_back_strays(self, request: Request) -> None:
        """Delete what could not be deleted before. Raises what `Messages` does, but `Undeliverable`: then they stay."""
        if request.strays:
            try:
                with reaching():
                    await self._bot.delete_messages(request.chat, list(request.strays))
            except Undeliverable as error:
                log.info("strays stay", request_id=request.id, error=error.kind)
                return
            except TelegramBadRequest as error:
                log.info("strays stay", request_id=request.id, error=type(error).__name__)
                await self._ledger.sent(request.id, 1)
            await self._ledger.run(transitions.strays_gone(request.id, request.strays))

    async def found(
        self, request: Request, message: int, later: Callable[[Coroutine[Any, Any, None]], None]
    ) -> tuple[Wake, ...]:
        """Somebody has a message with this request's buttons before them. It is the placeholder, or becomes it where
        there is none; any other goes away, whose sender died or did not hear that it was sent. The jobs to wake.

        Args:
            later: takes its deletion, which may wait for a turn.
        """
        if message in (*request.messages, request.status_message):
            if all(job.ended for job in await self._ledger.jobs(request.jobs)):
                await self._ledger.close_now(request.id)
            return ()
        if not request.messages:
            if len(request.jobs) > 1:
                # Its sender may be about to say so, and the tiles above it.
                await self._ledger.run(transitions.strays(request.id, [message], _TILES_SECONDS))
                return ()
            placed = await self._ledger.run(transitions.placed(request.id, [message]))
            if placed.ours or message in placed.messages:
                return placed.wake
        await self._ledger.run(transitions.strays(request.id, [message], _STRAY_SECONDS, whole=True))
        later(self._delete(request, [message], "answer"))
        return ()


def count_offer(request: Request, status: Status) -> None:
    """Count what a placeholder offers where it is shown for the first time."""
    if status.offer is not None and not offers(request.shown):
        metrics.wait_offers.add(1, {"imagebot.offer.faster": status.offer.faster is not None})


def _let_pass(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more; what was left undone the next process does."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("placeholder not sent", error=type(error).__name__)


def _told(estimates: Sequence[Estimate]) -> float:
    """What the first words promise of the last picture, in seconds from now; 0: nothing."""
    return max((e.low for e in estimates if e is not _NO_ESTIMATE), default=0.0)


def _waits(job: Job) -> bool:
    """Its outcome is known and not shown."""
    return job.state not in PENDING and not job.ended
