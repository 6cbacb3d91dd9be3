"""The scheduler: on a provider that does not answer, and behind a long queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import dramatiq
import redis

from src.app import open_app
from src.jobs import Ledger, State, transitions
from src.pipeline.leases import Work
from src.pipeline.notify import QUEUE_KEYS
from src.pipeline.scheduler import Scheduler
from src.providers.base import Capabilities, Pending, Provider, Ticket
from src.settings import load_settings
from src.worker.broker import make_broker
from tests.jobs.states import admitted, claimed, in_state


class Hanging:
    """Never answers the first poll, and every later one."""

    name = "kie"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self.polls = 0
        self.given_up, self.asked_again = asyncio.Event(), asyncio.Event()

    async def poll(self, ticket: Ticket) -> Pending:
        self.polls += 1
        if self.polls > 1:
            self.asked_again.set()
            return Pending(0.5)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        raise AssertionError


async def test_a_poll_that_hangs_is_given_up_and_the_provider_asked_again(
    redis_url: str, sync_redis: redis.Redis
) -> None:
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    fence = claimed(ledger, job_id, "submit").fence
    ticket = {"provider": "kie", "external_id": "t"}
    ledger.run_sync(transitions.accepted(job_id, fence, ticket=ticket, after=0))
    provider = Hanging()
    async with open_app(load_settings(redis_url=redis_url, lease=1)) as app:
        providers = {"kie": cast(Provider, provider)}
        scheduler = Scheduler(Work(replace(app, providers=providers), cast(Any, None), cast(Any, None)))
        running = asyncio.create_task(scheduler.run())
        async with asyncio.timeout(30):
            await provider.given_up.wait()
            await provider.asked_again.wait()
            await scheduler.stop(10)
            await running
        job = await app.ledger.job(job_id)
    assert job is not None
    assert job.state is State.RUNNING


async def test_behind_a_long_queue_no_wake_up_is_sent_again(redis_url: str, sync_redis: redis.Redis) -> None:
    settings = load_settings(redis_url=redis_url)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(make_broker(settings))
    ledger = Ledger(sync_client=sync_redis)
    in_state(ledger, State.READY)
    # Nobody acted on it within the time that a wake-up takes.
    [(job, sent)] = sync_redis.zrange("imagebot:due", 0, -1, withscores=True)
    sync_redis.rpush(QUEUE_KEYS[1], *["id"] * 200)

    def due_since_long() -> None:
        sync_redis.zadd("imagebot:due", {job: sent - 3600_000})

    async def until(reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                await asyncio.sleep(0.02)

    due_since_long()
    async with open_app(settings) as app:
        scheduler = Scheduler(Work(app, cast(Any, None), cast(Any, None)))
        running = asyncio.create_task(scheduler.run())
        try:
            await until(lambda: sync_redis.zscore("imagebot:due", job) > sent)
            assert sync_redis.llen(QUEUE_KEYS[1]) == 200, "only looked at again"

            # One that comes back, from a closed gate for one, has none in the queue.
            assert not ledger.run_sync(transitions.defer(job, after=0, gate="provider:kie")), "late"
            await until(lambda: sync_redis.llen(QUEUE_KEYS[1]) == 201)

            # Sent again as soon as the queue is known to be short.
            sync_redis.ltrim(QUEUE_KEYS[1], 0, 9)
            await until(lambda: due_since_long() is None and sync_redis.llen(QUEUE_KEYS[1]) > 10)
        finally:
            await scheduler.stop(10)
            await running
            dramatiq.get_broker().close()
            dramatiq.set_broker(previous)
