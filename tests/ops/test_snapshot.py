"""The figures, their levels, the advice and the alerts, over a real Redis and the real ledger."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiogram.exceptions import ClientDecodeError
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from src.api import status
from src.api.status import render
from src.app import App, cancel_all, open_app
from src.jobs import Spec, Wake, keys, new_id, transitions
from src.jobs.spending import Spent
from src.limits import Breaker, Limiter
from src.ops import alerts, heartbeat, samples
from src.ops import pulse as pulses
from src.ops.advice import advise
from src.ops.alerts import Alerts
from src.ops.gauges import Gauges
from src.ops.heartbeat import Beat, Heartbeat
from src.ops.monitor import Monitor
from src.ops.pulse import Pulse
from src.ops.report import costs, report
from src.ops.snapshot import BackupState, Ended, Snapshot, look
from src.ops.thresholds import TIME, WAITING, Level
from src.pipeline.admission import limits_of
from src.settings import Cap, load_settings
from src.telegram.i18n import get_texts
from tests.axe import serious
from tests.browser import CHROMIUM, chromium
from tests.conftest import RedisProcess
from tests.monitoring.contract import promised

ADMIN = 4711


@pytest.fixture
async def app(redis_url: str) -> AsyncIterator[App]:
    settings = load_settings(
        redis_url=redis_url, kie_api_key="key", kie_concurrency=2, admin_ids="4711", max_active_per_user=100
    )
    async with open_app(settings) as app:
        yield app


async def asked(app: App, count: int) -> list[str]:
    """The ids of jobs that were admitted."""
    wakes = [Wake(new_id(), "kie", 5, False, "") for _ in range(count)]
    spec = Spec("a fox", "nano-banana-2-1", "1:1", 5, "en")
    admission = await app.ledger.run(
        transitions.admit(
            request=new_id(),
            user="1",
            provider="kie",
            cap=app.cap("kie"),
            jobs=[(spec, wake) for wake in wakes],
            limits=limits_of(app.settings),
            deadline=600,
            ttl=600,
        )
    )
    assert admission.accepted
    return [wake.job for wake in wakes]


async def worker_at_ease(app: App) -> None:
    """The heartbeat of a worker on a machine that has nothing to do."""
    at = await app.ledger.now()
    await heartbeat.say(app.ledger, Beat("host:1", "worker", 0.1, 50_000_000, 0.1, 0.2, at / 1000, at))


def levels(snapshot: Snapshot) -> dict[str, Level]:
    return {figure.name: figure.level for figure in snapshot.figures}


async def delivered(app: App, job_id: str) -> None:
    job = await app.ledger.run(transitions.claim(job_id, "submit", holder="h", lease=15))
    assert job is not None
    ticket = {"external_id": f"task-{job_id}", "provider": "kie"}
    assert await app.ledger.run(transitions.accepted(job.id, job.fence, ticket=ticket, after=1))
    await app.ledger.run(transitions.hurry("kie", f"task-{job_id}", remember=60))
    rows, _ = await app.ledger.run(transitions.due(100, lease=15, holder="h"))
    (polled,) = (row.job for row in rows if row.what == "poll" and row.job and row.job.id == job_id)
    await app.ledger.run(
        transitions.ready(job_id, polled.fence, result={"url": "https://x"}, cap=2, model=job.spec.model)
    )
    job = await app.ledger.run(transitions.claim(job_id, "deliver", holder="h", lease=15))
    assert job is not None
    await app.ledger.run(transitions.finish(job_id, job.fence, shown={}, ttl=600))


@pytest.mark.parametrize(("jobs", "level"), [(0, 0), (5, 0), (6, 1), (10, 1), (11, 2)])
def test_waiting_jobs_have_the_guides_levels(jobs: int, level: int) -> None:
    assert WAITING.level(jobs) == level


@pytest.mark.parametrize(("seconds", "level"), [(None, 0), (30, 0), (30.1, 1), (60, 1), (60.1, 2)])
def test_times_have_the_guides_levels(seconds: float | None, level: int) -> None:
    assert TIME.level(seconds) == level


async def test_a_snapshot_counts_what_the_ledger_holds(app: App) -> None:
    first, *_ = await asked(app, 4)
    await delivered(app, first)
    await Heartbeat(app, "worker").beat()
    snapshot = await look(app)
    assert (snapshot.waiting, snapshot.running, snapshot.delivering) == (1, 2, 0)
    assert [(job.id, job.outcome) for job in snapshot.ended] == [(first, "delivered")]
    assert snapshot.processing is not None
    assert snapshot.workers == 1
    assert snapshot.processes[0].memory > 1_000_000
    assert snapshot.counts == {"admitted": 4, "delivered": 1}
    # But for how busy this machine is.
    assert {figure.name for figure in snapshot.figures if figure.level} <= {"cpu", "load", "memory", "disk"}
    await samples.keep(app.ledger, snapshot.sample)
    assert [sample.waiting for sample in await samples.last_hour(app.ledger)] == [1]


async def test_a_process_that_fell_silent_is_gone_and_forgotten(app: App) -> None:
    await worker_at_ease(app)
    now = await app.ledger.now()
    silent = Beat("host:2", "worker", 0.1, 50_000_000, 0.1, 0.2, 0.0, now - 16_000)
    await heartbeat.say(app.ledger, silent)
    assert [beat.holder for beat in (await look(app)).processes] == ["host:1"]
    await heartbeat.forget(app.ledger, now)
    assert list(await app.redis.hgetall(keys.HEARTBEATS())) == ["host:1"]


@pytest.mark.parametrize("other", ['{"holder": "new", "at": 1}', "[]", "nonsense"])
async def test_during_an_update_the_other_version_says_more_or_less(app: App, other: str) -> None:
    await worker_at_ease(app)
    said = json.loads(await app.redis.hget(keys.HEARTBEATS(), "host:1"))
    await app.redis.hset(keys.HEARTBEATS(), "host:1", json.dumps(said | {"threads": 32}))
    await app.redis.hset(keys.HEARTBEATS(), "host:2", other)
    assert [beat.holder for beat in (await look(app)).processes] == ["host:1"]


async def test_no_worker_is_a_problem_and_the_advice_is_to_start_one(app: App) -> None:
    snapshot = await look(app)
    assert levels(snapshot)["workers"] is Level.PROBLEM
    assert [step.command for step in advise(snapshot)] == ["docker compose up -d worker-image"]


async def test_steps_that_nobody_takes_are_seen(app: App) -> None:
    await asked(app, 1)
    await worker_at_ease(app)
    ((job, _),) = await app.redis.zrange(keys.DUE(), 0, -1, withscores=True)
    await app.redis.zadd(keys.DUE(), {job: await app.ledger.now() - 60_000})
    snapshot = await look(app)
    assert not snapshot.moving
    assert levels(snapshot)["line"] is Level.PROBLEM
    assert any("--scale worker-image=2" in step.command for step in advise(snapshot))


async def test_an_open_breaker_is_shown(app: App) -> None:
    await worker_at_ease(app)
    limiter = Limiter(app.redis)
    assert (await look(app)).providers[0].breaker == 0
    await limiter.failed("provider:kie", at_once=True)
    snapshot = await look(app)
    assert snapshot.providers[0].breaker == 2
    assert levels(snapshot)["providers"] is Level.PROBLEM
    assert advise(snapshot)[0].key == "advice-breaker"


async def test_the_line_is_explained_by_littles_law(app: App) -> None:
    await worker_at_ease(app)
    (provider,) = (await look(app)).providers
    busy = replace(provider, waiting=20, running=2, generation=30.0)
    snapshot = replace(await look(app), providers=(busy,), arrivals=0.5)
    (step,) = advise(snapshot)
    # 0.5 a second x 30 s = 15 at once, where 2 may be.
    assert (step.key, step.args["needed"], step.args["goal"]) == ("advice-slots", 15, 19)
    (step,) = advise(replace(snapshot, arrivals=0.01))
    assert (step.key, step.args["minutes"]) == ("advice-rush", 6)


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_the_report_says_it_all_in_words(app: App, lang: str) -> None:
    await asked(app, 14)
    await worker_at_ease(app)
    text = report(get_texts().translator(lang), await look(app))
    assert text.startswith("🔴")
    assert "12" in text
    assert "KIE_CONCURRENCY" in text


class Told:
    """A bot that only remembers what it was told to say."""

    def __init__(self, fails: str | None = None) -> None:
        self.texts: list[str] = []
        self._fails = fails

    async def send_message(self, chat: int, text: str) -> None:
        assert chat == ADMIN
        if self._fails and self._fails in text:
            self._fails = None
            raise ClientDecodeError("no JSON", ValueError(), "")
        self.texts.append(text)


async def test_admins_are_told_once_and_told_when_it_is_over(app: App) -> None:
    await worker_at_ease(app)
    good = await look(app)
    bad = replace(good, workers=0)
    bot: Any = Told()
    for _ in range(5):
        await Alerts(app, bot).consider(bad)
    assert bot.texts == []
    for _ in range(20):
        # A new object each time: what it knows is in Redis.
        await Alerts(app, bot).consider(bad)
    (text,) = bot.texts
    assert text.startswith("🔴 Workers: 0")
    assert "docker compose up -d worker-image" in text
    for _ in range(3):
        await Alerts(app, bot).consider(good)
    assert len(bot.texts) == 1
    for _ in range(20):
        await Alerts(app, bot).consider(good)
    assert len(bot.texts) == 2
    assert bot.texts[1].startswith("✅ Workers: 1")
    # What comes and goes is told ever less often, until it has stayed away for an hour.
    for _ in range(9):
        for snapshot in (*[bad] * 6, *[good] * 6):
            await Alerts(app, bot).consider(snapshot)
    assert len(bot.texts) == 3
    for _ in range(12 + 360):
        await Alerts(app, bot).consider(good)
    assert len(bot.texts) == 4
    assert await app.redis.hgetall(keys.ALERTS()) == {}


async def test_alerts_of_another_version_are_read_and_can_be_read_by_it(app: App) -> None:
    bad = replace(await look(app), workers=0)
    await app.redis.hset(keys.ALERTS(), "workers", json.dumps({"problem": 4, "of tomorrow": 1}))
    bot: Any = Told()
    await Alerts(app, bot).consider(bad)
    kept = json.loads(await app.redis.hget(keys.ALERTS(), "workers") or "")
    assert kept == {"attention": 1, "problem": 5, "since": bad.at}


def all_broken(well: Snapshot) -> Snapshot:
    """A system of which every figure is a problem, or worth a look where there is no more."""
    (provider,) = well.providers
    beat = replace(well.processes[0], cpu=0.9, machine_cpu=0.95, machine_memory=0.9)
    return replace(
        well,
        providers=(replace(provider, waiting=20, breaker=Breaker.OPEN),),
        processes=(beat,),
        ended=(Ended("j", "delivered", 90.0, well.at),),
        oldest=400.0,
        workers=0,
        disk=0.97,
        store=replace(well.store, saved=False),
        backup=BackupState(90_000.0, "no room", 21_600.0),
        deaf=75.0,
        deaf_why="ops-deaf-conflict",
        room=0,
    )


BROKEN: dict[str, Callable[[Snapshot], Snapshot]] = {
    "waiting": lambda s: replace(s, providers=tuple(replace(s.providers[0], waiting=4) for _ in range(3))),
    "time": lambda s: replace(s, ended=(Ended("j", "delivered", 90.0, s.at),)),
    "cpu": lambda s: replace(s, processes=(replace(s.processes[0], kind="bot", cpu=0.9),)),
    "memory": lambda s: replace(s, processes=(replace(s.processes[0], machine_memory=0.9),)),
    "load": lambda s: replace(s, processes=(replace(s.processes[0], machine_cpu=0.95),)),
    "disk": lambda s: replace(s, disk=0.97),
    "workers": lambda s: replace(s, workers=0),
    "line": lambda s: replace(s, oldest=400.0, providers=(replace(s.providers[0], waiting=1),)),
    "providers": lambda s: replace(s, providers=(replace(s.providers[0], breaker=Breaker.HALF_OPEN),)),
    "redis": lambda s: replace(s, store=replace(s.store, memory=9, memory_max=10)),
    "backup": lambda s: replace(s, backup=BackupState(90_000.0, "", 21_600.0)),
    "telegram": lambda s: replace(s, deaf=75.0),
    "pictures": lambda s: replace(s, room=0),
}


async def test_each_figure_that_is_not_green_has_a_next_step(app: App) -> None:
    await worker_at_ease(app)
    well = await look(app)
    assert advise(well) == []
    assert BROKEN.keys() == levels(well).keys()
    every = {step.key for step in advise(all_broken(well))}
    for name, broken in BROKEN.items():
        snapshot = broken(well)
        assert {of for of, level in levels(snapshot).items() if level} == {name}
        steps = advise(snapshot)
        assert steps, name
        # What is the consequence of another trouble (a line without a worker) is that one's to mend.
        if name not in ("waiting", "time", "cpu", "line", "redis"):
            assert {step.key for step in steps} <= every, name
    assert all(levels(all_broken(well)).values())
    # Nobody is in line any more by when the oldest was looked up: no advice on a line.
    assert advise(replace(well, oldest=400.0)) == []


@pytest.mark.parametrize(("lang", "words"), [("en", "Workers: 0"), ("ru", "Воркеры: 0")])
async def test_all_that_fails_at_once_is_one_message_in_the_admins_language(
    app: App, lang: str, words: str
) -> None:
    """Theirs by Telegram, where they chose none."""
    await app.redis.hset(keys.USER(str(ADMIN)), "spoken", lang)
    await worker_at_ease(app)
    well = await look(app)
    bot: Any = Told()
    for _ in range(40):
        await Alerts(app, bot).consider(all_broken(well))
    first, *later = bot.texts
    assert first.startswith("🔴")
    assert words in first
    said = re.findall("^→ .*", first, re.M)
    assert len(said) == len(set(said)) == len(advise(all_broken(well)))
    assert len(later) == 1  # what is only worth a look, after five minutes
    # Only what is a program's own, such as an error of a system call, stays as it is.
    assert lang == "en" or not re.search(r"\b(the|another|stop|it)\b", first)
    for _ in range(10):
        await Alerts(app, bot).consider(well)
    assert len(bot.texts) == 3
    assert bot.texts[2].count("✅") == 13


def about_redis(bot: Told) -> list[str]:
    return [text for text in bot.texts if "Redis" in text]


async def test_admins_are_told_that_redis_is_away_by_the_one_who_led(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_redis = RedisProcess(tmp_path, "--appendonly", "yes")
    own_redis.start()
    settings = load_settings(redis_url=own_redis.url, kie_api_key="key", admin_ids="4711")
    # What one attempt fails of ends nothing: it is said with the next.
    led, other = Told(fails="Redis"), Told()
    async with open_app(settings) as app:
        await app.redis.hset(keys.USER(str(ADMIN)), "spoken", "ru")
        monitors = [
            Monitor(replace(app, holder=f"host:{n}"), Alerts(app, bot)) for n, bot in enumerate((led, other))
        ]
        # They look often, and lead for half a minute all the same.
        monkeypatch.setattr(alerts, "EVERY", 0.01)
        monkeypatch.setattr(samples, "EVERY", 0.01)
        runs = [asyncio.create_task(monitors[0].run())]
        async with asyncio.timeout(20):
            while await app.redis.llen(keys.SAMPLES()) < 2:
                await asyncio.sleep(0.01)
        runs.append(asyncio.create_task(monitors[1].run()))
        own_redis.kill()
        async with asyncio.timeout(20):
            while not about_redis(led):
                await asyncio.sleep(0.01)
        own_redis.start()
        async with asyncio.timeout(20):
            while len(about_redis(led)) < 2:
                await asyncio.sleep(0.01)
        await cancel_all(runs)
    own_redis.kill()
    away, back = about_redis(led)
    assert away.startswith("🔴 Redis не читается или не пишется: ")
    assert back.startswith("✅ Redis снова отвечает")
    assert about_redis(other) == []


async def test_admins_are_told_of_the_days_cap_at_each_mark_once(app: App) -> None:
    await asked(app, 1)
    await worker_at_ease(app)
    now = await look(app)
    assert (now.spent.by["all"], now.spent_share) == ({"pictures": 1_000_000}, None)
    bot: Any = Told()

    async def used(pictures: float, *, full: bool = False) -> None:
        told = (await look(app)).spent.told
        spent = Spent({"all": {"pictures": round(pictures * 1e6)}}, full, told)
        capped = replace(now, spend_cap=Cap(10, "pictures"), spent=spent)
        await Alerts(app, bot).consider(capped)

    await used(4.9)
    assert bot.texts == []
    await used(5)
    await used(6)
    (half,) = bot.texts
    assert half == "🟡 50 % of today’s cap of 10 pictures is used: 5 pictures."
    # Some came back, and then many were asked for.
    await used(4)
    await used(9.9)
    assert bot.texts[1:] == ["🟡 75 % of today’s cap of 10 pictures is used: 9.9 pictures."]
    await used(9.9, full=True)
    assert "is reached" in bot.texts[2]
    await used(10, full=True)
    assert len(bot.texts) == 3


async def test_a_callback_hurries_a_poll_even_before_its_ticket_is_known(app: App) -> None:
    (job_id,) = await asked(app, 1)
    assert await app.ledger.run(transitions.hurry("kie", "task", remember=60)) == "early"
    job = await app.ledger.run(transitions.claim(job_id, "submit", holder="h", lease=15))
    assert job is not None
    await app.ledger.run(transitions.accepted(job_id, job.fence, ticket={"external_id": "task"}, after=60))
    rows, _ = await app.ledger.run(transitions.due(10, lease=15, holder="h"))
    (polled,) = (row.job for row in rows if row.job is not None)
    # While that poll is under way the provider calls back: it is asked again at once.
    assert await app.ledger.run(transitions.hurry("kie", "task", remember=60)) == "due"
    await app.ledger.run(transitions.polled([transitions.GoesOn(job_id, polled.fence, 60)]))
    rows, _ = await app.ledger.run(transitions.due(10, lease=15, holder="h"))
    assert [row.id for row in rows] == [job_id]
    assert await app.redis.ttl(keys.TICKET("kie", "task")) > 0


async def test_what_fills_up_is_seen_before_it_is_full(app: App) -> None:
    await worker_at_ease(app)
    at = await app.ledger.now()
    snapshot = await look(app)
    assert not {"load", "disk", "backup"} & {name for name, level in levels(snapshot).items() if level}
    assert "Backup: none is made here" in report(get_texts().translator("en"), snapshot)

    busy = Beat("host:2", "bot", 0.1, 50_000_000, 0.97, 0.2, at / 1000, at)
    await heartbeat.say(app.ledger, busy)
    await heartbeat.say_disk(app.ledger, "host:2", 0.97)
    await heartbeat.say_disk(app.ledger, "gone:1", 1.0)
    await app.redis.hset(keys.BACKUP(), mapping={"at": at - 8 * 3_600_000, "every": 21_600, "why": ""})
    await app.redis.lpush(keys.PACE(), f"{at - 12 * 3_600_000} 100000")
    used = int((await app.redis.info("memory"))["used_memory"])
    await app.redis.config_set("maxmemory", 2 * used)
    try:
        snapshot = await look(app)
    finally:
        await app.redis.config_set("maxmemory", "0")
    assert snapshot.disk == 0.97
    found = levels(snapshot)
    assert [found[name] for name in ("load", "disk", "backup", "redis")] == [
        Level.ATTENTION,
        Level.PROBLEM,
        Level.ATTENTION,
        Level.PROBLEM,
    ]
    assert {"advice-load", "advice-disk", "advice-backup", "advice-redis-days"} <= {
        step.key for step in advise(snapshot)
    }
    said = report(get_texts().translator("ru"), snapshot)
    assert "сделана 8 ч назад" in said
    assert "при таком темпе заполнится через 1 дн." in said or "через 0 дн." in said
    full = replace(snapshot, store=replace(snapshot.store, memory_max=snapshot.store.memory))
    assert [step.key for step in advise(full) if "redis" in step.key] == ["advice-redis-memory"]

    await app.redis.hset(keys.BACKUP(), "why", "no room")
    assert "failed: no room" in report(get_texts().translator("en"), await look(app))


async def test_every_gauge_is_the_contracts_and_says_its_figure(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader], shutdown_on_exit=False).get_meter)
    gauges = Gauges(lambda: 240.0)

    def said() -> dict[str, tuple[str, float]]:
        data = reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        )
        found = [metric for scope in scopes for metric in scope.metrics if metric.data.data_points]
        return {metric.name: (metric.unit, metric.data.data_points[0].value) for metric in found}

    assert said() == {}
    snapshot = await look(app)
    gauges.show(snapshot)
    unknown = {"imagebot.redis.full_in", "imagebot.backup.age", "imagebot.originals.room", "imagebot.spent"}
    contract = {
        r["name"]: r["unit"] for r in promised() if r["kind"] == "gauge" and r["name"][:8] == "imagebot"
    }
    assert said().keys() == contract.keys() - unknown

    store, backup = replace(snapshot.store, days=9.0), BackupState(3600.0, "no room", 7200.0)
    spent = Spent({"kie": {"USD": 250_000}})
    gauges.show(
        replace(snapshot, disk=0.9, deaf=70.0, store=store, backup=backup, spent=spent, room=5, kept=8)
    )
    found = said()
    encode_metrics(reader.get_metrics_data())  # one value that OTLP does not know, and nothing is sent
    assert {name: unit for name, (unit, _) in found.items()} == contract
    for name, value in {
        "machine.disk": 0.9,
        "telegram.deaf": 70,
        "redis.full_in": 9,
        "backup.age": 3600,
        "backup.interval": 7200,
        "backup.failed": 1,
        "spent": 0.25,
        "originals.room": 5,
        "originals.used": 8,
        "heartbeat.unheard": 240,
    }.items():
        assert found[f"imagebot.{name}"][1] == value, name
    gauges.clear()
    assert said() == {}


async def test_an_alarm_elsewhere_hears_of_us_while_there_is_no_problem(app: App) -> None:
    heard: list[str] = []
    answers = [500, 500, 200]

    async def hear(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(status=answers.pop(0))

    outside = web.Application()
    outside.router.add_get("/ping/{secret}", hear)
    async with TestServer(outside) as server:
        settings = load_settings(heartbeat_url=str(server.make_url("/ping/abc")))
        assert "abc" in "".join(settings.secrets())
        pulse = Pulse(settings)
        problem = await look(app)
        assert problem.level is Level.PROBLEM  # no worker
        await pulse.beat(problem)
        assert heard == []
        await worker_at_ease(app)
        well = await look(app)
        assert pulse.unheard() == 0
        await pulse.beat(well)  # is not taken
        assert pulse.unheard() > 0
        await pulse.beat(problem)  # is not called, so it does not fail
        assert pulse.unheard() == 0
        await pulse.beat(well)
        assert pulse.unheard() > 0
        await pulse.beat(well)
        assert pulse.unheard() == 0
        await pulse.beat(well)  # not yet again
        assert heard == ["/ping/abc"] * 3
        await pulse.aclose()


async def test_an_alarm_elsewhere_may_hang_or_stand_elsewhere(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does, the figures are looked at again."""
    ended = asyncio.Event()

    async def hear(request: web.Request) -> web.StreamResponse:
        if request.path == "/moved":
            raise web.HTTPMovedPermanently("/endless")
        response = web.StreamResponse()
        if request.path == "/endless":
            await response.prepare(request)
            await response.write(b"OK")
        await ended.wait()
        return response

    outside = web.Application()
    outside.router.add_get("/{what}", hear)
    await worker_at_ease(app)
    well = await look(app)
    async with TestServer(outside) as server, asyncio.timeout(120):
        for path, patience, is_heard in (
            ("/moved", 60, True),
            ("/endless", 60, True),
            ("/silent", 0.1, False),
        ):
            monkeypatch.setattr(pulses, "_SECONDS", patience)
            pulse = Pulse(load_settings(heartbeat_url=str(server.make_url(path))))
            await pulse.beat(well)
            assert (pulse.unheard() == 0) is is_heard, path
            await pulse.aclose()
        ended.set()


async def test_a_look_costs_the_same_however_long_the_line_is(app: App) -> None:
    sent = []
    for length in (1_000, 10_000):
        await app.redis.zadd(keys.LINE("kie"), {new_id(): place for place in range(length)})
        before = (await app.redis.info("stats"))["total_net_output_bytes"]
        assert (await look(app)).waiting == await app.ledger.waiting("kie")
        sent.append((await app.redis.info("stats"))["total_net_output_bytes"] - before)
    assert sent[1] < 1.2 * sent[0]


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", "1 picture, 0.08 USD, 5 credits"), ("ru", "1 картинка, 0.08 USD, 5 кредитов")],
)
def test_costs_are_said_in_words(lang: str, words: str) -> None:
    say = get_texts().translator(lang)
    sums = {"USD": 80_000, "pictures": 1_000_000, "credits": 5_000_000}
    assert sorted(costs(say, sums).split(", ")) == sorted(words.split(", "))
    assert costs(say, sums).startswith(words.partition(",")[0])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_on_a_phone_the_status_page_shows_whole_tables(app: App, tmp_path: Path, lang: str) -> None:
    await worker_at_ease(app)
    await asked(app, 1)
    ends = [f"{await app.ledger.now()} failed 6300 {new_id()}"]
    await app.redis.rpush(keys.ENDED(), *ends)
    (tmp_path / "page.html").write_text(await render(app, get_texts().translator(lang), "nonce"))
    async with chromium(tmp_path / "chromium") as page:
        await page.open((tmp_path / "page.html").as_uri(), width=360, height=2400, dark=False)
        await page.wait("document.querySelectorAll('.scroll').length >= 6")
        hidden = (
            "[...document.querySelectorAll('.scroll')].filter((s) => s.scrollWidth > s.clientWidth).length"
        )
        assert await page.run(hidden) == 0
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(Path(folder) / f"status-{lang}.png")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_everybody_can_read_the_status_page_at_any_width(
    app: App, tmp_path: Path, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker_at_ease(app)
    well = await look(app)
    (provider,) = well.providers
    name = "a_gateway_with_a_very_long_name_that_nothing_breaks"
    shown = [
        replace(all_broken(well), paused="long" * 60, providers=(replace(provider, name=name, waiting=20),)),
        well,
    ]
    for state in shown:
        at = state.at - 600_000 * shown.index(state)
        await samples.keep(app.ledger, replace(state.sample, at=at))

    async def looked(_: App) -> Snapshot:
        return shown[0]

    monkeypatch.setattr(status, "look", looked)
    policy: list[str] = []
    api = FastAPI()
    api.include_router(status.make_router(replace(app, settings=load_settings(status_password="password1"))))

    async def page_of_it(request: web.Request) -> web.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://api") as client:
            found = await client.get("/status", params=dict(request.query), auth=("", "password1"))
        policy.append(found.headers["content-security-policy"])
        headers = {"Content-Security-Policy": policy[-1]}
        return web.Response(text=found.text, content_type="text/html", headers=headers)

    outside = web.Application()
    outside.router.add_get("/status", page_of_it)
    async with TestServer(outside) as server, chromium(tmp_path / "chromium") as page:
        for width, dark in ((320, False), (390, True), (768, False), (1280, True), (1920, False)):
            url = str(server.make_url("/status").with_query(lang=lang))
            await page.open(url, width=width, height=1200, dark=dark)
            await page.wait("document.querySelectorAll('.figure').length == 13")
            assert await page.run("document.documentElement.scrollWidth <= innerWidth")
            seen = len(policy)
            await page.run("refresh()")
            assert len(policy) > seen
            await page.wait("document.querySelectorAll('.figure').length == 13")
            assert page.errors == []
            if width in (320, 390):  # axe's own styles are against the page's policy
                assert await serious(page) == []
                page.errors.clear()
