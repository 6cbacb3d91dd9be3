"""Photos in messages: a finished picture put into its placeholder, and an album's tiles.

A picture is streamed from the provider to Telegram, so none is whole in memory but one that must be fitted. Not here: which message, the words under it, and what happens when that message is gone (that is
`src.telegram.messages`); how tiles are drawn (`src.telegram.tiles`).
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramNetworkError,
)
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardMarkup,
    InputFile,
    InputMediaDocument,
    InputMediaPhoto,
    Message,
)
from aiogram.utils.formatting import Text
from PIL import Image

from src.jobs import Job, Ledger, Request, keys
from src.jobs.spending import DAY
from src.providers.base import ErrorKind, Picture, ProviderError
from src.settings import Settings
from src.telegram import tiles
from src.telegram.client import (
    Undeliverable,
    answer_to,
    is_missing,
    is_unchanged,
    is_unreachable,
    reaching,
    says,
)

_UPLOAD_SECONDS = 120

_WORD, _ARTICLE = re.compile(r"\w+"), re.compile(r"^(?:an?|the)\s+")
_NAME_WORDS, _NAME_LENGTH = 6, 40
# Pixels across; the smallest that Telegram makes are of 90.
_SMALL = 200
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


class Media:
    """Puts photos and files into one bot's messages. Lets aiogram's errors through."""

    def __init__(self, bot: Bot, ledger: Ledger, settings: Settings) -> None:
        self._bot = bot
        self._ledger = ledger
        self._storage = settings.inline_storage_chat
        self._keep = settings.job_ttl_days * DAY

    async def show(
        self,
        job: Job,
        image: Picture,
        where: Mapping[str, Any],
        *,
        caption: Text,
        markup: InlineKeyboardMarkup | None,
        album: bool,
        original: bool = False,
        covered: bool = False,
    ) -> Message | None:
        """Put a job's picture into a message: as a photo, or where Telegram does not take it so, alone as the
        file it is, in an album made to fit.

        Args:
            where: the message's `address`.
            album: the message is one of an album, which has no place for a file.
            original: as the file first, as the person wants it. covered: a photo is shown when it is tapped.

        Returns:
            What the message is now; None: it was so already.

        Raises:
            ProviderError: the picture broke off on its way, or has to be fitted and cannot be decoded.
        """

        async def put(media: InputMediaPhoto | InputMediaDocument) -> Message | None:
            if covered and isinstance(media, InputMediaPhoto):
                media = media.model_copy(update={"has_spoiler": True})
            return await self._put(where, media, markup)

        return await self._in_a_form(job, image, put, caption, album=album, original=original)

    async def store(self, job: Job, image: Picture, *, original: bool = False) -> dict[str, Any]:
        """Let Telegram have a job's picture where nobody looks, as it takes no upload into what a person sent through
        us; once, if its answer is heard.

        Returns:
            What `shown_in` says of it, for `put_stored`, and as `copy` the chat and the message there, to delete it by.

        Raises:
            Undeliverable: nothing can be stored.
            ProviderError: as `show` does.
        """
        key = keys.STORED(job.id)
        if (known := await self._ledger.client.get(key)) is not None:
            return dict(json.loads(known))
        sent = await self._in_a_form(job, image, self._store, Text(), album=False, original=original)
        stored = shown_in(sent) | {"copy": [sent.chat.id, sent.message_id]} if sent is not None else {}
        await self._ledger.client.set(key, json.dumps(stored), ex=DAY)
        return stored

    async def put_stored(
        self,
        job: Job,
        stored: Mapping[str, Any],
        where: Mapping[str, Any],
        caption: Text,
        markup: InlineKeyboardMarkup | None,
    ) -> None:
        """Put into a message what Telegram has."""
        file = str(stored.get("file_id"))
        document = InputMediaDocument(media=file, **_captioned(caption)) if stored.get("document") else None
        try:
            await self._put(where, document or _photo(file, caption, job), markup)
        except TelegramBadRequest as error:
            if not is_missing(error):
                # Telegram may have forgotten it: the next try stores it anew.
                await self._ledger.client.delete(keys.STORED(job.id))
            raise

    async def _store(self, media: InputMediaPhoto | InputMediaDocument) -> Message:
        if self._storage is None:
            raise Undeliverable("no_storage")
        chat = self._storage
        silent: dict[str, Any] = {"disable_notification": True, "request_timeout": _UPLOAD_SECONDS}
        try:
            with reaching(), _broken_off(media):
                if isinstance(media, InputMediaPhoto):
                    return await self._bot.send_photo(chat, media.media, **silent)
                return await self._bot.send_document(
                    chat, media.media, disable_content_type_detection=True, **silent
                )
        except Undeliverable as error:
            raise Undeliverable("no_storage") from error

    async def _in_a_form(
        self,
        job: Job,
        image: Picture,
        put: Callable[[InputMediaPhoto | InputMediaDocument], Awaitable[Message | None]],
        caption: Text,
        *,
        album: bool,
        original: bool,
    ) -> Message | None:
        """Put a picture somewhere in the first form that Telegram takes."""
        file = PictureFile(image, file_name(job, image.mime))
        as_photo = tiles.fits_photo(image.size, image.width, image.height)
        if as_photo and not original:
            try:
                return await put(_photo(file, caption, job))
            except (TelegramBadRequest, TelegramEntityTooLarge) as error:
                _raise_unless_of_the_file(error)
                if album and says(error, "not enough rights"):
                    raise  # there it can be nothing but a photo
        if not album:
            try:
                return await put(_document(file, caption))
            except (TelegramBadRequest, TelegramEntityTooLarge) as error:
                _raise_unless_of_the_file(error)
        if as_photo and original:
            try:
                return await put(_photo(file, caption, job))
            except (TelegramBadRequest, TelegramEntityTooLarge) as error:
                _raise_unless_of_the_file(error)
        data = b"".join([piece async for piece in image.pieces()])
        try:
            jpeg = await asyncio.to_thread(tiles.fit, data)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # as Pillow says so
            raise ProviderError(ErrorKind.BAD_RESULT, "undecodable") from None
        fitted = BufferedInputFile(jpeg, file_name(job, "image/jpeg"))
        return await put(_photo(fitted, caption, job))

    async def send_tiles(self, request: Request, jobs: Sequence[Job]) -> list[int]:
        """Send an album of tiles, one for each of a request's jobs; its messages' ids."""

        async def send(tile: InputFile | str) -> list[Message]:
            return await self._bot.send_media_group(
                request.chat,
                [InputMediaPhoto(media=tile) for _ in jobs],
                message_thread_id=request.thread,
                reply_parameters=answer_to(request.reply_to),
                disable_notification=True,
            )

        sent = await self._with_tile(jobs[0].spec.aspect, "waiting", send)
        return [message.message_id for message in sent]

    async def preview(
        self, job: Job, image: Picture, where: Mapping[str, Any], caption: Text, markup: InlineKeyboardMarkup
    ) -> None:
        """Show a picture that is not finished."""
        await self._put(where, _photo(PictureFile(image, file_name(job, image.mime)), caption, job), markup)

    async def fail_tile(self, where: Mapping[str, Any], aspect: str) -> None:
        """Let an album's tile say that there is no picture; nothing where the tile was deleted."""
        try:
            await self.put_tile(where, aspect, Text(), None)
        except TelegramBadRequest as error:
            if not is_missing(error):
                raise

    async def put_tile(
        self, where: Mapping[str, Any], aspect: str, caption: Text, markup: InlineKeyboardMarkup | None
    ) -> None:
        """Put the tile that says that there is no picture into a message."""

        async def put(tile: InputFile | str) -> list[Message]:
            sent = await self._put(where, InputMediaPhoto(media=tile, **_captioned(caption)), markup)
            return [] if sent is None else [sent]

        await self._with_tile(aspect, "failed", put)

    async def _with_tile(
        self, aspect: str, face: tiles.Face, show: Callable[[InputFile | str], Awaitable[list[Message]]]
    ) -> list[Message]:
        """Show a tile by the id Telegram knows it by, or upload it and keep the id."""
        key = keys.TILE(self._bot.id, aspect, face)
        known: str | None = await self._ledger.client.get(key)
        if known:
            try:
                return await show(known)
            except TelegramBadRequest as error:
                # Telegram may forget an id, and has many words for it.
                _raise_unless_of_the_file(error)
        sent = await show(BufferedInputFile(tiles.tile(aspect, face), "tile.png"))
        if sent and (file_id := file_id_of(sent[0])):
            await self._ledger.client.set(key, file_id, ex=self._keep)
        return sent

    async def _put(
        self,
        where: Mapping[str, Any],
        media: InputMediaPhoto | InputMediaDocument,
        markup: InlineKeyboardMarkup | None,
    ) -> Message | None:
        try:
            with _broken_off(media):
                sent = await self._bot.edit_message_media(
                    media, reply_markup=markup, request_timeout=_UPLOAD_SECONDS, **where
                )
        except TelegramBadRequest as error:
            if not is_unchanged(error):
                raise
            return None
        return sent if isinstance(sent, Message) else None


class PictureFile(InputFile):
    """A picture as aiogram sends it; again from its beginning when it is sent again.

    Attributes:
        failure: why it could not be read to its end; what was sent of it was of no use to Telegram then,
            which aiogram reports as an error of the network.
    """

    def __init__(self, picture: Picture, filename: str) -> None:
        super().__init__(filename)
        self.failure: ProviderError | None = None
        self._picture = picture

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        self.failure = None
        try:
            async for piece in self._picture.pieces():
                yield piece
        except ProviderError as error:
            self.failure = error
            raise


@contextmanager
def _broken_off(media: InputMediaPhoto | InputMediaDocument) -> Iterator[None]:
    """Raises why a picture broke off on its way, of which aiogram says only that the network did."""
    try:
        yield
    except TelegramNetworkError:
        if isinstance(media.media, PictureFile) and media.media.failure is not None:
            raise media.media.failure from None
        raise


def file_name(job: Job, mime: str) -> str:
    """The name of a job's picture as a file of that type: its first words, and a number to tell it from the next."""
    words = "-".join(_WORD.findall(_ARTICLE.sub("", job.spec.prompt.lower()))[:_NAME_WORDS])
    number = zlib.crc32(job.id.encode()) % 10_000
    return f"{words[:_NAME_LENGTH] or 'picture'}-{number:04}.{_SUFFIXES.get(mime, 'png')}"


def file_id_of(message: Message) -> str | None:
    """The id by which Telegram sends a message's photo or document again."""
    if message.photo:
        return message.photo[-1].file_id
    return message.document.file_id if message.document else None


def shown_in(message: Message) -> dict[str, Any]:
    """What the ledger keeps of a message that shows a picture: its `file_id`, whether it is a `document`, and the
    `small` form of it for a page of many."""
    found: dict[str, Any] = {}
    if file_id := file_id_of(message):
        found["file_id"] = file_id
    if message.document:
        found["document"] = True
    preview = message.document.thumbnail if message.document else None
    sizes = message.photo or ([preview] if preview else [])
    if small := next((size for size in sizes if size.width >= _SMALL), None):
        found["small"] = small.file_id
    return found


def _raise_unless_of_the_file(error: TelegramAPIError) -> None:
    """Raise a refusal that another form of the same picture would meet as well. Telegram has many reasons not to
    take a picture as a photo, and finds new ones: what is not known to be about the message is about the picture."""
    if is_missing(error) or is_unreachable(error):
        raise error


def _photo(file: InputFile | str, caption: Text, job: Job) -> InputMediaPhoto:
    return InputMediaPhoto(media=file, has_spoiler=job.borderline or None, **_captioned(caption))


def _document(file: InputFile, caption: Text) -> InputMediaDocument:
    # Telegram would make a photo of it again.
    return InputMediaDocument(media=file, disable_content_type_detection=True, **_captioned(caption))


def _captioned(caption: Text) -> dict[str, Any]:
    text, entities = caption.render()
    return {"caption": text, "caption_entities": entities, "parse_mode": None} if text else {}
