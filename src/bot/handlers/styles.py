"""/styles: to see what each looks like, to draw in one, and for admins to make and change them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiogram import Bot, F, Router
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, CommandObject, StateFilter
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import CallbackQuery, ForceReply, Message
from aiogram.utils.deep_linking import create_start_link
from aiogram.utils.payload import decode_payload, encode_payload

from src.app import App
from src.bot import styles
from src.bot.handlers.admin import ByAdmin, note
from src.bot.handlers.create import Words, close_dialog
from src.bot.ordering import NO_COMMAND, kept_by, words_of
from src.bot.styles import Style
from src.jobs import Person
from src.telegram import keyboards
from src.telegram.i18n import Translator, shorten
from src.telegram.keyboards import OfStyle

_PRIVATE = F.chat.type == "private"
_CAPTION = 1000
_IN_LIST = 60


LINK = "style_"
"""So begins what a link to a style says."""


class Styling(StatesGroup):
    """An admin makes or changes a style. Its data: `name`, once that is said."""

    name = State()
    words = State()
    sample = State()


async def show_all(message: Message, app: App, state: FSMContext, say: Translator) -> None:
    if await state.get_state() in (Styling.name.state, Styling.words.state, Styling.sample.state):
        await state.clear()
    await message.answer(**await _all(app, message.chat.id, say))


async def opened(
    message: Message, command: CommandObject, app: App, bot: Bot, state: FSMContext, say: Translator
) -> None:
    """Somebody follows a link to a style."""
    await close_dialog(message, state)
    said = (command.args or "").removeprefix(LINK)
    chosen = await styles.style(app, said)
    if chosen is None:
        # Names that an address cannot have.
        with suppress(ValueError):
            chosen = await styles.style(app, decode_payload(said))
    if chosen is None:
        await show_all(message, app, state, say)
    else:
        await _show(app, bot, message.chat.id, chosen, say)


async def _all(app: App, user: int, say: Translator) -> dict[str, Any]:
    """The text and keyboard of /styles, as arguments of a call."""
    known = await styles.all_styles(app)
    lines = [say("style-line", name=style.name, words=shorten(style.words, _IN_LIST)) for style in known]
    text = "\n".join([say("styles-title"), "", *lines]) if known else say("styles-none")
    markup = keyboards.styles(say, [style.name for style in known], edits=_may_edit(app, user))
    return {"text": text, "reply_markup": markup}


def _may_edit(app: App, user: int) -> bool:
    return user in app.settings.admin_ids


async def choose(
    callback: CallbackQuery,
    callback_data: OfStyle,
    app: App,
    bot: Bot,
    state: FSMContext,
    person: Person,
    say: Translator,
    update_id: int,
) -> None:
    chat, user = callback.from_user.id, callback.from_user.id
    what = callback_data.what
    chosen = await styles.style(app, callback_data.name)
    if (chosen is None) != (what == "new") or (what not in ("show", "use") and not _may_edit(app, user)):
        await callback.answer(say("toast-old"))
        return
    if chosen is None and len(await styles.all_styles(app)) >= styles.MOST:
        await callback.answer(say("style-enough", number=styles.MOST), show_alert=True)
        return
    if chosen is None:
        await _ask(bot, chat, state, Styling.name, say("style-ask-name", longest=styles.LONGEST_NAME))
    elif what == "show":
        await _show(app, bot, chat, chosen, say)
    elif what == "use":
        if isinstance(callback.message, Message):
            await close_dialog(callback.message, state)
        await _ask(
            bot, chat, state, Words.waiting, say("style-ask-wish", name=chosen.name),
            **kept_by(person), style=chosen.name,
        )  # fmt: skip
    elif what == "words":
        await _ask(bot, chat, state, Styling.words, say("style-ask-words"), name=chosen.name)
    elif what == "sample":
        await _ask(bot, chat, state, Styling.sample, say("style-ask-sample"), name=chosen.name)
    else:
        await styles.drop(app, chosen.name)
        await note(app, callback, update_id, "no_style", chosen.name)
        await bot.send_message(chat, **await _all(app, user, say))
    await callback.answer()


async def name_it(message: Message, app: App, state: FSMContext, say: Translator) -> None:
    name = " ".join(words_of(message).split())
    if not styles.is_name(name):
        await message.reply(say("style-ask-name", longest=styles.LONGEST_NAME))
        return
    known = await styles.style(app, name)
    await state.set_state(Styling.words)
    await state.set_data({"name": known.name if known else name})
    await message.reply(say("style-ask-words"))


async def word_it(
    message: Message, app: App, bot: Bot, state: FSMContext, say: Translator, update_id: int
) -> None:
    name = (await state.get_data())["name"]
    known = await styles.style(app, name) or Style(name, "")
    new = replace(known, words=shorten(words_of(message).strip(), styles.LONGEST))
    await styles.save(app, new)
    await note(app, message, update_id, "style", new.name)
    await state.clear()
    await _show(app, bot, message.chat.id, new, say)


async def sample_it(
    message: Message, app: App, bot: Bot, state: FSMContext, say: Translator, update_id: int
) -> None:
    known = await styles.style(app, (await state.get_data())["name"])
    await state.clear()
    if known is not None and message.photo:
        new = replace(known, sample=message.photo[-1].file_id)
        await styles.save(app, new)
        await note(app, message, update_id, "style", new.name)
        await _show(app, bot, message.chat.id, new, say)


async def not_a_sample(message: Message, say: Translator) -> None:
    await message.reply(say("style-ask-sample"))


async def _show(app: App, bot: Bot, chat: int, style: Style, say: Translator) -> None:
    text = say("style-line", name=style.name, words=shorten(style.words, _CAPTION))
    plain = style.name.isascii() and " " not in style.name
    link = await create_start_link(bot, LINK + (style.name if plain else encode_payload(style.name)))
    markup = keyboards.style(say, style.name, link, edits=_may_edit(app, chat))
    if style.sample is not None:
        # Telegram may forget an id.
        with suppress(TelegramBadRequest):
            await bot.send_photo(chat, style.sample, caption=text, reply_markup=markup)
            return
    await bot.send_message(chat, text, reply_markup=markup)


async def _ask(bot: Bot, chat: int, state: FSMContext, waits: State, words: str, **data: Any) -> None:
    await state.set_state(waits)
    await state.set_data(data)
    await bot.send_message(chat, words, reply_markup=ForceReply())


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="styles")
    router.message.register(show_all, Command("styles"), _PRIVATE)
    router.callback_query.register(choose, OfStyle.filter())
    text = F.text & NO_COMMAND
    router.message.register(name_it, Styling.name, ByAdmin(), _PRIVATE, text)
    router.message.register(word_it, Styling.words, ByAdmin(), _PRIVATE, text)
    router.message.register(sample_it, Styling.sample, ByAdmin(), _PRIVATE, F.photo)
    router.message.register(not_a_sample, StateFilter(Styling.sample), ByAdmin(), _PRIVATE, text | F.document)
    return router
