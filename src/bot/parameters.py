"""Parameters among a person's words, as in `a fox --ar 16:9 --no text`.

Their names are in the texts (`parameter-…`), and those of every language are understood, also behind the long dash
that phones make of two. What each may be depends on the model, as the catalog says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from src.app import App
from src.bot.styles import Style
from src.providers.base import Aspect, Capabilities
from src.providers.catalog import Model
from src.telegram.i18n import LANGUAGES, Translator, get_texts, isolated, shorten

MAX_SEED = 2**31 - 1
"""The largest that every model with a seed takes."""
_DIGITS = len(str(MAX_SEED))

_START = re.compile(r"(?<!\S)(?:--|[—–])([^\W\d_][\w-]*)(?:\s*[=:]\s*|\s+|$)")
_RATIO = re.compile(r"(\d{1,5})[:x×\u0445/](\d{1,5})", re.IGNORECASE)
_NAMES = {
    "aspect": "parameter-aspect",
    "count": "parameter-count",
    "quality": "parameter-quality",
    "model": "parameter-model",
    "seed": "parameter-seed",
    "negative": "parameter-negative",
    "style": "parameter-style",
}
_QUALITIES = {
    "low": "quality-low",
    "medium": "quality-medium",
    "high": "quality-high",
    "xhigh": "quality-xhigh",
    "max": "quality-max",
    "auto": "quality-auto",
}
_SHOWN = 40


class Impossible(Exception):
    """Parameters that nobody knows, or that are not possible; `words` tell the person what is."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


def read(
    text: str, model: str | None, sources: int, app: App, say: Translator, styles: Sequence[Style] = ()
) -> tuple[str, dict[str, Any]]:
    """A text's words, and what its parameters say: any of `aspect`, `count`, `quality`, `model`, `seed`, `negative`,
    `style`.

    Args:
        model: of the catalog, if the text names none; sources: pictures that are given; styles: all there are.

    Raises:
        Impossible: any of it is.
    """
    starts = list(_START.finditer(text))
    if not starts:
        return text.strip(), {}
    words, given, wrong = [text[: starts[0].start()]], {}, []
    ends = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, ends, strict=True):
        what = _meanings().get(start[1].casefold())
        if what is None:
            known = ", ".join(f"--{say(key).split()[0]}" for key in _NAMES.values())
            wrong.append(say("parameter-unknown", name=_typed(start[1]), known=known))
            continue
        value, rest = _value(what, text[start.end() : end].strip(), app, styles)
        words.append(rest)
        if value:
            given[what] = value
        else:
            wrong.append(say("parameter-empty", name=_typed(start[1])))
    said: dict[str, Any] = {}
    if "model" in given:
        try:
            model = said["model"] = _model(given["model"], sources, app, say)
        except Impossible as error:
            wrong.append(error.words)
    if "style" in given:
        try:
            said["style"] = _style(given["style"], styles, say)
        except Impossible as error:
            wrong.append(error.words)
    readers = {"aspect": _aspect, "count": _count, "quality": _quality, "seed": _seed, "negative": _negative}
    can = capabilities(model, sources, app)
    for what, reader in readers.items():
        if what in given:
            try:
                said[what] = reader(given[what], can, app, say)
            except Impossible as error:
                wrong.append(error.words)
    if wrong:
        raise Impossible("\n".join([*wrong, say("parameter-nothing")]))
    return " ".join(filter(None, map(str.strip, words))), said


def has_any(text: str) -> bool:
    """Whether a text has parameters, be they known or not."""
    return _START.search(text) is not None


def as_words(text: str) -> str:
    """A text that no person typed, in which nothing is a parameter."""
    return _START.sub(r"\1 ", text).strip()


def capabilities(model: str | None, sources: int, app: App) -> Capabilities:
    """What can be asked for with a model of the catalog; with what the settings have made, if it is None or cannot."""
    return app.routing.can(model, sources) or app.routing.can(None, sources) or app.routing.offered()


def seed_in(text: str) -> int | None:
    """The seed that a text is; None: it is none."""
    number = text.strip()
    if not number.isdecimal() or len(number) > _DIGITS or int(number) > MAX_SEED:
        return None
    return int(number)


def quality_name(quality: str, say: Translator) -> str:
    """What people call it."""
    return say(_QUALITIES[quality]) if quality in _QUALITIES else quality


def models_like(words: str, models: Mapping[str, Model]) -> list[str]:
    """The models that a person may mean: the one of that name, else those whose names have it in them."""
    wanted = _plain(words)
    names = {key: {_plain(n) for n in (key, m.name.en, m.name.ru)} for key, m in models.items()}
    exact = [key for key, known in names.items() if wanted in known]
    return exact or [key for key, known in names.items() if wanted and any(wanted in name for name in known)]


@functools.cache
def _meanings() -> dict[str, str]:
    """What each name of a parameter means."""
    say = get_texts().get
    return {
        name: what for what, key in _NAMES.items() for lang in LANGUAGES for name in say(lang, key).split()
    }


# Of a model's or a style's name, at most.
_NAME_WORDS = 10


def _value(what: str, behind: str, app: App, styles: Iterable[Style]) -> tuple[str, str]:
    """A parameter's value, and the words that go on after it."""
    if what == "negative":
        value, _, rest = behind.partition("\n")
        return value.strip(), rest
    tokens = behind.split()
    models, names = app.routing.models(), {style.name.casefold() for style in styles}
    for many in range(min(len(tokens), _NAME_WORDS), 1, -1):
        value, rest = " ".join(tokens[:many]), " ".join(tokens[many:])
        if (what == "model" and models_like(value, models)) or (
            what == "style" and value.casefold() in names
        ):
            return value, rest
    return "".join(tokens[:1]), " ".join(tokens[1:])


def _model(value: str, sources: int, app: App, say: Translator) -> str:
    models, able = app.routing.models(), app.routing.models(sources)
    found = models_like(value, models)
    if not found:
        raise Impossible(say("parameter-model-unknown", name=_typed(value), known=_named(models, say)))
    fitting = [key for key in found if key in able]
    if not fitting:
        names = _named({key: models[key] for key in found}, say)
        key = "parameter-model-pictures" if sources else "parameter-model-words"
        raise Impossible(say(key, name=names, count=sources, number=len(able), known=_named(able, say)))
    if len(fitting) > 1:
        names = _named({key: able[key] for key in fitting}, say)
        raise Impossible(say("parameter-model-several", name=_typed(value), known=names))
    return fitting[0]


def _style(value: str, styles: Iterable[Style], say: Translator) -> str:
    names = {style.name.casefold(): style.name for style in styles}
    if (name := names.get(value.casefold())) is None:
        known = ", ".join(names.values())
        raise Impossible(say("parameter-style-unknown", name=_typed(value), number=len(names), known=known))
    return name


def _aspect(value: str, can: Capabilities, app: App, say: Translator) -> Aspect:
    if sides := _RATIO.fullmatch(value):
        wide, high = map(int, sides.groups())
        for aspect in can.aspects:
            across, _, down = aspect.partition(":")
            if wide * int(down) == high * int(across) > 0:
                return aspect
    raise Impossible(say("parameter-aspect-bad", name=_typed(value), known=", ".join(can.aspects)))


def _count(value: str, can: Capabilities, app: App, say: Translator) -> int:
    if value.isdecimal() and len(value) == 1 and 1 <= int(value) <= can.counts:
        return int(value)
    raise Impossible(say("parameter-count-bad", name=_typed(value), most=can.counts))


def _quality(value: str, can: Capabilities, app: App, say: Translator) -> str:
    if not can.qualities:
        raise _lacking("parameter-no-quality", lambda other: bool(other.qualities), app, say)
    get = get_texts().get
    for quality in can.qualities:
        names = [get(lang, _QUALITIES[quality]) for lang in LANGUAGES if quality in _QUALITIES]
        if value.casefold() in (quality, *names):
            return quality
    known = ", ".join(quality_name(quality, say) for quality in can.qualities)
    raise Impossible(say("parameter-quality-bad", name=_typed(value), known=known))


def _seed(value: str, can: Capabilities, app: App, say: Translator) -> int:
    if not can.seed:
        raise _lacking("parameter-no-seed", lambda other: other.seed, app, say)
    if (seed := seed_in(value)) is None:
        raise Impossible(say("parameter-seed-bad", most=str(MAX_SEED)))
    return seed


def _negative(value: str, can: Capabilities, app: App, say: Translator) -> str:
    if not can.negative:
        raise _lacking("parameter-no-negative", lambda other: other.negative, app, say)
    return value


def _lacking(key: str, has: Callable[[Capabilities], bool], app: App, say: Translator) -> Impossible:
    """The model has no such thing; the words name those that have."""
    others = {
        name: m for name, m in app.routing.models(0).items() if (can := app.routing.can(name, 0)) and has(can)
    }
    return Impossible(say(key, number=len(others), known=_named(others, say)))


def _named(models: Mapping[str, Model], say: Translator) -> str:
    return ", ".join(model.name.of(say.lang) for model in models.values())


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _typed(text: str) -> str:
    return isolated(shorten(text, _SHOWN))
