"""The table of transitions in the docs is the one the scripts make."""

from __future__ import annotations

from typing import Any

from tests.jobs.transition_table import README, text


def test_the_table_in_the_docs_is_current(sync_redis: Any) -> None:
    assert README.read_text("utf-8") == text(sync_redis), "python -m tests.jobs.transition_table"
