"""Pictures that came in answers: what goes, what stays, and who is refused while there is no room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from src.app import App, open_app
from src.jobs import Ledger, State, keys, transitions
from src.ops import backup, originals
from src.ops.advice import advise
from src.ops.originals import Sweeper
from src.ops.snapshot import Figure, look
from src.ops.thresholds import Level
from src.pipeline import admission
from src.pipeline.admission import Wish
from src.pipeline.notify import QUEUES
from src.providers.base import Capabilities, Provider
from src.settings import load_settings
from tests.jobs.states import claimed, in_state

PICTURE = 100_000
LIMIT = 10_000_000


class Synchronous:
    name, capabilities = "openai", Capabilities(synchronous=True)


@pytest.fixture
async def app(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    monkeypatch.setattr(originals, "_USUAL_BYTES", PICTURE)
    monkeypatch.setattr(originals, "_TO_COME", 0)
    settings = load_settings(
        redis_url=redis_url,
        blobs_url=f"file:{tmp_path}",
        blobs_max_bytes=LIMIT,
        openai_api_key="sk-of-a-test",
    )
    broker, previous = StubBroker(), dramatiq.get_broker()
    for queue in QUEUES:
        broker.declare_queue(queue)
    dramatiq.set_broker(broker)
    async with open_app(settings) as made:
        yield replace(made, providers={"openai": cast(Provider, Synchronous())})
    dramatiq.set_broker(previous)


@pytest.fixture
def ledger(sync_redis: Any) -> Ledger:
    return Ledger(sync_client=sync_redis)


async def kept(app: App, ledger: Ledger, state: State, folder: Path, *, age: float = 0) -> str:
    """A job in that state whose picture was kept so many seconds ago."""
    job, _ = in_state(ledger, state)
    if state in (State.FAILED, State.CANCELLED):
        told = claimed(ledger, job, "deliver")
        ledger.run_sync(transitions.finish(job, told.fence, shown={}, ttl=3600))
    file = folder / "originals" / job
    file.parent.mkdir(exist_ok=True)
    # Not by the store, which waits for the disk.
    file.write_bytes(b"x" * PICTURE)
    os.utime(file, (file.stat().st_mtime - age,) * 2)
    return job


async def names(app: App) -> set[str]:
    return {blob.name.rpartition("/")[2] async for blob in app.blobs.all("originals")}


async def room(app: App) -> int:
    return int(await app.redis.hget(keys.ORIGINALS(), "room"))


async def test_what_nobody_will_get_goes_and_what_is_open_stays(
    app: App, ledger: Ledger, tmp_path: Path
) -> None:
    old = 8 * 86_400
    stay = {
        await kept(app, ledger, State.READY, tmp_path, age=old),
        await kept(app, ledger, State.RUNNING, tmp_path),
    }
    stay.add(await kept(app, ledger, State.DELIVERED, tmp_path, age=6 * 86_400))
    for state, age in ((State.FAILED, 0), (State.CANCELLED, 0), (State.DELIVERED, old)):
        await kept(app, ledger, state, tmp_path, age=age)
    await app.blobs.put("uploads/new", b"1")
    await app.blobs.put("uploads/old", b"1")
    os.utime(tmp_path / "uploads/old", (0, 0))
    await Sweeper(app).sweep()
    assert await names(app) == stay
    assert [blob.name async for blob in app.blobs.all("uploads")] == ["uploads/new"]
    assert await room(app) == LIMIT - 3 * PICTURE - 1


async def test_the_oldest_delivered_make_room(app: App, ledger: Ledger, tmp_path: Path) -> None:
    sweeper = Sweeper(app)
    open_ = await kept(app, ledger, State.READY, tmp_path, age=10_000)
    delivered = [await kept(app, ledger, State.DELIVERED, tmp_path, age=900 - n) for n in range(102)]
    await sweeper.sweep()
    assert await names(app) == {open_, *delivered[3:]}, "nobody waits: the limit is all that counts"
    await app.redis.sadd(keys.SLOTS("openai"), *(f"job{n}" for n in range(10)))
    await sweeper.sweep()
    size = 2 * PICTURE
    assert await room(app) >= 2 * 10 * size
    assert open_ in await names(app)


async def test_without_room_nobody_is_promised_a_picture(app: App, tmp_path: Path) -> None:
    await app.redis.hset(keys.ORIGINALS(), mapping={"room": 3 * PICTURE, "size": PICTURE})
    wishes = [Wish(user=n, chat=n, prompt="a fox", update=str(n)) for n in range(1, 6)]
    assert [(await admission.ask(app, wish)).verdict for wish in wishes] == ["ok", "ok", "ok", "full", "full"]
    await Sweeper(app).sweep()
    assert (await admission.ask(app, wishes[3])).verdict == "ok"


async def test_where_answers_are_addresses_no_room_is_needed(app: App) -> None:
    await app.close_store()
    polled = replace(app, providers={"openai": cast(Provider, Synchronous())})
    cast(Any, polled.providers["openai"]).capabilities = Capabilities(result_ttl=3600)
    assert (await admission.ask(polled, Wish(user=1, chat=1, prompt="a fox", update="1"))).verdict == "ok"


async def test_a_store_that_takes_nothing_lets_nobody_in(app: App, tmp_path: Path) -> None:
    # Also where none has ever been kept, so that nobody knows how large one is.
    (tmp_path / "probe").mkdir()
    await Sweeper(app).sweep()
    wish = Wish(user=1, chat=1, prompt="a fox", update="1")
    assert (await admission.ask(app, wish)).verdict == "full"
    (tmp_path / "probe").rmdir()
    await Sweeper(app).sweep()
    assert (await admission.ask(app, wish)).verdict == "ok"


async def test_between_two_sweeps_the_ledger_counts(app: App, ledger: Ledger) -> None:
    await app.redis.hset(keys.ORIGINALS(), mapping={"room": LIMIT, "size": PICTURE})
    job, fence = in_state(ledger, State.RUNNING)
    ledger.run_sync(transitions.ready(job, fence, result={}, cap=9, model="m", kept=PICTURE))
    assert await room(app) == LIMIT - PICTURE


async def test_a_forgotten_jobs_picture_goes_but_not_another_systems(
    app: App, ledger: Ledger, tmp_path: Path
) -> None:
    await app.blobs.put("originals/somebodys", b"1")
    await Sweeper(app).sweep()
    assert await names(app) == {"somebodys"}
    job = await kept(app, ledger, State.DELIVERED, tmp_path, age=-60)
    forgotten = await kept(app, ledger, State.DELIVERED, tmp_path, age=-120)
    await app.redis.delete(keys.JOB(forgotten))
    await Sweeper(app).sweep()
    # What is older than all records may have had its own in a Redis that a backup brings back.
    assert await names(app) == {"somebodys", job}


async def test_what_a_killed_writer_left_goes(app: App, tmp_path: Path) -> None:
    await app.blobs.put("originals/a", b"1")
    left = [tmp_path / name for name in ("originals/a#1", "uploads/b#12", "probe#1")]
    young, other = tmp_path / "originals/c#1", tmp_path / "originals/d#e"
    (tmp_path / "uploads").mkdir()
    for file in (*left, young, other):
        file.write_bytes(b"x")
    for file in (*left, other):
        os.utime(file, (0, 0))
    assert await names(app) == {"a", "d#e"}, "the store does not list them"
    await app.redis.hset(keys.JOB("d#e"), mapping={"state": State.READY})
    await Sweeper(app).sweep()
    assert not any(file.exists() for file in left)
    assert young.exists(), "somebody writes it"
    assert other.exists()


async def test_a_backup_holds_the_pictures_that_nobody_has_yet(
    app: App, ledger: Ledger, tmp_path: Path
) -> None:
    """They are asked for by name: among a million that people have had nobody looks for them."""
    jobs = {
        state: await kept(app, ledger, state, tmp_path)
        for state in (State.RUNNING, State.READY, State.DELIVERED)
    }
    file = tmp_path / "a.backup"
    await backup.backup(app.settings, file)
    ready = tmp_path / "originals" / jobs[State.READY]
    data = ready.read_bytes()
    ready.unlink()
    (tmp_path / "originals" / jobs[State.RUNNING]).unlink()
    await backup.restore(app.settings, file, force=True)
    assert await names(app) == {jobs[State.READY], jobs[State.DELIVERED]}
    assert ready.read_bytes() == data


async def test_a_restore_holds_the_sweep_off(
    app: App, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there are only some of the records, what has none may have one in a moment."""
    jobs = {await kept(app, ledger, State.DELIVERED, tmp_path, age=-60 * n) for n in range(4)}
    file = tmp_path / "a.backup"
    await backup.backup(app.settings, file)
    sweeper, put = Sweeper(app), backup._put
    await sweeper.sweep_if_leading()
    looked = []

    async def put_and_look(*args: Any) -> None:
        await put(*args)
        looked.append(await app.redis.exists(keys.ORIGINALS()))
        await sweeper.sweep_if_leading()

    monkeypatch.setattr(backup, "_put", put_and_look)
    monkeypatch.setattr(backup, "_PAGE", 1)
    await backup.restore(app.settings, file, force=True)
    assert len(looked) > len(jobs)
    assert not any(looked)
    assert await names(app) == jobs
    await sweeper.sweep_if_leading()
    assert await app.redis.exists(keys.ORIGINALS()), "who led leads again"


async def test_a_sweep_that_was_under_way_drops_nothing_more(
    app: App, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(app, ledger, State.FAILED, tmp_path)
    seen = await names(app)
    sweeper = Sweeper(app)
    assert seen
    known = sweeper._known

    async def begun(found: Any) -> Any:
        answer = await known(found)
        await backup._hold_off(app.redis)
        return answer

    monkeypatch.setattr(sweeper, "_known", begun)
    await sweeper.sweep_if_leading()
    assert await names(app) == seen


async def test_who_watches_sees_it(app: App, tmp_path: Path) -> None:
    async def figure() -> Figure:
        return next(figure for figure in (await look(app)).figures if figure.name == "pictures")

    assert (await figure()).value is None
    await Sweeper(app).sweep()
    assert await figure() == Figure("pictures", LIMIT, Level.NORMAL)
    await app.close_store()
    assert (await figure()).level is Level.PROBLEM
    assert [step.key for step in advise(replace(await look(app), workers=1))] == ["advice-pictures"]
