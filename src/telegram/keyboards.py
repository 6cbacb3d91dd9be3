"""Every inline keyboard, in the person's language, and the callback data that its buttons send.

Callback data holds ids of the ledger or a choice, at most 64 bytes. It needs nothing of a process, so a button works
after a restart. What a tap does is in `src.bot.handlers`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal
from urllib.parse import urlencode

from aiogram.filters.callback_data import CallbackData
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, WebAppInfo

from src.jobs import TOOLS, Job, Person, State
from src.jobs.credit import Subscription
from src.providers.base import Capabilities
from src.settings import Pack
from src.telegram.i18n import LANGUAGES, Translator, language_name
from src.telegram.status_text import Offer

COUNTS = (1, 2, 3, 4)
_ROW = 5
_OF_WORDS = 3
_PAIR = 2
"""How many pictures a person can ask for at once."""

# Errors that the same prompt would hit again.
_WORDS_AT_FAULT = frozenset({"moderated_input", "moderated_output", "invalid_request", "too_long"})


def counts(can: Capabilities) -> list[int]:
    """How many pictures may be asked for at once of who can do this."""
    return [n for n in COUNTS if n <= can.counts]


HOURLY = (0, 3, 10, 30, 100)
"""How many pictures an hour a group's admins may allow; 0: any number."""
LONGEST_QUERY = 256
"""Characters of what is asked for inline."""

Rows = list[list[InlineKeyboardButton]]


class OfRequest(CallbackData, prefix="r"):
    """A button about all pictures of a request."""

    what: Literal["cancel", "again", "files"]
    id: str


class OfJob(CallbackData, prefix="j"):
    """A button about one picture."""

    what: Literal[
        "again",
        "vary",
        "edit",
        "mask",
        "file",
        "words",
        "show",
        "more",
        "less",
        "start",
        "upscale",
        "cutout",
        "details",
        "star",
        "unstar",
        "advanced",
    ]
    id: str


class OfWaiting(CallbackData, prefix="w"):
    """A button about how a person waits for a request."""

    what: Literal["wait", "faster", "later"]
    id: str


class OfDialog(CallbackData, prefix="d", sep="|"):
    """A button of the /create dialog; what was chosen so far is in the conversation's state."""

    what: Literal[
        "aspect",
        "count",
        "page",
        "model",
        "style",
        "quality",
        "seed",
        "negative",
        "improve",
        "take",
        "go",
        "stop",
    ]
    value: str = ""


class OfSettings(CallbackData, prefix="s", sep="|"):
    """A choice in /settings."""

    what: Literal["lang", "aspect", "count", "first"]
    value: str


class OfModel(CallbackData, prefix="m"):
    """A choice in /models; no key: as the settings have it."""

    key: str = ""


class OfStyle(CallbackData, prefix="y", sep="|"):
    """A button of /styles: look at one, draw in it; for admins to make one, change its words or its picture, or drop it."""

    what: Literal["show", "use", "new", "words", "sample", "drop"]
    name: str = ""


class OfQueue(CallbackData, prefix="q"):
    """A button of /queue: look again, or cancel one request."""

    what: Literal["look", "cancel"]
    id: str = ""


GalleryKind = Literal["all", "star", "found"]


class OfGallery(CallbackData, prefix="g"):
    """A button under a gallery: turn to a picture, keep it, delete it (`sure`: really), look for words, or see another
    kind."""

    what: Literal["at", "star", "unstar", "delete", "sure", "find", "kind"]
    kind: GalleryKind
    id: str = ""


class OfShared(CallbackData, prefix="h"):
    """A button about a picture that its person shares, theirs or of whoever opened the link."""

    what: Literal["share", "take back", "like", "words"]
    id: str


class OfPrivacy(CallbackData, prefix="v"):
    """A button about a person's own data. `days`: for how many it is kept."""

    what: Literal["keep", "export", "delete", "sure", "stop"]
    days: int = 0


class OfOrder(CallbackData, prefix="o"):
    """What becomes of a wish that is not ordered yet: it is asked for, with `fewer` pictures to look at or for `one`
    picture if need be, or with other `words`, or forgotten; `id`: the message that holds it."""

    what: Literal["yes", "fewer", "one", "words", "no"]
    id: int


class OfShop(CallbackData, prefix="p"):
    """A button about buying: see what is sold, buy a pack, stop a subscription or let it go on."""

    what: Literal["show", "pack", "stop", "go on"]
    stars: int = 0


class Surprise(CallbackData, prefix="x"):
    """Draw something of the bot's own choosing."""


def placeholder(say: Translator, request: str, offer: Offer | None = None) -> InlineKeyboardMarkup:
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


def picture(say: Translator, job: str, *, edits: bool = True) -> InlineKeyboardMarkup:
    """Under a finished picture; a variation is an edit of it. `more` has the rest."""
    row = [button(say("button-again"), OfJob(what="again", id=job))]
    if edits:
        row.append(button(say("button-variation"), OfJob(what="vary", id=job)))
        row.append(button(say("button-edit"), OfJob(what="edit", id=job)))
    rest = [
        button(say("button-file"), OfJob(what="file", id=job)),
        button(say("button-more"), OfJob(what="more", id=job)),
    ]
    return markup([row, rest])


def more(
    say: Translator, job: Job, *, edits: bool, masks: bool, tools: Collection[str], starred: bool
) -> InlineKeyboardMarkup:
    """What else can be done with a picture.

    Args:
        masks: it can be said what of it may change. tools: those of `src.jobs.TOOLS` that somebody has.
    """
    pairs: list[tuple[str, OfJob]] = []
    if "upscale" in tools:
        pairs.append((say("button-upscale"), OfJob(what="upscale", id=job.id)))
    if "cutout" in tools:
        pairs.append((say("button-cutout"), OfJob(what="cutout", id=job.id)))
    if masks:
        pairs.append((say("button-mask"), OfJob(what="mask", id=job.id)))
    if edits and job.spec.chat > 0:
        pairs.append((say("button-start"), OfJob(what="start", id=job.id)))
    if job.spec.how not in TOOLS and job.spec.chat > 0:
        pairs.append((say("button-advanced"), OfJob(what="advanced", id=job.id)))
    # What a button says is what it does, however often it is handled.
    pairs.append(
        (say("button-unstar"), OfJob(what="unstar", id=job.id))
        if starred
        else (say("button-star"), OfJob(what="star", id=job.id))
    )
    pairs.append((say("button-details"), OfJob(what="details", id=job.id)))
    buttons = [button(text, data) for text, data in pairs]
    if job.spec.chat > 0:
        buttons.append(button(say("button-share"), OfShared(what="share", id=job.id)))
    rows = [buttons[start : start + 2] for start in range(0, len(buttons), 2)]
    return markup([*rows, [button(say("button-less"), OfJob(what="less", id=job.id))]])


class OfRules(CallbackData, prefix="u"):
    """A choice in /rules."""

    what: Literal["lang", "admins", "edits", "covered", "each", "hourly"]
    value: str


def rules(
    say: Translator,
    *,
    lang: str | None,
    admins: bool,
    edits: bool,
    covered: bool,
    each: int,
    hourly: int,
) -> InlineKeyboardMarkup:
    """Under /rules, with what is chosen now; see `GroupRules`."""
    spoken = {"auto": say("language-each"), **{code: language_name(code) for code in LANGUAGES}}

    def turned(text: str, what: Literal["admins", "edits", "covered"], on: bool) -> InlineKeyboardButton:
        return _choice(say, say(text), on, OfRules(what=what, value="0" if on else "1"))

    def numbers(text: str, what: Literal["each", "hourly"], chosen: int) -> list[InlineKeyboardButton]:
        return [
            _choice(say, say(text, number=n), n == chosen, OfRules(what=what, value=str(n))) for n in HOURLY
        ]

    each_their_own, *languages = [
        _choice(say, name, code == (lang or "auto"), OfRules(what="lang", value=code))
        for code, name in spoken.items()
    ]
    return markup(
        [
            [each_their_own],
            *_in_rows(languages),
            [turned("rules-admins", "admins", admins)],
            [turned("rules-edits", "edits", edits), turned("rules-covered", "covered", covered)],
            numbers("rules-each", "each", each),
            numbers("rules-hourly", "hourly", hourly),
        ]
    )


class OfInline(CallbackData, prefix="i"):
    """Draw the words of `keys.INLINE` into the message that a person sent of them."""

    user: int
    words: str


def inline_make(say: Translator, user: int, key: str, words: str) -> InlineKeyboardMarkup:
    """Under what a person sent to have it drawn there."""
    return markup([[button(say("button-make"), OfInline(user=user, words=key))], [_inline_words(say, words)]])


def inline_again(say: Translator, words: str) -> InlineKeyboardMarkup:
    """Under what became of it, whoever looks at it there."""
    return markup([[_inline_words(say, words)]])


def _inline_words(say: Translator, words: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(
        text=say("button-inline-again"), switch_inline_query_current_chat=words[:LONGEST_QUERY]
    )


def share(say: Translator, job: str, link: str) -> InlineKeyboardMarkup:
    """Under the link to a picture."""
    send = f"https://t.me/share/url?{urlencode({'url': link, 'text': say('share-text')})}"
    return markup(
        [
            [
                InlineKeyboardButton(text=say("button-send"), url=send),
                button(say("button-take-back"), OfShared(what="take back", id=job)),
            ]
        ]
    )


def like(say: Translator, job: str) -> InlineKeyboardMarkup:
    """Under a picture that somebody shares."""
    return markup(
        [
            [
                button(say("button-like"), OfShared(what="like", id=job)),
                button(say("button-words"), OfShared(what="words", id=job)),
            ]
        ]
    )


def details(say: Translator, job: Job) -> InlineKeyboardMarkup | None:
    """Under what is told of a picture: the one it comes from, and other words for that one."""
    if job.spec.parent is None:
        return None
    back = button(say("button-back"), OfJob(what="show", id=job.spec.parent))
    if job.spec.how in TOOLS:
        return markup([[back]])
    return markup([[back, button(say("button-branch"), OfJob(what="words", id=job.id))]])


def job_in(keyboard: InlineKeyboardMarkup | None) -> str | None:
    """The job that a picture's buttons speak of."""
    return _id_in(keyboard, OfJob)


def request_in(keyboard: InlineKeyboardMarkup | None) -> str | None:
    """The request that a placeholder's buttons speak of."""
    return _id_in(keyboard, OfRequest)


def promised_in(keyboard: InlineKeyboardMarkup | None) -> str | None:
    """The request that a placeholder's button would cancel."""
    return _id_in(keyboard, OfRequest, "cancel")


def _id_in(
    keyboard: InlineKeyboardMarkup | None, kind: type[OfJob | OfRequest], what: str | None = None
) -> str | None:
    for pressed in (button for row in (keyboard.inline_keyboard if keyboard else []) for button in row):
        try:
            data = kind.unpack(pressed.callback_data or "")
        except (TypeError, ValueError):
            continue
        if what in (None, data.what):
            return data.id
    return None


def no_picture(say: Translator, job: Job) -> InlineKeyboardMarkup | None:
    """Under the words that say why there is none; None where nothing would help."""
    words = button(say("button-words"), OfJob(what="words", id=job.id))
    again = button(say("button-again"), OfJob(what="again", id=job.id))
    if job.kind in ("bad_source", "bad_mask"):
        return None
    if job.kind in _WORDS_AT_FAULT:
        return markup([[words]])
    return markup([[again, words]])


def album(say: Translator, request: str, jobs: Sequence[Job], *, edits: bool = True) -> InlineKeyboardMarkup:
    """Under the status of an album that has ended: a variation of each picture, all again, all as files."""
    done = [job for job in jobs if job.state is State.DELIVERED]
    variations = [
        button(say("button-variation-of", number=job.spec.index + 1), OfJob(what="vary", id=job.id))
        for job in done
        if edits
    ]
    row = [button(say("button-again"), OfRequest(what="again", id=request))]
    if done:
        row.append(button(say("button-files"), OfRequest(what="files", id=request)))
    else:
        row.append(button(say("button-words"), OfJob(what="words", id=jobs[0].id)))
    return markup([variations, row] if variations else [row])


def surprise(say: Translator) -> InlineKeyboardMarkup:
    """Under the greeting."""
    return markup([[button(say("button-surprise"), Surprise())]])


def order(say: Translator, message: int) -> InlineKeyboardMarkup:
    """Under the question whether a message's words are to be drawn."""
    return markup(
        [
            [
                button(say("button-draw"), OfOrder(what="yes", id=message)),
                button(say("button-stop"), OfOrder(what="no", id=message)),
            ]
        ]
    )


# What helps against a refusal, by the name of its text; against any other, other words do.
_TO_ASK_AGAIN = frozenset(
    f"refused-{why}"
    for why in (
        *("rate", "active", "busy", "full", "spent", "spent-person", "cooling", "unavailable"),
        *("no-pictures", "paused", "off", "unpaid", "here", "here-all"),
    )
)
_TO_TAKE_FEWER = {"refused-no-edits": "button-no-photo", "refused-too-many-pictures": "button-first-photos"}
_TO_ASK_FOR_ONE = frozenset({"refused-many", "refused-slow"})
_HELPLESS = frozenset(
    f"refused-{why}"
    for why in (
        *("blocked", "no-text", "only-admins", "no-changes-here", "unpaid-chat"),
        *("unpainted", "no-mask"),
    )
)


def refused(say: Translator, why: str, message: int) -> InlineKeyboardMarkup | None:
    """Under the words that say why a wish was refused: what to do about it. None: nothing helps.

    Args:
        why: the name of the text that says so; message: the one that holds the wish.
    """
    if why in _HELPLESS:
        return None
    if why in _TO_TAKE_FEWER:
        return markup([[button(say(_TO_TAKE_FEWER[why]), OfOrder(what="fewer", id=message))]])
    if why in _TO_ASK_FOR_ONE:
        return markup([[button(say("button-just-one"), OfOrder(what="one", id=message))]])
    if why not in _TO_ASK_AGAIN:
        return markup([[button(say("button-words"), OfOrder(what="words", id=message))]])
    row = [button(say("button-ask-again"), OfOrder(what="yes", id=message))]
    if why == "refused-active":
        row.append(button(say("button-queue"), OfQueue(what="look")))
    if why == "refused-unpaid":
        row.insert(0, button(say("button-buy"), OfShop(what="show")))
    return markup([row])


def dialog_words(say: Translator) -> InlineKeyboardMarkup:
    """While /create waits for the words."""
    return markup([[button(say("button-surprise"), Surprise()), _stop(say)]])


def dialog_choices(
    say: Translator,
    aspect: str,
    count: int,
    can: Capabilities,
    *,
    advanced: bool = False,
    improve: bool = False,
) -> InlineKeyboardMarkup:
    """Format and number, with what is chosen now, and go."""
    more = [button(say("button-advanced"), OfDialog(what="page", value="advanced"))] if advanced else []
    if improve:
        more.append(button(say("button-improve"), OfDialog(what="improve")))
    return markup(
        [
            *_in_rows([_choice(say, a, a == aspect, OfDialog(what="aspect", value=a)) for a in can.aspects]),
            [_choice(say, str(n), n == count, OfDialog(what="count", value=str(n))) for n in counts(can)],
            *([more] if more else []),
            [button(say("button-draw"), OfDialog(what="go")), _stop(say)],
        ]
    )


def dialog_advanced(
    say: Translator,
    can: Capabilities,
    *,
    model: str | None,
    style: str | None,
    qualities: Mapping[str, str],
    quality: str | None,
    seed: int | None,
    negative: str,
) -> InlineKeyboardMarkup:
    """What else the model can be asked for, with what is chosen now; what it lacks is not there.

    Args:
        model: what people see as its name; None: there is no other. style: the chosen one's name, empty: none is chosen;
            None: there are none. qualities: likewise, of those it has.
    """
    rows: Rows = []
    if model is not None:
        rows.append([button(say("button-model", model=model), OfDialog(what="page", value="models"))])
    if style is not None:
        label = say("button-style", name=style) if style else say("button-style-none")
        rows.append([button(label, OfDialog(what="page", value="styles"))])
    rows += _in_rows(
        [
            _choice(say, name, q == quality, OfDialog(what="quality", value=q))
            for q, name in qualities.items()
        ],
        _OF_WORDS,
    )
    if can.seed:
        label = say("button-seed-any") if seed is None else say("button-seed", seed=str(seed))
        rows.append([button(label, OfDialog(what="seed"))])
    if can.negative:
        label = say("button-negative", words=negative) if negative else say("button-negative-none")
        rows.append([button(label, OfDialog(what="negative"))])
    back = button(say("dialog-back"), OfDialog(what="page"))
    return markup([*rows, [back, button(say("button-draw"), OfDialog(what="go"))]])


def dialog_models(say: Translator, models: Mapping[str, str], chosen: str | None) -> InlineKeyboardMarkup:
    """The models by what people see as their names."""
    rows = [
        [_choice(say, name, key == chosen, OfDialog(what="model", value=key))] for key, name in models.items()
    ]
    return markup([*rows, [button(say("dialog-back"), OfDialog(what="page", value="advanced"))]])


def models(
    say: Translator, names: Mapping[str, str], chosen: str | None, default: str
) -> InlineKeyboardMarkup:
    """Under /models: each by its name, and the one that draws where nobody has chosen."""
    first = _choice(say, say("button-model-default", model=default), chosen is None, OfModel())
    rows = [[_choice(say, name, key == chosen, OfModel(key=key))] for key, name in names.items()]
    return markup([[first], *rows])


def dialog_styles(say: Translator, names: Sequence[str], chosen: str | None) -> InlineKeyboardMarkup:
    """The styles, of which the chosen one can be left again."""
    choices = [_choice(say, name, name == chosen, OfDialog(what="style", value=name)) for name in names]
    return markup(
        [*_in_rows(choices, _PAIR), [button(say("dialog-back"), OfDialog(what="page", value="advanced"))]]
    )


def styles(say: Translator, names: Sequence[str], *, edits: bool) -> InlineKeyboardMarkup:
    """Under /styles; `edits`: an admin looks at it."""
    rows = _in_rows([button(name, OfStyle(what="show", name=name)) for name in names], _PAIR)
    return markup([*rows, *([[button(say("button-style-new"), OfStyle(what="new"))]] if edits else [])])


def style(say: Translator, name: str, link: str, *, edits: bool) -> InlineKeyboardMarkup:
    """Under a style; `link`: shows it to others. `edits`: an admin looks at it."""
    send = f"https://t.me/share/url?{urlencode({'url': link})}"
    rows = [
        [
            button(say("button-style-use"), OfStyle(what="use", name=name)),
            InlineKeyboardButton(text=say("button-share"), url=send),
        ]
    ]
    if edits:
        rows.append(
            [
                button(say("button-style-words"), OfStyle(what="words", name=name)),
                button(say("button-style-sample"), OfStyle(what="sample", name=name)),
                button(say("button-style-drop"), OfStyle(what="drop", name=name)),
            ]
        )
    return markup(rows)


def dialog_better(say: Translator) -> InlineKeyboardMarkup:
    """Under words that were improved: take them, or leave them."""
    take, leave = OfDialog(what="take"), OfDialog(what="page")
    return markup([[button(say("button-take"), take), button(say("button-leave"), leave)]])


def dialog_back(say: Translator) -> InlineKeyboardMarkup:
    """While the dialog waits for a seed or words."""
    return markup([[button(say("dialog-back"), OfDialog(what="page", value="advanced"))]])


def settings(say: Translator, person: Person, can: Capabilities) -> InlineKeyboardMarkup:
    """The choices of /settings, with what is chosen now."""

    def language(code: str, name: str) -> InlineKeyboardButton:
        return _choice(say, name, code == (person.lang or "auto"), OfSettings(what="lang", value=code))

    return markup(
        [
            [language("auto", say("language-auto"))],
            *_in_rows([language(code, language_name(code)) for code in LANGUAGES]),
            *_in_rows(
                [_choice(say, a, a == person.aspect, OfSettings(what="aspect", value=a)) for a in can.aspects]
            ),
            [
                _choice(say, str(n), n == person.count, OfSettings(what="count", value=str(n)))
                for n in counts(can)
            ],
            [
                _choice(say, say(text), first == person.first, OfSettings(what="first", value=first))
                for first, text in (("photo", "first-photo"), ("file", "first-file"))
            ],
        ]
    )


def queue(say: Translator, requests: Sequence[str]) -> InlineKeyboardMarkup:
    """Under /queue: cancel the request of that number, or look again."""
    numbers = [
        button(say("button-cancel-number", number=number), OfQueue(what="cancel", id=request))
        for number, request in enumerate(requests, start=1)
    ]
    rows = [numbers[start : start + 4] for start in range(0, len(numbers), 4)]
    return markup([*rows, [button(say("button-look"), OfQueue(what="look"))]])


def gallery(
    say: Translator,
    kind: GalleryKind,
    ids: Sequence[str],
    place: int,
    *,
    starred: bool,
    page: str | None = None,
) -> InlineKeyboardMarkup:
    """Under a gallery that shows the picture at that place. `page`: address of the Mini App."""
    job = ids[place]

    def turn(text: str, to: int) -> InlineKeyboardButton:
        return button(text, OfGallery(what="at", kind=kind, id=ids[to]))

    row = [turn(say("gallery-place", place=place + 1, count=len(ids)), place)]
    if place:
        row.insert(0, turn("◀️", place - 1))
    if place + 1 < len(ids):
        row.append(turn("▶️", place + 1))
    star = (
        button(say("button-unstar"), OfGallery(what="unstar", kind=kind, id=job))
        if starred
        else button(say("button-star"), OfGallery(what="star", kind=kind, id=job))
    )
    whole = [InlineKeyboardButton(text=say("button-app"), web_app=WebAppInfo(url=page))] if page else []
    other: GalleryKind = "star" if kind == "all" else "all"
    return markup(
        [
            row,
            [star, button(say("button-open"), OfJob(what="show", id=job))],
            [
                button(say("button-delete"), OfGallery(what="delete", kind=kind, id=job)),
                button(say("button-find"), OfGallery(what="find", kind=kind)),
            ],
            [
                button(
                    say("button-starred" if other == "star" else "button-all"),
                    OfGallery(what="kind", kind=other),
                ),
                *whole,
            ],
        ]
    )


def days_kept(longest: int) -> list[int]:
    """For how many days people may have their pictures kept."""
    return [*(days for days in (1, 7, 30, 90) if days < longest), longest]


def privacy(say: Translator, days: int, longest: int) -> InlineKeyboardMarkup:
    """Under what is said of a person's data."""
    kept = [
        _choice(say, say("privacy-days", days=n), n == days, OfPrivacy(what="keep", days=n))
        for n in days_kept(longest)
    ]
    rest = [
        button(say("button-export"), OfPrivacy(what="export")),
        button(say("button-delete-me"), OfPrivacy(what="delete")),
    ]
    return markup([kept, rest])


def delete_sure(say: Translator) -> InlineKeyboardMarkup:
    """Under the question whether everything is to be deleted."""
    return markup(
        [
            [
                button(say("button-delete-sure"), OfPrivacy(what="sure")),
                button(say("button-stop"), OfPrivacy(what="stop")),
            ]
        ]
    )


def gallery_sure(say: Translator, kind: GalleryKind, job: str) -> InlineKeyboardMarkup:
    """Under a picture that is to be deleted."""
    return markup(
        [
            [
                button(say("button-sure"), OfGallery(what="sure", kind=kind, id=job)),
                button(say("button-stop"), OfGallery(what="at", kind=kind, id=job)),
            ]
        ]
    )


def buy(say: Translator) -> InlineKeyboardMarkup:
    """Under words that say that pictures are sold."""
    return markup([[button(say("button-buy"), OfShop(what="show"))]])


def shop(
    say: Translator,
    packs: Sequence[Pack],
    month: Pack | None,
    link: str | None,
    subscription: Subscription | None,
) -> InlineKeyboardMarkup:
    """What is sold. `link`: of the invoice of a subscription; `subscription`: the person's own."""
    rows = [
        [
            button(
                say("button-pack", pictures=pack.pictures, stars=pack.stars),
                OfShop(what="pack", stars=pack.stars),
            )
        ]
        for pack in packs
    ]
    if subscription is not None:
        what: Literal["stop", "go on"] = "go on" if subscription.stopped else "stop"
        label = say("button-month-go-on" if subscription.stopped else "button-month-stop")
        rows.append([button(label, OfShop(what=what))])
    elif month is not None and link is not None:
        label = say("button-monthly", pictures=month.pictures, stars=month.stars)
        rows.append([InlineKeyboardButton(text=label, url=link)])
    return markup(rows)


def _in_rows(buttons: list[InlineKeyboardButton], width: int = _ROW) -> list[list[InlineKeyboardButton]]:
    return [buttons[start : start + width] for start in range(0, len(buttons), width)]


def _choice(say: Translator, label: str, chosen: bool, data: CallbackData) -> InlineKeyboardButton:
    return button(say("chosen", label=label) if chosen else label, data)


def _stop(say: Translator) -> InlineKeyboardButton:
    return button(say("button-stop"), OfDialog(what="stop"))


def button(text: str, data: CallbackData) -> InlineKeyboardButton:
    """A button that sends `data` when tapped."""
    return InlineKeyboardButton(text=text, callback_data=data.pack())


def markup(rows: Rows) -> InlineKeyboardMarkup:
    """A keyboard of these rows."""
    return InlineKeyboardMarkup(inline_keyboard=rows)
