"""The owner's list of words that are not drawn (BLOCKED_WORDS_FILE), looked for before a wish stands in the line.

A word or a phrase a line; `word*` stands for whatever begins so, as words have many endings; `#` begins a comment.
Case, `ё`, accents put on and characters that show nothing do not hide a word. Not here: what a provider's filter refuses
(`src.providers.refusals`).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path


def has_blocked_word(text: str, file: Path | None) -> bool:
    """Whether a text has a word of the list; False where there is no list."""
    return file is not None and bool(_pattern(file).search(_plain(text)))


@functools.cache
def _pattern(file: Path) -> re.Pattern[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    words = [re.escape(_plain(line)).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for line in lines if line]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)" if words else r"(?!)")


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    seen = "".join(char for char in apart if unicodedata.category(char) not in ("Cf", "Mn"))
    return unicodedata.normalize("NFKC", seen).casefold()
