"""The placeholder: the message that will become the picture, sent once for a request.

The Bot API cannot tell a repeated message from a new one. So the ledger decides which placeholder counts, any other is
deleted, and where one may be left in the chat, the placeholder that counts says so. Not here: what it says, that is
`src.telegram.status_text`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

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

from src.jobs import PENDING, Job, Ledger, Request, Wake, transitions
from src.jobs.estimate import Estimate
from src.telegram import keyboards, status_text
from src.telegram.client import answer_to, reaching
from src.telegram.i18n import Texts
from src.telegram.photos import Media
from src.telegram.status_text import Offer, Status, offers
from src.telegram.throttle import before_leaving, priority
from src.telemetry import metrics

log = structlog.get_logger(__name__)

# No ETA: the picture already exists.
_NO_ESTIMATE = Estimate(None, 5.0, 10.0)

# Seconds the message under an album waits for its turn: the tiles above it are already in the chat.
_STATUS_SECONDS = 30.0
# Seconds the deletion of a surplus placeholder waits for its turn.
_STRAY_SECONDS = 20.0


class NotYet(Exception):
    """There is no placeholder yet to show anything in: another job's step sends it, and wakes this one."""


class _NotNeeded(Exception):
    """Another has sent the placeholder while this one waited for its turn."""


class _Stayed(Exception):
    """A part of the placeholder stayed in the chat though sending it failed, with `error`."""

    def __init__(self, error: TelegramAPIError) -> None:
        super().__init__()
        self.error = error


class Placeholders:
    """Sends placeholders. Raises what `Messages` does."""

    def __init__(self, bot: Bot, ledger: Ledger, texts: Texts, media: Media) -> None:
        self._bot = bot
        self._ledger = ledger
        self._texts = texts
        self._media = media

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
        status_message = None
        try:
            with reaching():
                async with self._counted(request):
                    if len(jobs) == 1:
                        messages = [(await self.send_text(request, text, markup)).message_id]
                    else:
                        messages, status_message = await self._send_album(request, jobs, text, markup)
        except _NotNeeded:
            return ()
        placed = await self._ledger.run(
            transitions.placed(request.id, messages, status_message, shown=status.shape, eta=_told(estimates))
        )
        if not placed.ours:
            strays = messages if status_message is None else [*messages, status_message]
            with priority("answer", patience=_STRAY_SECONDS):
                gone = await self._take_back(request, strays)
            if gone:
                await self._ledger.sending(request.id, -1)
            return ()
        count_offer(request, status)
        return placed.wake

    @asynccontextmanager
    async def _counted(self, request: Request) -> AsyncIterator[None]:
        """Count a placeholder as sent from before it goes out until Telegram is known to have refused it."""
        gone = False

        async def goes() -> None:
            nonlocal gone
            if not gone:
                await self._ledger.sending(request.id)
                gone = True

        async def useful() -> None:
            if (current := await self._ledger.request(request.id)) is None or current.messages:
                raise _NotNeeded

        with before_leaving(goes, useful=useful):
            try:
                yield
            except _Stayed as stayed:
                raise stayed.error from None
            except TelegramAPIError as error:
                # These two say nothing about what became of the message.
                if gone and not isinstance(error, TelegramNetworkError | TelegramServerError):
                    await self._ledger.sending(request.id, -1)
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

    async def send_text(self, request: Request, text: str, markup: InlineKeyboardMarkup | None) -> Message:
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
            await self._ledger.run(transitions.migrated(request.chat, sent.chat.id, request.id))
        return sent

    async def _send_album(
        self, request: Request, jobs: Sequence[Job], text: str, markup: InlineKeyboardMarkup
    ) -> tuple[list[int], int]:
        """Send the tiles and the message under them: the tiles' ids and that message's."""
        tiled = await self._media.send_tiles(request, jobs)
        try:
            status = await self._send_under_album(request, text, markup)
        except TelegramAPIError as error:
            with priority("result", patience=_STRAY_SECONDS, chat_patience=_STRAY_SECONDS):
                gone = await self._take_back(request, tiled)
            if gone:
                raise
            raise _Stayed(error) from error
        return tiled, status.message_id

    async def _send_under_album(
        self, request: Request, text: str, markup: InlineKeyboardMarkup | None
    ) -> Message:
        """Send the message under tiles that are there, waiting where Telegram says so."""
        until = time.monotonic() + _STATUS_SECONDS
        with priority("result", patience=_STATUS_SECONDS, chat_patience=_STATUS_SECONDS):
            while True:
                try:
                    return await self.send_text(request, text, markup)
                except TelegramRetryAfter as error:
                    if time.monotonic() + error.retry_after > until:
                        raise
                    await asyncio.sleep(error.retry_after)

    async def _take_back(self, request: Request, messages: list[int]) -> bool:
        """Delete messages that do not count; False: they may have stayed, and are looked after later."""
        try:
            return await self._bot.delete_messages(request.chat, messages)
        except TelegramAPIError:
            await self._ledger.strays(request.id, messages, _STRAY_SECONDS)
            return False

    async def take_back_strays(self, request: Request) -> None:
        """Delete what could not be deleted before. Raises what `Messages` does."""
        if request.strays:
            gone = False
            try:
                with reaching():
                    gone = await self._bot.delete_messages(request.chat, list(request.strays))
            except TelegramBadRequest as error:
                log.info("strays stay", request_id=request.id, error=type(error).__name__)
            await self._ledger.settled(request.id, "strays")
            if gone:
                await self._ledger.sending(request.id, -1)


def count_offer(request: Request, status: Status) -> None:
    """Count what a placeholder offers where it is shown for the first time."""
    if status.offer is not None and not offers(request.shown):
        metrics.wait_offers.add(1, {"imagebot.offer.faster": status.offer.faster is not None})


def _told(estimates: Sequence[Estimate]) -> float:
    """What the first words promise of the last picture, in seconds from now; 0: nothing."""
    return max((e.low for e in estimates if e is not _NO_ESTIMATE), default=0.0)


def _waits(job: Job) -> bool:
    """Its outcome is known and not shown."""
    return job.state not in PENDING and not job.ended
