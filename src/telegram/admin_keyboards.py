"""The inline keyboards that only admins see, as `keyboards` has everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardMarkup

from src.telegram.i18n import Translator
from src.telegram.keyboards import button, markup


class OfJournal(CallbackData, prefix="jo"):
    """A button under the journal: turn to a page."""

    page: int


class OfPerson(CallbackData, prefix="wh", sep="|"):
    """A button of /who."""

    what: Literal["look", "ban", "lift", "tier"]
    user: str
    tier: str = ""


def journal(page: int, *, older: bool) -> InlineKeyboardMarkup | None:
    """Under a page of the journal; None where it is the only one."""
    row = [button("◀️", OfJournal(page=page - 1))] if page else []
    if older:
        row.append(button("▶️", OfJournal(page=page + 1)))
    return markup([row]) if row else None


def person(
    say: Translator, user: str, tier: str, tiers: Sequence[str], *, banned: bool
) -> InlineKeyboardMarkup:
    """Under what is known of a person."""
    ban = button(say("button-ban"), OfPerson(what="ban", user=user))
    lift = button(say("button-lift"), OfPerson(what="lift", user=user))
    choices = [
        button(
            say("chosen", label=name) if name == tier else name, OfPerson(what="tier", user=user, tier=name)
        )
        for name in tiers
    ]
    look = button(say("button-look"), OfPerson(what="look", user=user))
    return markup([choices, [lift if banned else ban, look]])
