"""The buttons under a picture, and the pictures a person has had: Again, Variation, As file, Edit
prompt, /history. Everything they need is in the ledger, so they work after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from aiogram import Bot, Router
from aiogram.exceptions import TelegramBadRequest, TelegramEntityTooLarge
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.types import BufferedInputFile, CallbackQuery, Message
from aiogram.utils.formatting import Text

from src.app import App
from src.bot.chats import Chats, speaks_for
from src.bot.handlers.create import ask_for_words
from src.bot.handling import Later
from src.bot.middlewares import state_of
from src.bot.ordering import Asking, first_tap
from src.jobs import Job, Person, Request, State, keys
from src.pipeline import admission
from src.pipeline.admission import Wish
from src.providers.base import ImageBytes, ImageRef, ProviderError
from src.providers.catalog import get_catalog
from src.providers.images import inspect
from src.store.blobs import BlobsAway
from src.telegram import files, keyboards
from src.telegram.client import answer_to
from src.telegram.i18n import Translator, isolated, shorten
from src.telegram.keyboards import OfJob, OfRequest
from src.telegram.messages import picture_caption
from src.telegram.photos import file_name

log = structlog.get_logger(__name__)


_TOAST = 200
_TAP_SECONDS = 5
_HISTORY = 10
_LINE = 80


async def of_request(
    callback: CallbackQuery,
    callback_data: OfRequest,
    app: App,
    bot: Bot,
    asking: Asking,
    chats: Chats,
    later: Later,
    say: Translator,
    update_id: int,
) -> None:
    request = await app.ledger.request(callback_data.id)
    message = callback.message
    if request is None or message is None:
        await callback.answer(say("toast-old"))
        return
    once = callback_data.what != "cancel"
    if once:
        foreign = not await chats.are_same(request.chat, message.chat.id)
    else:
        foreign = not await chats.may_act(callback, request.user)
    if await _is_refused(callback, app, say, update_id, foreign=foreign, once=once):
        return
    if callback_data.what == "cancel":
        await callback.answer(say(await cancel(app, request)))
        await _remove_if_stray(bot, message, request)
        return
    jobs = await app.ledger.jobs(request.jobs)
    if not jobs:
        await callback.answer(say("toast-old"))
    elif callback_data.what == "again":
        await _draw(callback, message, jobs[0], jobs[0].spec.source, len(jobs), asking, say, update_id)
    else:
        await callback.answer(say("toast-file"))
        later(_send_files(app, bot, [job for job in jobs if job.state is State.DELIVERED], say))


async def of_job(
    callback: CallbackQuery,
    callback_data: OfJob,
    app: App,
    bot: Bot,
    asking: Asking,
    chats: Chats,
    state: FSMContext,
    later: Later,
    say: Translator,
    update_id: int,
) -> None:
    job = await app.ledger.job(callback_data.id)
    message = callback.message
    if job is None or message is None:
        await callback.answer(say("toast-old"))
        return
    own = await chats.may_act(callback, job.user)
    foreign = not own and not await chats.are_same(job.spec.chat, message.chat.id)
    if await _is_refused(callback, app, say, update_id, foreign=foreign):
        return
    picture = (job.shown or {}).get("file_id")
    match callback_data.what:
        case "again":
            await _draw(callback, message, job, job.spec.source, 1, asking, say, update_id)
        case "vary" if picture:
            await _draw(callback, message, job, str(picture), 1, asking, say, update_id)
        case "file" if picture:
            await callback.answer(say("toast-file"))
            later(_send_files(app, bot, [job], say))
        case "show" if picture:
            await callback.answer()
            later(_show(app, bot, job, say))
        case "words":
            await callback.answer()
            # Who acts for a chat writes in its name.
            if own and (chat := speaks_for(job.user)) is not None:
                state = state_of(state, chat)
            await ask_for_words(bot, job, state, say, callback.from_user)
        case _:
            await callback.answer(say("toast-old"))


async def cancel(app: App, request: Request) -> str:
    """Take back what a request has open, for its owner; the key of the words to answer with."""
    endings = [await admission.cancel(app, job, request.user) for job in request.jobs]
    if any(ending.done for ending in endings):
        return "toast-cancelled"
    if any(ending.before in (State.DELIVERING, State.READY) for ending in endings):
        return "toast-too-late"
    return "toast-over"


async def _remove_if_stray(bot: Bot, message: Message | object, request: Request) -> None:
    """A second placeholder, from a process that died before the ledger knew of it: take it away."""
    if isinstance(message, Message) and request.messages:
        known = (*request.messages, request.status_message)
        if message.message_id not in known:
            try:
                await message.delete()
            except TelegramBadRequest:
                log.info("stray placeholder stays", request_id=request.id)


async def _draw(
    callback: CallbackQuery,
    message: Message | object,
    job: Job,
    source: str | None,
    count: int,
    asking: Asking,
    say: Translator,
    update_id: int,
) -> None:
    """Ask for the same once more, for whoever pressed the button."""
    wish = Wish(
        user=callback.from_user.id,
        chat=job.spec.chat,
        prompt=job.spec.prompt,
        update=str(update_id),
        aspect=job.spec.aspect,
        count=count,
        lang=say.lang,
        source=source,
        references=job.spec.references if source == job.spec.source else (),
        thread=job.spec.thread,
        reply_to=message.message_id if isinstance(message, Message) else None,
        group=job.spec.chat < 0,
    )
    refusal = await asking.ask(wish, say)
    if refusal is None:
        await callback.answer(say("toast-drawing"))
    else:
        await callback.answer(shorten(refusal, _TOAST), show_alert=True)


async def _is_refused(
    callback: CallbackQuery, app: App, say: Translator, update_id: int, *, foreign: bool, once: bool = True
) -> bool:
    """Answer a tap on somebody else's button, and the second of two quick taps; whether it was one.

    Args:
        once: two quick taps would do it twice.
    """
    if foreign:
        await callback.answer(say("toast-foreign"))
    elif once and not await first_tap(app, callback, update_id, _TAP_SECONDS):
        await callback.answer(say("toast-already"))
    else:
        return False
    return True


# Files


async def _send_files(app: App, bot: Bot, jobs: Sequence[Job], say: Translator) -> None:
    for job in jobs:
        await _send_file(app, bot, job, say)


async def _send_file(app: App, bot: Bot, job: Job, say: Translator) -> None:
    """Send a picture as the file the provider made, or as near to it as is still to be had."""
    key = keys.FILE(job.id)
    send = partial(
        bot.send_document,
        job.spec.chat,
        message_thread_id=job.spec.thread,
        reply_parameters=answer_to(int((job.shown or {}).get("message", 0))),
        # Telegram would show it as a photo again.
        disable_content_type_detection=True,
    )
    if (known := await app.redis.get(key)) is not None:
        try:
            await send(known)
        except TelegramBadRequest as error:
            # Telegram may forget an id, and has many words for it.
            log.info("kept id refused", job_id=job.id, error=type(error).__name__)
        else:
            return
    words: str | None = None
    image = await _original(app, job)
    if image is None:
        image, words = await _from_telegram(bot, job), say("toast-no-original")
    if image is None:
        await bot.send_message(
            job.spec.chat,
            say("file-unavailable"),
            message_thread_id=job.spec.thread,
            reply_parameters=answer_to(int((job.shown or {}).get("message", 0))),
        )
        return
    sent = await send(BufferedInputFile(image.data, file_name(job, image.mime)), caption=words)
    if sent.document is not None:
        await app.redis.set(key, sent.document.file_id, ex=app.settings.job_ttl_days * 86_400)


async def _original(app: App, job: Job) -> ImageBytes | None:
    provider = app.providers.get(job.provider)
    if provider is None:
        return None
    url = (job.shown or {}).get("url")
    try:
        data = await app.original(job.id)
    except BlobsAway as error:
        log.warning("the store of originals is away", job_id=job.id, why=str(error))
        data = None
    for ref in ([ImageRef(data=data)] if data else []) + ([ImageRef(url=str(url))] if url else []):
        try:
            return await provider.fetch(ref)
        except ProviderError as error:
            log.info("original not to be had", job_id=job.id, kind=error.kind)
    return None


async def _from_telegram(bot: Bot, job: Job) -> ImageBytes | None:
    try:
        data = await files.download(bot, str((job.shown or {})["file_id"]))
        return await asyncio.to_thread(inspect, data)
    except (files.NoFile, files.NotNow, ProviderError) as error:
        log.info("not to be had from Telegram", job_id=job.id, error=type(error).__name__)
        return None


# History


async def history(message: Message, app: App, chats: Chats, person: Person, say: Translator) -> None:
    requests = [await app.ledger.request(number) for number in await app.ledger.history(person.id, _HISTORY)]
    ids = [
        job
        for request in requests
        if request is not None and await chats.are_same(request.chat, message.chat.id)
        for job in request.jobs
    ]
    jobs = [job for job in await app.ledger.jobs(ids) if job.state is State.DELIVERED][:_HISTORY]
    if not jobs:
        await message.answer(say("history-empty"))
        return
    lines = "\n".join(
        f"{n}. {isolated(shorten(job.spec.prompt, _LINE))}" for n, job in enumerate(jobs, start=1)
    )
    text = Text(say("history-title"), "\n\n", lines)
    await message.answer(**text.as_kwargs(), reply_markup=keyboards.history(jobs))


async def _show(app: App, bot: Bot, job: Job, say: Translator) -> None:
    """Send a picture of the history once more, with its words."""
    file_id = str((job.shown or {})["file_id"])
    rest: dict[str, Any] = {
        "message_thread_id": job.spec.thread,
        "reply_markup": keyboards.picture(say, job.id, edits=app.offered().edit),
        **picture_caption(say, job, get_catalog(app.settings.models_file)).as_caption_kwargs(),
    }
    try:
        await bot.send_photo(job.spec.chat, file_id, **rest)
    except TelegramBadRequest:
        # It was too large for a photo and was sent as a file, or Telegram has forgotten the id.
        try:
            await bot.send_document(job.spec.chat, file_id, **rest)
        except TelegramBadRequest:
            await _show_anew(app, bot, job, rest, say)


async def _show_anew(app: App, bot: Bot, job: Job, rest: dict[str, Any], say: Translator) -> None:
    image = await _original(app, job)
    if image is None:
        await bot.send_message(job.spec.chat, say("file-unavailable"), message_thread_id=job.spec.thread)
        return
    file = BufferedInputFile(image.data, file_name(job, image.mime))
    try:
        await bot.send_photo(job.spec.chat, file, **rest)
    except (TelegramBadRequest, TelegramEntityTooLarge):
        await bot.send_document(job.spec.chat, file, **rest)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="gallery")
    router.callback_query.register(of_request, OfRequest.filter())
    router.callback_query.register(of_job, OfJob.filter())
    router.message.register(history, Command("history"))
    return router
