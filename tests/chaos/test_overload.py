"""Many times the load that a worker takes: its scheduler must not answer a long queue with a longer one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from src.jobs import NO_CHAT, Limits, Spec, Wake, keys, new_id, transitions
from src.pipeline import notify
from src.settings import load_settings
from src.worker.broker import make_broker
from tests.servers import RABBITMQ_SERVER, RabbitAt, serving
from tests.system import System

pytestmark = [pytest.mark.soak, pytest.mark.timeout(500)]

_BROKERS = pytest.mark.parametrize(
    "through",
    [
        "redis",
        pytest.param(
            "rabbitmq",
            marks=pytest.mark.skipif(not RABBITMQ_SERVER.exists(), reason="needs Debian's rabbitmq-server"),
        ),
    ],
)

# One thread, and a provider that takes so long to accept: a job a second, and these come at once.
_ACCEPT_SECONDS = 1.0
_JOBS = 300

_MANY = 1_000_000
# A job needs two. Without the guard there is no end: so many are sent before half of the jobs are taken.
_TOO_MANY_A_JOB = 6


async def _overload(system: System) -> None:
    """Admit and announce the jobs."""
    for number in range(_JOBS):
        wake = Wake(new_id(), "kie", NO_CHAT)
        admit = transitions.admit(
            request=new_id(),
            user=str(number),
            provider="kie",
            cap=10_000,
            jobs=[(Spec(f"a boat, no. {number}", "google/nano-banana", "1:1", NO_CHAT, "en"), wake)],
            limits=Limits(_MANY, 60, _MANY, _MANY),
            deadline=3600,
            ttl=3600,
        )
        assert (await system.ledger.run(admit)).accepted
        await notify.submit([wake])


async def _sent(system: System) -> float:
    """Wake-ups a job, the first included."""
    return 1 + int(await system.redis.get("test:sent") or 0) / _JOBS


def _slow(hurry: asyncio.Event) -> Any:
    """The provider takes its time, until it is told to hurry."""

    @web.middleware
    async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.endswith("/createTask"):
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), _ACCEPT_SECONDS)
        return await handler(request)

    return slow


@asynccontextmanager
async def _overloaded(folder: Path, through: str, guard: str) -> AsyncIterator[tuple[System, asyncio.Event]]:
    """A worker with all the jobs before it, and what makes the provider hurry."""
    hurry = asyncio.Event()
    env = {"KIE_RATE": "1000", "KIE_CONCURRENCY": "10000", "GUARD": guard}
    async with AsyncExitStack() as stack:
        if through == "rabbitmq":
            rabbitmq = RabbitAt(folder / "rabbitmq")
            stack.enter_context(serving(rabbitmq))
            env["BROKER_URL"] = rabbitmq.url
        system = System(folder, env)
        system.middlewares.append(_slow(hurry))
        await system.open()
        stack.push_async_callback(system.close)
        settings = load_settings(redis_url=system.redis_process.url, broker_url=env.get("BROKER_URL"))
        previous = dramatiq.broker.global_broker
        broker = make_broker(settings)
        dramatiq.set_broker(broker)
        try:
            await system.start_worker(threads=1, module="tests.chaos.overloaded")
            await system.until(lambda: system.redis.hlen(keys.HEARTBEATS()))
            await _overload(system)
            yield system, hurry
        finally:
            broker.close()
            dramatiq.broker.global_broker = previous


@_BROKERS
async def test_without_the_guard_wake_ups_have_no_end(tmp_path: Path, through: str) -> None:
    async with _overloaded(tmp_path, through, "off") as (system, _):

        async def too_many() -> bool:
            return await _sent(system) >= _TOO_MANY_A_JOB

        await system.until(too_many, 200)
        assert system.kie.audit.submits.total() < _JOBS / 2


@_BROKERS
async def test_with_the_guard_a_long_queue_is_worked_off(tmp_path: Path, through: str) -> None:
    async with _overloaded(tmp_path, through, "on") as (system, hurry):
        # Each wake-up that nobody acted on would have been sent again by now, twice and more.
        began = time.monotonic()
        await system.until(lambda: time.monotonic() - began > 10)
        assert await _sent(system) < 2
        hurry.set()
        await system.start_worker("helper", threads=16)

        async def all_shown() -> bool:
            return await system.redis.zcard(keys.DUE()) == 0

        await system.until(all_shown, 300)
        assert await _sent(system) < _TOO_MANY_A_JOB
        assert set(system.kie.audit.submits.values()) == {1}
        assert system.kie.audit.submits.total() == _JOBS
