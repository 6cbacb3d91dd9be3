"""The operator's commands as they are typed, on a running system."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from src.cli.main import app
from src.jobs import State
from src.local.demo import environment
from src.settings import UserError
from tests.system import System, running


async def typed(system: System, *words: str) -> tuple[int, str]:
    """Exit code and what was printed, or the error's words. In a thread: starting Python anew takes seconds."""
    env = environment(system.url, system.redis_process.url, system.folder)
    env["JAEGER_UI_URL"] = "http://jaeger.example"
    result = await asyncio.to_thread(CliRunner().invoke, app, words, env=env)
    error = result.exception
    return result.exit_code, str(error) if isinstance(error, UserError) else result.output


async def test_a_jobs_story_is_told_and_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        ann, bob = system.person("Ann"), system.person("Bob")
        await ann.send_text("nsfw")
        await bob.send_text("#never ends")

        async def one(person: object, state: State) -> str:
            jobs = await system.jobs_of(person)  # type: ignore[arg-type]
            return next((job.id for job in jobs if job.state is state), "")

        failed = await system.until(lambda: one(ann, State.FAILED))
        endless = await system.until(lambda: one(bob, State.RUNNING))

        code, status = await typed(system, "status")
        assert code == 0, status
        assert "Workers: 1" in status
        code, figures = await typed(system, "status", "--json")
        assert json.loads(figures)["failed_kept"] == 1

        assert failed in (await typed(system, "jobs", "list", "--failed"))[1]
        assert endless in (await typed(system, "jobs", "list"))[1]
        code, told = await typed(system, "jobs", "show", failed)
        assert code == 0
        for word in ("waiting", "submitting", "failed: moderated", "http://jaeger.example/trace/"):
            assert word in told
        assert "nsfw" not in told

        code, said = await typed(system, "jobs", "retry", failed)
        assert code == 0, said
        again = said.split()[-1]
        await system.until(lambda: one(ann, State.FAILED))
        assert {job.id for job in await system.jobs_of(ann)} == {failed, again}
        code, said = await typed(system, "jobs", "retry", endless)
        assert (code, "only failed ones" in said) == (1, True)

        code, said = await typed(system, "jobs", "cancel", endless)
        assert (code, said.strip()) == (0, "cancelled; it was running")
        await system.until(lambda: one(bob, State.CANCELLED))
        code, said = await typed(system, "jobs", "show", "nothing")
        assert (code, said.strip()) == (1, "there is no job nothing")
