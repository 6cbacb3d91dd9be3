"""A picture is seen as it is drawn: by OpenAI's stand-in, in a chat of Telegram's, over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.jobs import Job, State, keys, transitions
from src.jobs.estimate import Estimate, estimate
from src.limits import Gate, Limiter, Refusal
from src.pipeline import deliver, previews, submit
from src.pipeline.leases import Work
from src.sandbox.openai import OpenAISandbox
from src.sandbox.pictures import PictureMaker
from src.sandbox.telegram import Message
from tests.bot.bot_world import OpenGates, World, image

Worker = Callable[[Any], Work]
Running = tuple[Callable[[], previews.Previews], Job]


class Shut(Limiter):
    """Telegram has no room for what may be dropped."""

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, spread: bool = False) -> Refusal | None:
        return Refusal(gates[0].name, 1.0) if wait == 0 else None


@pytest.fixture
async def drawing() -> AsyncIterator[tuple[OpenAISandbox, str]]:
    sandbox = OpenAISandbox(pictures=PictureMaker(cached=True), durations=(0.0, 0.0))
    app = web.Application()
    sandbox.add_to(app)
    async with TestServer(app) as server:
        yield sandbox, str(server.make_url("/openai/v1"))


@pytest.fixture
def settings_of_world(
    drawing: tuple[OpenAISandbox, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    # However slow the machine is, the picture comes after the preview.
    monkeypatch.setattr("src.pipeline.timeouts.LAST_PREVIEW", 60.0)
    return {"openai_base_url": drawing[1]}


async def ordered(world: World) -> tuple[Job, Message]:
    """A job that was asked for a while ago, and its placeholder."""
    [job], placeholder = await world.asked(world.sandbox.person())
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
    return job, placeholder


async def drawn(work: Work, job: Job) -> Job:
    """The job after its submit was answered."""
    claimed = await work.app.ledger.run(transitions.claim(job.id, "submit", holder=work.app.holder, lease=60))
    assert claimed is not None
    await submit.begin(work, claimed)
    await work.drain(60)
    found = await work.app.ledger.job(job.id)
    assert found is not None
    return found


async def shown(work: Work, job: Job) -> Job:
    claimed = await work.app.ledger.run(transitions.claim_to_show(job.id, holder="test", lease=60))
    assert claimed is not None
    await deliver.show(work, *claimed)
    found = await work.app.ledger.job(job.id)
    assert found is not None
    return found


def edits(world: World) -> int:
    return world.sandbox.audit.by_method["editMessageMedia"]


async def test_a_picture_is_seen_as_it_is_drawn(
    world: World, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, Any] = {}
    monkeypatch.setattr(
        "src.telemetry.job_spans.write_generation", lambda job, **said: written.update(said["attributes"])
    )
    job, placeholder = await ordered(world)
    work = worker(OpenGates())
    job = await drawn(work, job)
    assert job.state is State.READY
    preview = placeholder.media
    assert preview is not None
    assert "still drawing" in placeholder.text
    assert placeholder.button("Cancel")
    assert written["imagebot.previews"] == 1
    request = await world.request_of(job)
    assert (request.previewed, request.changing) == (True, False)
    # Words would hide it, or come under the picture.
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
    calls = world.sandbox.audit.by_method["editMessageText"]
    assert await world.parts.progress.tick() == 0
    # Asked once more by who follows one that died, it is not taken for the picture.
    for _ in range(2):
        assert await world.messages.shown_already(job, request) is None
    assert (await shown(work, job)).state is State.DELIVERED
    assert placeholder.media != preview
    assert placeholder.button("Variation")
    assert edits(world) == 2
    assert world.sandbox.audit.by_method["editMessageText"] == calls
    found = await world.messages.shown_already(job, request)
    assert found is not None
    assert found["message"] == placeholder.message_id
    assert "file_id" in found
    assert placeholder.button("Variation")


@pytest.fixture
async def running(world: World, worker: Worker) -> Running:
    """A job whose picture is being drawn by this process."""
    job, _ = await ordered(world)
    work = worker(OpenGates())
    claimed = await work.app.ledger.run(transitions.claim(job.id, "submit", holder=work.app.holder, lease=60))
    assert claimed is not None
    accepted = transitions.accepted(
        job.id, claimed.fence, ticket=None, after=60, generation="", holder=work.app.holder
    )
    assert await work.app.ledger.run(accepted)
    return lambda: previews.Previews(work, claimed, work.app.providers["openai"]), job


async def test_who_draws_for_long_is_not_shown_for_ever(world: World, running: Running) -> None:
    made, job = running
    drawing = made()
    for _ in range(5):
        await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
        drawing.take(image().data)
        if drawing._task:
            await drawing._task
    assert (drawing.shown, edits(world)) == (3, 3)


async def test_what_was_not_shown_is_not_counted(world: World, running: Running) -> None:
    made, _ = running
    async with made() as drawing:
        # No photo for Telegram.
        drawing.take(image(2, 100).data)
    assert (drawing.shown, edits(world)) == (0, 0)


async def test_a_preview_waits_for_its_turn_but_no_picture_for_it(world: World, running: Running) -> None:
    """After words of the placeholder, which are new each few seconds: it would be paid for and never seen."""
    made, job = running
    last = await world.app.ledger.now() - 1000 * world.settings.progress_interval + 500
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", round(last))
    async with made() as drawing:
        drawing.take(image(colour="red").data)
        # The newest of those that came meanwhile.
        drawing.take(image(colour="green").data)
        assert drawing._task
        await drawing._task
    assert (drawing.shown, edits(world)) == (1, 1)
    far = await world.app.ledger.now() + 3_600_000
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", far)
    async with made() as drawing:
        drawing.take(image().data)
    assert (drawing.shown, edits(world)) == (0, 1)


@pytest.mark.parametrize("came", [True, False])
async def test_news_reaches_who_has_seen_a_preview(world: World, came: bool) -> None:
    job, placeholder = await ordered(world)
    request = await world.request_of(job)
    if came:
        await world.messages.preview(job, request, image())
    else:
        await world.app.ledger.changing(request.id, preview=True)
    seen, request = placeholder.media, await world.request_of(job)
    assert (request.previewed, request.changing) == (True, not came)
    on_time, late = Estimate(None, 5, 10), estimate([5.0], place=None, running=1, cap=1, elapsed=300.0)
    assert not await world.messages.progress(request, [job], [on_time])
    assert await world.messages.progress(request, [job], [late])
    assert "longer than usual" in placeholder.text
    moved = replace(job, failovers=("kie", "openai"))
    assert await world.messages.progress(await world.request_of(job), [moved], [on_time])
    assert "Another one draws it" in placeholder.text
    assert placeholder.button("Cancel")
    assert placeholder.media == seen
    # Words that arrived say nothing of a preview whose fate nobody knows.
    request = await world.request_of(job)
    assert (request.previewed, request.changing) == (True, not came)
    await world.failed(job, "timeout")
    assert (await world.app.redis.zscore(keys.DUE(), f"r:{request.id}") is None) is came


async def test_words_that_cross_the_picture_do_not_stay_under_it(world: World, worker: Worker) -> None:
    job, placeholder = await ordered(world)
    work = worker(OpenGates())
    job = await drawn(work, job)
    request = await world.request_of(job)
    await shown(work, job)
    picture, words = placeholder.media, placeholder.text
    late = estimate([5.0], place=None, running=1, cap=1, elapsed=300.0)
    assert not await world.messages.progress(request, [job], [late])
    world.let_changes_cross()
    assert await world.messages.progress(request, [job], [late])
    assert placeholder.text != words
    await deliver.close(work, request.id)
    assert (placeholder.media, placeholder.text) == (picture, words)
    assert placeholder.button("Variation")


async def test_nothing_is_left_of_it_where_there_is_no_picture(
    world: World, worker: Worker, drawing: tuple[OpenAISandbox, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, placeholder = await ordered(world)
    drawing[0].faults.add("moderated_output")

    async def until_it_is_seen(seconds: float) -> None:
        while drawing[0].audit.previews.total() and not placeholder.has_photo:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(drawing[0].faults, "pause", until_it_is_seen)
    work = worker(OpenGates())
    job = await drawn(work, job)
    preview = placeholder.media
    assert (job.state, job.kind) == (State.FAILED, "moderated_output")
    assert preview is not None
    await shown(work, job)
    assert placeholder.has_photo
    assert placeholder.media != preview
    assert "filter" in placeholder.text
    assert placeholder.button("Edit prompt")


@pytest.mark.parametrize("why", ["no room", "too soon", "too many", "refused", "away"])
async def test_without_it_the_picture_comes_all_the_same(world: World, worker: Worker, why: str) -> None:
    job, placeholder = await ordered(world)
    if why == "too soon":
        await world.app.redis.hset(
            keys.REQUEST(job.request), "shown_at", await world.app.ledger.now() + 60_000
        )
    if why == "too many":
        await world.app.redis.zadd(keys.OPEN(), {f"r{number}": 1 for number in range(31)})
    if why in ("refused", "away"):
        world.sandbox.faults.add("400" if why == "refused" else "500", "editMessageMedia")
    work = worker(Shut() if why == "no room" else OpenGates())
    job = await drawn(work, job)
    assert job.state is State.READY
    assert not placeholder.has_photo
    assert edits(world) == (why in ("refused", "away"))
    request = await world.request_of(job)
    assert (request.previewed, request.changing) == (why == "away", why == "away")
    assert (await shown(worker(OpenGates()), job)).state is State.DELIVERED
    assert placeholder.has_photo


async def test_a_preview_that_arrives_after_the_picture_does_not_stay(world: World, worker: Worker) -> None:
    job, placeholder = await ordered(world)
    world.sandbox.faults.add("timeout_after_commit", "editMessageMedia", seconds=0.0)
    work = worker(OpenGates())
    job = await shown(work, await drawn(work, job))
    picture = placeholder.media
    assert job.state is State.DELIVERED
    # What was sent first arrives last; or a process that stood still goes on.
    request = replace(await world.request_of(job), previewed=False)
    await world.messages.preview(job, request, image())
    assert placeholder.media == picture
    world.let_changes_cross()
    await world.messages.preview(job, request, image())
    assert placeholder.media != picture
    assert await world.app.redis.zscore(keys.DUE(), f"r:{request.id}") is not None
    await deliver.close(work, request.id)
    assert placeholder.media == picture
    assert placeholder.button("Variation")
    assert not (await world.request_of(job)).changing


async def test_a_preview_that_crosses_a_failure_does_not_hide_it(world: World, worker: Worker) -> None:
    job, placeholder = await ordered(world)
    request = await world.request_of(job)
    await world.failed(job, "timeout")
    world.let_changes_cross()
    await world.messages.preview(job, request, image())
    assert "took too long" not in placeholder.text
    await deliver.close(worker(OpenGates()), request.id)
    assert "took too long" in placeholder.text


async def test_it_is_asked_for_only_where_somebody_may_see_it(
    world: World, worker: Worker, drawing: tuple[OpenAISandbox, str]
) -> None:
    job, _ = await ordered(world)
    work = worker(OpenGates())
    provider = work.app.providers["openai"]
    job = replace(job, tries=1)
    assert await previews.wanted(work, job, provider)
    for other in (
        replace(job, tries=2),
        replace(job, spec=replace(job.spec, chat=-100)),
        replace(job, spec=replace(job.spec, chat=0)),
        replace(job, spec=replace(job.spec, count=2)),
        replace(job, request="gone"),
    ):
        assert not await previews.wanted(work, other, provider)
    await world.app.redis.hset(keys.REQUEST(job.request), "inline", "AAA")
    assert (await drawn(work, job)).state is State.READY
    assert drawing[0].audit.previews.total() == 0
