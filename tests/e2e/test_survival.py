"""A process dies in the middle and the picture still comes, once."""

from __future__ import annotations

from pathlib import Path

from src.jobs import State
from tests.system import System, running


async def test_a_worker_killed_while_a_picture_is_made(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2") as system:
        ann = system.person()
        await ann.send_text("#slow a castle")
        job_id = await _running_job(system, ann)
        await system.killed("worker")
        await system.start_worker("successor")
        await _one_picture(system, ann, job_id)


async def test_a_worker_killed_while_a_synchronous_provider_answers(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2", PROVIDER="openai") as system:
        system.openai.durations = (3.0, 3.5)
        ann = system.person()
        await ann.send_text("a castle")
        job_id = await _running_job(system, ann)
        await system.killed("worker")
        await system.start_worker("successor")
        await _one_picture(system, ann, job_id)
        job = await system.ledger.job(job_id)
        assert job is not None
        assert "worker_lost" in job.story


async def test_redis_killed_and_restarted_while_a_picture_is_made(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2") as system:
        ann = system.person()
        await ann.send_text("#slow a castle")
        job_id = await _running_job(system, ann)
        system.redis_process.kill()
        system.redis_process.start()
        await _one_picture(system, ann, job_id)


async def test_messages_sent_while_the_bot_was_down_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as system:
        ann = system.person()
        await ann.send_text("a castle")
        await system.start_worker()
        await system.start_bot()
        await system.picture(ann)


async def test_a_bot_killed_after_admission_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2", PROGRESS_INTERVAL="1") as system:
        system.telegram.faults.add(method="sendMessage", kind="slow", times=1, seconds=30)
        ann = system.person()
        await ann.send_text("a castle")
        await system.until(lambda: system.ledger.history(str(ann.id)))
        await system.killed("bot")
        await system.start_bot("next bot")
        await system.picture(ann)
        assert len(await system.ledger.history(str(ann.id))) == 1


async def _running_job(system: System, person: object) -> str:
    async def running_job() -> str:
        for job in await system.jobs_of(person):  # type: ignore[arg-type]
            if job.state is State.RUNNING:
                return job.id
        return ""

    found: str = await system.until(running_job)
    return found


async def _one_picture(system: System, person: object, job_id: str) -> None:
    message = await system.picture(person)  # type: ignore[arg-type]
    assert [r.method for r in message.revisions].count("editMessageMedia") == 1

    async def ended() -> bool:
        job = await system.ledger.job(job_id)
        return job is not None and job.state is State.DELIVERED

    await system.until(ended)
    assert sum(m.from_bot and m.has_photo for m in person.messages) == 1  # type: ignore[attr-defined]
