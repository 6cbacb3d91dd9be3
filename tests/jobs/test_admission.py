"""Who is told that there is too much to do."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from src.jobs import Admission, Ledger, Limits, Wake, keys, new_id, transitions
from src.ops.thresholds import REDIS_MEMORY
from src.pipeline.admission import TIERS
from tests.conftest import RedisProcess
from tests.jobs.states import CAP, LIMITS, Spec, admitted, claimed, generated

SLOTS = 2


def _ask(ledger: Ledger, user: int, count: int = 1, *, deadline: float, limits: Limits = LIMITS) -> Admission:
    wish = [
        (Spec("a fox", "m", "1:1", user, "en", index, count), Wake(new_id(), "kie", user))
        for index in range(count)
    ]
    return ledger.run_sync(
        transitions.admit(
            request=new_id(), user=str(user), provider="kie", cap=SLOTS, jobs=wish, limits=limits,
            deadline=deadline, ttl=3600,
        )
    )  # fmt: skip


def test_no_promise_that_the_deadline_would_break(sync_redis: Any) -> None:
    """Two slots, a minute each: twenty jobs are ten minutes, and who comes after them waits longer."""
    ledger = Ledger(sync_client=sync_redis)
    generated(ledger, 60)
    for user in range(100, 120):
        assert _ask(ledger, user, deadline=600).verdict == "ok"
    assert _ask(ledger, 200, 4, deadline=500).verdict == "busy"
    assert _ask(ledger, 200, 4, deadline=600).verdict == "slow"
    assert _ask(ledger, 200, 4, deadline=700).verdict == "ok"


def test_a_long_line_of_one_person_does_not_keep_others_out(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    generated(ledger, 60)
    assert _ask(ledger, 1, 20, deadline=600).verdict == "ok"
    assert _ask(ledger, 1, 10, deadline=500).verdict == "busy"
    assert _ask(ledger, 2, deadline=600).verdict == "ok"


def test_who_asks_for_too_many_at_once_is_told_to_ask_for_fewer(sync_redis: Any) -> None:
    """Where nobody waits and nothing of theirs is open, waiting would not help."""
    ledger = Ledger(sync_client=sync_redis)
    generated(ledger, 400)
    assert _ask(ledger, 7, 6, deadline=600).verdict == "slow"
    sync_redis.hset(keys.USER(7), "active", 3)
    refused = _ask(ledger, 7, 4, deadline=900)
    assert (refused.verdict, refused.number) == ("many", 3)
    assert _ask(ledger, 7, 3, deadline=900).verdict == "ok"
    refused = _ask(ledger, 7, 1, deadline=900)
    assert (refused.verdict, refused.number) == ("active", 3)
    few = Limits(rate=9, window=60, active=9, waiting=2)
    assert [
        _ask(ledger, user, count, deadline=9000, limits=few).verdict
        for user, count in ((2, 2), (2, 1), (3, 1))
    ] == ["slow", "ok", "busy"]


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


def _requested(ledger: Ledger, user: str, *, cap: int, count: int = 1) -> tuple[str, list[str]]:
    """A request of a person who may have one a minute: its verdict, and its jobs."""
    wish = [(Spec("a fox", "m", "1:1", 1, "en", n, count), Wake(new_id(), "kie", 1)) for n in range(count)]
    admission = ledger.run_sync(
        transitions.admit(
            request=new_id(), user=user, provider="kie", cap=cap, jobs=wish,
            limits=Limits(rate=1, window=60, active=9, waiting=99), deadline=600, ttl=60,
        )
    )  # fmt: skip
    return admission.verdict, [wake.job for _, wake in wish]


@pytest.mark.parametrize(
    ("kind", "counts"), [("moderated_input", False), ("moderated_output", False), ("timeout", True)]
)
def test_what_the_filter_refused_does_not_count(sync_redis: Any, kind: str, counts: bool) -> None:
    ledger = Ledger(sync_client=sync_redis)
    _, jobs = _requested(ledger, "1", cap=9, count=2)
    for job in jobs:
        assert _requested(ledger, "1", cap=9)[0] == "rate"
        for _ in range(2):  # said again it changes nothing
            ledger.run_sync(transitions.fail(job, None, kind=kind, cap=9))
    assert _requested(ledger, "1", cap=9)[0] == ("rate" if counts else "ok")


@pytest.mark.parametrize("waiting", [True, False])
def test_what_was_taken_back_before_its_turn_does_not_count(sync_redis: Any, waiting: bool) -> None:
    ledger = Ledger(sync_client=sync_redis)
    cap = 0 if waiting else 9
    _, [job] = _requested(ledger, "1", cap=cap)
    if not waiting:
        assert ledger.run_sync(transitions.claim(job, "submit", holder="test", lease=30)) is not None
    ledger.run_sync(transitions.cancel(job, "1", cap=cap))
    told = ledger.run_sync(transitions.claim(job, "deliver", holder="test", lease=30))
    assert told is not None
    assert told.uncounted is waiting
    assert _requested(ledger, "1", cap=cap)[0] == ("ok" if waiting else "rate")


def test_a_request_counts_while_any_of_it_does(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    _, [first, second] = _requested(ledger, "1", cap=1, count=2)
    ledger.run_sync(transitions.cancel(second, "1", cap=1))
    ledger.run_sync(transitions.fail(first, None, kind="timeout", cap=1))
    assert _requested(ledger, "1", cap=1)[0] == "rate"


def test_what_is_admitted_is_counted_by_the_hour(sync_redis: Any) -> None:
    assert _requested(Ledger(sync_client=sync_redis), "1", cap=9, count=2)[0] == "ok"
    counted = {
        field: n for key in sync_redis.keys(keys.TALLY("*")) for field, n in sync_redis.hgetall(key).items()
    }
    assert [(field.split()[1], n) for field, n in counted.items() if int(field.split()[0]) < 24] == [
        ("admitted", "2")
    ]


def test_a_redis_that_is_nearly_full_takes_nothing_new_and_all_that_is_paid(sync_redis: Any) -> None:
    """At its limit Redis refuses every write, also a provider's ticket; so admission ends before."""
    ledger = Ledger(sync_client=sync_redis)
    (job,) = admitted(ledger)
    sync_redis.set("else", "x" * 20_000_000)

    def in_use(share: float) -> None:
        sync_redis.config_set("maxmemory", int(sync_redis.info("memory")["used_memory"] / share))

    try:
        in_use(0.9)
        assert _ask(ledger, 1, deadline=600).verdict == "ok"
        in_use(REDIS_MEMORY.problem + 0.01)
        assert _ask(ledger, 1, deadline=600).verdict == "full"
        # One that evicts stays near its limit, and goes on.
        sync_redis.config_set("maxmemory-policy", "volatile-ttl")
        assert _ask(ledger, 1, deadline=600).verdict == "ok"
        fence = claimed(ledger, job, "submit").fence
        ledger.run_sync(transitions.accepted(job, fence, ticket={"external_id": "t"}, after=60))
        ledger.run_sync(transitions.ready(job, fence, result={}, cap=CAP, model="m"))
        fence = claimed(ledger, job, "deliver").fence
        assert ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=3600)).outcome
    finally:
        sync_redis.config_set("maxmemory", 0)
        sync_redis.config_set("maxmemory-policy", "noeviction")


def test_what_a_slow_replica_has_not_read_fills_no_redis(tmp_path: Path) -> None:
    """Redis does not count it against its limit, so neither does admission."""
    own_redis = RedisProcess(tmp_path, "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb")
    own_redis.start()
    try:
        client: Any = redis.Redis.from_url(own_redis.url, decode_responses=True)
        with client, socket.socket(socket.AF_UNIX) as replica:
            replica.connect(str(own_redis.socket))
            replica.sendall(b"SYNC\r\n")
            until = time.monotonic() + 20
            while (memory := client.info("memory"))["mem_not_counted_for_evict"] < 10_000_000:
                assert time.monotonic() < until
                client.set("else", "x" * 1_000_000)
            client.config_set("maxmemory", memory["used_memory"])
            assert _ask(Ledger(sync_client=client), 1, deadline=600).verdict == "ok"
    finally:
        own_redis.kill()
