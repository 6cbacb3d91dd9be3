"""One load run: start the system, let people play, measure, stop everything, and hand back the record.

The parts are those of `src.local.demo`, each a process of its own; the world (sandbox and people) is another.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from src.jobs import Job, Ledger, keys
from src.load import Mix
from src.load.machine import Commands, Machine, scripted_shares
from src.load.world import OWNER
from src.local.demo import environment, free_port, start_redis, wait_for_page
from src.local.supervisor import THREADS, Part, Supervisor
from src.ops.heartbeat import alive
from src.sandbox.telegram import DEMO_TOKEN
from src.settings import Settings

_LISTENED_TIMES = 10
_SAY_EVERY = 15.0
_UP_SECONDS = 120.0
_LOOK_EVERY = 1.0
# Seconds after the last job's end in which all that it lets a chat show has come.
_STILL = 45.0
# What a provider's key usually takes at once; a heavy person fills any number.
_FEWEST_SLOTS = 50
_GENERATION = 30.0
_RATE_WINDOW: int = Settings.model_fields["rate_window"].default
_ONE_AT_A_TIME = 1.35
"""Pictures asked for by one person between two pauses, on average: albums and bursts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall happen.

    Attributes:
        seconds: how long people ask. think: mean seconds of a person between a picture and the next wish.
        heavy: people who keep hundreds of jobs open. slots: generations the provider takes at once;
            None: well more than the people without the heavy ones need.
        scale: real seconds in one second of people and generations.
        mix: what they use, see `src.load.people`.
        drain: seconds at most in which what is open may end: a job's deadline, and what a flooded chat takes.
    """

    users: int
    seconds: float
    processes: int = 1
    threads: int = THREADS
    heavy: int = 1
    think: float = 45.0
    slots: int | None = None
    seed: int = 0
    scale: float = 1.0
    mix: Mix = "words"
    drain: float = 1000.0

    @property
    def provider_slots(self) -> int:
        ordinary = max(1, self.users - self.heavy)
        needed = ordinary * _ONE_AT_A_TIME * _GENERATION / (_GENERATION + 1 + self.think)
        return self.slots or max(_FEWEST_SLOTS, round(needed * 2.2))


@dataclass(slots=True)
class Record:
    """Everything that was measured, raw.

    Attributes:
        began, warm, ended: unix times: the first wish may come, figures count from here, no more wishes.
        world: what the people and stand-ins say (see `world`). at_warm, at_end: the same counters then.
        jobs: the ledger's jobs. etas: per request seconds first told.
    """

    plan: Plan
    began: float
    warm: float
    ended: float
    machine: Machine
    world: dict[str, Any]
    at_warm: dict[str, Any]
    at_end: dict[str, Any]
    commands: tuple[Commands, Commands]
    scripted: dict[str, float]
    jobs: list[Job]
    etas: dict[str, float]
    bytes_a_job: float
    last: Commands


async def run(plan: Plan, data: Path, say: Callable[[str], None]) -> Record:
    """Make the run; takes `plan.seconds`, and some time before and after."""
    async with _system(plan, data, say) as (url, supervisor, redis_url):
        machine = Machine(supervisor.pids)
        redis = Redis.from_url(redis_url, decode_responses=True)
        ledger = Ledger(redis)
        async with httpx.AsyncClient(base_url=url, timeout=plan.drain + 30, trust_env=False) as client:
            watching = asyncio.create_task(machine.watch())
            try:
                measuring = _measure(plan, client, ledger, redis_url, machine, say)
                return await supervisor.during(measuring)
            finally:
                watching.cancel()
                await redis.aclose()


async def _measure(
    plan: Plan,
    client: httpx.AsyncClient,
    ledger: Ledger,
    redis_url: str,
    machine: Machine,
    say: Callable[[str], None],
) -> Record:
    await _until_up(client, ledger, plan.processes)
    heavy = (await client.post("/load/begin")).json()["heavy"]
    for person in heavy:
        await ledger.choose(str(person), tier="unlimited")
    began = time.time()
    warm = began + min(80.0, plan.seconds / 3)
    ends = began + plan.seconds
    await _tell_until(warm, client, ledger, machine, say, began, plan)
    first, at_warm = await Commands.read(ledger.client), (await client.get("/load/now")).json()
    listening = asyncio.create_task(
        scripted_shares(redis_url, max(1.0, ends - time.time() - 1.0), slices=_LISTENED_TIMES)
    )
    await _tell_until(ends, client, ledger, machine, say, began, plan)
    second, at_end = await Commands.read(ledger.client), (await client.get("/load/now")).json()
    ended = time.time()
    await client.post("/load/end")
    say(await _drain(plan, client, ledger))
    world = (await client.get("/load/record")).json()
    jobs = await _all_jobs(ledger)
    return Record(
        plan=plan,
        began=began,
        warm=warm,
        ended=ended,
        machine=machine,
        world=world,
        at_warm=at_warm,
        at_end=at_end,
        commands=(first, second),
        scripted=await listening,
        jobs=jobs,
        etas=await _etas(ledger, jobs),
        bytes_a_job=await _bytes_a_job(ledger, jobs),
        last=await Commands.read(ledger.client),
    )


async def _until_up(client: httpx.AsyncClient, ledger: Ledger, processes: int) -> None:
    """Wait until the bot asks for messages and every worker process says that it lives."""
    async with asyncio.timeout(_UP_SECONDS):
        while True:
            polled = (await client.get("/load/now")).json()["polled"]
            if polled and sum(beat.kind == "worker" for beat in await alive(ledger)) >= processes:
                return
            await asyncio.sleep(0.1)


async def _tell_until(
    until: float,
    client: httpx.AsyncClient,
    ledger: Ledger,
    machine: Machine,
    say: Callable[[str], None],
    began: float,
    plan: Plan,
) -> None:
    while (now := time.time()) < until:
        await asyncio.sleep(min(until - now, _SAY_EVERY))
        await _judge_silence(client, ledger)
        seen = (await client.get("/load/now")).json()
        at = time.time()
        shares = [
            f"{name} {machine.share(name, at - _SAY_EVERY, at):.0%}"
            for name in ("worker", "bot", "world", "redis")
        ]
        say(
            f"{at - began:5.0f} of {plan.seconds:.0f} s: {seen['asked']} wishes, {seen['pictures']} pictures, "
            f"{len(seen['open'])} wishes open; of a core: {', '.join(shares)}; "
            f"{seen['calls'] / max(1, at - began):.1f} Bot API calls a second, {seen['telegram_429']} refused"
        )


async def _drain(plan: Plan, client: httpx.AsyncClient, ledger: Ledger) -> str:
    """Wait until every wish has come to its end, or nothing moves any more; what came of that, in words."""
    began = moved = time.monotonic()
    while (now := time.monotonic()) < began + plan.drain:
        left = await _judge_silence(client, ledger)
        goes_on = await ledger.client.zcard(keys.OPEN()) or await _unhandled(ledger)
        if not left and not goes_on:
            return f"Nobody asks any more; the last had their answer after {now - began:.0f} s."
        if goes_on:
            moved = now
        elif now > moved + _STILL:
            return (
                f"Nobody asks any more; all jobs ended {_STILL:.0f} s ago, and {left} wishes have no answer."
            )
        await asyncio.sleep(_LOOK_EVERY)
    return f"Nobody asks any more; after {plan.drain:.0f} s {left} wishes have no answer."


async def _judge_silence(client: httpx.AsyncClient, ledger: Ledger) -> int:
    """Wishes that are open; those that were refused without words are ended.

    The same refusal is said twice a minute at most, so the ledger must tell whether a wish without an answer was ordered.
    By no update it cannot be told of.
    """
    now = (await client.get("/load/now")).json()
    silent = [updates for updates, answered in now["open"] if updates and answered is None]
    if silent and not now["untaken"] and not await _unhandled(ledger):
        async with ledger.client.pipeline(transaction=False) as pipe:
            for updates in silent:
                pipe.exists(*(keys.UPDATE(update) for update in updates))
            ordered = await pipe.execute()
        unsaid = [updates[0] for updates, known in zip(silent, ordered, strict=True) if not known]
        await client.post("/load/unsaid", json=unsaid)
    return len(now["open"])


async def _unhandled(ledger: Ledger) -> int:
    """Updates that the bot has not handled."""
    return int(await ledger.client.xlen(keys.UPDATES(DEMO_TOKEN.partition(":")[0])))


@asynccontextmanager
async def _system(
    plan: Plan, data: Path, say: Callable[[str], None]
) -> AsyncIterator[tuple[str, Supervisor, str]]:
    supervisor = Supervisor(logs=data / "logs", say=say)
    try:
        redis_url = await start_redis(supervisor, data)
        port = free_port(0)
        url = f"http://127.0.0.1:{port}"
        env = {**environment(url, redis_url, data), **_limits(plan)}
        world = [sys.executable, "-m", "src.load.world", "--port", str(port), "--users", str(plan.users)]
        world += ["--heavy", str(plan.heavy), "--seed", str(plan.seed), "--think", str(plan.think)]
        world += ["--scale", str(plan.scale), "--mix", plan.mix]
        await supervisor.start(
            Part("world", world, env, ready=lambda: wait_for_page(f"{url}/load/now"), serves=True)
        )
        await supervisor.start_bot(env, processes=plan.processes, threads=plan.threads)
        _share_cores(supervisor)
        yield url, supervisor, redis_url
    finally:
        await supervisor.stop()


def _limits(plan: Plan) -> dict[str, str]:
    """The provider of this run takes what the people need: the system is measured, not a key's quota. Who hurries
    (`plan.scale`) is no flood."""
    return {
        "KIE_CONCURRENCY": str(plan.provider_slots),
        "KIE_RATE": str(max(10, plan.provider_slots // 5)),
        "OPENAI_CONCURRENCY": str(plan.provider_slots),
        "OPENAI_RATE": str(max(10, plan.provider_slots // 5)),
        "RATE_WINDOW": str(max(1, round(_RATE_WINDOW * plan.scale))),
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "LOG_FORMAT": "json",
        **({"STAR_PACKS": "50=10,200=50", "ADMIN_IDS": str(OWNER)} if plan.mix == "all" else {}),
    }


def _share_cores(supervisor: Supervisor) -> None:
    """Keep the world off the worker's core where there are few: it would be measured too."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 2:
        os.sched_setaffinity(supervisor.pids()["world"], {cores[0]})


async def _all_jobs(ledger: Ledger) -> list[Job]:
    prefix = keys.JOB("")
    ids = [key.removeprefix(prefix) async for key in ledger.client.scan_iter(match=f"{prefix}*", count=1000)]
    jobs: list[Job] = []
    for start in range(0, len(ids), 500):
        jobs += await ledger.jobs(sorted(ids)[start : start + 500])
    return jobs


async def _etas(ledger: Ledger, jobs: list[Job]) -> dict[str, float]:
    """Per request the seconds that the person was first told."""
    requests = sorted({job.request for job in jobs})
    found: dict[str, float] = {}
    for start in range(0, len(requests), 500):
        part = requests[start : start + 500]
        async with ledger.client.pipeline(transaction=False) as pipe:
            for request in part:
                pipe.hget(keys.REQUEST(request), "eta")
            for request, eta in zip(part, await pipe.execute(), strict=True):
                if eta:
                    found[request] = float(eta)
    return found


async def _bytes_a_job(ledger: Ledger, jobs: list[Job]) -> float:
    """What a finished job's own records take: the job, its share of the request, places in indexes."""
    ended = [job for job in jobs if job.ended][-300:]
    if not ended:
        return 0.0
    async with ledger.client.pipeline(transaction=False) as pipe:
        for job in ended:
            pipe.memory_usage(keys.JOB(job.id))
            pipe.memory_usage(keys.REQUEST(job.request))
        answers = await pipe.execute()
    total = 0.0
    for number, job in enumerate(ended):
        # The entry in the person's history, and the mark of the update.
        total += answers[2 * number] + (answers[2 * number + 1] + 250) / max(1, job.spec.count)
    return total / len(ended)
