"""Inline mode, `@bot a fox in snow` in any chat: a person's pictures at once, and a new one that is drawn into the
message they send.

Telegram tells what was sent (feedback, a switch of @BotFather's) or, where that is off, the button under it does. Either
orders it, once for each message. Not here: how the picture gets there (`src.telegram.messages`, `photos`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from aiogram import Bot, F, Router
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import (
    CallbackQuery,
    ChosenInlineResult,
    InlineQuery,
    InlineQueryResultArticle,
    InlineQueryResultCachedDocument,
    InlineQueryResultCachedPhoto,
    InlineQueryResultsButton,
    InputTextMessageContent,
)
from aiogram.utils.formatting import BlockQuote, Text

from src.app import App
from src.bot.handlers.gallery import cancel
from src.bot.ordering import Asking
from src.jobs import Job, Person, keys
from src.pipeline.admission import Wish
from src.telegram import keyboards
from src.telegram.client import is_missing, is_unchanged, says
from src.telegram.i18n import TOAST, Translator, shorten
from src.telegram.keyboards import OfInline, OfRequest

log = structlog.get_logger(__name__)

Results = list[InlineQueryResultArticle | InlineQueryResultCachedPhoto | InlineQueryResultCachedDocument]

_MAKE = "make"
_PAGE = 24
# The same words are asked for again soon, by a finger that types and deletes; a new picture must not wait long.
_CACHE_SECONDS = 5
_WORDS_SECONDS = 86_400
_TITLE = 60


async def look(query: InlineQuery, app: App, person: Person, say: Translator) -> None:
    """Somebody types: what they can send."""
    words = query.query.strip()
    start = int(query.offset) if query.offset.isdecimal() else 0
    found = _sorted([] if person.blocked else await app.ledger.pictures(person.id), words)
    results: Results = [_picture(job) for job in found[start : start + _PAGE]]
    offered = await _offer(app, query.from_user.id, words, say) if words and not start else []
    answer: dict[str, Any] = {
        "cache_time": _CACHE_SECONDS,
        "is_personal": True,
        "next_offset": str(start + _PAGE) if start + _PAGE < len(found) else "",
        "button": None if offered or start else _button(words, say),
    }
    try:
        await query.answer([*offered, *results], **answer)
    except TelegramBadRequest as error:
        if says(error, "query is too old"):
            raise
        # Telegram may have forgotten a picture, and takes none of them then.
        log.warning("kept ids refused", error=type(error).__name__)
        await query.answer([*offered], **{**answer, "next_offset": ""})


def _sorted(jobs: list[Job], words: str) -> list[Job]:
    """Pictures that can be sent, those with the words first. An inline result cannot be covered."""
    sought = words.casefold().split()
    shown = [job for job in jobs if "file_id" in (job.shown or {}) and not job.borderline]
    return sorted(shown, key=lambda job: not all(word in job.spec.prompt.casefold() for word in sought))


def _picture(job: Job) -> InlineQueryResultCachedPhoto | InlineQueryResultCachedDocument:
    shown, title = job.shown or {}, shorten(job.spec.prompt, _TITLE)
    if shown.get("document"):
        return InlineQueryResultCachedDocument(id=job.id, document_file_id=shown["file_id"], title=title)
    return InlineQueryResultCachedPhoto(id=job.id, photo_file_id=shown["file_id"], title=title)


async def _offer(app: App, user: int, words: str, say: Translator) -> list[InlineQueryResultArticle]:
    """A message in which the words will be drawn; none where nothing can get there."""
    if app.settings.inline_storage_chat is None or not app.switches.is_on("inline"):
        return []
    key = _key(words)
    await app.redis.set(keys.INLINE(user, key), words, ex=_WORDS_SECONDS)
    said = Text(BlockQuote(words), "\n", say("inline-sent"))
    content = InputTextMessageContent(
        **said.as_kwargs(text_key="message_text", entities_key="entities", parse_mode_key="parse_mode")
    )
    return [
        InlineQueryResultArticle(
            id=_MAKE,
            title=say("inline-make", words=shorten(words, _TITLE)),
            description=say("inline-make-more"),
            input_message_content=content,
            reply_markup=keyboards.inline_make(say, user, key, words),
        )
    ]


def _key(words: str) -> str:
    """What stands for the words in a button."""
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _button(words: str, say: Translator) -> InlineQueryResultsButton:
    """What stands above the pictures: that words are wanted, or that new ones are to be had in our own chat."""
    return InlineQueryResultsButton(
        text=say("inline-not-here" if words else "inline-write"), start_parameter="inline"
    )


async def sent(
    chosen: ChosenInlineResult, app: App, bot: Bot, asking: Asking, person: Person, say: Translator
) -> None:
    """Telegram tells that a person has sent such a message."""
    await app.redis.hset(keys.FEEDBACK(), "told", await app.ledger.now())
    if chosen.inline_message_id is not None:
        await _ask(app, bot, asking, person, chosen.query.strip(), chosen.inline_message_id, say)


async def tapped(
    callback: CallbackQuery,
    callback_data: OfInline,
    app: App,
    bot: Bot,
    asking: Asking,
    person: Person,
    say: Translator,
) -> None:
    """Its button, which is needed where Telegram does not tell, and after a refusal."""
    if callback.from_user.id != callback_data.user:
        await callback.answer(say("toast-foreign"))
        return
    words = await app.redis.get(keys.INLINE(callback_data.user, callback_data.words))
    if words is None or callback.inline_message_id is None:
        await callback.answer(say("toast-old"))
        return
    await app.redis.hset(keys.FEEDBACK(), "tapped", await app.ledger.now())
    refusal = await _ask(app, bot, asking, person, words, callback.inline_message_id, say)
    if refusal is None:
        await callback.answer(say("toast-drawing"))
    else:
        await callback.answer(shorten(refusal, TOAST), show_alert=True)


async def _ask(
    app: App, bot: Bot, asking: Asking, person: Person, words: str, inline: str, say: Translator
) -> str | None:
    """Order the picture into the message, once; why not is said there."""
    user = int(person.id)
    wish = Wish(
        user=user,
        # What is not for that message (the file, the history) is for their own chat with us.
        chat=user,
        prompt=words,
        update=f"{_MAKE}:{inline}",
        aspect=person.aspect,
        lang=say.lang,
        model=person.model,
        quality=person.quality,
        inline=inline,
    )
    refusal = await asking.ask(wish, say)
    if refusal is not None:
        key = _key(words)
        text = Text(BlockQuote(words), "\n", refusal)
        try:
            await bot.edit_message_text(
                inline_message_id=inline,
                reply_markup=keyboards.inline_make(say, user, key, words),
                **text.as_kwargs(),
            )
        except TelegramBadRequest as error:
            if not (is_unchanged(error) or is_missing(error)):
                raise
    return refusal


async def taken_back(callback: CallbackQuery, callback_data: OfRequest, app: App, say: Translator) -> None:
    """Cancel, under a message that is known inline only."""
    request = await app.ledger.request(callback_data.id)
    if request is None:
        await callback.answer(say("toast-old"))
    elif request.user != str(callback.from_user.id):
        await callback.answer(say("toast-foreign"))
    else:
        await callback.answer(say(await cancel(app, request)))


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="inline")
    router.inline_query.register(look)
    router.chosen_inline_result.register(sent, F.result_id == _MAKE)
    router.callback_query.register(tapped, OfInline.filter())
    router.callback_query.register(taken_back, OfRequest.filter(F.what == "cancel"), F.inline_message_id)
    return router
