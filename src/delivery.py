"""What Telegram is sent for a request, and how it stays one picture.

The placeholder is a message we own; the picture replaces it by an edit, so doing it twice shows one
picture. Not here: how a picture gets into a message (`src.media`), what the words are
(`src.placeholder`), and what is done after an error (`src.showing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import InlineKeyboardMarkup, Message
from aiogram.utils.formatting import BlockQuote, Text

from src import buttons, placeholder, wake
from src.jobs import PENDING, Job, Ledger, Request, State, transitions
from src.jobs.estimate import Estimate
from src.limits import pause_in
from src.media import Media, file_id_of
from src.pacing import GateClosed, before_leaving, lane, paying
from src.placeholder import Offer
from src.providers.base import Picture
from src.settings import Settings
from src.telegram import answer_to, is_missing, is_unchanged, says
from src.texts import Texts, Voice, shorten

_CAPTION_PROMPT = 300
# Of a placeholder sent only to be replaced by a picture that is there: no promise to be measured by.
_NO_ESTIMATE = Estimate(None, 5.0, 10.0)

# What a wake-up may take.
_LATE_SECONDS = 0.2
# How long an album's tiles stand alone while Telegram says to wait.
_STATUS_SECONDS = 30.0
# How long a placeholder of which there is another waits for the turn that takes it away.
_STRAY_SECONDS = 20.0
# Until an album's other pictures look again: its placeholder wakes them. An unused turn is kept that long.
_ALBUM_SECONDS = 50.0


class NotYet(Exception):
    """There is no placeholder yet to show anything in, and nothing was sent.

    Attributes:
        seconds: until it is worth coming again, unless it is woken.
        turn: seconds until the turn that it has not used may be of use.
    """

    def __init__(self, seconds: float, *, turn: float) -> None:
        super().__init__(f"in {seconds:.1f} s")
        self.seconds, self.turn = seconds, turn


class Undeliverable(Exception):
    """Nobody can ever see it.

    Attributes:
        kind: `blocked` (the person blocked the bot, or a group removed it), `chat_gone`, `no_rights` (the
            bot may not write there).
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _NotNeeded(Exception):
    """Another has sent the placeholder while this one waited for its turn."""


class Delivery:
    """Shows requests and their pictures in their chats.

    Every method may raise `Undeliverable`, and lets aiogram's `TelegramRetryAfter`,
    `TelegramAPIError` and `TelegramNetworkError` through for what may go better later.
    """

    def __init__(self, bot: Bot, ledger: Ledger, texts: Texts, settings: Settings) -> None:
        self._bot = bot
        self._ledger = ledger
        self._texts = texts
        self._media = Media(bot, ledger, settings)

    # Before there is a picture

    async def place(
        self,
        request: Request,
        jobs: Sequence[Job],
        estimates: Sequence[Estimate],
        offer: Offer | None = None,
        *,
        paid: bool = False,
    ) -> None:
        """Send the placeholder and let it count, unless another has already done so.

        Args:
            estimates: one for each of the jobs.
            paid: one turn of the request's chat has been taken for it; an album needs more.
        """
        if request.messages:
            return
        say = self._texts.voice(request.lang)
        status = placeholder.status(say, jobs, estimates, offer)
        markup = buttons.placeholder(say, request.id, status.offer)
        request = replace(request, sendings=request.sendings + 1)
        text = status.text + _note(request, say)
        status_message = None
        try:
            with _reaching():
                async with self._counted(request):
                    if len(jobs) == 1:
                        messages = [(await self._send_text(request, text, markup)).message_id]
                    else:
                        messages, status_message = await self._send_album(request, jobs, text, markup, paid)
        except _NotNeeded:
            return
        placed = await self._ledger.run(
            transitions.placed(request.id, messages, status_message, shown=status.shape, eta=_told(estimates))
        )
        if not placed.ours:
            with lane("answer", patience=_STRAY_SECONDS):
                await self._take_back(
                    request.chat, messages if status_message is None else [*messages, status_message]
                )
            await self._ledger.sending(request.id, -1)
            return
        await wake.deliver(placed.wake)

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
            except TelegramAPIError as error:
                # These two say nothing about what became of the message.
                if gone and not isinstance(error, TelegramNetworkError | TelegramServerError):
                    await self._ledger.sending(request.id, -1)
                raise

    async def progress(
        self,
        request: Request,
        jobs: Sequence[Job],
        estimates: Sequence[Estimate],
        offer: Offer | None = None,
        *,
        asked: bool = False,
    ) -> bool:
        """Bring the placeholder up to date; True if it changed.

        Args:
            estimates: one for each of the jobs.
            asked: by the person, who gets it after the results; else it is refused at once
                (`TelegramRetryAfter`) while anything else wants to go.
        """
        say = self._texts.voice(request.lang)
        status = placeholder.status(say, jobs, estimates, offer, quiet=request.chosen == "later")
        message = request.status_message or (request.messages[0] if request.messages else None)
        if message is None or status.shape == request.shown:
            return False
        markup = buttons.placeholder(say, request.id, status.offer)
        text = Text(status.text, _note(request, say))
        with lane("answer" if asked else "progress"), _reaching():
            changed = await self._edit_text(request.chat, message, text, markup)
        await self._ledger.shown(request.id, status.shape)
        await self._correct(request)
        return changed

    async def _correct(self, request: Request) -> None:
        """Say the end again if it was said while our edit was on its way: the later edit has won."""
        jobs = await self._ledger.jobs(request.jobs)
        if request.status_message is not None:
            if all(job.ended for job in jobs):
                await self.close(request, jobs)
        elif jobs and jobs[0].state in (State.FAILED, State.CANCELLED):
            await self.notice(jobs[0], request)

    # The end

    async def picture(self, job: Job, request: Request, image: Picture) -> dict[str, Any]:
        """Put the picture where the placeholder is.

        Returns:
            What was shown, for the ledger: `message`, `file_id` (absent when Telegram says it was there
            already) and, where the provider keeps the original for a while, its `url`.

        Raises:
            ProviderError: the picture broke off on its way, or has to be made to fit and cannot be decoded.
        """
        say = self._texts.voice(request.lang)
        single = len(request.jobs) == 1
        made_by = say("caption-made-by", model=job.spec.model, aspect=job.spec.aspect)
        caption = Text(_words(job), made_by, _note(request, say)) if single else Text()
        markup = buttons.picture(say, job.id) if single else None
        message = request.message_of(job.id)
        if message is None:
            raise Undeliverable("chat_gone")
        show = partial(
            self._media.show, job, image, request.chat, caption=caption, markup=markup, album=not single
        )
        with _reaching():
            try:
                sent = await show(message)
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise
                message = await self._replace(job, request)
                sent = await show(message)
        shown: dict[str, Any] = {"message": message}
        if sent is not None and (file_id := file_id_of(sent)):
            shown["file_id"] = file_id
        if job.result and job.result.get("url"):
            shown["url"] = job.result["url"]
        return shown

    async def shown_already(self, job: Job, request: Request) -> int | None:
        """The message that has become the job's picture though nobody heard so; None: there is none.

        Of a tile in an album it cannot be told: it was a photo before.
        """
        message = request.message_of(job.id)
        if message is None or len(request.jobs) > 1:
            return None
        say = self._texts.voice(request.lang)
        try:
            with lane("paid"):
                await self._bot.edit_message_text(
                    say("placeholder-sending"), chat_id=request.chat, message_id=message
                )
        except (TelegramBadRequest, TelegramForbiddenError) as error:
            return message if says(error, "no text in the message") else None
        return None

    async def notice(self, job: Job, request: Request) -> dict[str, Any]:
        """Say in place of the picture why there is none, and what to do.

        Returns:
            What was shown, for the ledger: `message`, or nothing where there is none.
        """
        say = self._texts.voice(request.lang)
        message = request.message_of(job.id)
        if message is None:
            return {}
        with _reaching():
            if len(request.jobs) > 1:
                await self._media.fail_tile(request.chat, message, job.spec.aspect)
                return {"message": message}
            text = Text(placeholder.reason(say, job), _note(request, say))
            markup = buttons.no_picture(say, job)
            try:
                await self._edit_text(request.chat, message, text, markup)
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise
                # Who took the job back and removed its message wants to hear no more of it.
                if job.state is State.CANCELLED:
                    return {"message": message}
                message = await self._replace(job, request)
                await self._edit_text(request.chat, message, text, markup)
        return {"message": message}

    async def close(self, request: Request, jobs: Sequence[Job]) -> None:
        """Let the message under an album say how it ended; nothing for a single picture."""
        if request.status_message is None or not jobs:
            return
        say = self._texts.voice(request.lang)
        text = Text(_words(jobs[0]), placeholder.ending(say, jobs), _note(request, say))
        with _reaching():
            try:
                await self._edit_text(
                    request.chat, request.status_message, text, buttons.album(say, request.id, jobs)
                )
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise

    async def ping(self, job: Job, request: Request, *, done: bool = True) -> None:
        """Tell a person who has waited long, with a sound: an edit makes none.

        Args:
            done: there is a picture; else the message says why there is none.
        """
        say = self._texts.voice(request.lang)
        key = ("ready" if len(request.jobs) == 1 else "ready-album") if done else "ready-not"
        # In a group only an answer to the person's own message calls them.
        answered = (request.reply_to if request.group else None) or request.message_of(job.id)
        with _reaching():
            await self._bot.send_message(
                request.chat,
                say(key),
                message_thread_id=request.thread,
                reply_parameters=answer_to(answered),
            )

    async def _edit_text(
        self, chat: int, message: int, text: Text, markup: InlineKeyboardMarkup | None
    ) -> bool:
        """Change a text message; False if it said so already, or shows its picture by now."""
        try:
            await self._bot.edit_message_text(
                chat_id=chat, message_id=message, reply_markup=markup, **text.as_kwargs()
            )
        except TelegramBadRequest as error:
            if is_unchanged(error) or says(error, "no text in the message"):
                return False
            raise
        return True

    async def _replace(self, job: Job, request: Request) -> int:
        """A new placeholder for one that was deleted. It counts before anything is shown in it, so a
        repeat edits it instead of sending another."""
        say = self._texts.voice(request.lang)
        sent = await self._send_text(request, say("placeholder-sending"), None)
        await self._ledger.run(transitions.moved(request.id, request.jobs.index(job.id), sent.message_id))
        return sent.message_id

    async def hold_place(self, job: Job, request: Request) -> tuple[Request, bool]:
        """Send the placeholder of a job that waits to be shown, if there is none yet: the bot died before it
        could, or its turn has not come while Telegram is busy.

        The turn that is paid for the job is the placeholder's, or a part of the one that an album's is reserved.
        Of an album's jobs only the first that waits sends it.

        Returns:
            The request as it is now, and whether it was sent: the picture then needs a turn of its own.

        Raises:
            NotYet: nothing was sent, and the turn that is paid for was not used.
        """
        standing = await self._ledger.standing(request.id)
        current, jobs = (standing.request, standing.jobs) if standing else (request, ())
        if current.messages or not jobs:
            return current, False
        try:
            if len(jobs) == 1:
                with lane("paid"):
                    await self.place(current, jobs, [_NO_ESTIMATE])
            elif next((other.id for other in jobs if _waits(other)), job.id) != job.id:
                raise NotYet(_ALBUM_SECONDS, turn=0.0)
            else:
                with lane("result", patience=_LATE_SECONDS, ticket=f"place:{current.id}"):
                    await self.place(current, jobs, [_NO_ESTIMATE] * len(jobs), paid=True)
        except GateClosed as closed:
            raise NotYet(closed.seconds, turn=closed.seconds) from closed
        return await self._ledger.request(current.id) or current, True

    async def _send_text(self, request: Request, text: str, markup: InlineKeyboardMarkup | None) -> Message:
        return await self._bot.send_message(
            request.chat,
            text,
            message_thread_id=request.thread,
            reply_parameters=answer_to(request.reply_to),
            reply_markup=markup,
            disable_notification=True,
        )

    async def _send_album(
        self, request: Request, jobs: Sequence[Job], text: str, markup: InlineKeyboardMarkup, paid: bool
    ) -> tuple[list[int], int]:
        """Send the tiles and the message under them, with one turn: the tiles' ids and that message's."""
        with paying(ahead=1, taken=int(paid)):
            tiled = await self._media.send_tiles(request, jobs)
        await asyncio.sleep(pause_in(len(jobs) + 1, group=request.group))
        try:
            status = await self._send_under_album(request, text, markup)
        except TelegramAPIError:
            # With the turn that it has not used.
            with lane("paid"):
                await self._take_back(request.chat, tiled)
            raise
        return tiled, status.message_id

    async def _send_under_album(
        self, request: Request, text: str, markup: InlineKeyboardMarkup | None
    ) -> Message:
        """Send the message whose turn the tiles have paid. They are there, so it waits where Telegram says so."""
        until = time.monotonic() + _STATUS_SECONDS
        while True:
            try:
                with lane("paid"):
                    return await self._send_text(request, text, markup)
            except TelegramRetryAfter as error:
                if time.monotonic() + error.retry_after > until:
                    raise
                await asyncio.sleep(error.retry_after)

    async def _take_back(self, chat: int, messages: list[int]) -> None:
        with suppress(TelegramAPIError):
            await self._bot.delete_messages(chat, messages)


def _told(estimates: Sequence[Estimate]) -> float:
    """What the first words promise of the last picture, in seconds from now; 0: nothing."""
    return max((e.low for e in estimates if e is not _NO_ESTIMATE), default=0.0)


def _waits(job: Job) -> bool:
    """Its outcome is known and not shown."""
    return job.state not in PENDING and not job.ended


@contextmanager
def _reaching() -> Iterator[None]:
    """Turns the refusals that no later try can mend into `Undeliverable`."""
    try:
        yield
    except TelegramForbiddenError as error:
        raise Undeliverable("blocked") from error
    except TelegramBadRequest as error:
        if says(error, "chat not found", "peer_id_invalid", "deactivated", "thread not found"):
            raise Undeliverable("chat_gone") from error
        if says(
            error, "not enough rights", "have no rights", "chat_write_forbidden", "topic_closed", "restricted"
        ):
            raise Undeliverable("no_rights") from error
        raise


def _words(job: Job) -> Text:
    """The person's words as a quote. Not in a group: there they stand in the message that is answered,
    and repeating a name from them would call that person."""
    if job.spec.chat < 0:
        return Text()
    return Text(BlockQuote(shorten(job.spec.prompt, _CAPTION_PROMPT)), "\n")


def _note(request: Request, say: Voice) -> str:
    """The Bot API takes no key that would make a repeated message one: where two may have arrived, the one
    whose id we know says that it counts."""
    return "\n" + say("placeholder-counts") if request.may_have_stray else ""
