"""/journal: what admins did, in pages."""

from __future__ import annotations

import time
from typing import Any

from aiogram import Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot.handlers.admin import ByAdmin
from src.ops import journal as acts
from src.ops.journal import Entry
from src.telegram import admin_keyboards
from src.telegram.admin_keyboards import OfJournal
from src.telegram.i18n import Translator


async def journal(message: Message, app: App, say: Translator) -> None:
    await message.answer(**await _page(app, 0, say))


async def turn(callback: CallbackQuery, callback_data: OfJournal, app: App, say: Translator) -> None:
    await callback.answer()
    if isinstance(callback.message, Message):
        await callback.message.edit_text(**await _page(app, max(0, callback_data.page), say))


async def _page(app: App, number: int, say: Translator) -> dict[str, Any]:
    """The text and keyboard of a page, as arguments of a call."""
    entries, older = await acts.page(app, number)
    lines = [_line(entry, say) for entry in entries]
    text = "\n".join([say("journal-title"), "", *lines]) if lines else say("journal-empty")
    return {"text": text, "reply_markup": admin_keyboards.journal(number, older=older)}


def _line(entry: Entry, say: Translator) -> str:
    at = time.strftime("%m-%d %H:%M", time.gmtime(entry.at / 1000))
    act = say("journal-act", what=entry.what, whom=entry.whom)
    how = f": {entry.how}" if entry.how else ""
    return f"{at} · {entry.by} · {act}{how}"


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="journal")
    router.message.register(journal, Command("journal"), ByAdmin())
    router.callback_query.register(turn, OfJournal.filter(), ByAdmin())
    return router
