"""What changed from one picture's words to the next one's."""

from __future__ import annotations

from aiogram.utils.formatting import as_line

from src.bot.lineage import changed


def _said(before: str, after: str) -> str:
    return as_line(*changed(before, after), end="").as_html()


def test_what_went_is_struck_out_and_what_came_is_bold() -> None:
    assert _said("a red fox", "a blue fox") == "a <s>red</s> <b>blue</b> fox"
    assert changed("a fox", "a fox") == changed("a fox", "an owl") == []


def test_long_words_are_told_in_one_message() -> None:
    words = [f"word{n}" for n in range(400)]
    other = [word if n % 2 else f"other{n}" for n, word in enumerate(words)]
    assert 0 < len(_said(" ".join(words), " ".join(other))) < 2000
