"""Every word the bot says, from the Fluent files in `src/bot/texts/<language>/`.

A person hears the language they chose, or else the one Telegram reports, or else English.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from fluent.runtime import FluentBundle, FluentResource

_FOLDER = Path(__file__).parent.parent / "bot" / "texts"
LANGUAGES = ("en", *sorted({file.parent.name for file in _FOLDER.glob("*/*.ftl")} - {"en"}))
"""Those that have a folder; English is for everybody whose language has none."""
_KEY = re.compile(r"^([a-z][\w-]*) =", re.MULTILINE)
_KEPT = 1024
# What they may rather read than English, while their own has no folder.
_NEAREST = {"uk": "ru", "be": "ru", "kk": "ru"}


def language_of(chosen: str | None, telegram_code: str | None) -> str:
    """The language for a person: their own choice, else by Telegram's `language_code`."""
    if chosen in LANGUAGES:
        return chosen
    code = (telegram_code or "").lower().split("-")[0]
    return code if code in LANGUAGES else _NEAREST.get(code, "en")


@functools.cache
def _files(lang: str) -> dict[str, Path]:
    files = sorted((_FOLDER / lang).glob("*.ftl"))
    return {key: file for file in files for key in _KEY.findall(file.read_text("utf-8"))}


@functools.cache
def _bundle(lang: str, file: Path) -> Any:
    # Bidi isolates off: they would make unchanged text look edited. Texts keep words on their own line instead.
    bundle = FluentBundle([lang], use_isolating=False)
    bundle.add_resource(FluentResource(file.read_text("utf-8")))
    return bundle


class Texts:
    """The texts of all languages; a file, whose texts may use each other, is parsed when it is first asked for."""

    def __init__(self) -> None:
        self._kept = functools.lru_cache(_KEPT)(self._with_names)

    def get(self, lang: str, key: str, /, **args: Any) -> str:
        """The text `key`.

        Raises:
            LookupError: there is no such text. ValueError: it cannot be said with these arguments.
        """
        # Names of models and the like come again and again; numbers do not, and 1 and 1.0 would be one.
        if all(type(value) is str for value in args.values()):
            return self._kept(lang, key, *args.items())
        return self._say(lang, key, args)

    def _with_names(self, lang: str, key: str, *args: tuple[str, str]) -> str:
        return self._say(lang, key, dict(args))

    @staticmethod
    def _say(lang: str, key: str, args: dict[str, Any]) -> str:
        bundle = _bundle(lang, _files(lang)[key])
        text, errors = bundle.format_pattern(bundle.get_message(key).value, args)
        if errors:
            raise ValueError(f"{key}: {errors[0]}")
        return str(text)

    def translator(self, lang: str) -> Translator:
        """The texts in one language."""
        return Translator(self, lang)


class Translator:
    """`say("key", name=value)` in one language."""

    def __init__(self, texts: Texts, lang: str) -> None:
        self._texts = texts
        self.lang = lang

    def __call__(self, key: str, /, **args: Any) -> str:
        return self._texts.get(self.lang, key, **args)


@functools.cache
def get_texts() -> Texts:
    """The texts of this process."""
    return Texts()


def language_name(lang: str) -> str:
    """What a language is called by those who speak it."""
    return get_texts().get(lang, "language-name")


TOAST = 200
"""Longest answer to a tap, in UTF-16 code units."""


def shorten(text: str, units: int) -> str:
    """Cut to `units` UTF-16 code units, Telegram's measure, never through a character."""
    if width(text) <= units:
        return text
    kept = text.encode("utf-16-le")[: (units - 1) * 2].decode("utf-16-le", errors="ignore")
    return kept.rstrip() + "…"


def isolated(text: str) -> str:
    """A person's words for a line of ours: their direction of writing stays their own."""
    return f"\u2068{text}\u2069"


def width(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
