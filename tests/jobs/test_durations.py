"""What is kept of how long generations took."""

from __future__ import annotations

from typing import Any

from src.jobs import Ledger
from tests.jobs.states import generated


def test_many_that_end_at_once_do_not_push_out_what_was_known(sync_redis: Any) -> None:
    """After a common start those that end in the same second took equally long: they say little of others."""
    ledger = Ledger(sync_client=sync_redis)
    for _ in range(250):
        generated(ledger, 1000.0)
    assert 20 <= sync_redis.llen("imagebot:took:kie:m") < 60


def test_the_first_ones_are_all_kept(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    for seconds in range(20, 30):
        generated(ledger, float(seconds))
    assert sync_redis.lrange("imagebot:took:kie:m", 0, -1) == [str(s * 1000) for s in range(29, 19, -1)]
