"""What admins can ask, and nobody else."""

from __future__ import annotations

import pytest

from src.telemetry import job_spans
from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"jaeger_ui_url": "https://jaeger.example/", "admin_ids": "77,76"}


async def test_trace_leads_to_the_job_in_jaeger(world: World) -> None:
    admin = world.sandbox.person("Root", id=77)
    await admin.send_text("a red fox")
    await admin.wait_for(lambda m: m.from_bot)
    (request_id,) = await world.app.ledger.history("77")
    request = await world.app.ledger.request(request_id)
    assert request is not None
    job = await world.app.ledger.job(request.jobs[0])
    assert job is not None
    for asked in ("/trace", f"/trace {job.id}"):
        await admin.send_text(asked)
        answer = await admin.wait_for(lambda m: "jaeger" in m.text)
        assert f"https://jaeger.example/trace/{job_spans.trace_id(job)}" in answer.text
        await admin.delete(answer)
    await admin.send_text("/trace nothing")
    await admin.wait_for(lambda m: m.from_bot and "No such job" in m.text)


async def test_ops_says_how_it_goes_and_what_to_do(world: World) -> None:
    admin = world.sandbox.person("Root", id=77)
    await admin.send_text("/ops")
    answer = await admin.wait_for(lambda m: m.from_bot and "What to do" in m.text)
    assert answer.text.startswith("🔴")
    assert "docker compose up -d worker-image" in answer.text


async def test_a_jobs_story_can_be_read_in_the_chat(world: World) -> None:
    admin = world.sandbox.person("Root", id=77)
    await admin.send_text("a red fox")
    await admin.wait_for(lambda m: m.from_bot)
    (request_id,) = await world.app.ledger.history("77")
    request = await world.app.ledger.request(request_id)
    assert request is not None
    await admin.send_text(f"/job {request.jobs[0]}")
    answer = await admin.wait_for(lambda m: m.from_bot and "0.0 s  waiting" in m.text)
    assert "red fox" not in answer.text
    await admin.send_text(f"/retry {request.jobs[0]}")
    await admin.wait_for(lambda m: m.from_bot and "not kept as failed" in m.text)


async def test_to_others_it_does_not_exist(world: World) -> None:
    ann = world.sandbox.person("Ann")
    await ann.send_text("/trace")
    answer = await ann.wait_for(lambda m: m.from_bot)
    assert "job" not in answer.text.lower()


async def test_a_tier_puts_a_person_first_or_frees_them_of_limits(world: World) -> None:
    admin = world.sandbox.person("Root", id=77)
    await admin.send_text("/tier 5 king")
    await admin.wait_for(lambda m: m.from_bot and "first" in m.text)
    await admin.send_text("/tier 5 first")
    await admin.wait_for(lambda m: m.from_bot and "5: first" in m.text)
    assert (await world.app.ledger.person("5")).tier == "first"
    other = world.sandbox.person("Корень", id=76, language_code="ru")
    for command in ("/tier 5 last", "/limit 5 3 4"):
        assert "5: последний" in (await other.reply_after(await other.send_text(command))).text


async def test_failed_and_open_jobs_from_the_chat(world: World) -> None:
    admin, anna = world.sandbox.person("Root", id=77), world.sandbox.person("Anna")

    async def ask(command: str) -> str:
        return (await admin.reply_after(await admin.send_text(command))).text

    await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    assert "/drop ID" in await ask("/job")
    assert await ask("/job nothing") == "No such job."
    assert "submitting" in await ask(f"/retry {job.id}")
    assert "submitting" in await ask(f"/drop {job.id}")
    assert "by user" in await ask(f"/job {job.id}")
    assert "is cancelled; it was submitting" in await ask(f"/cancel {job.id}")
    assert "cancelled" in await ask(f"/cancel {job.id}")
    assert "nothing to cancel" in await ask("/cancel")

    await anna.send_text("a bear")
    [failed] = await world.active(anna.id)
    await world.failed(failed, "timeout")
    assert failed.id in await ask("/jobs")
    assert "no longer kept" in await ask(f"/drop {failed.id}")
    assert "No failed jobs" in await ask("/jobs")
    await ask(f"/retry {failed.id}")
    [again] = await world.active(anna.id)
    await world.parts.progress.tick()
    assert (await world.request_of(again)).messages
    # To others these commands do not exist.
    assert "don’t know" in (await anna.reply_after(await anna.send_text(f"/drop {failed.id}"))).text
