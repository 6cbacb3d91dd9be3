"""Jobs that end without a picture: their end at the provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import dramatiq
import pytest
import redis
from dramatiq.brokers.stub import StubBroker

from src.app import open_app
from src.jobs import Ledger, State
from src.pipeline import failures
from src.pipeline.leases import Work
from src.pipeline.notify import QUEUE
from src.providers.base import Capabilities, Provider, Ticket
from src.settings import load_settings
from tests.jobs.states import in_state


class Stoppable:
    """A provider whose generations can be stopped."""

    name = "kie"
    capabilities = Capabilities(cancel=True)

    def __init__(self) -> None:
        self.stopped: list[str] = []

    async def cancel(self, ticket: Ticket) -> str:
        self.stopped.append(ticket.external_id)
        return "cancelled"


@pytest.fixture
async def work(redis_url: str) -> AsyncIterator[Work]:
    """What a worker process shares, without its Telegram."""
    broker = StubBroker()
    broker.declare_queue(QUEUE)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    async with open_app(load_settings(redis_url=redis_url)) as app:
        stoppable = cast(Provider, Stoppable())
        yield Work(replace(app, providers={"kie": stoppable}), cast(Any, None), cast(Any, None))
    dramatiq.set_broker(previous)


async def test_past_its_deadline_a_generation_is_stopped_at_its_provider(
    work: Work, sync_redis: redis.Redis
) -> None:
    job_id, _ = in_state(Ledger(sync_client=sync_redis), State.RUNNING)
    await failures.expire(work, job_id)
    job = await work.app.ledger.job(job_id)
    assert job is not None
    assert (job.state, job.kind) == (State.FAILED, "timeout")
    assert cast(Stoppable, work.app.providers["kie"]).stopped == ["t"]
    # Said twice it changes nothing.
    await failures.expire(work, job_id)
    assert cast(Stoppable, work.app.providers["kie"]).stopped == ["t"]
