"""Where a picture comes from: the one it was made of, in which way, what changed in words, and how it was made."""

from __future__ import annotations

import difflib

from aiogram.types import Message
from aiogram.utils.formatting import BlockQuote, Bold, Code, Strikethrough, Text, as_list

from src.app import App
from src.jobs import Job
from src.providers.base import OF_SOURCE
from src.providers.catalog import Catalog
from src.telegram import keyboards
from src.telegram.i18n import Translator, isolated, shorten
from src.telemetry import job_spans

_RECENT = 50
_WORDS = 1500
_PARENT_WORDS = 120
HOW = {
    "again": "from-again",
    "vary": "from-vary",
    "edit": "from-edit",
    "mask": "from-mask",
    "start": "from-start",
    "upscale": "from-upscale",
    "cutout": "from-cutout",
}
"""The texts that say in which way a picture comes from another."""


async def job_of(app: App, user: str, message: Message) -> str | None:
    """The job whose picture a message of ours shows: by its buttons, or as one of an album that this person had of
    late, which has none."""
    if message.from_user is None or message.bot is None or message.from_user.id != message.bot.id:
        return None
    if (known := keyboards.job_in(message.reply_markup)) is not None:
        return known
    for request in await app.ledger.requests(await app.ledger.history(user, _RECENT)):
        if request.chat == message.chat.id and message.message_id in request.messages:
            return request.jobs[request.messages.index(message.message_id)]
    return None


def details(say: Translator, job: Job, parent: Job | None, catalog: Catalog) -> Text:
    """How a picture was made: words, model, format, seed, time, cost, where it comes from, and its trace."""
    shown = job.shown or {}
    aspect = say("aspect-of-source") if job.spec.aspect == OF_SOURCE else job.spec.aspect
    lines: list[Text | str] = [
        say("details-title"),
        BlockQuote(shorten(job.spec.prompt, _WORDS)),
        say("details-model", model=catalog.shown(job.provider, job.spec.model, say.lang), aspect=aspect),
    ]
    seed = shown.get("seed", job.spec.seed)
    if seed is not None:
        lines.append(say("details-seed", seed=str(seed)))
    if (seconds := _took(job)) is not None:
        lines.append(say("details-took", time=say("ops-seconds", seconds=seconds)))
    if shown.get("cost") is not None:
        lines.append(say("details-cost", cost=shown["cost"], unit=str(shown.get("unit", ""))))
    if job.spec.how is not None:
        words = isolated(shorten(parent.spec.prompt, _PARENT_WORDS)) if parent else say("from-gone")
        lines.append(say(HOW[job.spec.how], words=words))
    if parent is not None and (change := changed(parent.spec.prompt, job.spec.prompt)):
        lines.append(Text(say("details-changed"), " ", *change))
    if trace := job_spans.trace_id(job):
        lines.append(Text(say("details-trace"), " ", Code(trace)))
    return as_list(*lines)


def _took(job: Job) -> int | None:
    """Seconds from asking to the picture."""
    for entry in job.story.split():
        state, _, ms = entry.rpartition("@")
        if state == "delivered":
            return max(1, round(int(ms) / 1000))
    return None


# Characters of each that are compared: the time it takes grows with the cube of the words.
_COMPARED = 400


def changed(before: str, after: str) -> list[Text]:
    """What differs between two wishes, word by word: what went is struck out, what came is bold. Empty: nothing, or
    next to nothing is the same."""
    old, new = shorten(before, _COMPARED).split(), shorten(after, _COMPARED).split()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if old == new or matcher.ratio() == 0:
        return []
    parts: list[Text] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            kept = new[c:d]
            parts.append(Text(" ".join(kept if len(kept) < 4 else [kept[0], "…", kept[-1]])))
            continue
        if b > a:
            parts.append(Strikethrough(shorten(" ".join(old[a:b]), _PARENT_WORDS)))
        if d > c:
            parts.append(Bold(shorten(" ".join(new[c:d]), _PARENT_WORDS)))
    spaced = [piece for part in parts for piece in (Text(" "), part)]
    return spaced[1:]
