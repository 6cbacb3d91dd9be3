"""Every word the bot says, from the Fluent files in `src/bot/texts/<language>/`.

A person hears the language they chose, or else the one Telegram reports, or else English.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from aiogram_i18n.cores import FluentRuntimeCore

LANGUAGES = ("en", "ru")
_FOLDER = Path(__file__).parent.parent / "bot" / "texts"
_KEPT = 1024
_SPOKEN = {"ru": "ru", "uk": "ru", "be": "ru", "kk": "ru"}


def language_of(chosen: str | None, telegram_code: str | None) -> str:
    """The language for a person: their own choice, else by Telegram's `language_code`."""
    if chosen in LANGUAGES:
        return chosen
    return _SPOKEN.get((telegram_code or "").lower().split("-")[0], "en")


class Texts:
    """The texts of all languages, compiled once."""

    def __init__(self) -> None:
        # Our isolation marks would be counted as changes of a message; texts keep words on their own line instead.
        self._core = FluentRuntimeCore(_FOLDER, default_locale="en", use_isolating=False, use_td=False)
        self._core.locales.update(self._core.find_locales())
        self._kept = functools.lru_cache(_KEPT)(self._with_names)

    def get(self, lang: str, key: str, /, **args: Any) -> str:
        """The text `key`.

        Raises:
            aiogram_i18n.exceptions.KeyNotFoundError: there is no such text.
        """
        # Names of models and the like come again and again; numbers do not, and 1 and 1.0 would be one.
        if all(type(value) is str for value in args.values()):
            return self._kept(lang, key, *args.items())
        return self._core.get(key, lang, **args)

    def _with_names(self, lang: str, key: str, *args: tuple[str, str]) -> str:
        return str(self._core.get(key, lang, **dict(args)))

    def voice(self, lang: str) -> Voice:
        """The texts in one language."""
        return Voice(self, lang)


class Voice:
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
