"""A process dies between two steps, at each place there is, and the person still gets one picture."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from src.jobs import Job, State
from src.sandbox.telegram import Person
from src.telemetry import job_spans
from tests.chaos.moments import Moment, Moments
from tests.system import WAIT, System

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(slots=True)
class Pool:
    """A system with one bot and two workers, each of which is replaced when it dies."""

    system: System
    moments: Moments
    numbers: itertools.count[int]
    replacing: asyncio.Task[None] | None = None

    async def kill_at(self, moment: Moment) -> asyncio.Event:
        """Kill the part that is at that moment and start another; the answer is set then."""

        async def kill(part: str) -> None:
            self.system.kill(part)
            self.replacing = asyncio.create_task(self._replace(part))

        return self.moments.at(moment, kill)

    async def _replace(self, part: str) -> None:
        await self.system.killed(part)
        await self.start(part.partition("-")[0])

    async def start(self, kind: str) -> None:
        name = f"{kind}-{next(self.numbers)}"
        await (self.system.start_bot(name) if kind == "bot" else self.system.start_worker(name, threads=2))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    async with running_pool(tmp_path_factory.mktemp("moments")) as pool:
        yield pool


@asynccontextmanager
async def running_pool(folder: Path, **more: str) -> AsyncIterator[Pool]:
    env = {"LEASE": "1", "POLL_INTERVAL": "0.2", "PROGRESS_INTERVAL": "1", **more}
    system = System(folder, env)
    moments = Moments(system)
    env["REDIS_URL"] = moments.url
    system.kie.durations = system.openai.durations = (0.2, 0.3)
    await system.open()
    await moments.open()
    pool = Pool(system, moments, itertools.count(1))
    try:
        for kind in ("worker", "worker", "bot"):
            await pool.start(kind)
        # The first job loads the scripts, which are then called by their SHA-1.
        ann = system.person("Ann")
        await ann.send_text("a warm-up")
        await system.picture(ann)
        yield pool
    finally:
        await system.close()
        await moments.close()


SUBMIT, POLL, FILE = "/jobs/createTask", "/jobs/recordInfo", "/files/kie/"
MOMENTS = [
    # Nobody knows whether the provider took the job: it is asked once more, and that is counted.
    (Moment("lua:claim", "before"), 1),
    (Moment("lua:claim", "after"), 1),
    (Moment(SUBMIT, "before"), 1),
    (Moment(SUBMIT, "after"), 2),
    (Moment("lua:accepted", "before"), 2),
    (Moment("lua:accepted", "after"), 1),
    (Moment(POLL, "before"), 1),
    (Moment(POLL, "after", says=b'"state": "success"'), 1),
    # One look gives a generation to be polled; a later one, of four arguments more, says how that went.
    (Moment("lua:due", "after", says=b"$4\r\npoll\r\n"), 1),
    (Moment("lua:due", "before", says=b"*11\r\n"), 1),
    (Moment("lua:ready", "before"), 1),
    (Moment("lua:ready", "after"), 1),
    (Moment(FILE, "before"), 1),
    (Moment(FILE, "after"), 1),
    (Moment("/editMessageMedia", "before"), 1),
    (Moment("/editMessageMedia", "after"), 1),
    (Moment("lua:finish", "before"), 1),
    (Moment("lua:finish", "after"), 1),
    (Moment("lua:admit", "before", "bot"), 1),
    (Moment("lua:admit", "after", "bot"), 1),
    (Moment("/sendMessage", "before", "bot"), 1),
    (Moment("/sendMessage", "after", "bot"), 1),
    (Moment("lua:placed", "before", "bot"), 1),
    (Moment("lua:placed", "after", "bot"), 1),
]


def _cases() -> list[Any]:
    """The ordinary run takes those where the outside world knows more than the ledger, or less.

    Of a bot that dies after it admitted a job, tests/e2e/test_survival.py tells.
    """
    telling = {SUBMIT, "lua:accepted", "/editMessageMedia", "/sendMessage"}
    return [
        pytest.param(
            moment,
            submits,
            id=str(moment),
            marks=() if moment.where in telling and moment.when == "after" else pytest.mark.soak,
        )
        for moment, submits in MOMENTS
    ]


@pytest.mark.parametrize(("moment", "submits"), _cases())
async def test_dies(pool: Pool, moment: Moment, submits: int) -> None:
    system = pool.system
    died = await pool.kill_at(moment)
    ann = system.person()
    prompt = f"#slow {moment}"
    await ann.send_text(prompt)
    async with asyncio.timeout(WAIT):
        await died.wait()
    job = await one_picture(system, ann)
    assert system.kie.audit.submits[prompt] == submits
    assert job.unknown >= submits - 1
    names = [span.name for span in await system.whole_trace(job_spans.trace_id(job))]
    assert names.count("job") == 1
    assert sum(name.startswith("generate_content") for name in names) == 1
    # A placeholder that nobody could note is taken away by its own button.
    for stray in [m for m in ann.messages if m.from_bot and not m.has_photo]:
        await (await ann.tap(stray, "Cancel")).answered()
        await ann.wait_until(lambda messages, stray=stray: stray not in messages)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_placeholder_is_noted_however_often_the_ledger_breaks_off(
    pool: Pool, when: Literal["before", "after"]
) -> None:
    async def break_off(part: str) -> None:
        """The connection ends there; the process lives."""

    broken = [pool.moments.at(Moment("lua:placed", when, "bot"), break_off) for _ in range(3)]
    ann = pool.system.person()
    await ann.send_text(f"#slow broken off {when}")
    await one_picture(pool.system, ann)
    assert all(moment.is_set() for moment in broken)
    assert len([m for m in ann.messages if m.from_bot]) == 1


async def one_picture(system: System, person: Person) -> Job:
    """The person's only job once it was delivered: one message shows it, and never showed another."""

    async def ended() -> Job | None:
        jobs = await system.jobs_of(person)
        return jobs[0] if len(jobs) == 1 and jobs[0].ended else None

    job: Job = await system.until(ended)
    assert job.state is State.DELIVERED
    (message,) = [m for m in person.messages if m.from_bot and m.has_photo]
    assert len(message.pictures) == 1
    return job


@pytest.mark.soak
async def test_a_picture_that_came_in_an_answer_outlives_its_process(tmp_path: Path) -> None:
    async with running_pool(tmp_path, PROVIDER="openai") as pool:
        died = await pool.kill_at(Moment("lua:ready", "before"))
        ann = pool.system.person()
        await ann.send_text("a fox that is paid once")
        async with asyncio.timeout(WAIT):
            await died.wait()
        job = await one_picture(pool.system, ann)
        assert pool.system.openai.audit.charged["a fox that is paid once"] == 1
        assert job.unknown == 0
