"""Showing a picture: whose placeholder the bot could not send, or which Telegram's limits put off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from aiogram.exceptions import TelegramAPIError, TelegramNetworkError

from src.jobs import Job, State, keys, transitions
from src.jobs.estimate import Estimate
from src.limits import Gate, Limiter, Refusal
from src.pipeline import admission, deliver, failures
from src.pipeline.leases import Work
from src.sandbox.telegram import Message, Person
from src.telegram.throttle import priority
from tests.bot.bot_world import OpenGates, World, image
from tests.limits.busy import busy


class Crowded(Limiter):
    """Whoever has passed a chat's gate finds two seconds of turns behind it taken by others."""

    async def take(self, gates: Sequence[Gate], *, wait: float = 0.0, spread: bool = False) -> Refusal | None:
        refusal = await super().take(gates, wait=wait, spread=spread)
        await busy(self._client, 2, gates[-1].name)
        return refusal


async def _asked(world: World, person: Person, count: int = 1) -> list[Job]:
    """A person asks for pictures while Telegram takes no message of the bot."""
    await world.app.ledger.choose(str(person.id), count=count)
    world.sandbox.faults.add("429", "sendMessage" if count == 1 else "sendMediaGroup", retry_after=30)
    await person.send_text("a red fox")
    jobs = await world.active(person.id)
    assert len(jobs) == count
    assert _shown(person) == []
    return jobs


async def _made_album(world: World, person: Person) -> list[Job]:
    """Two pictures that are made and have no placeholder."""
    jobs = await _asked(world, person, 2)
    for job in jobs:
        await world.made(job, image().data)
    return jobs


async def _asked_again_at(world: World, member: str) -> float:
    """Seconds until the ledger is due to look at it."""
    return float(await world.app.redis.zscore("imagebot:due", member) - await world.app.ledger.now()) / 1000


async def _show(work: Work, job: Job) -> Job:
    """The step `deliver` of a worker: the job after it."""
    ledger = work.app.ledger
    claimed = await ledger.run(transitions.claim_to_show(job.id, holder="test", lease=30))
    assert claimed is not None
    await deliver.show(work, *claimed)
    found = await ledger.job(job.id)
    assert found is not None
    return found


def _shown(person: Person) -> list[Message]:
    return [message for message in person.messages if message.from_bot]


async def test_the_placeholder_and_the_picture_each_take_a_turn(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    [job] = await _asked(world, anna)
    await world.made(job, image().data)
    await world.app.redis.delete(f"imagebot:gate:chat:{anna.id}")
    before = world.sandbox.audit.by_method.copy()
    assert (await _show(worker(Limiter(world.app.redis)), job)).state is State.DELIVERED
    [placeholder] = _shown(anna)
    assert placeholder.has_photo
    assert (await world.request_of(job)).messages == (placeholder.message_id,)
    calls = world.sandbox.audit.by_method - before
    calls.pop("getUpdates", 0)
    assert calls == {"sendMessage": 1, "editMessageMedia": 1}


async def test_a_delivery_that_its_chat_refuses_comes_when_it_is_told_to_and_it_was_no_attempt(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await world.made(job, image().data)
    limiter = Limiter(world.app.redis)
    await limiter.shut(f"chat:{anna.id}", 20)
    waits = await _show(worker(limiter), job)
    assert (waits.state, waits.holder, waits.deliveries) == (State.READY, "", 0)
    assert " limited:chat@" in waits.story
    assert 19 < await _asked_again_at(world, job.id) <= 20
    await world.app.redis.delete(f"imagebot:gate:chat:{anna.id}")
    assert (await _show(worker(limiter), job)).state is State.DELIVERED
    assert placeholder.has_photo


async def test_of_two_workers_placeholders_one_stays_and_counts(
    world: World, worker: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person()
    [job] = await _asked(world, anna)
    request, ledger, both_go = await world.request_of(job), world.app.ledger, asyncio.Barrier(2)
    original = ledger.sending

    async def sending(request_id: str, **how: bool) -> bool:
        # When each has looked at the ledger, and neither has sent anything.
        async with asyncio.timeout(40):
            await both_go.wait()
        return await original(request_id, **how)

    monkeypatch.setattr(ledger, "sending", sending)
    before = world.sandbox.audit.by_method["sendMessage"]
    both = await asyncio.gather(
        *(worker(OpenGates()).messages.placeholders.hold(job, request) for _ in range(2))
    )
    assert world.sandbox.audit.by_method["sendMessage"] == before + 2
    [placeholder] = _shown(anna)
    assert [request.messages for request, _ in both] == [(placeholder.message_id,)] * 2
    kept = await world.request_of(job)
    assert (kept.messages, kept.may_have_stray) == ((placeholder.message_id,), False)
    assert await worker(OpenGates()).messages.placeholders.hold(job, request) == (kept, ())
    assert _shown(anna) == [placeholder]


async def test_a_placeholder_that_came_while_another_waited_for_its_turn_stays_the_only_one(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    await boris.reply_after(await boris.send_text("/start"))
    [job] = await _asked(world, anna)
    request, limiter, audit = await world.request_of(job), world.app.limiter, world.sandbox.audit
    before, waits = audit.by_method["sendMessage"], worker(limiter)
    await busy(world.app.redis, 1.5)
    with priority("answer", patience=30):
        first = asyncio.create_task(waits.bot.send_message(boris.id, "before it"))
        waiting = asyncio.create_task(
            waits.messages.placeholders.place(request, [job], [Estimate(None, 20, 40)])
        )
    async with asyncio.timeout(40):
        while len(await world.app.redis.keys("*gate:chat:*")) < 2:
            await asyncio.sleep(0.01)
    assert (await worker(OpenGates()).messages.placeholders.hold(job, request))[0].messages
    await asyncio.gather(first, waiting)
    assert (audit.by_method["sendMessage"], audit.by_method["deleteMessages"]) == (before + 2, 0)
    assert not (await world.request_of(job)).may_have_stray


async def test_an_album_is_placed_once_by_the_first_of_its_jobs_that_waits(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    jobs = await _made_album(world, anna)
    work = worker(OpenGates())
    other = await _show(work, jobs[1])
    assert (other.state, other.deliveries) == (State.READY, 0)
    assert _shown(anna) == []
    assert (await _show(work, jobs[0])).state is State.DELIVERED
    *tiles, _ = _shown(anna)
    # Woken by the placeholder, the other goes at once.
    assert (await _show(work, jobs[1])).state is State.DELIVERED
    assert [tile.has_photo for tile in tiles] == [True, True]
    *same, status = _shown(anna)
    assert same == tiles
    assert "Both pictures are ready" in status.text
    assert world.sandbox.audit.by_method["sendMediaGroup"] == 2


async def test_the_message_under_an_album_follows_the_tiles_however_busy_the_chat_is(
    world: World, worker: Callable[[Any], Work], redis_client: Any
) -> None:
    anna = world.sandbox.person()
    jobs = await _asked(world, anna, 2)
    work, request = worker(Crowded(redis_client)), await world.request_of(jobs[0])
    with priority("answer", patience=10):
        await work.messages.placeholders.place(request, jobs, [Estimate(None, 20, 40)] * 2)
    assert [message.has_photo for message in _shown(anna)] == [True, True, False]
    assert (await world.request_of(jobs[0])).status_message == _shown(anna)[-1].message_id
    assert world.sandbox.audit.by_method["deleteMessages"] == 0


async def test_an_album_whose_tiles_have_no_turn_comes_when_it_is_told_to(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    jobs = await _made_album(world, anna)
    await busy(world.app.redis, 10, f"chat:{anna.id}")
    before = world.sandbox.audit.by_method["sendMediaGroup"]
    waits = await _show(worker(Limiter(world.app.redis)), jobs[0])
    assert (waits.state, waits.deliveries) == (State.READY, 0)
    assert " limited:chat@" in waits.story
    assert await _asked_again_at(world, jobs[0].id) > 5
    assert world.sandbox.audit.by_method["sendMediaGroup"] == before


async def test_an_albums_last_words_come_when_telegram_has_a_turn_for_them(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    first, last = await _made_album(world, anna)
    unlimited = worker(OpenGates())
    await _show(unlimited, first)
    work = worker(Limiter(world.app.redis))
    await world.app.redis.delete(f"imagebot:gate:chat:{anna.id}")
    # The last picture has the chat's last turn.
    await busy(world.app.redis, 3.4, f"chat:{anna.id}")
    assert (await _show(work, last)).state is State.DELIVERED
    *_, status = _shown(anna)
    assert "Both pictures are ready" not in status.text
    member = f"r:{last.request}"
    assert await _asked_again_at(world, member) < 2
    async with asyncio.timeout(40):
        while "Both pictures are ready" not in status.text:
            rows, _ = await world.app.ledger.run(transitions.due(10, lease=30, holder="test"))
            for row in rows:
                assert (row.what, row.id) == ("close", last.request)
                await deliver.close(work, row.id)
            await asyncio.sleep(0.05)
    assert await world.app.redis.zscore("imagebot:due", member) is None


async def _looked_after(world: World, work: Work, request: str, soonest: float) -> None:
    """The ledger looks at the request again, no sooner than that."""
    member = f"r:{request}"
    assert soonest <= await _asked_again_at(world, member) <= 60
    await world.app.redis.zadd("imagebot:due", {member: 0})
    rows, _ = await world.app.ledger.run(transitions.due(10, lease=30, holder="test"))
    assert ("close", request) in [(row.what, row.id) for row in rows]
    await deliver.close(work, request)


async def test_last_words_are_tried_for_a_day_from_when_they_were_first_due(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, 2)
    request, status = await world.request_of(jobs[0]), _shown(anna)[-1]
    key, row = keys.REQUEST(request.id), f"r:{request.id}"
    await world.app.redis.hset(key, "created", request.created - 86_401_000)
    promised = status.text
    world.sandbox.faults.add("500", "editMessageText", times=3)
    for job in jobs:
        await world.app.ledger.run(transitions.fail(job.id, None, kind="upstream", cap=9))
        await _show(work, job)
    await _looked_after(world, work, request.id, -60)
    assert status.text == promised
    await world.app.redis.hincrby(key, "closing", -86_400_000)
    await _looked_after(world, work, request.id, -60)
    assert await world.app.redis.zscore(keys.DUE(), row) is None
    assert status.text == promised
    # Whoever taps it a day later has another day.
    await world.app.ledger.close_now(request.id)
    await _looked_after(world, work, request.id, -60)
    await world.app.redis.hincrby(key, "closing", -86_400_000)
    await world.app.ledger.close_now(request.id)
    await _looked_after(world, work, request.id, -60)
    assert status.text != promised
    assert await world.app.redis.zscore(keys.DUE(), row) is None
    assert (await world.request_of(jobs[0])).closing == 0


async def test_a_tile_that_telegram_refuses_keeps_no_other_from_being_tried(
    world: World, worker: Callable[[Any], Work]
) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 3)
    request = await world.request_of(jobs[0])
    tiles = [message for message in _shown(anna) if message.message_id in request.messages]
    for job in jobs:
        await world.app.ledger.run(transitions.fail(job.id, None, kind="upstream", cap=9))
        held = await world.app.ledger.run(transitions.claim(job.id, "deliver", holder="test", lease=30))
        assert held is not None
        await world.app.ledger.run(
            transitions.finish(job.id, held.fence, shown={}, ttl=600, kind="no_rights")
        )
    refused = "Bad Request: not enough rights to send photos to the chat"
    world.sandbox.faults.add("400", "editMessageMedia", description=refused)
    waiting = tiles[0].sha256
    await world.app.ledger.close_now(request.id)
    await _looked_after(world, worker(OpenGates()), request.id, -60)
    assert [tile.sha256 == waiting for tile in tiles] == [True, False, False]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_change_that_arrives_after_the_end_does_not_have_the_last_word(
    world: World, worker: Callable[[Any], Work], count: int
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, count)
    before = await world.request_of(jobs[0])
    status = _shown(anna)[-1]
    # The bot's change is on its way when the last job ends.
    await world.app.ledger.changing(before.id)
    world.let_changes_cross()
    for job in jobs:
        ending = transitions.fail(job.id, None, kind="upstream", cap=9)
        assert (await world.app.ledger.run(ending)).done
        await _show(work, job)
    last_words = status.text
    world.sandbox.faults.add("timeout_after_commit", "editMessageText", seconds=0.0)
    with pytest.raises(TelegramNetworkError):
        await world.messages.progress(before, jobs, [Estimate(None, 100, 300)] * count)
    assert status.text != last_words
    # An album's end was said at once, and it is said again; one picture's has yet to be.
    for _ in range(2 if count == 1 else 1):
        await _looked_after(world, work, before.id, 0)
        assert status.text == last_words
    if count == 2:
        await _looked_after(world, work, before.id, 0)
    assert await world.app.redis.zscore("imagebot:due", f"r:{before.id}") is None
    assert not (await world.request_of(jobs[0])).changing


@pytest.mark.parametrize(
    ("fault", "unknown"),
    [(None, False), ("400", False), ("429", False), ("timeout_after_commit", True), ("500", True)],
)
async def test_the_ledger_knows_of_a_change_whose_fate_nobody_knows(
    world: World, fault: str | None, unknown: bool
) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna)
    if fault is not None:
        world.sandbox.faults.add(fault, "editMessageText", seconds=0.0)
    with suppress(TelegramAPIError):
        await world.messages.progress(await world.request_of(jobs[0]), jobs, [Estimate(None, 100, 300)])
    assert (await world.request_of(jobs[0])).changing is unknown


@pytest.mark.parametrize("count", [1, 2])
async def test_no_change_goes_out_once_the_end_was_said(
    world: World, worker: Callable[[Any], Work], count: int
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, count)
    before = await world.request_of(jobs[0])
    for job in jobs:
        await world.app.ledger.run(transitions.fail(job.id, None, kind="upstream", cap=9))
        await _show(work, job)
    edits = world.sandbox.audit.by_method["editMessageText"]
    assert not await world.messages.progress(before, jobs, [Estimate(None, 100, 300)] * count)
    assert world.sandbox.audit.by_method["editMessageText"] == edits


@pytest.mark.parametrize("count", [1, 2])
async def test_an_end_that_a_change_has_hidden_is_said_again_however_often_it_takes(
    world: World, worker: Callable[[Any], Work], count: int
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, count)
    before = await world.request_of(jobs[0])
    status = _shown(anna)[-1]
    for job in jobs:
        await world.app.ledger.run(transitions.fail(job.id, None, kind="upstream", cap=9))
        await _show(work, job)
    last_words = status.text
    if count == 2:
        await world.app.ledger.closed(before.id)
    world.let_changes_cross()
    assert await world.messages.progress(before, jobs, [Estimate(None, 100, 300)] * count)
    assert status.text != last_words
    world.sandbox.faults.add("500", "editMessageText", times=2)
    for _ in range(3):
        assert status.text != last_words
        await _looked_after(world, work, before.id, -60)
    assert status.text == last_words
    assert await world.app.redis.zscore("imagebot:due", f"r:{before.id}") is None


async def test_what_could_not_be_deleted_is_deleted_later(
    world: World, worker: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, 2)
    counts = _shown(anna)
    request = await world.request_of(jobs[0])
    again = replace(request, messages=())

    async def sending(request_id: str, **_: bool) -> bool:
        # As if it had been sent before there was one.
        await world.app.redis.hincrby("imagebot:request:" + request_id, "sendings", 1)
        return True

    monkeypatch.setattr(world.app.ledger, "sending", sending)
    world.sandbox.faults.add("500", "deleteMessages", times=2)
    for number in (1, 2):
        await world.messages.placeholders.place(again, jobs, [Estimate(None, 20, 40)] * 2)
        assert len(_shown(anna)) == (1 + number) * len(counts)
        assert len((await world.request_of(jobs[0])).strays) == 3 * number
    await _looked_after(world, work, request.id, 10)
    assert _shown(anna) == counts
    now = await world.request_of(jobs[0])
    assert (now.strays, now.may_have_stray) == ((), False)


@pytest.mark.parametrize("told", [True, False])
async def test_who_takes_a_picture_back_stops_the_call_for_it_whether_they_can_be_told_or_not(
    world: World, worker: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    [job], _ = await world.asked(anna)
    held = await world.app.ledger.run(transitions.claim(job.id, "submit", holder="test", lease=30))
    assert held is not None

    async def call() -> None:
        with work.hold(held, stop_if_lost=True):
            await asyncio.Event().wait()

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    stopped = []

    async def stop(_: Work, of: Job) -> None:
        stopped.append(of.id)

    monkeypatch.setattr(failures, "stop", stop)
    assert (await admission.cancel(world.app, job.id, anna.id)).done
    anna.chat.blocked = not told
    assert (await _show(work, job)).told
    await asyncio.wait([calling], timeout=20)
    assert (calling.cancelled(), stopped) == (True, [job.id])


@pytest.mark.parametrize("kind", ["private", "group"])
async def test_a_chat_that_put_the_bot_out_is_called_no_more_until_it_lets_it_in(
    world: World, worker: Callable[[Any], Work], kind: str
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    group = world.sandbox.group("Zoo", [anna])
    where = group if kind == "group" else None
    chat = where or anna.chat
    calls = world.sandbox.audit.by_chat

    async def asked() -> list[Job]:
        await anna.reply_after(await anna.send_text("/imagine a red fox", chat=where), chat=where)
        return await world.active(anna.id)

    await world.app.ledger.choose(str(anna.id), count=2)
    first, drawn = await asked()
    await world.made(drawn, image().data)
    assert await world.app.ledger.run(transitions.claim(drawn.id, "deliver", holder="test", lease=0))
    if kind == "private":
        await anna.block()
    else:
        world.sandbox.set_role(group, None, "kicked", by=anna)
    await world.settled()
    before = calls.copy()
    assert (await _show(work, first)).told
    await deliver.close(work, first.request)
    assert calls == before
    # What is drawn is tried all the same: they may have let it in meanwhile.
    assert (await _show(work, drawn)).kind == "blocked"
    assert calls - before == {(chat.id, "editMessageMedia"): 1}
    if kind == "private":
        promised = _shown(anna)[-1].text
        await anna.unblock()
        await world.settled()
        await _looked_after(world, work, first.request, -60)
        assert _shown(anna)[-1].text != promised
    else:
        world.sandbox.set_role(group, None, "member", by=anna)
        await world.settled()
    jobs = await asked()
    assert (await admission.cancel(world.app, jobs[0].id, anna.id)).done
    assert (await _show(work, jobs[0])).shown


@pytest.mark.parametrize("refused", ["400", "500"])
async def test_the_last_words_are_said_though_nothing_can_be_deleted(
    world: World, worker: Callable[[Any], Work], refused: str
) -> None:
    anna, work = world.sandbox.person(), worker(OpenGates())
    jobs, _ = await world.asked(anna, 2)
    status = _shown(anna)[-1]
    promised = status.text
    await world.app.ledger.run(transitions.strays(jobs[0].request, [status.message_id + 9], 60))
    told: dict[str, Any] = {"description": "Bad Request: not enough rights"} if refused == "400" else {}
    world.sandbox.faults.add(refused, "deleteMessages", times=None, **told)
    for job in jobs:
        await world.app.ledger.run(transitions.fail(job.id, None, kind="upstream", cap=9))
        await _show(work, job)
    assert status.text != promised
