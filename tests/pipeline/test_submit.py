"""A submit is answered with a ticket or with the picture, and whichever it is, the job goes its way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from src.jobs import Job, Ledger, State, keys, transitions
from src.ops import job_reports
from src.pipeline import failures, poll, submit
from src.pipeline.leases import Work
from src.providers.base import Capabilities, Done, GenRequest, ImageRef, Pending, Provider, Ticket
from src.providers.http import ROOM
from src.settings import load_settings
from src.store.blobs import Blobs
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
    going: list[Pending] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, request: GenRequest) -> Ticket | Done:
        self.asked.append(request)
        await self.open.wait()
        return self.answer

    async def poll(self, ticket: Ticket) -> Pending | Done:
        assert ticket == TICKET
        return self.going.pop() if self.going else DONE

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


async def test_how_many_are_ahead_at_the_provider_is_kept_until_it_has_begun(
    work: Work, sync_redis: redis.Redis
) -> None:
    work, provider = given(work, TICKET, synchronous=False)
    job_id = await begun(work, provider, sync_redis)
    kept = []
    for said in (Pending(queue_position=2), Pending(queue_position=0), Pending(0.5)):
        provider.going.append(said)
        sync_redis.zadd(keys.DUE(), {job_id: 0})
        (row,), _ = await work.app.ledger.run(transitions.due(10, lease=15, holder="me"))
        assert row.job is not None
        goes_on = await poll.poll(work, row.job)
        assert goes_on is not None
        await work.app.ledger.run(transitions.polled([goes_on]))
        job = await found(work, job_id)
        kept.append((job.ahead, job.progress))
    assert kept == [(2, None), (0, None), (None, 0.5)]


async def test_progress_that_is_told_while_a_submit_waits_is_written(
    work: Work, sync_redis: redis.Redis
) -> None:
    work, provider = given(work, DONE, synchronous=True)
    work.app = replace(work.app, settings=work.app.settings.model_copy(update={"lease": 0.1}))
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    await submit.begin(work, claimed(ledger, job_id, "submit"))
    leases = asyncio.ensure_future(work.keep_leases())
    async with asyncio.timeout(10):
        while not provider.asked:
            await asyncio.sleep(0)
        told = provider.asked[0].told
        assert told
        told(0.4)
        while (await found(work, job_id)).progress != 0.4:
            await asyncio.sleep(0)
    provider.open.set()
    await work.drain(20)
    leases.cancel()
    told(0.9)
    assert (await found(work, job_id)).state is State.READY


async def test_so_many_answers_of_polls_are_in_memory_at_once(work: Work, sync_redis: redis.Redis) -> None:
    reading, most, go_on = 0, 0, asyncio.Event()

    class Large(Either):
        async def poll(self, ticket: Ticket) -> Done:
            nonlocal reading, most
            room = ROOM.get()
            assert room
            await room()
            reading += 1
            most = max(most, reading)
            await go_on.wait()
            reading -= 1
            return DONE

    large = cast(Provider, Large(DONE, Capabilities()))
    work = replace(work, app=replace(work.app, providers={"kie": large}))
    jobs = []
    for user in range(12):
        ledger = Ledger(sync_client=sync_redis)
        (job_id,) = admitted(ledger, str(user))
        fence = claimed(ledger, job_id, "submit").fence
        ledger.run_sync(transitions.accepted(job_id, fence, ticket=TICKET.to_json(), after=0))
        jobs.append(await found(work, job_id))
    polls = [asyncio.ensure_future(poll.poll(work, job)) for job in jobs]
    async with asyncio.timeout(10):
        while reading < 8:
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*polls)
    assert (most, ROOM.get()) == (8, None)


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


async def lost(work: Work, sync_redis: redis.Redis) -> Job:
    """A synchronous call whose process is gone, as it is taken over."""
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    fence = claimed(ledger, job_id, "submit").fence
    ledger.run_sync(transitions.accepted(job_id, fence, ticket=None, after=60, holder="dead"))
    sync_redis.zadd(keys.DUE(), {job_id: 0})
    rows, _ = await work.app.ledger.run(transitions.due(10, lease=15, holder="me"))
    assert [row.what for row in rows] == ["lost"]
    assert rows[0].job is not None
    return rows[0].job


async def test_a_picture_that_was_kept_before_its_process_died_is_not_paid_again(
    work: Work, sync_redis: redis.Redis
) -> None:
    work, _ = given(work, DONE, synchronous=True)
    job = await lost(work, sync_redis)
    await work.app.blobs.put(f"originals/{job.id}", b"picture")
    await submit.lost(work, job)
    assert (await found(work, job.id)).state is State.READY
    assert await work.app.original(job.id) == b"picture"
    assert (await found(work, job.id)).unknown == 0


async def test_a_picture_in_an_answer_waits_for_a_store_that_takes_it(
    work: Work, sync_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("src.pipeline.timeouts.KEEP_AGAIN", 0.01)
    store = tmp_path / "store"
    store.write_text("no folder")
    app = replace(work.app, blobs=Blobs(load_settings(blobs_url=f"file:{store}")))
    work, provider = given(replace(work, app=app), Done(ImageRef(data=b"picture")), synchronous=True)
    provider.open.set()
    (job_id,) = admitted(Ledger(sync_client=sync_redis))
    await submit.begin(work, claimed(Ledger(sync_client=sync_redis), job_id, "submit"))
    async with asyncio.timeout(20):
        while await work.app.redis.hget(keys.ORIGINALS(), "room") != "0":
            await asyncio.sleep(0.01)
    assert (await found(work, job_id)).state is State.RUNNING
    store.unlink()
    await work.drain(20)
    assert (await found(work, job_id)).state is State.READY
    assert await work.app.original(job_id) == b"picture"
    assert len(provider.asked) == 1
