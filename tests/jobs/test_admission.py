"""Who is told that there is too much to do."""

from __future__ import annotations

from typing import Any

from src.jobs import Admission, Ledger, Limits, Wake, keys, new_id, transitions
from src.pipeline.admission import TIERS
from tests.jobs.states import LIMITS, Spec, generated

SLOTS = 2


def _ask(ledger: Ledger, user: int, count: int = 1, *, deadline: float) -> Admission:
    wish = [
        (Spec("a fox", "m", "1:1", user, "en", index, count), Wake(new_id(), "kie", user))
        for index in range(count)
    ]
    return ledger.run_sync(
        transitions.admit(
            request=new_id(), user=str(user), provider="kie", cap=SLOTS, jobs=wish, limits=LIMITS,
            deadline=deadline, ttl=3600,
        )
    )  # fmt: skip


def test_no_promise_that_the_deadline_would_break(sync_redis: Any) -> None:
    """Two slots, a minute each: twenty jobs are ten minutes, and who comes after them waits longer."""
    ledger = Ledger(sync_client=sync_redis)
    generated(ledger, 60)
    for user in range(100, 120):
        assert _ask(ledger, user, deadline=600).verdict == "ok"
    assert _ask(ledger, 200, 4, deadline=600).verdict == "busy"
    assert _ask(ledger, 200, 4, deadline=700).verdict == "ok"


def test_a_long_line_of_one_person_does_not_keep_others_out(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    generated(ledger, 60)
    assert _ask(ledger, 1, 20, deadline=600).verdict == "ok"
    assert _ask(ledger, 1, 10, deadline=600).verdict == "busy"
    assert _ask(ledger, 2, deadline=600).verdict == "ok"


def test_a_persons_tier_changes_their_limits_and_their_class(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    for user, tier in enumerate(["", "last", "first", "unlimited"]):
        if tier:
            sync_redis.hset(keys.USER(user), "tier", tier)
        verdicts = [_admit_one(ledger, str(user)).verdict for _ in range(2)]
        assert verdicts == ["ok", "ok" if tier == "unlimited" else "rate"]
    line = sync_redis.zrange(keys.LINE("kie"), 0, -1)
    users = [sync_redis.hget(keys.JOB(job), "user") for job in line]
    assert (users[0], users[-1]) == ("2", "1")


def _admit_one(ledger: Ledger, user: str) -> Admission:
    wish = [(Spec("a fox", "m", "1:1", 1, "en"), Wake(new_id(), "kie", 1))]
    limits = Limits(rate=1, window=60, active=9, waiting=99)
    return ledger.run_sync(
        transitions.admit(
            request=new_id(), user=user, provider="kie", cap=0, jobs=wish, limits=limits, deadline=600, ttl=60,
            tiers=TIERS,
        )
    )  # fmt: skip
