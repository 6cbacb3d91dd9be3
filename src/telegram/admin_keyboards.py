"""The inline keyboards that only admins see, as `keyboards` has everybody's."""

from __future__ import annotations

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardMarkup

from src.telegram.keyboards import button, markup


class OfJournal(CallbackData, prefix="jo"):
    """A button under the journal: turn to a page."""

    page: int


def journal(page: int, *, older: bool) -> InlineKeyboardMarkup | None:
    """Under a page of the journal; None where it is the only one."""
    row = [button("◀️", OfJournal(page=page - 1))] if page else []
    if older:
        row.append(button("▶️", OfJournal(page=page + 1)))
    return markup([row]) if row else None
