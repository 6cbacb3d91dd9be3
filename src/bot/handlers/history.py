"""/history: a person's pictures, one at a time in one message, by Telegram's own file ids; favourites, search, delete."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import CallbackQuery, ForceReply, InlineKeyboardMarkup, Message

from src.app import App
from src.bot import pictures
from src.bot.chats import Chats, speaks_for
from src.bot.forgetting import forget, make_favourite
from src.bot.middlewares import state_of
from src.bot.ordering import NO_COMMAND
from src.jobs import Job, Person, keys
from src.telegram import keyboards
from src.telegram.client import is_unchanged
from src.telegram.i18n import Translator
from src.telegram.keyboards import GalleryKind, OfGallery

log = structlog.get_logger(__name__)

_SOUGHT_SECONDS = 86_400


class Search(StatesGroup):
    """Looking for pictures."""

    words = State()


@dataclass(frozen=True, slots=True)
class Gallery:
    """A person's pictures as one message turns them over.

    Attributes:
        kind: all, favourites, or those `found` by words.
        page: address of the Mini App, where one can be opened.
    """

    kind: GalleryKind
    jobs: list[Job]
    starred: frozenset[str]
    page: str | None
    covered: bool

    def at(self, job_id: str) -> int:
        """The place of a picture; of one that is gone, the first."""
        return next((place for place, job in enumerate(self.jobs) if job.id == job_id), 0)

    def keyboard(self, say: Translator, place: int) -> InlineKeyboardMarkup:
        ids = [job.id for job in self.jobs]
        return keyboards.gallery(
            say, self.kind, ids, place, starred=ids[place] in self.starred, page=self.page
        )


async def look(app: App, chats: Chats, user: str, chat: int, kind: GalleryKind, words: str = "") -> Gallery:
    """The pictures of that kind that a person had in that chat, newest first."""
    starred = await app.ledger.starred(user)
    jobs = await (app.ledger.jobs(starred) if kind == "star" else app.ledger.pictures(user))
    here = {other for other in {job.spec.chat for job in jobs} if await chats.are_same(other, chat)}
    sought = words.casefold().split()
    found = [
        job
        for job in jobs
        if job.spec.chat in here
        and "file_id" in (job.shown or {})
        and all(word in job.spec.prompt.casefold() for word in sought)
    ]
    # Telegram opens pages from private chats only.
    page = app.settings.mini_app if chat > 0 else None
    return Gallery(kind, found, frozenset(starred), page, (await chats.rules(chat)).covered)


async def history(
    message: Message,
    command: CommandObject,
    app: App,
    bot: Bot,
    chats: Chats,
    person: Person,
    say: Translator,
) -> None:
    await _open(message, (command.args or "").strip(), app, bot, chats, person, say)


async def search(
    message: Message, app: App, bot: Bot, chats: Chats, person: Person, state: FSMContext, say: Translator
) -> None:
    await state.clear()
    await _open(message, (message.text or "").strip(), app, bot, chats, person, say)


async def _open(
    message: Message, words: str, app: App, bot: Bot, chats: Chats, person: Person, say: Translator
) -> None:
    kind: GalleryKind = "found" if words else "all"
    gallery = await look(app, chats, person.id, message.chat.id, kind, words)
    if not gallery.jobs:
        await message.answer(say("gallery-none-found" if words else "history-empty"))
        return
    where = message.chat.id, message.message_thread_id if message.is_topic_message else None
    # In a group as an answer, which tells whose it is.
    answered = None if message.chat.type == ChatType.PRIVATE else message.message_id
    sent = await pictures.show(
        app,
        bot,
        gallery.jobs[0],
        say,
        gallery.keyboard(say, 0),
        answered=answered,
        where=where,
        covered=gallery.covered,
    )
    if words:
        await app.redis.set(keys.SOUGHT(message.chat.id, sent.message_id), words, ex=_SOUGHT_SECONDS)


async def turn(
    callback: CallbackQuery,
    callback_data: OfGallery,
    app: App,
    bot: Bot,
    chats: Chats,
    state: FSMContext,
    say: Translator,
) -> None:
    """A button under the gallery."""
    message = callback.message
    if not isinstance(message, Message):
        await callback.answer(say("toast-old"))
        return
    owner = await chats.owner_of(callback)
    if owner is None:
        await callback.answer(say("toast-foreign"))
        return
    what, kind, job_id = callback_data.what, callback_data.kind, callback_data.id
    if what == "find":
        await callback.answer()
        # Who acts for a chat writes in its name.
        if (chat := speaks_for(owner)) is not None:
            state = state_of(state, chat)
        await state.set_state(Search.words)
        await message.answer(
            say("gallery-ask"), reply_markup=ForceReply(input_field_placeholder=say("gallery-placeholder"))
        )
        return
    words = await app.redis.get(keys.SOUGHT(message.chat.id, message.message_id)) if kind == "found" else ""
    if words is None:
        await callback.answer(say("toast-old"))
        return
    gallery = await look(app, chats, owner, message.chat.id, kind, words)
    place, told = gallery.at(job_id), None
    if what in ("star", "unstar"):
        told = await _star(app, owner, job_id, gallery, say, on=what == "star")
        gallery = await look(app, chats, owner, message.chat.id, kind, words)
        place = min(place, len(gallery.jobs) - 1)
    elif what == "sure":
        await forget(app, bot, job_id, owner)
        told = say("gallery-deleted")
        gallery = await look(app, chats, owner, message.chat.id, kind, words)
        place = min(place, len(gallery.jobs) - 1)
    if not gallery.jobs:
        await callback.answer(told or say("gallery-no-stars" if kind == "star" else "history-empty"))
        if what != "kind":
            await message.delete()
        return
    if what == "delete":
        await message.edit_reply_markup(reply_markup=keyboards.gallery_sure(say, kind, job_id))
    else:
        await _show(app, message, gallery, place, say)
    await callback.answer(told)


async def _star(app: App, owner: str, job_id: str, gallery: Gallery, say: Translator, *, on: bool) -> str:
    """Make a picture a favourite, or none any more; what to say."""
    job = next((job for job in gallery.jobs if job.id == job_id), None)
    if job is None or job.user != owner:
        return say("toast-old")
    await make_favourite(app, job, on=on)
    return say("gallery-starred" if on else "gallery-unstarred")


async def _show(app: App, message: Message, gallery: Gallery, place: int, say: Translator) -> None:
    """Let the gallery's message show a picture."""
    job, markup, covered = gallery.jobs[place], gallery.keyboard(say, place), gallery.covered
    try:
        await message.edit_media(pictures.media(app, job, say, covered=covered), reply_markup=markup)
    except TelegramBadRequest as error:
        if is_unchanged(error):
            return
        # Telegram may forget an id, and has many words for it.
        image = await pictures.original(app, job)
        log.info("kept id refused", job_id=job.id, error=type(error).__name__, original=image is not None)
        if image is None:
            await message.edit_caption(caption=say("file-unavailable"), reply_markup=markup)
        else:
            again = pictures.media(app, job, say, image, covered=covered)
            await message.edit_media(again, reply_markup=markup)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="history")
    router.message.register(history, Command("history"))
    router.message.register(search, Search.words, F.text, NO_COMMAND)
    router.callback_query.register(turn, OfGallery.filter())
    return router
