"""The table of transitions in the docs is the one the scripts make."""

from __future__ import annotations

from typing import Any

from tests.jobs.transition_table import CALLS, README, text


def test_the_table_in_the_docs_is_current(sync_redis: Any) -> None:
    assert README.read_text("utf-8") == text(sync_redis), "python -m tests.jobs.transition_table"


def test_every_script_that_changes_a_job_has_a_row() -> None:
    scripts = {path.stem for path in (README.parent / "lua").glob("*.lua")}
    # These change what is said of its request.
    of_placeholders = {"changing", "shown", "sending", "sent", "strays"}
    of_money = {"paid", "refunded", "redeem"}
    assert {name.split()[0] for name in CALLS} == scripts - {
        "common",
        "standing",
        "backup",
        "resume",
    } - of_money - of_placeholders
