"""/rules: what a group's admins allow there: the language, who may ask, changes of pictures, pictures that are covered, and
how many an hour. The model they choose in /models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiogram import F, Router
from aiogram.enums import ChatType
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from src.bot.chats import Chats, GroupRules
from src.telegram import keyboards
from src.telegram.i18n import LANGUAGES, Texts, Translator, language_of
from src.telegram.keyboards import OfRules


async def rules(message: Message, chats: Chats, say: Translator) -> None:
    found = await chats.rules(message.chat.id)
    await message.reply(say("rules"), reply_markup=keyboards.rules(say, **found.choices()))


async def not_here(message: Message, say: Translator) -> None:
    await message.answer(say("rules-not-here"))


async def choose(
    callback: CallbackQuery, callback_data: OfRules, chats: Chats, texts: Texts, say: Translator
) -> None:
    """An admin taps; others may look."""
    message = callback.message
    if not isinstance(message, Message):
        await callback.answer(say("toast-old"))
        return
    if not await chats.is_run_by(message.chat.id, callback.from_user.id):
        await callback.answer(say("rules-for-admins"), show_alert=True)
        return
    before = await chats.rules(message.chat.id)
    changed = _changed(before, callback_data)
    if changed is None:
        await callback.answer(say("toast-old"))
        return
    await chats.rule(message.chat.id, changed)
    say = texts.translator(changed.lang or language_of(None, callback.from_user.language_code))
    await callback.answer(say("toast-saved"))
    if changed != before:
        await message.edit_text(say("rules"), reply_markup=keyboards.rules(say, **changed.choices()))


def _changed(rules: GroupRules, tapped: OfRules) -> GroupRules | None:
    """The rules after a tap; None: it is of another version."""
    match tapped.what, tapped.value:
        case "lang", value if value in ("auto", *LANGUAGES):
            return replace(rules, lang=None if value == "auto" else value)
        case "admins" | "edits" | "covered" as what, "0" | "1" as value:
            return replace(rules, **_one(what, value == "1"))
        case "hourly" | "each" as what, value if value in map(str, keyboards.HOURLY):
            return replace(rules, **_one(what, int(value)))
    return None


def _one(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="rules")
    router.message.register(rules, Command("rules"), F.chat.type != ChatType.PRIVATE)
    router.message.register(not_here, Command("rules"))
    router.callback_query.register(choose, OfRules.filter())
    return router
