"""Run the contenders one after another on one sandbox and write the table.

python -m tests.bench --in-flight 3000 --out tests/bench/RESULTS.md
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from redis.asyncio import Redis

from src.demo import environment, free_port, start_redis, wait_for_page
from src.jobs import Ledger, Limits, Spec, Wake, new_id, transitions
from src.jobs.estimate import quantile
from src.load.machine import Machine
from src.sandbox.telegram import DEMO_TOKEN
from src.supervisor import Part, Supervisor

_MANY = 10_000_000
_PEOPLE = 6000


@dataclass(frozen=True, slots=True)
class Result:
    """What one contender did in the measured time."""

    name: str
    in_flight: int
    jobs_a_minute: float
    core: float
    cpu_ms: float
    memory: int
    polls: float
    noticed: tuple[float, float]


class Bench:
    """The sandbox, Redis, and what is asked of both."""

    def __init__(self, url: str, redis_url: str, client: httpx.AsyncClient, supervisor: Supervisor) -> None:
        self.url, self.redis_url, self.client, self.supervisor = url, redis_url, client, supervisor
        self.people: list[int] = []
        self.folder = Path(tempfile.mkdtemp())

    async def contend(
        self, name: str, command: list[str], in_flight: int, *, warm: float, seconds: float, **env: str
    ) -> Result:
        """Start a contender, let it warm up, and measure it."""
        part = name.split()[0].lower()
        machine = Machine(lambda: {part: pid} if (pid := self.supervisor.pids().get(part)) else {})
        settings = {**environment(self.url, self.redis_url, self.folder), **env}
        settings |= {
            "BENCH_URL": self.url,
            "BENCH_TOKEN": DEMO_TOKEN,
            "BENCH_PEOPLE": json.dumps(self.people),
        }
        await self.supervisor.start(
            Part(part, [sys.executable, *command], settings, restart=False, grace=3.0)
        )
        await asyncio.sleep(warm)
        before, began = await self._now(), time.time()
        watching = asyncio.create_task(machine.watch())
        await asyncio.sleep(seconds)
        machine.look()
        watching.cancel()
        after, ended = await self._now(), time.time()
        await self.supervisor.stop_part(part)
        jobs = max(1, after["edits"] - before["edits"])
        core = machine.share(part, began, ended + 1)
        noticed = after["noticed"][len(before["noticed"]) :] or [0.0]
        result = Result(
            name,
            in_flight,
            jobs / (ended - began) * 60,
            core,
            core * (ended - began) / jobs * 1000,
            machine.memory(part),
            (after["polls"] - before["polls"]) / max(1, len(noticed)),
            (quantile(noticed, 0.5), quantile(noticed, 0.95)),
        )
        print(result, file=sys.stderr, flush=True)
        return result

    async def _now(self) -> dict[str, Any]:
        found = (await self.client.get("/load/record")).json()
        return {
            "edits": found["calls_by_method"].get("editMessageMedia", 0),
            "polls": found["polls"],
            "noticed": found["noticed"],
        }


async def _admit(bench: Bench, jobs: int, cap: int) -> None:
    """Put orders into the ledger as the bot does, one a person and so one a chat, in turn."""
    client = Redis.from_url(bench.redis_url, decode_responses=True)
    ledger = Ledger(client)
    limits = Limits(_MANY, 60, _MANY, _MANY)
    for number in range(jobs):
        chat = bench.people[number % len(bench.people)]
        spec = Spec(
            prompt=f"a boat, no. {number}", model="google/nano-banana", aspect="1:1", chat=chat, lang="en"
        )
        await ledger.run(
            transitions.admit(
                request=new_id(),
                user=str(chat),
                provider="kie",
                cap=0,
                jobs=[(spec, Wake(new_id(), "kie", chat))],
                limits=limits,
                deadline=3600,
                ttl=86_400,
            )
        )
    await ledger.run(transitions.release("kie", cap))
    await client.aclose()


async def _bench(in_flight: int, seconds: float) -> list[Result]:
    supervisor = Supervisor(
        logs=Path(tempfile.mkdtemp()) / "logs", say=lambda line: print(line, file=sys.stderr)
    )
    results = []
    try:
        redis_url = await start_redis(supervisor, Path(tempfile.mkdtemp()))
        port = free_port(0)
        url = f"http://127.0.0.1:{port}"
        world = [sys.executable, "-m", "src.load.world", "--port", str(port), "--users", str(_PEOPLE)]
        world += ["--heavy", "0", "--no-limits"]
        await supervisor.start(Part("world", world, ready=lambda: wait_for_page(f"{url}/load/now")))
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            bench = Bench(url, redis_url, client, supervisor)
            bench.people = (await client.post("/load/greet")).json()["people"]
            os.environ["REDIS_URL"] = redis_url
            await _fill_queues(bench)
            rq = ["-m", "rq.cli", "worker", "--url", redis_url, "bench"]
            results.append(await bench.contend("RQ, a poll a second (the guide)", rq, 1, warm=5, seconds=75))
            actors = ["-m", "dramatiq", "tests.bench.waiting_actors", "--processes", "1", "--threads", "8"]
            results.append(await bench.contend("Actors that wait, 8 threads", actors, 8, warm=35, seconds=40))
            await _admit(bench, int(in_flight * (2 + (45 + seconds) / 25)), in_flight)
            ours = ["-m", "dramatiq", "src.actors", "--processes", "1", "--threads", "16"]
            env = {"KIE_CONCURRENCY": str(in_flight), "KIE_RATE": "100000", "TELEGRAM_RATE": "100000"}
            env |= {"MAX_WAITING": "100000", "JOB_DEADLINE": "3600", "OTEL_BSP_SCHEDULE_DELAY": "1000"}
            results.append(
                await bench.contend("Ours, tracing on", ours, in_flight, warm=50, seconds=seconds, **env)
            )
            for kind, name in (("httpx", "Floor with the same clients"), ("aiohttp", "Bare aiohttp")):
                floor = ["-m", "tests.bench.floor", kind, str(in_flight)]
                results.append(await bench.contend(name, floor, in_flight, warm=50, seconds=seconds))
    finally:
        await supervisor.stop()
    return results


async def _fill_queues(bench: Bench) -> None:
    """Work for the two that take it from a queue of their own."""
    import redis
    from rq import Queue

    queue = Queue("bench", connection=redis.Redis.from_url(bench.redis_url))
    for _ in range(30):
        queue.enqueue("tests.bench.guide.make_picture")
    from tests.bench.waiting_actors import make_picture

    for _ in range(100):
        make_picture.send()


def _markdown(results: list[Result], command: str) -> str:
    by_name = {result.name.split()[0]: result for result in results}
    ours = by_name["Ours,"]
    lines = [
        f"Made by `{command}` on {os.cpu_count()} cores, sandbox included; generations of 20-40 s, pictures of 300 KB.",
        "",
        "| way | in flight | jobs a minute | of a core | CPU a job | memory | polls a job | found after p50 / p95 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {r.in_flight} | {r.jobs_a_minute:.0f} | {r.core:.0%} | {r.cpu_ms:.1f} ms "
        f"| {r.memory / 1e6:.0f} MB | {r.polls:.1f} | {r.noticed[0]:.2f} / {r.noticed[1]:.2f} s |"
        for r in results
    ]
    lines += [
        "",
        f"CPU a job of ours: {ours.cpu_ms / by_name['Floor'].cpu_ms:.2f} of the floor with the same clients, "
        f"{ours.cpu_ms / by_name['Bare'].cpu_ms:.2f} of bare aiohttp; "
        f"jobs a minute: {ours.jobs_a_minute / by_name['RQ,'].jobs_a_minute:.0f} of the guide's design.",
    ]
    return "\n".join(lines) + "\n"


def main(
    in_flight: Annotated[int, typer.Option()] = 3000,
    seconds: Annotated[float, typer.Option()] = 60.0,
    out: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Measure."""
    results = asyncio.run(_bench(in_flight, seconds))
    command = f"python -m tests.bench --in-flight {in_flight} --seconds {seconds:g}"
    text = _markdown(results, command)
    print(text)
    if out is not None:
        out.write_text(text, "utf-8")


if __name__ == "__main__":
    typer.run(main)
