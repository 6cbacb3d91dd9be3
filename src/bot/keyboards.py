"""The inline keyboards of the conversations, in the person's language."""

from __future__ import annotations

from collections.abc import Sequence

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from src.bot.callbacks import OfDialog, OfQueue, OfSettings, Surprise
from src.jobs import Job, Person
from src.providers.base import ASPECTS
from src.telegram.i18n import LANGUAGES, Voice
from src.telegram.keyboards import OfJob, button, markup

COUNTS = (1, 2, 3, 4)


def surprise(say: Voice) -> InlineKeyboardMarkup:
    """Under the greeting."""
    return markup([[button(say("button-surprise"), Surprise())]])


def dialog_words(say: Voice) -> InlineKeyboardMarkup:
    """While /create waits for the words."""
    return markup([[button(say("button-surprise"), Surprise()), _stop(say)]])


def dialog_choices(say: Voice, aspect: str, count: int) -> InlineKeyboardMarkup:
    """Format and number, with what is chosen now, and go."""
    return markup(
        [
            [_choice(say, a, a == aspect, OfDialog(what="aspect", value=a)) for a in ASPECTS],
            [_choice(say, str(n), n == count, OfDialog(what="count", value=str(n))) for n in COUNTS],
            [button(say("button-draw"), OfDialog(what="go")), _stop(say)],
        ]
    )


def settings(say: Voice, person: Person) -> InlineKeyboardMarkup:
    """The choices of /settings, with what is chosen now."""
    names = {
        "auto": say("language-auto"),
        "en": say("language-en"),
        "ru": say("language-ru"),
    }
    chosen = person.lang or "auto"
    return markup(
        [
            [
                _choice(say, names[code], code == chosen, OfSettings(what="lang", value=code))
                for code in ("auto", *LANGUAGES)
            ],
            [_choice(say, a, a == person.aspect, OfSettings(what="aspect", value=a)) for a in ASPECTS],
            [_choice(say, str(n), n == person.count, OfSettings(what="count", value=str(n))) for n in COUNTS],
        ]
    )


def queue(say: Voice, requests: Sequence[str]) -> InlineKeyboardMarkup:
    """Under /queue: cancel the request of that number, or look again."""
    numbers = [
        button(say("button-cancel-number", number=number), OfQueue(what="cancel", id=request))
        for number, request in enumerate(requests, start=1)
    ]
    rows = [numbers[start : start + 4] for start in range(0, len(numbers), 4)]
    return markup([*rows, [button(say("button-look"), OfQueue(what="look"))]])


def history(jobs: Sequence[Job]) -> InlineKeyboardMarkup:
    """Under /history: show the picture of that number."""
    numbers = [button(str(number), OfJob(what="show", id=job.id)) for number, job in enumerate(jobs, start=1)]
    return markup([numbers[start : start + 5] for start in range(0, len(numbers), 5)])


def _choice(say: Voice, label: str, chosen: bool, data: CallbackData) -> InlineKeyboardButton:
    return button(say("chosen", label=label) if chosen else label, data)


def _stop(say: Voice) -> InlineKeyboardButton:
    return button(say("button-stop"), OfDialog(what="stop"))
