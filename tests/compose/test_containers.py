"""compose/ run for real: it comes up, is hardened, scales, is replaced under load, stops, and moves to another machine.

A soak of some minutes: `pytest -n 0 -s -m soak tests/compose/test_containers.py`. What it stands on: containers.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from src.jobs import State, keys
from src.telemetry.job_spans import trace_id
from tests.chaos.audit import Asked, audit
from tests.chaos.sends import Sends
from tests.compose.containers import ROOT, WORLD, Engine, Machine, missing, service_of
from tests.jaeger.stack import Stack, Trace
from tests.system import System

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PORT = 8090
PASSWORD = "a-password-of-redis"
LOAD = 60
WITHIN = 240.0

# Who it runs as, what it may do, and whether it can write beside its volumes.
PROBE = """
import json, os
said = dict(line.split(":\\t") for line in open("/proc/1/status").read().splitlines())
try:
    open("/probe", "w")
except OSError as error:
    written = os.strerror(error.errno)
else:
    written = "yes"
print(json.dumps([said["Uid"].split()[0], said["CapEff"], said["NoNewPrivs"], written]))
"""
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


@pytest.fixture(scope="module")
def serving() -> Iterator[Engine]:
    if why := missing():
        pytest.skip(why)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    engine = Engine()
    engine.make_images()
    with engine.running():
        yield engine


@pytest.fixture
def engine(serving: Engine) -> Engine:
    serving.sweep()
    return serving


async def test_a_machine_is_looked_after_and_lost(engine: Engine, tmp_path: Path) -> None:
    machine = Machine(engine, tmp_path / "first", "first", settings())
    async with at_work(machine, tmp_path) as system:
        await hardened(machine)
        await apart(machine)
        assert httpx.get("http://127.0.0.1:8000/readyz").status_code == 200
        asked = [await one_picture(system)]

        await machine.up("--scale", "worker-image=2", "--no-recreate", "worker-image")
        assert len(machine.containers("worker-image")) == 2

        system.kie.durations = (2.0, 6.0)
        asking = asyncio.create_task(ask(system, LOAD, every=1.0))
        await system.until(lambda: system.kie.audit.submits.total() > 5)
        for services in (["worker-image", "bot"], ["api"], ["worker-image", "bot"]):
            before = {one["Id"] for service in services for one in machine.containers(service)}
            # Else one worker of the two would be taken away.
            scaled = ("--scale", "worker-image=2") if "worker-image" in services else ()
            took = await timed(machine.up("--no-deps", "--force-recreate", *scaled, *services))
            say(f"`up --force-recreate {' '.join(services)}` under load, to healthy", f"{took:.1f} s")
            after = {one["Id"] for service in services for one in machine.containers(service)}
            assert len(after) == len(before)
            assert not after & before
        asked += await asking
        await judged(system, asked)
        await whole_in_jaeger(system, asked)

        # They are made while there is no machine.
        system.kie.durations = (60.0, 70.0)
        in_flight = await ask(system, 10, every=0.1)
        asked += in_flight
        await system.until(lambda: system.kie.audit.submits.total() >= len(asked))
        await machine.compose("exec", "-T", "backup", "imagebot", "backup", "/data/now.backup")
        (machine.folder / "backups").mkdir()
        await machine.compose("cp", "backup:/data/.", "backups")
        await machine.compose("kill")
        await machine.compose("down", "--volumes")
        assert not any(message.has_photo for wish in in_flight for message in wish.person.messages)

        other = Machine(engine, tmp_path / "other", "other", settings())
        (machine.folder / "backups").rename(other.folder / "backups")
        for file in (other.folder / "backups").iterdir():
            file.chmod(0o644)
        await other.up("redis")
        restored = ("bot", "imagebot", "restore", "/backups/now.backup")
        await other.compose("run", "--rm", "-T", "--no-deps", "-v", "./backups:/backups:ro", *restored)
        system.redis_process = Ledger(other)
        await system.reconnect()
        held = [job for wish in in_flight for job in await system.jobs_of(wish.person)]
        assert [job.state for job in held] == [State.RUNNING] * len(in_flight)
        await other.up()
        await system.reconnect()
        await judged(system, asked)
        asked.append(await one_picture(system))
        await stopped(other)


async def test_rabbitmq_secrets_and_monitoring(engine: Engine, tmp_path: Path) -> None:
    env = settings() | {"RABBITMQ_PASSWORD": "a-password-of-rabbitmq"}
    secrets = {name: env.pop(name.upper()) for name in ("telegram_token", "kie_api_key")}
    machine = Machine(engine, tmp_path / "first", "first", env, "rabbitmq.yaml", "secrets.yaml")
    (machine.folder / "secrets").mkdir()
    for name, value in {**secrets, "telegram_chat": "1"}.items():
        (machine.folder / "secrets" / name).write_text(value)
    async with at_work(machine, tmp_path) as system:
        asked = [await one_picture(system)]
        watchers = ("redis-exporter", "prometheus", "alertmanager")
        await machine.up(*watchers, profile="monitoring")
        await system.reconnect()
        await hardened(machine)
        asked.append(await one_picture(system))

        def targets() -> dict[str, str]:
            query = httpx.get("http://127.0.0.1:9090/api/v1/query", params={"query": "up"})
            return {one["metric"]["job"]: one["value"][1] for one in query.json()["data"]["result"]}

        await system.until(lambda: targets() == dict.fromkeys(("imagebot", "collector", "redis"), "1"))
        await judged(system, asked)
        await stopped(machine)


async def test_the_demo(engine: Engine, tmp_path: Path) -> None:
    machine = Machine(engine, tmp_path / "first", "first", {"REDIS_PASSWORD": "demo"}, "demo.yaml")
    page = "http://127.0.0.1:8090"
    async with engine.watched(), httpx.AsyncClient(base_url=page, trust_env=False) as browser:
        await machine.up()
        await hardened(machine)
        person = (await browser.post("/sandbox/people", json={"first_name": "Ann"})).json()["id"]
        await browser.post(f"/sandbox/people/{person}/messages", json={"text": "a red fox"})
        async with asyncio.timeout(WITHIN):
            while '"r:' not in (await browser.get(f"/sandbox/people/{person}/chat")).text:
                await asyncio.sleep(0.2)
        await stopped(machine)


# What they are made of


@dataclass
class Ledger:
    """The Redis of the machine that there is now, such as System takes for its own."""

    machine: Machine

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{self.machine.address('redis', 'core')}:6379/0"

    def start(self) -> None:
        """It is up."""

    def kill(self) -> None:
        """It goes with its machine."""


def settings() -> dict[str, str]:
    """An `.env`: the demo's, with the sandbox out in the world."""
    demo = yaml.safe_load((ROOT / "compose/demo.yaml").read_text())["x-demo"]
    said = {key: str(value).replace("//sandbox:", f"//{WORLD}:") for key, value in demo.items() if value}
    del said["REDIS_URL"], said["OTEL_EXPORTER_OTLP_ENDPOINT"]
    return said | {"REDIS_PASSWORD": PASSWORD, "OPENAI_PREVIEWS": "0"}


@asynccontextmanager
async def at_work(machine: Machine, folder: Path) -> AsyncIterator[System]:
    """The world around a machine, and all of it that starts by itself up and healthy."""
    async with machine.engine.watched():
        await machine.up("redis")
        system = System(folder, {}, Ledger(machine), (WORLD, PORT))
        await system.open()
        try:
            took = await timed(machine.up())
            say("`up -d`, to healthy", f"{took:.1f} s")
            # On Podman a second `up` replaces what runs, Redis too: Docker leaves what has not changed.
            await system.reconnect()
            yield system
        finally:
            await system.close()


async def hardened(machine: Machine) -> None:
    for one in machine.containers():
        service = service_of(one)
        code, words = await machine.execute(service, "python3", "-c", PROBE)
        assert code == 0, f"{service}: {words}"
        uid, may, *rest = json.loads(words)
        assert uid != "0", service
        assert (int(may, 16), rest) == (0, ["1", "Read-only file system"]), service
        assert one["HostConfig"]["Memory"] > 0
        assert one["HostConfig"]["NanoCpus"] > 0
        if service != "collector":  # its image has nothing to ask with
            assert one["State"]["Health"]["Status"] == "healthy", service


async def apart(machine: Machine) -> None:
    redis = (machine.address("redis", "core"), "6379")
    jaeger = (machine.address("jaeger", "observability"), "16686")

    async def reached(service: str) -> list[bool]:
        return [
            (await machine.execute(service, "python3", "-c", REACH, *to))[0] == 0
            for to in ((WORLD, str(PORT)), redis, jaeger)
        ]

    for service in ("bot", "worker-image", "api"):
        assert await reached(service) == [True, True, True], service
    assert await reached("redis") == [False, True, False]
    for service in ("collector", "jaeger"):
        assert (await reached(service))[1:] == [False, True], service
    _, words = await machine.execute("redis", "env", "-u", "REDISCLI_AUTH", "redis-cli", "ping")
    assert "NOAUTH" in words


async def ask(system: System, number: int, *, every: float) -> list[Asked]:
    asked = []
    for _ in range(number):
        name = f"Person {len(system.telegram.people)}"
        asked.append(Asked(system.person(name), f"a picture for {name}"))
        await asked[-1].person.send_text(asked[-1].prompt)
        await asyncio.sleep(every)
    return asked


async def one_picture(system: System) -> Asked:
    (asked,) = await ask(system, 1, every=0)
    await system.picture(asked.person, WITHIN)
    return asked


async def judged(system: System, asked: list[Asked], sends: Sends | None = None) -> None:
    """Once all is at rest: nothing is lost or doubled."""

    async def at_rest() -> bool:
        owed = await system.redis.zcard(keys.DUE()) + await system.redis.hlen(keys.OWED())
        return not owed and all([await system.all_ended(wish.person) for wish in asked])

    await system.until(at_rest, WITHIN)
    verdict = await audit(system, asked, sends or Sends(system))
    print(*verdict.lines(), sep="\n", flush=True)
    assert verdict.complaints == []
    assert verdict.outcomes["delivered"] == len(asked)


async def whole_in_jaeger(system: System, asked: list[Asked]) -> None:
    stack = Stack("", "", "", jaeger_url="http://127.0.0.1:16686")
    spans = 0

    def is_whole(trace: Trace) -> bool:
        return trace.whole and len(trace.named("job")) == 1 and not trace.dangling and not trace.doubled

    for wish in asked:
        (job,) = await system.jobs_of(wish.person)
        await system.until(lambda job=job: is_whole(stack.read(trace_id(job))))
        spans += len(stack.read(trace_id(job)).spans)
    say("whole traces in Jaeger", f"{len(asked)}, {spans} spans")


async def stopped(machine: Machine) -> None:
    """Each service ends by its own will, in its time."""
    services = {service_of(one): one for one in machine.containers()}
    # The stores last: all take their leave of them.
    for service in sorted(services, key=lambda name: (name in ("redis", "rabbitmq"), name)):
        took = await timed(machine.compose("stop", service))
        codes = {one["State"]["ExitCode"] for one in machine.containers(service)}
        say(f"`stop {service}`", f"{took:.1f} s, exit code {', '.join(map(str, codes))}")
        assert codes == {0}, service
        assert took < services[service]["Config"]["StopTimeout"], service


async def timed(call: Awaitable[object]) -> float:
    started = time.monotonic()
    await call
    return time.monotonic() - started


def say(what: str, found: Any) -> None:
    """A line of the table for tests/chaos/RESULTS.md."""
    print(f"| {what} | {found} |", flush=True)
