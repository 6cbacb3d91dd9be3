"""/settings: a person's language, format and number of pictures, kept for every later request."""

from __future__ import annotations

from typing import Any

from aiogram import Router
from aiogram.enums import ChatType
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot.chats import Chats
from src.bot.handlers.models import model_named
from src.jobs import Person
from src.telegram import keyboards
from src.telegram.i18n import LANGUAGES, Texts, Translator, language_name, language_of
from src.telegram.keyboards import OfSettings


async def settings(message: Message, app: App, person: Person, say: Translator) -> None:
    # In a group as an answer, which tells whose they are.
    show = message.answer if message.chat.type == ChatType.PRIVATE else message.reply
    await show(**_settings(person, app, say))


async def choose(
    callback: CallbackQuery,
    callback_data: OfSettings,
    app: App,
    chats: Chats,
    texts: Texts,
    person: Person,
    say: Translator,
) -> None:
    # Whose settings the message shows, if whoever tapped may change them; else theirs are changed, unseen.
    shown = await chats.owner_of(callback)
    if shown is not None and shown != person.id:
        # A chat's, in whose name this admin speaks.
        person = await app.ledger.person(shown)
    match callback_data.what, callback_data.value:
        case "lang", value if value in ("auto", *LANGUAGES):
            await app.ledger.choose(person.id, lang="" if value == "auto" else value)
        case "aspect", value if value in app.routing.offered().aspects:
            await app.ledger.choose(person.id, aspect=value)
        case "count", value if value in map(str, keyboards.counts(app.routing.offered())):
            await app.ledger.choose(person.id, count=int(value))
        case "first", "photo" | "file":
            await app.ledger.choose(person.id, first=callback_data.value)
        case _:
            await callback.answer(say("toast-old"))
            return
    changed = await app.ledger.person(person.id)
    say = texts.translator(language_of(changed.lang, callback.from_user.language_code))
    await callback.answer(say("toast-saved"))
    if changed != person and shown is not None and isinstance(callback.message, Message):
        await callback.message.edit_text(**_settings(changed, app, say))


def _settings(person: Person, app: App, say: Translator) -> dict[str, Any]:
    """The text and keyboard of /settings, as arguments of a call."""
    language = language_name(person.lang) if person.lang in LANGUAGES else say("language-auto")
    return {
        "text": say(
            "settings",
            language=language,
            aspect=person.aspect,
            count=person.count,
            model=model_named(person.model, app, say),
            first=say("first-file" if person.first == "file" else "first-photo"),
        ),
        "reply_markup": keyboards.settings(say, person, app.routing.offered()),
    }


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="settings")
    router.message.register(settings, Command("settings"))
    router.callback_query.register(choose, OfSettings.filter())
    return router
