"""Two may know of a dead process's span: one of them writes it."""

from __future__ import annotations

from typing import Any

from src.jobs import Ledger, transitions


def test_the_first_to_say_so_writes_a_lost_span(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    assert ledger.run_sync(transitions.lost("a", "disk"))
    assert not ledger.run_sync(transitions.lost("a", "step"))
    assert ledger.run_sync(transitions.lost("a", "disk")), "said again: it could not be sent the first time"
    assert ledger.run_sync(transitions.lost("b", "step"))
    assert 0 < sync_redis.ttl("imagebot:lost:a") <= 86_400
