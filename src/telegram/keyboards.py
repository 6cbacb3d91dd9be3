"""The buttons under placeholders and pictures, and what they carry: ids of the ledger, at most 64 bytes.

They need nothing of a process, so they work after a restart and from whoever sent them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from src.jobs import Job, State
from src.telegram.i18n import Voice
from src.telegram.status_text import Offer

# Failures that the same words would only meet again.
_WORDS_AT_FAULT = frozenset({"moderated_input", "moderated_output", "invalid_request", "too_long"})

Rows = list[list[InlineKeyboardButton]]


class OfRequest(CallbackData, prefix="r"):
    """A button about all pictures of a request."""

    what: Literal["cancel", "again", "files"]
    id: str


class OfJob(CallbackData, prefix="j"):
    """A button about one picture."""

    what: Literal["again", "vary", "file", "words", "show"]
    id: str


class OfWaiting(CallbackData, prefix="w"):
    """A button about how a person waits for a request."""

    what: Literal["wait", "faster", "later"]
    id: str


def placeholder(say: Voice, request: str, offer: Offer | None = None) -> InlineKeyboardMarkup:
    """Under a placeholder."""
    rows: Rows = []
    if offer is not None:
        rows.append(
            [
                button(say("button-wait"), OfWaiting(what="wait", id=request)),
                button(say("button-later"), OfWaiting(what="later", id=request)),
            ]
        )
        if offer.faster is not None:
            rows.append([button(say("button-faster"), OfWaiting(what="faster", id=request))])
    return markup([*rows, [button(say("button-cancel"), OfRequest(what="cancel", id=request))]])


def picture(say: Voice, job: str) -> InlineKeyboardMarkup:
    """Under a finished picture."""
    return markup(
        [
            [
                button(say("button-again"), OfJob(what="again", id=job)),
                button(say("button-variation"), OfJob(what="vary", id=job)),
                button(say("button-file"), OfJob(what="file", id=job)),
            ]
        ]
    )


def no_picture(say: Voice, job: Job) -> InlineKeyboardMarkup | None:
    """Under the words that say why there is none; None where nothing would help."""
    words = button(say("button-words"), OfJob(what="words", id=job.id))
    again = button(say("button-again"), OfJob(what="again", id=job.id))
    if job.kind == "bad_source":
        return None
    if job.kind in _WORDS_AT_FAULT:
        return markup([[words]])
    return markup([[again, words]])


def album(say: Voice, request: str, jobs: Sequence[Job]) -> InlineKeyboardMarkup:
    """Under the status of an album that has ended: a variation of each picture, all again, all as files."""
    done = [job for job in jobs if job.state is State.DELIVERED]
    variations = [
        button(say("button-variation-of", number=job.spec.index + 1), OfJob(what="vary", id=job.id))
        for job in done
    ]
    row = [button(say("button-again"), OfRequest(what="again", id=request))]
    if done:
        row.append(button(say("button-files"), OfRequest(what="files", id=request)))
    else:
        row.append(button(say("button-words"), OfJob(what="words", id=jobs[0].id)))
    return markup([variations, row] if variations else [row])


def button(text: str, data: CallbackData) -> InlineKeyboardButton:
    """A button that sends `data` when tapped."""
    return InlineKeyboardButton(text=text, callback_data=data.pack())


def markup(rows: Rows) -> InlineKeyboardMarkup:
    """A keyboard of these rows."""
    return InlineKeyboardMarkup(inline_keyboard=rows)
