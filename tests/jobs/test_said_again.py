"""A script whose answer was lost is run again: it says the same, and nothing is done twice."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from src.jobs import Job, Ledger, Spec, State, Wake, keys, transitions
from tests.jobs.states import CAP, admitted, claimed, in_state


@pytest.fixture
def ledger(sync_redis: Any) -> Ledger:
    return Ledger(sync_client=sync_redis)


def record(client: redis.Redis, job: str) -> dict[Any, Any]:
    found: Any = client.hgetall(f"imagebot:job:{job}")
    return dict(found)


def claim(ledger: Ledger, job: str, step: Any, *, holder: str = "a:1", attempt: str = "span-1") -> Job | None:
    return ledger.run_sync(transitions.claim(job, step, holder=holder, lease=60, attempt=attempt))


@pytest.mark.parametrize(("state", "step"), [(State.SUBMITTING, "submit"), (State.READY, "deliver")])
def test_a_claim(ledger: Ledger, sync_redis: Any, state: State, step: str) -> None:
    job, _ = in_state(ledger, state)
    first = claim(ledger, job, step)
    before = record(sync_redis, job)
    again = claim(ledger, job, step)
    assert first is not None
    assert again is not None
    assert (again.fence, again.tries, again.deliveries, again.lost) == (
        first.fence,
        first.tries,
        first.deliveries,
        "",
    )
    assert record(sync_redis, job) == before
    assert claim(ledger, job, step, attempt="span-2") is None
    assert claim(ledger, job, step, holder="b:2") is None
    # Without a trace nobody knows who asks.
    assert claim(ledger, job, step, attempt="") is None


def test_a_claim_tells_again_whose_attempt_it_replaces(ledger: Ledger, sync_redis: Any) -> None:
    job, _ = in_state(ledger, State.SUBMITTING)
    assert claim(ledger, job, "submit", holder="dead:1", attempt="span-0") is not None
    sync_redis.zadd("imagebot:due", {job: 1})
    first, again = claim(ledger, job, "submit"), claim(ledger, job, "submit")
    for found in (first, again):
        assert found is not None
        assert (found.lost, found.lost_attempt, found.unknown) == ("dead:1", "span-0", 1)
    # What the one before replaced is not told to the next.
    assert again is not None
    ledger.run_sync(transitions.retry(job, again.fence, after=0, note="x"))
    third = claim(ledger, job, "submit", attempt="span-3")
    fourth = claim(ledger, job, "submit", attempt="span-3")
    for found in (third, fourth):
        assert found is not None
        assert (found.lost, found.lost_attempt) == ("", "")


@pytest.mark.parametrize("state", [State.SUBMITTING, State.RUNNING, State.DELIVERING])
def test_a_retry(ledger: Ledger, sync_redis: Any, state: State) -> None:
    job, fence = in_state(ledger, state, held=True)
    retry = transitions.retry(job, fence, after=9, note="retry:x", counts="unknown")
    assert ledger.run_sync(retry)
    before = record(sync_redis, job)
    assert ledger.run_sync(retry)
    assert record(sync_redis, job) == before
    claimed(ledger, job, "deliver" if state is State.DELIVERING else "submit")
    assert not ledger.run_sync(retry), "somebody has it"


def test_a_retry_of_a_job_that_was_cancelled_meanwhile_is_refused(ledger: Ledger) -> None:
    job, fence = in_state(ledger, State.RUNNING)
    ledger.run_sync(transitions.cancel(job, "", cap=CAP))
    assert not ledger.run_sync(transitions.retry(job, fence, after=9, note="retry:x"))


def test_a_reroute(ledger: Ledger, sync_redis: Any) -> None:
    job, fence = in_state(ledger, State.RUNNING)
    reroute = transitions.reroute(
        job,
        fence,
        spec=Spec("a fox", "n", "1:1", 1, "en", 0, 1),
        wake=Wake(job, "openai", 1),
        cap=CAP,
        other_cap=CAP,
    )
    assert ledger.run_sync(reroute)[0]
    before = record(sync_redis, job)
    assert ledger.run_sync(reroute) == (True, ())
    assert record(sync_redis, job) == before


@pytest.mark.parametrize("state", [State.DELIVERING, State.FAILED, State.CANCELLED])
@pytest.mark.parametrize("kind", ["", "blocked"])
def test_the_end(ledger: Ledger, sync_redis: Any, state: State, kind: str) -> None:
    job, fence = in_state(ledger, state, held=True)
    end = transitions.finish(job, fence, shown={}, ttl=3600, kind=kind)
    first = ledger.run_sync(end)
    before, counts = record(sync_redis, job), sync_redis.hgetall("imagebot:counts")
    again = ledger.run_sync(end)
    assert first.outcome
    assert (again.outcome, again.open_jobs) == (first.outcome, first.open_jobs)
    assert record(sync_redis, job) == before
    assert sync_redis.hgetall("imagebot:counts") == counts
    assert not ledger.run_sync(transitions.finish(job, fence + 1, shown={}, ttl=3600)).outcome


def test_a_placeholder(ledger: Ledger, sync_redis: Any) -> None:
    jobs = admitted(ledger, count=2)
    request = sync_redis.hget(keys.JOB(jobs[0]), "request")
    placed = transitions.placed(request, [11, 12], 13, shown="waiting")
    assert ledger.run_sync(placed).ours
    before = sync_redis.hgetall(keys.REQUEST(request))
    assert ledger.run_sync(placed).ours
    assert sync_redis.hgetall(keys.REQUEST(request)) == before
    other = ledger.run_sync(transitions.placed(request, [21, 22], 23))
    assert (other.ours, other.messages, other.status_message) == (False, (11, 12), 13)


def test_a_try_that_does_not_count_is_one_of_its_step(ledger: Ledger, sync_redis: Any) -> None:
    job, fence = in_state(ledger, State.RUNNING)
    before = record(sync_redis, job)
    assert ledger.run_sync(transitions.retry(job, fence, after=0, note="limited:kie", free=True))
    after = record(sync_redis, job)
    assert int(after["tries"]) == int(before["tries"]) - 1
    assert after.get("deliveries") == before.get("deliveries")
