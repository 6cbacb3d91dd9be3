"""A new version is put in place of the old one, part by part, while people ask: nobody notices."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import count
from pathlib import Path

import pytest

from src.jobs import State
from src.local.demo import free_port
from src.sandbox.telegram import Person
from src.sandbox.traces import orphans
from src.telemetry.job_spans import trace_id
from tests.system import System, running

_JOBS = 60
_EVERY = 0.5


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("receiving", ["polling", "webhook"])
async def test_a_rolling_restart_under_load_shows_no_failure(tmp_path: Path, receiving: str) -> None:
    port = free_port(0)
    env = {"RATE_LIMIT": "100", "KIE_WEBHOOK_KEY": "sandbox-webhook-key", "KIE_RATE": "20"}
    if receiving == "webhook":
        env |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "WEBHOOK_SECRET": "a-secret-of-the-webhook"}
    async with running(tmp_path, start=False, **env) as system:
        system.kie.durations = (1.0, 4.0)
        await system.start_worker("worker-0")
        await system.start_bot("bot-0")
        await system.start_api(port, "api-0")
        asking = asyncio.create_task(_ask(system))
        ends = await _restart_all(system, port, asking)
        people = await asking
        for person in people:
            await system.picture(person)
        await system.until(lambda: _all_delivered(system, people))
        for part in system.parts:
            ends.append((part, await system.stop(part), 0.0))
        assert [(part, code) for part, code, _ in ends if code != 0] == []
        assert max(seconds for _, _, seconds in ends) < 20
        assert sum(system.kie.audit.submits.values()) == _JOBS
        for person in people:
            [job] = await system.jobs_of(person)
            trace = system.traces.trace(trace_id(job))
            assert "process deliver" in {span.name for span in trace}
            assert orphans(trace) == []


async def _ask(system: System) -> list[Person]:
    people = []
    for number in range(_JOBS):
        person = system.person(f"Person {number}")
        await person.send_text(f"picture {number}")
        people.append(person)
        await asyncio.sleep(_EVERY)
    return people


async def _restart_all(
    system: System, port: int, until: asyncio.Task[list[Person]]
) -> list[tuple[str, int, float]]:
    """Replace one part after the other until nobody asks any more: each one's name, exit code, and how long
    it took to end."""
    ends = []
    for number in count(1):
        for kind in ("worker", "bot", "api"):
            if until.done():
                return ends
            old, new = f"{kind}-{number - 1}", f"{kind}-{number}"
            if kind == "worker":
                await system.start_worker(new)
                await system.until(lambda: system.is_up(new))  # noqa: B023 (awaited before the next)
            started = time.monotonic()
            code = await system.stop(old)
            ends.append((old, code, time.monotonic() - started))
            # Only one bot polls, and only one api has the port.
            if kind == "bot":
                await system.start_bot(new)
                await system.until(lambda: system.is_up(new))  # noqa: B023
            elif kind == "api":
                await system.start_api(port, new)
    return ends


async def _all_delivered(system: System, people: list[Person]) -> bool:
    jobs = [job for person in people for job in await system.jobs_of(person)]
    return len(jobs) == len(people) and all(job.state is State.DELIVERED for job in jobs)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("hangs", ["nothing", "Redis", "Redis is gone", "Telegram", "provider", "all"])
async def test_who_is_told_to_end_does_whatever_hangs(tmp_path: Path, hangs: str) -> None:
    env = {"RATE_LIMIT": "100", "LEASE": "3", "KIE_RATE": "50", "PROGRESS_INTERVAL": "1"}
    async with running(tmp_path, start=False, **env) as system:
        await system.start_worker("worker", threads=8)
        await system.start_bot("bot")
        await system.until(lambda: system.is_up("worker"))
        if hangs in ("Telegram", "all"):
            system.telegram.faults.add("slow", "editMessageMedia", times=None, seconds=60)
            system.telegram.faults.add("slow", "sendMessage", times=10, seconds=60)
        if hangs in ("provider", "all"):
            system.faults.add("hang", times=20, path="/createTask")
        people = [system.person(f"Person {number}") for number in range(30)]
        for person in people:
            await person.send_text("a picture")
        await system.until(lambda: _begun(system, people))
        redis = system.redis_process.process
        assert redis is not None
        if hangs in ("Redis", "all"):
            redis.send_signal(signal.SIGSTOP)
        elif hangs == "Redis is gone":
            system.redis_process.kill()
        started = time.monotonic()
        codes = await asyncio.gather(*(_ended(system, part, started) for part in ("worker", "bot")))
        print(hangs, codes, system.log_of("worker")[-1000:], system.log_of("bot")[-1000:])
        if hangs in ("Redis", "all"):
            redis.send_signal(signal.SIGCONT)
        elif hangs == "Redis is gone":
            await asyncio.to_thread(system.redis_process.start)
        assert [code for code, _ in codes] == [0, 0]
        assert max(took for _, took in codes) < 20


async def _begun(system: System, people: list[Person]) -> bool:
    """Whether every thread has had a job."""
    jobs = [job for person in people for job in await system.jobs_of(person)]
    return sum(job.state is not State.WAITING for job in jobs) >= 8


async def _ended(system: System, part: str, started: float) -> tuple[int, float]:
    """A part's exit code, and how long it took to end."""
    return await system.stop(part, grace=40), time.monotonic() - started
