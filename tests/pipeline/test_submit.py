"""A submit is answered with a ticket or with the picture, and whichever it is, the job goes its way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import redis

from src.jobs import Job, Ledger, State, keys, transitions
from src.ops import job_reports
from src.pipeline import failures, poll, submit
from src.pipeline.leases import Work
from src.providers.base import Capabilities, Done, GenRequest, ImageRef, Provider, Ticket
from tests.jobs.states import admitted, claimed

DONE = Done(ImageRef(url="https://a/b.png"), seed=7, cost=4.0, unit="credits")
TICKET = Ticket("kie", "task-1")


@dataclass
class Either:
    """A provider that answers with what it is told to, when it is told to."""

    answer: Ticket | Done
    capabilities: Capabilities
    name: str = "kie"
    asked: list[GenRequest] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, request: GenRequest) -> Ticket | Done:
        self.asked.append(request)
        await self.open.wait()
        return self.answer

    async def poll(self, ticket: Ticket) -> Done:
        assert ticket == TICKET
        return DONE

    async def cancel(self, ticket: Ticket) -> str:
        self.stopped.append(ticket.external_id)
        return "cancelled"


def given(work: Work, answer: Ticket | Done, *, synchronous: bool) -> tuple[Work, Either]:
    provider = Either(answer, Capabilities(synchronous=synchronous, cancel=True))
    return replace(work, app=replace(work.app, providers={"kie": cast(Provider, provider)})), provider


async def begun(work: Work, provider: Either, sync_redis: redis.Redis) -> str:
    """A job whose submit was answered."""
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    provider.open.set()
    await submit.begin(work, claimed(ledger, job_id, "submit"))
    await work.drain(20)
    return job_id


async def found(work: Work, job_id: str) -> Job:
    job = await work.app.ledger.job(job_id)
    assert job is not None
    return job


@pytest.mark.parametrize("synchronous", [True, False])
async def test_with_the_picture(
    work: Work, sync_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, synchronous: bool
) -> None:
    written: dict[str, Any] = {}
    monkeypatch.setattr(
        "src.telemetry.job_spans.write_generation", lambda job, **said: written.update(said["attributes"])
    )
    work, provider = given(work, DONE, synchronous=synchronous)
    job = await found(work, await begun(work, provider, sync_redis))
    assert (job.state, job.holder, job.ticket) == (State.READY, "", None)
    assert job.result == {"url": "https://a/b.png", "seed": 7, "cost": 4.0, "unit": "credits"}
    assert (written["gen_ai.request.seed"], written["imagebot.cost"]) == (7, 4.0)
    assert {"cost      4 credits", "seed      7"} <= set(job_reports.story(job, work.app.settings))


@pytest.mark.parametrize("synchronous", [True, False])
async def test_with_a_ticket(work: Work, sync_redis: redis.Redis, synchronous: bool) -> None:
    work, provider = given(work, TICKET, synchronous=synchronous)
    job_id = await begun(work, provider, sync_redis)
    job = await found(work, job_id)
    assert (job.state, job.holder) == (State.RUNNING, "")
    assert job.ticket == TICKET.to_json()
    sync_redis.zadd(keys.DUE(), {job_id: 0})
    rows, _ = await work.app.ledger.run(transitions.due(10, lease=15, holder="me"))
    assert [row.what for row in rows] == ["poll"], "it is polled, not taken for a lost call"
    assert rows[0].job is not None
    assert await poll.poll(work, rows[0].job) is None
    assert (await found(work, job_id)).state is State.READY
    assert len(provider.asked) == 1


async def test_a_ticket_that_comes_after_the_person_took_it_back_is_stopped(
    work: Work, sync_redis: redis.Redis
) -> None:
    work, provider = given(work, TICKET, synchronous=True)
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    await submit.begin(work, claimed(ledger, job_id, "submit"))
    await failures.fail(work, await found(work, job_id), "upstream", anyone=True)
    provider.open.set()
    await work.drain(20)
    assert provider.stopped == ["task-1"]
    assert (await found(work, job_id)).state is State.FAILED
