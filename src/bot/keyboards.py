"""The inline keyboards, in the person's language."""

from __future__ import annotations

from collections.abc import Sequence

from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from src.bot.callbacks import OfJob, OfRequest
from src.jobs import Job, State
from src.texts import Voice

# Failures that the same words would only meet again.
_WORDS_AT_FAULT = frozenset({"moderated_input", "moderated_output", "invalid_request", "too_long"})

Rows = list[list[InlineKeyboardButton]]


def button(text: str, data: OfJob | OfRequest) -> InlineKeyboardButton:
    return InlineKeyboardButton(text=text, callback_data=data.pack())


def cancel(say: Voice, request: str) -> InlineKeyboardMarkup:
    """Under a placeholder."""
    return _markup([[button(say("button-cancel"), OfRequest(what="cancel", id=request))]])


def picture(say: Voice, job: str) -> InlineKeyboardMarkup:
    """Under a finished picture."""
    return _markup(
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
        return _markup([[words]])
    return _markup([[again, words]])


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
    return _markup([variations, row] if variations else [row])


def _markup(rows: Rows) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(inline_keyboard=rows)
