"""What the README says is what the code does."""

from __future__ import annotations

from pathlib import Path

from src.settings import table

README = Path(__file__).parent.parent / "README.md"


def test_the_table_of_settings_is_current() -> None:
    """Renew it with: imagebot settings"""
    text = README.read_text("utf-8")
    begin, end = "<!-- settings -->\n", "\n<!-- /settings -->"
    assert text[text.index(begin) + len(begin) : text.index(end)] == table()


def test_its_links_lead_somewhere() -> None:
    text = README.read_text("utf-8")
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    missing = [t for t in targets if not t.startswith("http") and not (README.parent / t).exists()]
    assert missing == []
