"""A job that is at another provider by now is not ended, nor moved on, by who read it before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from src.jobs import Job, Ledger, State, Wake, keys, transitions
from tests.jobs.states import CAP, admitted


def read(redis: Any, job: str) -> Job:
    found = Job.parse(job, redis.hgetall(keys.JOB(job)))
    assert found is not None
    return found


def test_what_was_read_before_its_person_chose_another_model(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    (job,) = admitted(ledger, cap=0)
    was = read(sync_redis, job)
    chosen = (replace(was.spec, model="fast"), Wake(job, "openai", 1))
    switch = transitions.switch(was.request, "1", provider="kie", jobs=[chosen], cap=0, note="faster:openai")
    assert ledger.run_sync(switch) == (1, ())

    elsewhere = transitions.reroute(
        job, was.fence, spec=was.spec, wake=Wake(job, "fal", 1), cap=CAP, other_cap=CAP
    )
    assert ledger.run_sync(elsewhere) == (False, ())
    for end in (
        transitions.cancel(job, "1", cap=CAP, provider="kie"),
        transitions.fail(job, None, kind="timeout", cap=CAP, provider="kie"),
    ):
        ending = ledger.run_sync(end)
        assert (ending.done, ending.before) == (False, "moved")
    now = read(sync_redis, job)
    assert (now.state, now.provider, now.spec.model) == (State.WAITING, "openai", "fast")
    assert ledger.run_sync(transitions.cancel(job, "1", cap=CAP, provider="openai")).done
