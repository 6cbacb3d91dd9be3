"""A favourite stays with its request, whatever becomes of the other pictures of its album, and in whatever order."""

from __future__ import annotations

from typing import Any

import pytest

from src.jobs import Ledger, keys, transitions
from tests.jobs.states import CAP, admitted, claimed

TTL = 3600


@pytest.fixture
def ledger(sync_redis: Any) -> Ledger:
    return Ledger(sync_client=sync_redis)


def shown(ledger: Ledger, job: str) -> int:
    """Bring a job to where its picture is in the chat; the fence that its end takes."""
    fence = claimed(ledger, job, "submit").fence
    ledger.run_sync(transitions.accepted(job, fence, ticket={"external_id": job}, after=60))
    ledger.run_sync(transitions.ready(job, fence, result={}, cap=CAP, model="m"))
    return claimed(ledger, job, "deliver").fence


def end(ledger: Ledger, job: str) -> None:
    fence = shown(ledger, job)
    ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=TTL))


def star(ledger: Ledger, *jobs: str, ttl: int | None = None) -> None:
    for job in jobs:
        assert ledger.run_sync(transitions.star(job, ttl=ttl))


def kept(redis: Any, *jobs: str) -> list[int]:
    """The lifetimes of these jobs and of their request, in seconds; -1: for ever."""
    request = redis.hget(keys.JOB(jobs[0]), "request")
    return [redis.ttl(keys.JOB(job)) for job in jobs] + [redis.ttl(keys.REQUEST(request))]


def test_the_end_of_another_lets_nothing_go(ledger: Ledger, sync_redis: Any) -> None:
    first, second = admitted(ledger, count=2)
    end(ledger, first)
    star(ledger, first)
    end(ledger, second)
    assert kept(sync_redis, first, second) == [-1, TTL, -1]


def test_one_that_was_starred_before_its_end_was_noted(ledger: Ledger, sync_redis: Any) -> None:
    (job,) = admitted(ledger)
    fence = shown(ledger, job)
    star(ledger, job)
    ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=TTL))
    assert kept(sync_redis, job) == [-1, -1]
    star(ledger, job, ttl=60)
    assert kept(sync_redis, job) == [60, 60]


def test_one_of_two_that_is_none_any_more(ledger: Ledger, sync_redis: Any) -> None:
    first, second = admitted(ledger, count=2)
    end(ledger, first)
    end(ledger, second)
    star(ledger, first, second)
    star(ledger, first, ttl=60)
    assert kept(sync_redis, first, second) == [60, -1, -1]
    star(ledger, second, ttl=90)
    assert kept(sync_redis, first, second) == [60, 90, 90]


def test_a_favourite_that_is_forgotten_keeps_nothing(ledger: Ledger, sync_redis: Any) -> None:
    first, second, third = admitted(ledger, count=3)
    for job in (first, second, third):
        end(ledger, job)
    star(ledger, first, second)
    ledger.run_sync(transitions.forget(first, "1"))
    assert kept(sync_redis, second, third) == [-1, TTL, -1]
    ledger.run_sync(transitions.forget(second, "1"))
    assert kept(sync_redis, third) == [TTL, TTL]


def test_what_has_not_ended_does_not_run_out(ledger: Ledger, sync_redis: Any) -> None:
    (job,) = admitted(ledger)
    star(ledger, job, ttl=60)
    assert kept(sync_redis, job) == [-1, -1]
    assert not ledger.run_sync(transitions.star("nobodys", ttl=None))
