"""Pictures that a person has had, sent once more: the original as a file, or the picture with its words and buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest, TelegramEntityTooLarge
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    Message,
)
from aiogram.utils.formatting import Text

from src.app import App
from src.jobs import Job, keys
from src.providers.base import ImageBytes, ImageRef, ProviderError
from src.providers.images import inspect
from src.store.blobs import BlobsAway
from src.telegram import files, keyboards
from src.telegram.client import answer_to
from src.telegram.i18n import Translator
from src.telegram.messages import picture_caption
from src.telegram.photos import file_name

log = structlog.get_logger(__name__)


async def send_files(app: App, bot: Bot, jobs: Sequence[Job], say: Translator) -> None:
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
    image = await original(app, job)
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


async def original(app: App, job: Job) -> ImageBytes | None:
    """The bytes that the provider made, while they are to be had."""
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


async def show_again(app: App, bot: Bot, job: Job, say: Translator) -> None:
    request = await app.ledger.request(job.request)
    await show(app, bot, job, say, covered=request is not None and request.covered)


async def show(
    app: App,
    bot: Bot,
    job: Job,
    say: Translator,
    markup: InlineKeyboardMarkup | None = None,
    *,
    answered: int | None = None,
    where: tuple[int, int | None] | None = None,
    covered: bool = False,
) -> Message:
    """Send a picture once more, with its words and its buttons or others.

    Args:
        covered: see `Request`.
        answered: the message that it answers. where: the chat and topic, if elsewhere than it was made.
    """
    file_id = str((job.shown or {})["file_id"])
    chat, thread = where or (job.spec.chat, job.spec.thread)
    rest: dict[str, Any] = {
        "chat_id": chat,
        "message_thread_id": thread,
        "reply_markup": markup or keyboards.picture(say, job.id, edits=app.routing.offered().edit),
        "reply_parameters": answer_to(answered),
        **_caption(app, job, say).as_caption_kwargs(),
    }
    spoiler = covered or job.borderline or None
    try:
        return await bot.send_photo(photo=file_id, has_spoiler=spoiler, **rest)
    except TelegramBadRequest:
        # It was too large for a photo and was sent as a file, or Telegram has forgotten the id.
        try:
            return await bot.send_document(document=file_id, **rest)
        except TelegramBadRequest:
            return await _show_anew(app, bot, job, rest, say, spoiler)


async def _show_anew(
    app: App, bot: Bot, job: Job, rest: dict[str, Any], say: Translator, spoiler: bool | None
) -> Message:
    image = await original(app, job)
    if image is None:
        place = {name: rest[name] for name in ("chat_id", "message_thread_id", "reply_parameters")}
        return await bot.send_message(text=say("file-unavailable"), **place)
    file = BufferedInputFile(image.data, file_name(job, image.mime))
    try:
        return await bot.send_photo(photo=file, has_spoiler=spoiler, **rest)
    except (TelegramBadRequest, TelegramEntityTooLarge):
        return await bot.send_document(document=file, **rest)


def media(
    app: App, job: Job, say: Translator, image: ImageBytes | None = None, *, covered: bool = False
) -> InputMediaPhoto | InputMediaDocument:
    """A picture to be put into a message: as Telegram knows it, or these bytes."""
    shown = job.shown or {}
    file = BufferedInputFile(image.data, file_name(job, image.mime)) if image else str(shown["file_id"])
    words = _caption(app, job, say).as_caption_kwargs()
    if shown.get("document"):
        return InputMediaDocument(media=file, **words)
    return InputMediaPhoto(media=file, has_spoiler=covered or job.borderline or None, **words)


def _caption(app: App, job: Job, say: Translator) -> Text:
    return picture_caption(say, job, app.routing.catalog)
