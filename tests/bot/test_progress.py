"""Placeholders that keep up with the line, by one loop, with few commands."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from src.bot.process import make_dispatcher
from src.bot.progress import Progress
from src.jobs import Job, State, keys
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image

_SETTINGS: dict[str, object] = {"openai_concurrency": 1, "rate_limit": 1000, "max_active_per_user": 1000}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return _SETTINGS


async def _allow_changes(world: World) -> None:
    """As if `progress_interval` had passed since each placeholder changed."""
    for key in await world.app.redis.keys("*request:*"):
        await world.app.redis.hset(key, "shown_at", 0)
    world.parts.progress._watched.clear()


async def _advance(world: World, job: Job) -> None:
    """The job ahead is done: the next one runs."""
    held = await world.app.ledger.job(job.id)
    assert held is not None
    await world.finished(held, image())


@pytest.mark.parametrize("settings_of_world", [_SETTINGS | {"progress_interval": 600}])
async def test_the_line_moves_and_so_do_the_words(world: World) -> None:
    people = [world.sandbox.person(name) for name in ("Anna", "Boris", "Clara")]
    placeholders = [await p.reply_after(await p.send_text("a fox")) for p in people]
    await world.settled()
    assert ["Drawing" in m.text for m in placeholders] == [True, False, False]
    assert await world.parts.progress.tick() == 0
    [job] = await world.active(people[0].id)
    await _advance(world, job)
    assert await world.parts.progress.tick() == 0
    await _allow_changes(world)
    assert await world.parts.progress.tick() == 2
    assert "Drawing" in placeholders[1].text
    assert "next in line" in placeholders[2].text
    await _allow_changes(world)
    assert await world.parts.progress.tick() == 0


async def test_ended_requests_are_forgotten(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_text("a fox"))
    await world.settled()
    [job] = await world.active(anna.id)
    await world.parts.progress.tick()
    assert await world.app.redis.zcard(keys.OPEN()) == 1
    await world.finished(job, image())
    await world.parts.progress.tick()
    assert await world.app.redis.zcard(keys.OPEN()) == 0


async def test_what_a_dead_process_could_not_place_is_placed_at_once(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.faults.add("500", "sendMessage")
    await anna.send_text("a fox")
    await world.settled()
    assert await world.parts.progress.tick() == 1
    assert "Drawing" in anna.messages[-1].text


async def test_a_request_without_placeholder_gets_one(world: World) -> None:
    anna = world.sandbox.person()
    await world.parts.progress.tick()
    world.sandbox.faults.add("500", "sendMessage")
    await anna.send_text("a fox")
    await world.settled()
    assert await world.parts.progress.tick() == 0
    [job] = await world.active(anna.id)
    await world.app.redis.hset(keys.REQUEST(job.request), "created", 1)
    world.parts.progress._watched.clear()
    assert await world.parts.progress.tick() == 1
    assert "Drawing" in anna.messages[-1].text


async def test_many_open_requests_cost_few_commands_and_one_change_each(world: World) -> None:
    people = [world.sandbox.person(f"P{n}") for n in range(40)]
    for person in people:
        await person.send_text("a fox")
    await asyncio.gather(*(p.wait_for(lambda m: m.from_bot) for p in people))
    await world.settled()
    await _allow_changes(world)
    await world.parts.progress.tick()
    before = await _commands(world)
    edits = world.sandbox.audit.by_method["editMessageText"]
    for _ in range(5):
        await world.parts.progress.tick()
    # The five pipelines, and this count itself.
    assert await _commands(world) - before <= 5 * 4 + 2
    assert world.sandbox.audit.by_method["editMessageText"] == edits == 0
    jobs = [job for p in people for job in await world.active(p.id)]
    [running] = [job for job in jobs if job.state is State.SUBMITTING]
    await _advance(world, running)
    await _allow_changes(world)
    assert await world.parts.progress.tick() == 1
    await _allow_changes(world)
    assert await world.parts.progress.tick() == 0


async def _commands(world: World) -> int:
    info: dict[str, Any] = await world.app.redis.info("stats")
    return int(info["total_commands_processed"])


async def test_telegram_refusing_costs_only_the_change(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    await anna.reply_after(await anna.send_text("a fox"))
    placeholder = await boris.reply_after(await boris.send_text("a bear"))
    await world.settled()
    [job] = await world.active(anna.id)
    await _advance(world, job)
    for fault in ("500", "403"):
        await _allow_changes(world)
        world.sandbox.faults.add(fault, "editMessageText")
        assert await world.parts.progress.tick() == 0
    assert await world.parts.progress.tick() == 1
    assert "Drawing" in placeholder.text


async def test_a_chat_that_takes_nothing_is_left_alone_and_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a busy machine takes between two ticks.
    monkeypatch.setattr("src.bot.progress._AGAIN_SECONDS", 3600.0)
    anna, boris, clara = (world.sandbox.person(name) for name in ("Anna", "Boris", "Clara"))
    await clara.reply_after(await clara.send_text("a fox"))
    placeholder = await boris.reply_after(await boris.send_text("a bear"))
    refusals = world.sandbox.faults.add("429", "sendMessage", chat_id=anna.id, times=None, retry_after=3600)
    for _ in range(35):
        await anna.send_text("a wolf")
    await world.settled()
    [job] = await world.active(clara.id)
    await _advance(world, job)
    await _allow_changes(world)
    [waiting] = await world.active(boris.id)
    # Behind all of Anna's, which have no placeholder.
    await world.app.redis.hset(keys.REQUEST(waiting.request), "shown_at", 1)
    assert await world.parts.progress.tick() == 0
    tried = refusals.hits
    assert await world.parts.progress.tick() == 1
    assert "Drawing" in placeholder.text
    assert refusals.hits == tried
    world.sandbox.faults.clear()
    world.parts.progress._closed.clear()
    assert await world.parts.progress.tick() == 30
    assert await world.parts.progress.tick() == 5


async def test_of_two_loops_one_leads_until_it_resigns(world: World) -> None:
    first = world.parts.progress
    another = replace(world.app, holder="another:1")
    second = make_dispatcher(another, world.bot, get_texts()).progress
    assert await first._leader.held()
    assert not await second._leader.held()
    assert await first._leader.held()
    await second.resign()
    assert not await second._leader.held()
    await first.resign()
    assert await second._leader.held()


async def test_the_loop_goes_on_after_errors(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = asyncio.Event()
    calls = 0

    async def tick(progress: Progress) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bad tick")
        ticked.set()
        return 0

    monkeypatch.setattr(Progress, "tick", tick)
    running = asyncio.create_task(world.parts.progress.run())
    async with asyncio.timeout(40):
        await ticked.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
