"""The inline keyboards that only admins see, as `keyboards` has everybody's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

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


class OfSwitch(CallbackData, prefix="sw", sep="|"):
    """A button of /switches: turn something on or off, or to a `page`: of the features, or of the `models`."""

    what: Literal["page", "pause", "feature", "model"]
    name: str = ""
    on: bool = False


class OfStats(CallbackData, prefix="st"):
    """A button under /stats: another span of time."""

    span: Literal["day", "week", "month"]


class OfBroadcast(CallbackData, prefix="bc"):
    """A button of /broadcast: while it is written, or under how far the one with that `number` is."""

    what: Literal["skip", "leave", "send", "stop", "go on", "drop", "look"]
    number: str = ""


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
            say("chosen", label=label) if name == tier else label,
            OfPerson(what="tier", user=user, tier=name),
        )
        for name, label in ((name, say("tier", name=name)) for name in tiers)
    ]
    look = button(say("button-look"), OfPerson(what="look", user=user))
    return markup([choices[:2], choices[2:], [lift if banned else ban, look]])


def resume(say: Translator) -> InlineKeyboardMarkup:
    """Under the words that there is a pause."""
    return markup([[button(say("button-resume"), OfSwitch(what="pause", on=True))]])


def switches(
    say: Translator, names: Mapping[str, str], on: Collection[str], *, paused: bool
) -> InlineKeyboardMarkup:
    """Under /switches: the features by what they are called; those that are `on`."""
    label = say("button-resume") if paused else say("button-pause")
    rows = [[button(label, OfSwitch(what="pause", on=paused))]]
    rows += _turns("feature", names, on)
    return markup([*rows, [button(say("button-switch-models"), OfSwitch(what="page", name="models"))]])


def model_switches(say: Translator, names: Mapping[str, str], on: Collection[str]) -> InlineKeyboardMarkup:
    """The same for the models."""
    return markup([*_turns("model", names, on), [button(say("dialog-back"), OfSwitch(what="page"))]])


def with_switches(say: Translator, models: InlineKeyboardMarkup) -> InlineKeyboardMarkup:
    """Under /models, for an admin."""
    switch = button(say("button-switch-models"), OfSwitch(what="page", name="models"))
    return markup([*models.inline_keyboard, [switch]])


def _turns(
    what: Literal["feature", "model"], names: Mapping[str, str], on: Collection[str]
) -> list[list[InlineKeyboardButton]]:
    return [
        [button(f"{'🟢' if key in on else '⚪️'} {name}", OfSwitch(what=what, name=key, on=key not in on))]
        for key, name in names.items()
    ]


def stats(say: Translator, span: str) -> InlineKeyboardMarkup:
    """Under /stats."""
    spans = (
        (OfStats(span="day"), say("button-day")),
        (OfStats(span="week"), say("button-week")),
        (OfStats(span="month"), say("button-month")),
    )
    return markup(
        [[button(say("chosen", label=name) if data.span == span else name, data) for data, name in spans]]
    )


def notice(buttons: Sequence[Mapping[str, str]], lang: str) -> InlineKeyboardMarkup | None:
    """Under what is sent to everybody; `buttons`: each with its label by language and its `url`."""
    rows = [[InlineKeyboardButton(text=one.get(lang) or one["en"], url=one["url"])] for one in buttons]
    return markup(rows) if rows else None


def broadcast_step(say: Translator, *, skips: bool) -> InlineKeyboardMarkup:
    """Under a question of /broadcast; `skips`: it may be left out."""
    skip = [button(say("button-skip"), OfBroadcast(what="skip"))] if skips else []
    return markup([[*skip, button(say("button-stop"), OfBroadcast(what="leave"))]])


def broadcast_sure(say: Translator) -> InlineKeyboardMarkup:
    """Under the question whether everybody is to be sent that."""
    send = button(say("button-broadcast"), OfBroadcast(what="send"))
    return markup([[send, button(say("button-stop"), OfBroadcast(what="leave"))]])


def broadcast(say: Translator, number: str, state: str) -> InlineKeyboardMarkup | None:
    """Under how far it is; nothing where it is done."""
    if state == "done":
        return None
    stop = button(say("button-broadcast-stop"), OfBroadcast(what="stop", number=number))
    go_on = button(say("button-broadcast-go-on"), OfBroadcast(what="go on", number=number))
    drop = button(say("button-broadcast-drop"), OfBroadcast(what="drop", number=number))
    look = button(say("button-look"), OfBroadcast(what="look"))
    return markup([[stop, look]] if state == "running" else [[go_on, drop], [look]])
