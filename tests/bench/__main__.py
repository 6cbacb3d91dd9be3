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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from redis.asyncio import Redis

from src.jobs.estimate import quantile
from src.load.machine import Commands, Machine, scripted_shares
from src.local.demo import environment, free_port, start_redis, wait_for_page
from src.local.supervisor import Part, Supervisor
from src.sandbox.telegram import DEMO_TOKEN
from tests.bench.orders import Orders

_PEOPLE = 6000
_LISTENED = 5.0
# Until the last of those that were begun at first has ended: who waited for a minute is told with a message of its own.
_WARM = 65.0


@dataclass(frozen=True, slots=True)
class Result:
    """What one contender did in the measured time.

    Attributes:
        commands: Redis's commands a job: from clients, and those that scripts made.
    """

    way: str
    name: str
    in_flight: int
    jobs_a_minute: float
    core: float
    cpu_ms: float
    memory: int
    polls: float
    noticed: tuple[float, float]
    commands: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Way:
    """A contender: the name in the table, its command and settings, seconds to warm up and to measure."""

    name: str
    command: list[str]
    in_flight: int
    warm: float
    seconds: float
    env: dict[str, str] = field(default_factory=dict)
    orders: Literal["queue", "ledger", "file"] = "file"

    @property
    def waiting(self) -> int:
        """Orders that wait behind those in flight: what ends in two seconds."""
        return max(4, self.in_flight // 15)


def _ways(in_flight: int, seconds: float, redis_url: str) -> dict[str, Way]:
    """All contenders, in the order in which they run."""
    ours = ["-m", "dramatiq", "src.actors", "--processes", "1", "--threads", "32"]
    env = {"KIE_CONCURRENCY": str(in_flight), "KIE_RATE": "100000", "TELEGRAM_RATE": "100000"}
    env |= {"MAX_WAITING": "100000", "JOB_DEADLINE": "3600"}
    # As in production; the demo's page wants to see more.
    env |= {
        "LOG_FORMAT": "json",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    }
    untraced = {**env, "OTEL_SDK_DISABLED": "true"}
    rq = ["-m", "rq.cli", "worker", "--url", redis_url, "bench"]
    actors = ["-m", "dramatiq", "tests.bench.waiting_actors", "--processes", "1", "--threads", "8"]

    short = ["-m", "dramatiq", "tests.bench.short_actors", "--processes", "1", "--threads", "64"]

    def floor(client: str, loop: str) -> list[str]:
        return ["-m", "tests.bench.floor", client, loop, str(in_flight)]

    return {
        "rq": Way("RQ, a poll a second (the guide)", rq, 1, 5, 75, orders="queue"),
        "actors": Way("Actors that wait, 8 threads", actors, 8, 35, 40, orders="queue"),
        "short": Way(
            "Short async actors on a stock broker, 64 threads",
            short,
            in_flight,
            _WARM,
            seconds,
            orders="queue",
        ),
        "ours": Way("Ours, tracing on", ours, in_flight, _WARM, seconds, env, "ledger"),
        "untraced": Way("Ours, tracing off", ours, in_flight, _WARM, seconds, untraced, "ledger"),
        "floor": Way(
            "Floor: the same clients, asyncio's loop", floor("httpx", "asyncio"), in_flight, _WARM, seconds
        ),
        "floor-uvloop": Way(
            "Floor: the same clients, uvloop", floor("httpx", "uvloop"), in_flight, _WARM, seconds
        ),
        "bare": Way("Bare aiohttp, asyncio's loop", floor("aiohttp", "asyncio"), in_flight, _WARM, seconds),
    }


class Bench:
    """The sandbox, Redis, and what is asked of both."""

    def __init__(
        self,
        url: str,
        redis: Redis,
        redis_url: str,
        client: httpx.AsyncClient,
        supervisor: Supervisor,
        people: list[int],
    ) -> None:
        self.url, self.redis, self.redis_url = url, redis, redis_url
        self.client, self.supervisor = client, supervisor
        self.people = people
        self.orders = Orders(client, redis, people)
        self.folder = Path(tempfile.mkdtemp())

    async def contend(self, key: str, way: Way) -> Result:
        """Start a contender, let it warm up, and measure it."""
        machine = Machine(lambda: {key: pid} if (pid := self.supervisor.pids().get(key)) else {})
        settings = {**environment(self.url, self.redis_url, self.folder), **way.env}
        settings |= {
            "BENCH_URL": self.url,
            "BENCH_TOKEN": DEMO_TOKEN,
            "BENCH_PEOPLE": json.dumps(self.people),
        }
        if way.orders == "queue":
            _fill_queue(key, self.redis_url, way.in_flight)
        elif way.orders == "ledger":
            await self.orders.fill(way.in_flight, way.waiting)
        else:
            settings["BENCH_PLACEHOLDERS"] = await self._placeholders(way)
        command = [sys.executable, *way.command]
        await self.supervisor.start(Part(key, command, settings, restart=False, grace=3.0))
        feeding = None
        if way.orders == "ledger":
            feeding = asyncio.create_task(self.orders.keep(way.in_flight, way.waiting))
        await asyncio.sleep(way.warm)
        before, called, began = await self._now(), await Commands.read(self.redis), time.time()
        watching = asyncio.create_task(machine.watch())
        await asyncio.sleep(way.seconds)
        machine.look()
        watching.cancel()
        after, ended = await self._now(), time.time()
        calls = (await Commands.read(self.redis)).since(called)
        jobs = max(1, after["edits"] - before["edits"])
        scripted = (
            await scripted_shares(self.redis_url, _LISTENED, slices=round(_LISTENED))
            if way.orders != "file"
            else {}
        )
        if feeding is not None:
            feeding.cancel()
        await self.supervisor.stop_part(key)
        by_scripts = sum(n * scripted.get(name, 0.0) for name, n in calls.items())
        core = machine.share(key, began, ended + 1)
        noticed = after["noticed"][len(before["noticed"]) :] or [0.0]
        result = Result(
            way=key,
            name=way.name,
            in_flight=way.in_flight,
            jobs_a_minute=jobs / (ended - began) * 60,
            core=core,
            cpu_ms=core * (ended - began) / jobs * 1000,
            memory=machine.memory(key),
            polls=(after["polls"] - before["polls"]) / max(1, len(noticed)),
            noticed=(quantile(noticed, 0.5), quantile(noticed, 0.95)),
            commands=((calls.total() - by_scripts) / jobs, by_scripts / jobs)
            if way.orders != "file"
            else None,
        )
        print(result, file=sys.stderr, flush=True)
        return result

    async def _placeholders(self, way: Way) -> str:
        """A file with a placeholder for each job that the contender may come to."""
        rounds = 2 + (way.warm + way.seconds) / 25
        path = self.folder / "placeholders.json"
        path.write_text(json.dumps(await self.orders.placeholders(int(way.in_flight * rounds))), "utf-8")
        return str(path)

    async def _now(self) -> dict[str, Any]:
        found = (await self.client.get("/load/record")).json()
        return {
            "edits": found["calls_by_method"].get("editMessageMedia", 0),
            "polls": found["polls"],
            "noticed": found["noticed"],
        }


async def _bench(in_flight: int, seconds: float, only: list[str], rounds: int) -> list[Result]:
    """The least of each way's rounds: what else a machine does, or how fast its owner lets it be, only adds."""
    supervisor = Supervisor(
        logs=Path(tempfile.mkdtemp()) / "logs", say=lambda line: print(line, file=sys.stderr)
    )
    try:
        redis_url = await start_redis(supervisor, Path(tempfile.mkdtemp()))
        port = free_port(0)
        url = f"http://127.0.0.1:{port}"
        world = [sys.executable, "-m", "src.load.world", "--port", str(port), "--users", str(_PEOPLE)]
        world += ["--heavy", "0", "--no-limits"]
        await supervisor.start(Part("world", world, ready=lambda: wait_for_page(f"{url}/load/now")))
        async with (
            httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client,
            Redis.from_url(redis_url, decode_responses=True) as redis,
        ):
            people = (await client.post("/load/greet")).json()["people"]
            bench = Bench(url, redis, redis_url, client, supervisor, people)
            os.environ["REDIS_URL"] = redis_url
            found: dict[str, list[Result]] = {}
            for _ in range(rounds):
                for key, way in _ways(in_flight, seconds, redis_url).items():
                    if not only or key in only:
                        found.setdefault(key, []).append(await bench.contend(key, way))
            return [min(results, key=lambda result: result.cpu_ms) for results in found.values()]
    finally:
        await supervisor.stop()


def _fill_queue(key: str, redis_url: str, in_flight: int) -> None:
    """Work for one that takes it from a queue of its own."""
    if key == "rq":
        import redis
        from rq import Queue

        queue = Queue("bench", connection=redis.Redis.from_url(redis_url))
        for _ in range(30):
            queue.enqueue("tests.bench.guide.make_picture")
    elif key == "actors":
        from tests.bench.waiting_actors import make_picture

        for _ in range(100):
            make_picture.send()
    else:
        from tests.bench.short_actors import begin

        for _ in range(in_flight):
            begin.send()


def _markdown(results: list[Result], command: str) -> str:
    lines = [
        f"Made by `{command}` on {os.cpu_count()} cores, sandbox included; generations of 20-40 s, pictures of 300 KB.",
        "",
        "| way | in flight | jobs a minute | of a core | CPU a job | memory | polls a job | found after p50 / p95 "
        "| Redis commands a job: clients' + scripts' |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {r.in_flight} | {r.jobs_a_minute:.0f} | {r.core:.0%} | {r.cpu_ms:.1f} ms "
        f"| {r.memory / 1e6:.0f} MB | {r.polls:.1f} | {r.noticed[0]:.2f} / {r.noticed[1]:.2f} s "
        f"| {f'{r.commands[0]:.0f} + {r.commands[1]:.0f}' if r.commands else '-'} |"
        for r in results
    ]
    by_way = {result.way: result for result in results}
    ratios = [
        f"{by_way[one].cpu_ms / by_way[other].cpu_ms:.2f} of {by_way[other].name.lower()} ({by_way[one].name.lower()})"
        for one in ("ours", "untraced")
        for other in ("floor", "floor-uvloop", "bare")
        if one in by_way and other in by_way
    ]
    if ratios:
        lines += ["", "CPU a job: " + ", ".join(ratios) + "."]
    if "ours" in by_way and "rq" in by_way:
        times = by_way["ours"].jobs_a_minute / by_way["rq"].jobs_a_minute
        lines += ["", f"Jobs a minute: {times:.0f} times the guide's design."]
    return "\n".join(lines) + "\n"


def main(
    in_flight: Annotated[int, typer.Option()] = 3000,
    seconds: Annotated[float, typer.Option()] = 60.0,
    only: Annotated[list[str] | None, typer.Option(help="These ways alone, such as ours or floor.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="So often in turn; the least CPU a job counts.")] = 1,
    out: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Measure."""
    results = asyncio.run(_bench(in_flight, seconds, only or [], rounds))
    command = f"python -m tests.bench --in-flight {in_flight} --seconds {seconds:g}"
    command += f" --rounds {rounds}" if rounds > 1 else ""
    command += "".join(f" --only {key}" for key in only or [])
    text = _markdown(results, command)
    print(text)
    if out is not None:
        out.write_text(text, "utf-8")


if __name__ == "__main__":
    typer.run(main)
