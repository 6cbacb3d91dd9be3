"""The messages that show a request: progress, the picture or why there is none, the album's last words, the ping.

The placeholder is a message we own; the picture replaces it by an edit, so showing it twice shows one picture. Not here: how that message is sent (`src.telegram.placeholders`) and a picture gets into one (`src.telegram.photos`), what
the words are (`src.telegram.status_text`), and what is done after an error (`src.pipeline.deliver`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramServerError,
)
from aiogram.types import InlineKeyboardMarkup, Message
from aiogram.utils.formatting import BlockQuote, Text

from src.jobs import Job, Ledger, Request, State
from src.jobs.estimate import Estimate
from src.providers.base import OF_SOURCE, Picture
from src.providers.catalog import Catalog, get_catalog
from src.settings import Settings
from src.telegram import keyboards, status_text
from src.telegram.client import Undeliverable, address, answer_to, is_missing, is_unchanged, reaching, says
from src.telegram.i18n import Texts, Translator, shorten
from src.telegram.photos import Media, shown_in
from src.telegram.placeholders import NotNeeded, Placeholders, count_offer
from src.telegram.status_text import Offer
from src.telegram.throttle import before_leaving, priority
from src.telegram.tiles import fits_photo

log = structlog.get_logger(__name__)

_CAPTION_PROMPT = 300
# 🎉, for whoever has waited long. Telegram's documentation names no ids, so it may be refused.
_READY = "5046509860389126442"


class Messages:
    """Shows requests and their pictures in their chats.

    Every method may raise `Undeliverable`, and lets aiogram's `TelegramRetryAfter`,
    `TelegramAPIError` and `TelegramNetworkError` through for what may go better later.
    """

    def __init__(
        self, bot: Bot, ledger: Ledger, texts: Texts, settings: Settings, *, edits: bool = True
    ) -> None:
        self._bot = bot
        self._ledger = ledger
        self._texts = texts
        self._edits = edits
        self._catalog = get_catalog(settings.models_file)
        self._media = Media(bot, ledger, settings)
        self.placeholders = Placeholders(bot, ledger, texts, self._media)

    # Before there is a picture

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
        say = self._texts.translator(request.lang)
        # What a person sends through us shows others no offers.
        offer = offer if request.inline is None else None
        status = status_text.status(say, jobs, estimates, offer, quiet=request.chosen == "later")
        message = request.status_message or (request.messages[0] if request.messages else None)
        # What a preview says holds until there is other news.
        news = any(job.failovers for job in jobs) or any(e.late or e.place is not None for e in estimates)
        if message is None or status.shape == request.shown or (request.previewed and not news):
            return False
        markup = keyboards.placeholder(say, request.id, status.offer)
        text = Text(status.text, status_text.note(say, request))
        try:
            changed = await self._change(request, message, text, markup, asked=asked)
        except NotNeeded:
            return False
        if changed:
            count_offer(request, status)
        await self._ledger.shown(request.id, status.shape, "changing")
        return changed

    async def preview(self, job: Job, request: Request, image: Picture) -> bool:
        """Let the placeholder of a single picture show it as far as it is drawn, if Telegram has room for that now; True
        if it does.

        Raises:
            ProviderError: it is no picture that Telegram would take.
        """
        say = self._texts.translator(request.lang)
        message = request.message_of(job.id)
        if message is None or not fits_photo(image.size, image.width, image.height):
            return False
        caption = Text(say("placeholder-preview"), status_text.note(say, request))
        markup = keyboards.placeholder(say, request.id)
        try:
            async with self._changing(request, preview=True):
                await self._media.preview(job, image, address(request, message), caption, markup)
        except NotNeeded:
            return False
        await self._ledger.shown(request.id, "preview", "previewing")
        return True

    async def _change(
        self, request: Request, message: int, text: Text, markup: InlineKeyboardMarkup | None, *, asked: bool
    ) -> bool:
        """Edit a placeholder's words."""
        where = address(request, message)
        async with self._changing(request, asked=asked):
            if request.previewed:
                # Also where the picture has taken its place by now: the ledger knows, and its words come back.
                try:
                    return await self._edit_caption(where, text, markup)
                except TelegramBadRequest as error:
                    if not says(error, "no caption in the message"):
                        raise
                    # The preview never came.
            return await self._edit_text(where, text, markup)

    @asynccontextmanager
    async def _changing(
        self, request: Request, *, asked: bool = False, preview: bool = False
    ) -> AsyncIterator[None]:
        """While a change of a placeholder is on its way, and where its answer is lost, the ledger knows of it: the end
        that is said meanwhile is said once more, as the later edit would hide it. Raises `NotNeeded` where the end has
        been said."""
        gone = False

        async def goes() -> None:
            nonlocal gone
            if not gone and not await self._ledger.changing(request.id, preview=preview):
                raise NotNeeded
            gone = True

        with priority("answer" if asked else "progress"), before_leaving(goes), reaching():
            try:
                yield
            except (TelegramNetworkError, TelegramServerError):
                raise  # it may have arrived, or still do
            except TelegramAPIError:
                if gone and not preview:
                    await self._ledger.settled(request.id, "changing")
                elif gone:
                    await self._ledger.settled(request.id, "previewing")
                    if not request.previewed:
                        await self._ledger.settled(request.id, "previewed")
                raise

    # The end

    async def end(self, request: Request, jobs: Sequence[Job]) -> None:
        """Say once more how a request ended, where that may have been hidden."""
        if not jobs:
            return
        shown = jobs[0].shown or {}
        if request.status_message is not None:
            await self.close(request, jobs)
            # After the words: where no pictures may be sent, tiles cannot be changed.
            for job in jobs:
                if job.state in (State.FAILED, State.CANCELLED) and not job.shown:
                    try:
                        await self.notice(job, request)
                    except (TelegramBadRequest, Undeliverable) as error:
                        log.info("tile stays", job_id=job.id, error=type(error).__name__)
        elif jobs[0].state in (State.FAILED, State.CANCELLED):
            await self.notice(jobs[0], request)
        elif (request.inline is not None or request.previewed) and "file_id" in shown:
            # Elsewhere a text cannot take the place of a picture, but a preview can.
            with reaching():
                await self._put_stored(jobs[0], request, shown)

    async def picture(self, job: Job, request: Request, image: Picture) -> dict[str, Any]:
        """Put the picture where the placeholder is.

        Returns:
            What was shown, for the ledger: `message`, what `shown_in` says (nothing when Telegram says it was
            there already) and, where the provider keeps the original for a while, its `url`.

        Raises:
            ProviderError: the picture broke off on its way, or has to be made to fit and cannot be decoded.
        """
        if request.inline is not None:
            with reaching():
                stored = await self._media.store(job, image, original=request.original)
                await self._put_stored(job, request, stored)
            return {"message": 0} | stored | (job.result or {})
        single = len(request.jobs) == 1
        caption, markup = self._under_picture(job, request) if single else (Text(), None)
        message = request.message_of(job.id)
        if message is None:
            raise Undeliverable("chat_gone")
        show = partial(
            self._media.show,
            job,
            image,
            caption=caption,
            markup=markup,
            album=not single,
            original=request.original,
            covered=request.covered,
        )
        with reaching():
            try:
                sent = await show(address(request, message))
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise
                message = await self.placeholders.replace(job, request)
                sent = await show(address(request, message))
        shown: dict[str, Any] = {"message": message}
        if sent is not None:
            shown |= shown_in(sent)
        return shown | (job.result or {})

    def _under_picture(self, job: Job, request: Request) -> tuple[Text, InlineKeyboardMarkup]:
        """The words and the buttons under a picture that stands alone."""
        say = self._texts.translator(request.lang)
        about = picture_caption(say, job, self._catalog, words=not request.words_seen)
        caption = Text(about, status_text.note(say, request))
        if request.inline is not None:
            return caption, keyboards.inline_again(say, job.spec.prompt)
        return caption, keyboards.picture(say, job.id, edits=self._edits)

    async def _put_stored(self, job: Job, request: Request, stored: Mapping[str, Any]) -> None:
        """Let a message show the picture that Telegram has; if it is gone the person finds it in their history."""
        caption, markup = self._under_picture(job, request)
        where = address(request, request.message_of(job.id) or 0)
        try:
            await self._media.put_stored(job, stored, where, caption, markup)
        except TelegramBadRequest as error:
            if not is_missing(error):
                raise

    async def shown_already(self, job: Job, request: Request) -> dict[str, Any] | None:
        """What was shown, as `picture` tells it, if the job's picture is there though nobody heard so; else None.

        Of a tile in an album it cannot be told: it was a photo before. Nor of what a person sent through us: there
        words may be put under a picture.
        """
        message = request.message_of(job.id)
        if message is None or len(request.jobs) > 1 or request.inline is not None:
            return None
        say = self._texts.translator(request.lang)
        caption, buttons = self._under_picture(job, request)
        found = None
        # Telegram tells of a message what it is where an edit changes it: one of these two does, whoever died between.
        for markup in (keyboards.placeholder(say, request.id), buttons):
            try:
                told = await self._bot.edit_message_reply_markup(
                    reply_markup=markup, **address(request, message)
                )
            except TelegramBadRequest as error:
                if not is_unchanged(error):
                    return None
            except TelegramForbiddenError:
                return None
            else:
                found = told if isinstance(told, Message) else found
        if found is None or not (found.photo or found.document):
            return None
        if request.previewed and found.caption != caption.render()[0].strip():
            return None
        return {"message": message} | shown_in(found) | (job.result or {})

    async def notice(self, job: Job, request: Request) -> dict[str, Any]:
        """Say in place of the picture why there is none, and what to do.

        Returns:
            What was shown, for the ledger: `message`, or nothing where there is none.
        """
        say = self._texts.translator(request.lang)
        message = request.message_of(job.id)
        if message is None:
            return {}
        with reaching():
            if len(request.jobs) > 1:
                await self._media.fail_tile(address(request, message), job.spec.aspect)
                return {"message": message}
            text = Text(status_text.reason(say, job), status_text.note(say, request))
            inline = request.inline is not None
            markup = (
                keyboards.inline_again(say, job.spec.prompt) if inline else keyboards.no_picture(say, job)
            )
            try:
                if request.previewed:
                    # Nothing is left of what was drawn, be it that it may not be shown.
                    await self._media.put_tile(address(request, message), job.spec.aspect, text, markup)
                else:
                    await self._edit_text(address(request, message), text, markup)
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise
                # Who took the job back and removed its message wants to hear no more of it.
                if job.state is State.CANCELLED or inline:
                    return {"message": message}
                message = await self.placeholders.replace(job, request)
                await self._edit_text(address(request, message), text, markup)
        return {"message": message}

    async def close(self, request: Request, jobs: Sequence[Job]) -> None:
        """Let the message under an album say how it ended; nothing for a single picture."""
        if request.status_message is None or not jobs:
            return
        say = self._texts.translator(request.lang)
        ending = status_text.ending(say, jobs)
        words = Text() if request.words_seen else _words(jobs[0])
        varied = self._edits and any(job.state is State.DELIVERED for job in jobs)
        about = f"\n{say('album-variations')}" if varied else ""
        text = Text(words, ending, about, _stood_in(say, jobs), status_text.note(say, request))
        with reaching():
            try:
                await self._edit_text(
                    address(request, request.status_message),
                    text,
                    keyboards.album(say, request.id, jobs, edits=self._edits),
                )
            except TelegramBadRequest as error:
                if not is_missing(error):
                    raise

    async def ping(self, job: Job, request: Request, *, done: bool = True) -> None:
        """Tell a person who has waited long, with a sound: an edit makes none.

        Args:
            done: there is a picture; else the message says why there is none.
        """
        say = self._texts.translator(request.lang)
        key = ("ready" if len(request.jobs) == 1 else "ready-album") if done else "ready-not"
        # In a group only an answer to the person's own message calls them.
        answered = (request.reply_to if request.group else None) or request.message_of(job.id)
        send = partial(
            self._bot.send_message,
            request.chat,
            say(key),
            message_thread_id=request.thread,
            reply_parameters=answer_to(answered),
        )
        with reaching():
            try:
                # Groups have no effects.
                await send(message_effect_id=_READY if done and request.chat > 0 else None)
            except TelegramBadRequest as error:
                if not says(error, "effect"):
                    raise
                await send()

    async def _edit_text(
        self, where: Mapping[str, Any], text: Text, markup: InlineKeyboardMarkup | None
    ) -> bool:
        """Change a text message; False if it said so already, or shows its picture by now."""
        try:
            await self._bot.edit_message_text(reply_markup=markup, **where, **text.as_kwargs())
        except TelegramBadRequest as error:
            if is_unchanged(error) or says(error, "no text in the message"):
                return False
            raise
        return True

    async def _edit_caption(
        self, where: Mapping[str, Any], text: Text, markup: InlineKeyboardMarkup | None
    ) -> bool:
        """Change the words under a photo; False if they said so already."""
        caption = text.as_kwargs(text_key="caption", entities_key="caption_entities")
        try:
            await self._bot.edit_message_caption(reply_markup=markup, **where, **caption)
        except TelegramBadRequest as error:
            if is_unchanged(error):
                return False
            raise
        return True


def picture_caption(say: Translator, job: Job, catalog: Catalog, *, words: bool = True) -> Text:
    """What stands under a picture; `words`: the person's, too."""
    aspect = say("aspect-of-source") if job.spec.aspect == OF_SOURCE else job.spec.aspect
    model = catalog.shown(job.provider, job.spec.model, say.lang)
    made_by = say("caption-made-by", model=model, aspect=aspect)
    return Text(_words(job) if words else "", made_by, _stood_in(say, [job]))


def _stood_in(say: Translator, jobs: Sequence[Job]) -> str:
    """Who made pictures that another provider was to make."""
    made = [job for job in jobs if job.spec.instead_of and job.state in (State.DELIVERING, State.DELIVERED)]
    pairs = dict.fromkeys((job.provider, job.spec.instead_of) for job in made)
    return "".join(f"\n{say('caption-instead', provider=p, first=first)}" for p, first in pairs)


def _words(job: Job) -> Text:
    """The person's words as a quote. Not in a group: there they stand in the message that is answered,
    and repeating a name from them would call that person."""
    if job.spec.chat < 0:
        return Text()
    return Text(BlockQuote(shorten(job.spec.prompt, _CAPTION_PROMPT)), "\n")
