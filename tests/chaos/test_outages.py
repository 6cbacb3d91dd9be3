"""Redis goes away and comes back, a worker is told to end in the middle: all goes on without a hand."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from src.jobs import State
from src.sandbox.telegram import Person
from tests.chaos.moments import Moment, Moments
from tests.system import System, running

FAST = {"LEASE": "3", "PROGRESS_INTERVAL": "1"}


# Two seconds are in the suite's random faults, and in tests/e2e/test_survival.py.
@pytest.mark.soak
@pytest.mark.parametrize("down", [2, 20, 70])
@pytest.mark.timeout(240)
async def test_redis_comes_back(tmp_path: Path, down: float) -> None:
    async with running(tmp_path, **FAST) as system:
        ann, bob, eve = system.person("Ann"), system.person("Bob"), system.person("Eve")
        await ann.send_text("#slow before")
        await system.until(lambda: _state(system, ann, State.RUNNING))
        system.redis_process.kill()
        await bob.send_text("while it is away")
        await _past(system, down)
        system.redis_process.start()
        await system.picture(ann)
        await system.picture(bob)
        await eve.send_text("afterwards")
        await system.picture(eve)
        assert [system.has_died(part) for part in system.parts] == [False, False]


@pytest.mark.soak
async def test_a_synchronous_call_outlives_an_outage_longer_than_its_lease(tmp_path: Path) -> None:
    """Its lease ran out while nobody could renew it: it must not be paid for again."""
    async with running(tmp_path, LEASE="1", PROVIDER="openai") as system:
        system.openai.durations = (7.0, 7.0)
        ann = system.person()
        await ann.send_text("a long one")
        await system.until(lambda: _state(system, ann, State.RUNNING))
        system.redis_process.kill()
        await _past(system, 3)
        system.redis_process.start()
        await system.picture(ann)
        assert sum(system.openai.audit.submits.values()) == 1


@pytest.mark.soak
@pytest.mark.parametrize("option", ["min-replicas-to-write", "maxmemory"])
async def test_a_redis_that_cannot_write_is_waited_for(tmp_path: Path, option: str) -> None:
    """The provider took the job, and its ticket cannot be stored: asking again would pay twice."""
    system = System(tmp_path, env := dict(FAST))
    moments = Moments(system)
    env["REDIS_URL"] = moments.url
    await system.open()
    await moments.open()
    try:
        await system.start_worker()
        await system.start_bot()

        async def cannot_write(part: str) -> None:
            await system.redis.config_set(option, "1")

        hit = moments.at(Moment("/jobs/createTask", "after"), cannot_write, goes_on=True)
        ann = system.person()
        await ann.send_text("one")
        await system.until(hit.is_set)
        await _past(system, 2)
        await system.redis.config_set(option, "0")
        await system.picture(ann)
        assert system.kie.audit.submits["one"] == 1
    finally:
        await system.close()
        await moments.close()


@pytest.mark.soak
async def test_sigterm_hands_back_what_takes_too_long(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="15") as system:
        system.faults.add("hang", path="/createTask")
        ann = system.person()
        await ann.send_text("one")
        await system.until(lambda: _claimed(system, ann))
        await system.start_worker("next worker")
        started = time.monotonic()
        code = await system.stop("worker")
        assert code == 0
        assert time.monotonic() - started < 21
        await system.picture(ann, 10)


@pytest.mark.soak
async def test_a_picture_shown_unheard_is_not_called_failed(tmp_path: Path) -> None:
    """Telegram's answer is lost, and the result is gone when the picture is to be shown again."""
    async with running(tmp_path, **FAST) as system:
        system.telegram.faults.add("timeout_after_commit", "editMessageMedia", seconds=0.1)
        ann = system.person()
        await ann.send_text("one")
        await system.picture(ann)
        system.faults.add("404", path="/files/", times=None)

        async def ended() -> State | None:
            [job] = await system.jobs_of(ann)
            return job.state if job.ended else None

        assert await system.until(ended) is State.DELIVERED
        assert [message.has_photo for message in ann.messages if message.from_bot] == [True]


@pytest.mark.soak
async def test_sigterm_ends_a_worker_whose_threads_do_not_end(tmp_path: Path) -> None:
    async with running(tmp_path, start=False, **FAST) as system:
        await system.start_bot()
        await system.start_worker(module="tests.chaos.stuck")
        ann = system.person()
        await ann.send_text("one")
        await system.until(lambda: _state(system, ann, State.SUBMITTING))
        await _past(system, 1)
        # What compose and the chart give it.
        async with asyncio.timeout(30):
            assert await system.stop("worker") == 0
        await system.start_worker("next worker")
        await system.picture(ann)


@pytest.mark.soak
async def test_sigterm_ends_a_worker_in_whose_thread_a_call_hangs(tmp_path: Path) -> None:
    async with running(tmp_path, start=False, **FAST) as system:
        await system.start_worker(module="tests.chaos.leaving")
        await system.until(lambda: system.is_up("worker"))
        # What compose and the chart give it.
        async with asyncio.timeout(30):
            assert await system.stop("worker") == 0


async def test_a_worker_whose_consumer_has_died_is_ended(tmp_path: Path) -> None:
    async with running(tmp_path, start=False, **FAST) as system:
        await system.start_worker(module="tests.chaos.dying")
        await system.until(lambda: system.has_died("worker"))
        assert "ConsumerThread has died" in system.log_of("worker")


@pytest.mark.soak
@pytest.mark.parametrize("part", ["worker", "bot"])
async def test_a_part_that_was_stopped_for_long_wakes_up_well(tmp_path: Path, part: str) -> None:
    async with running(tmp_path, **FAST) as system:
        ann = system.person()
        await ann.send_text("#slow one")
        await system.until(lambda: _state(system, ann, State.RUNNING))
        system.kill(part, signal.SIGSTOP)
        await _past(system, 5)
        system.kill(part, signal.SIGCONT)
        await system.picture(ann)
        bob = system.person("Bob")
        await bob.send_text("another")
        await system.picture(bob)


async def _state(system: System, person: Person, state: State) -> bool:
    return any(job.state is state for job in await system.jobs_of(person))


async def _claimed(system: System, person: Person) -> bool:
    return any(job.holder for job in await system.jobs_of(person))


async def _past(system: System, seconds: float) -> None:
    """The fault lasts that long."""
    end = time.monotonic() + seconds
    await system.until(lambda: time.monotonic() >= end, seconds + 10)
