"""Help with words, where the owner has set a model for it: a better description, and voice messages written down.
Both are shown in the /create dialog before they are used."""

from __future__ import annotations

import structlog
from aiogram import Bot, F, Router
from aiogram.exceptions import TelegramAPIError
from aiogram.filters import Filter
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot.handlers.create import Dialog, choices, close_dialog, offer_choices
from src.bot.handling import Later
from src.bot.ordering import Asking, first_tap, kept_by
from src.bot.parameters import as_words
from src.jobs import Person, keys
from src.providers.base import ProviderError
from src.telegram import files
from src.telegram.i18n import Translator
from src.telegram.keyboards import OfDialog

log = structlog.get_logger(__name__)

_TAP_SECONDS = 5
_LONGEST_VOICE_SECONDS = 180


class Hears(Filter):
    """Passes where there is a model that writes down speech."""

    async def __call__(self, message: Message, app: App) -> bool:
        return app.words is not None and app.words.hears and app.switches.is_on("voice")


async def _may(app: App, person: Person) -> bool:
    """As often as pictures may be asked for, since this costs money too; nobody who is blocked."""
    if person.blocked:
        return False
    key = keys.HELPED(person.id)
    async with app.redis.pipeline() as pipe:
        pipe.set(key, 0, nx=True, ex=app.settings.rate_window)
        pipe.incr(key)
        _, times = await pipe.execute()
    return int(times) <= app.settings.rate_limit


async def improve(
    callback: CallbackQuery,
    state: FSMContext,
    app: App,
    asking: Asking,
    person: Person,
    later: Later,
    say: Translator,
    update_id: int,
) -> None:
    data, message = await state.get_data(), callback.message
    known = isinstance(message, Message) and data.get("message") == message.message_id
    able = app.words is not None and app.words.improves and app.switches.is_on("improve")
    if not isinstance(message, Message) or not known or not data.get("prompt") or not able:
        await callback.answer(say("toast-old"))
    elif not await first_tap(app, callback, update_id, _TAP_SECONDS):
        await callback.answer(say("toast-already"))
    elif not await _may(app, person):
        await callback.answer(say("improve-failed"))
    else:
        await callback.answer(say("improve-asked"))
        later(_improve(message, data["prompt"], state, app, asking, say))


async def _improve(
    message: Message, words: str, state: FSMContext, app: App, asking: Asking, say: Translator
) -> None:
    assert app.words is not None
    try:
        better = as_words(await app.words.improved(words))
    except ProviderError as error:
        log.warning("no better words", kind=error.kind, code=error.code)
        better = ""
    if not better or asking.complaint(better, say):
        await message.reply(say("improve-failed"))
        return
    data = await state.get_data()
    # The person may be at something else by now.
    if (data.get("message"), data.get("prompt")) == (message.message_id, words):
        data = await state.update_data(better=better, page="better")
        await message.edit_text(**await choices(data, app, say, message.chat.id))


async def voice(
    message: Message,
    app: App,
    bot: Bot,
    state: FSMContext,
    asking: Asking,
    person: Person,
    later: Later,
    say: Translator,
) -> None:
    assert message.voice is not None
    if message.voice.duration > _LONGEST_VOICE_SECONDS or not await _may(app, person):
        await message.reply(say("voice-failed"))
        return
    later(_hear(message, app, bot, state, asking, person, say))


async def _hear(
    message: Message, app: App, bot: Bot, state: FSMContext, asking: Asking, person: Person, say: Translator
) -> None:
    """Begin the dialog with what was said, or go on in it, or with the photo that waits for words."""
    assert message.voice is not None
    assert app.words is not None
    try:
        speech = await files.download(bot, message.voice.file_id)
        heard = as_words(await app.words.heard(speech))
    except (files.NoFile, files.NotNow, ProviderError, TelegramAPIError) as error:
        log.warning("not heard", error=type(error).__name__)
        await message.reply(say("voice-failed"))
        return
    data = await state.get_data()
    if "aspect" not in data:
        await close_dialog(message, state)
        await state.set_data({**kept_by(person), "negative": person.negative})
    await state.set_state(Dialog.words)
    await offer_choices(message, heard, state, asking, app, say)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="words")
    router.callback_query.register(improve, OfDialog.filter(F.what == "improve"))
    router.message.register(voice, F.voice, F.chat.type == "private", Hears())
    return router
