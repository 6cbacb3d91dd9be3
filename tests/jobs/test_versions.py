"""Ledgers written by other versions are read, finished, and left with what this version does not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from src.jobs import Job, Ledger, State, keys, transitions
from tests.jobs.recorded import FOLDER, load, read
from tests.jobs.states import claimed, told_of_failures

VERSIONS = sorted(int(path.stem.rpartition("v")[2]) for path in FOLDER.glob("ledger-v*.json"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_ledger_is_finished(sync_redis: Any, version: int) -> None:
    load(sync_redis, read(version))
    jobs = _jobs(sync_redis)
    assert {job.state for job in jobs} == set(State)
    _finish_all(sync_redis)
    ended = _jobs(sync_redis)
    assert len(ended) == len(jobs)
    assert all(job.ended for job in ended)
    before = {job.id: job.state for job in jobs}
    told_why = {State.FAILED, State.CANCELLED}
    assert all(
        job.state is (before[job.id] if before[job.id] in told_why else State.DELIVERED) for job in ended
    )


def test_a_later_versions_fields_are_ignored_and_kept(sync_redis: Any) -> None:
    recording = read(VERSIONS[-1])
    for name, (kind, value, _) in recording["keys"].items():
        if kind == "hash" and name.startswith("imagebot:job:"):
            value |= {"v": "3", "voice": "soft"}
            value["spec"] = json.dumps(json.loads(value["spec"]) | {"palette": ["red"]})
            value["wake"] = json.dumps([*json.loads(value["wake"]), "more"])
        elif kind == "hash" and name.startswith("imagebot:request:"):
            value["mood"] = "calm"
    load(sync_redis, recording)
    _finish_all(sync_redis)
    assert all(job.ended for job in _jobs(sync_redis))
    for key in sync_redis.keys("imagebot:job:*"):
        assert sync_redis.hmget(key, "v", "voice") == ["3", "soft"]
        assert json.loads(sync_redis.hget(key, "spec"))["palette"] == ["red"]
    assert {sync_redis.hget(key, "mood") for key in sync_redis.keys("imagebot:request:*")} == {"calm"}


def test_what_a_jobs_failures_have_counted_is_read_whichever_version_counted_it(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    job = told_of_failures(ledger)
    key = keys.JOB(job)
    counted = (("kie", "openai"), 2, 1)
    second = claimed(ledger, job, "deliver")
    assert (second.failovers, second.refused, second.unheard) == counted
    assert ledger.run_sync(transitions.retry(job, second.fence, after=0, note="x"))

    # Version 1 wrote the same notes and no such fields.
    sync_redis.hset(key, "v", 1)
    sync_redis.hdel(key, "failovers", "refused", "unheard")
    first = claimed(ledger, job, "deliver")
    assert (first.failovers, first.refused, first.unheard) == (("openai",), 2, 1)
    # Whoever goes on with it, of either version, each thing counts once.
    once_more = transitions.retry(job, first.fence, after=0, note="retry:bad_request", counts="refused")
    assert ledger.run_sync(once_more)
    assert claimed(ledger, job, "deliver").refused == 3


def _jobs(client: Any) -> list[Job]:
    found = [Job.parse(key.rpartition(":")[2], client.hgetall(key)) for key in client.keys("imagebot:job:*")]
    return [job for job in found if job is not None]


def _finish_all(client: Any) -> None:
    """One worker does all that falls due, until nothing does."""
    ledger = Ledger(sync_client=client)
    run = ledger.run_sync
    run(transitions.release("kie", 1000))
    for _ in range(30):
        for name in client.zrange(keys.DUE(), 0, -1):
            client.zadd(keys.DUE(), {name: 1})
        rows, _wait = run(transitions.due(100, lease=60, holder="new"))
        for row in rows:
            if row.what == "submit" and (job := _claim(ledger, row.id, "submit")):
                run(transitions.accepted(job.id, job.fence, ticket={"external_id": "n"}, after=0))
            elif row.what in ("poll", "lost") and row.job is not None:
                run(transitions.ready(row.id, row.job.fence, result={}, cap=9, model="m"))
            elif row.what == "deliver" and (job := _claim(ledger, row.id, "deliver")):
                run(transitions.finish(job.id, job.fence, shown={"message": 1}, ttl=3600))
            elif row.what == "close":
                client.zrem(keys.DUE(), f"r:{row.id}")


def _claim(ledger: Ledger, job: str, step: Any) -> Job | None:
    return ledger.run_sync(transitions.claim(job, step, holder="new", lease=60))
