"""/broadcast: an admin writes a notice in both languages, with a photo and buttons if they like, sees it as people will,
and lets it go; how far it is, and stopping it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, StateFilter
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot import broadcasting
from src.bot.broadcasting import Notice
from src.bot.handlers.admin import ByAdmin, note
from src.bot.ordering import NO_COMMAND
from src.jobs import keys
from src.ops import journal
from src.ops.journal import Act
from src.telegram import admin_keyboards
from src.telegram.admin_keyboards import OfBroadcast
from src.telegram.client import is_unchanged
from src.telegram.i18n import LANGUAGES, Translator, shorten, width

_CAPTION = 1024
_LONGEST_LABEL = 40
_MOST_BUTTONS = 6


class Writing(StatesGroup):
    """What the admin is asked for. The data: what they have said so far."""

    ru = State()
    en = State()
    photo = State()
    buttons = State()
    sure = State()


_ACTS: dict[broadcasting.Turn, Act] = {"stop": "stop", "go on": "broadcast", "drop": "no_broadcast"}
_STEPS = (Writing.ru, Writing.en, Writing.photo, Writing.buttons, Writing.sure)
_ASKED = {
    Writing.ru.state: "broadcast-ru",
    Writing.en.state: "broadcast-en",
    Writing.photo.state: "broadcast-photo",
    Writing.buttons.state: "broadcast-buttons",
}


async def broadcast(message: Message, app: App, bot: Bot, state: FSMContext, say: Translator) -> None:
    now = await broadcasting.progress(app)
    if now is not None and now.state != "done":
        await message.answer(**await _progress(app, say))
        return
    await state.set_data({"draft": secrets.token_hex(4)})
    await _ask(bot, message.chat.id, state, Writing.ru, say)


async def _ask(bot: Bot, chat: int, state: FSMContext, step: State, say: Translator) -> None:
    markup = admin_keyboards.broadcast_step(say, skips=step is not Writing.ru)
    await bot.send_message(chat, say(_ASKED[step.state]), reply_markup=markup)
    # Last: handled again, an answer would else be taken for the one to this question.
    await state.set_state(step)


async def _go_on(app: App, bot: Bot, chat: int, state: FSMContext, say: Translator) -> None:
    """To the next question, or to what people will see."""
    at = [step.state for step in _STEPS].index(await state.get_state())
    following = _STEPS[at + 1]
    if following is not Writing.sure:
        await _ask(bot, chat, state, following, say)
        return
    notice = _notice(await state.get_data())
    for lang in notice.texts:
        await broadcasting.show(bot, chat, notice, lang)
    number = await app.redis.zcard(keys.PEOPLE())
    await bot.send_message(
        chat, say("broadcast-sure", number=number), reply_markup=admin_keyboards.broadcast_sure(say)
    )
    await state.set_state(following)


def _notice(data: Mapping[str, Any]) -> Notice:
    texts = {lang: data[lang] for lang in LANGUAGES if lang in data}
    return Notice(texts, data.get("photo"), tuple(data.get("buttons", ())))


async def worded(message: Message, app: App, bot: Bot, state: FSMContext, say: Translator) -> None:
    """The text in one language."""
    lang = "ru" if await state.get_state() == Writing.ru.state else "en"
    entities = [entity.model_dump(exclude_none=True) for entity in message.entities or ()]
    await state.update_data({lang: {"text": message.text, "entities": entities}})
    await _go_on(app, bot, message.chat.id, state, say)


async def pictured(message: Message, app: App, bot: Bot, state: FSMContext, say: Translator) -> None:
    assert message.photo
    texts = _notice(await state.get_data()).texts
    if any(width(said["text"]) > _CAPTION for said in texts.values()):
        await message.reply(say("broadcast-too-long", limit=_CAPTION))
        return
    await state.update_data(photo=message.photo[-1].file_id)
    await _go_on(app, bot, message.chat.id, state, say)


async def buttoned(message: Message, app: App, bot: Bot, state: FSMContext, say: Translator) -> None:
    buttons = [button for line in (message.text or "").splitlines() if (button := _button(line))]
    if not 0 < len(buttons) <= _MOST_BUTTONS or len(buttons) != len((message.text or "").splitlines()):
        await message.reply(say("broadcast-buttons"))
        return
    await state.update_data(buttons=buttons)
    await _go_on(app, bot, message.chat.id, state, say)


async def misfit(message: Message, state: FSMContext, say: Translator) -> None:
    """What was asked for is something else; nothing is drawn of it."""
    await message.reply(say(_ASKED[await state.get_state()]))


def _button(line: str) -> dict[str, str] | None:
    """A line such as `Novosti | News | https://t.me/example`; one label is for both languages."""
    *labels, url = (part.strip() for part in line.split("|"))
    parts = urlsplit(url)
    if parts.scheme not in ("https", "tg") or not parts.netloc or not 0 < len(labels) <= len(LANGUAGES):
        return None
    if not all(labels):
        return None
    return {"ru": shorten(labels[0], _LONGEST_LABEL), "en": shorten(labels[-1], _LONGEST_LABEL), "url": url}


async def tapped(
    callback: CallbackQuery,
    callback_data: OfBroadcast,
    app: App,
    bot: Bot,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    what, chat, at = callback_data.what, callback.from_user.id, await state.get_state()
    words: str | None = None
    if what == "skip" and at in _ASKED and (at != Writing.ru.state):
        await _go_on(app, bot, chat, state, say)
    elif what == "leave" and at in {step.state for step in _STEPS}:
        await state.clear()
        await bot.send_message(chat, say("broadcast-not"))
    elif what == "send" and at == Writing.sure.state:
        data = await state.get_data()
        notice = _notice(data)
        first = next(iter(notice.texts.values()))["text"]
        noted = await note(app, callback, update_id, "broadcast", how=first)
        if await broadcasting.start(app, data["draft"], chat, notice):
            await state.clear()
        else:
            await journal.strike(app, noted)
            await bot.send_message(chat, say("broadcast-other"))
        await bot.send_message(chat, **await _progress(app, say))
    elif isinstance(callback.message, Message) and what in ("stop", "go on", "drop", "look"):
        if what != "look":
            noted = await note(app, callback, update_id, _ACTS[what])
            if not await broadcasting.steer(app, callback_data.number, what):
                await journal.strike(app, noted)
        try:
            await callback.message.edit_text(**await _progress(app, say))
        except TelegramBadRequest as error:
            if not is_unchanged(error):
                raise
    else:
        words = say("toast-old")
    await callback.answer(words)


async def _progress(app: App, say: Translator) -> dict[str, Any]:
    """The text and keyboard of how far it is, as arguments of a call."""
    now = await broadcasting.progress(app)
    if now is None:
        return {"text": say("broadcast-not")}
    return {
        "text": broadcasting.words(say, now),
        "reply_markup": admin_keyboards.broadcast(say, now.number, now.state),
    }


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="broadcast")
    private, text = F.chat.type == ChatType.PRIVATE, F.text & NO_COMMAND
    router.message.register(broadcast, Command("broadcast"), ByAdmin(), private)
    router.message.register(worded, StateFilter(Writing.ru, Writing.en), ByAdmin(), private, text)
    router.message.register(pictured, Writing.photo, ByAdmin(), private, F.photo)
    router.message.register(buttoned, Writing.buttons, ByAdmin(), private, text)
    router.message.register(misfit, StateFilter(*_STEPS[:-1]), ByAdmin(), private, NO_COMMAND)
    router.callback_query.register(tapped, OfBroadcast.filter(), ByAdmin())
    return router
