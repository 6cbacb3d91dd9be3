"""compose/systemd/ run for real: as its README says, word by word, on a machine of its own under systemd as PID 1.

A soak of some minutes: `pytest -n 0 -s -m soak tests/compose/test_systemd.py`. The machine is a container: containers.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from src.telemetry.job_spans import trace_id
from tests.chaos.audit import Asked
from tests.chaos.sends import Sends
from tests.compose.containers import OF_SYSTEMD, ROOT, WITHIN, WORLD, Engine, missing
from tests.compose.test_containers import PASSWORD, PORT, ask, judged, one_picture, say, settings, timed
from tests.system import System

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

README = (ROOT / "compose/systemd/README.md").read_text()
PROGRAM, UNITS, LOOK = re.findall(r"```sh\n(.*?)```", README, re.S)
ALONE, APART = re.findall(r"`(systemctl enable --now [^`]+)`", README)
RESTART = re.findall(r"`(systemctl restart [^`]+)`", README)[0]
STATE = "/var/lib/imagebot"
# Debian's, kept and open to whoever looks from outside.
REDIS = f"appendonly yes\nappendfsync always\nbind * -::*\nrequirepass {PASSWORD}\n"
OUTSIDE = " ".join(f"-not -path '{path}'" for path in (f"{STATE}*", "/proc/*", "*/systemd-private-*"))


class Host:
    """A machine, as whoever is root on it."""

    def __init__(self, engine: Engine, image: str) -> None:
        self._podman = ["podman", "--url", f"unix://{engine.socket}"]
        self._env = engine.env
        self._image = image
        self.address = ""
        self._pid = 0

    async def podman(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._podman,
            *words,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(2 * WITHIN):
            said, _ = await process.communicate()
        assert process.returncode == 0, f"{words[-1]}: {said.decode()[-3000:]}"
        return said.decode()

    async def run(self, script: str) -> str:
        return await self.podman("exec", "host", "sh", "-ec", script)

    async def until(self, words: str) -> None:
        """Until those words say yes. A shell asks there: each `podman exec` leaves a process behind for minutes."""
        await self.podman(
            "exec", "host", "timeout", str(2 * WITHIN), "sh", "-c", f"until {words}; do sleep 0.3; done"
        )

    async def boot(self) -> None:
        how = [
            "--systemd=always",
            "--privileged",
            "--cgroupns=private",
            "--cpu-shares=8192",
            "--memory=6g",
            "--pids-limit=4000",
        ]
        await self.podman("run", "-d", "--name=host", *how, self._image)
        await self._come_up()

    async def reboot(self) -> None:
        await self.podman("restart", "--time=120", "host")
        await self._come_up()

    async def cut_power(self) -> None:
        assert self._pid
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        await self.podman("wait", "host")

    async def power_up(self) -> None:
        await self.podman("start", "host")
        await self._come_up()

    async def _come_up(self) -> None:
        (one,) = json.loads(await self.podman("inspect", "host"))
        self.address, self._pid = one["NetworkSettings"]["IPAddress"], one["State"]["Pid"]
        # Something of Debian's may not like a container.
        await self.until("systemctl is-system-running | grep -qE 'running|degraded'")

    def file(self, path: str) -> Path:
        """What is at that path of the machine, seen from here."""
        return Path(f"/proc/{self._pid}/root{path}")


class Ledger:
    """The machine's Redis, such as System takes for its own."""

    def __init__(self, host: Host, apart: bool) -> None:
        self._host = host
        self._apart = apart

    @property
    def url(self) -> str:
        if self._apart:
            return f"redis://:{PASSWORD}@{self._host.address}:6379/0"
        return f"unix://{self._host.file(STATE)}/redis/redis.sock"

    def start(self) -> None:
        """It starts with its machine."""

    def kill(self) -> None:
        """It goes with its machine."""


@pytest.fixture(scope="module")
def new_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Host]]:
    if why := missing(OF_SYSTEMD):
        pytest.skip(why)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    engine = Engine()
    image = engine.make_machine(tmp_path_factory.mktemp("repository"))
    with engine.running():

        def new() -> Host:
            engine.sweep()
            return Host(engine, image)

        yield new


@pytest.mark.parametrize("start", [ALONE, APART], ids=["alone", "apart"])
async def test_a_machine_is_looked_after(new_host: Callable[[], Host], start: str, tmp_path: Path) -> None:
    apart = start == APART
    parts = ["bot", "worker", "api", "backup"] if apart else ["run", "api", "backup"]
    units = [f"imagebot-{part}" for part in parts]
    host = new_host()
    await host.boot()
    env = settings() | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{WORLD}:{PORT}",
        "STATUS_PASSWORD": "with a space",
    }
    if apart:
        await host.run(f"cat >>/etc/redis/redis.conf <<END\n{REDIS}END\nsystemctl restart redis-server")
        env |= {"REDIS_URL": "redis://127.0.0.1:6379/0", "REDIS_PASSWORD": PASSWORD}
    await host.run(f"cd /root/imagebot\n{PROGRAM}{UNITS}")
    token = env.pop("TELEGRAM_TOKEN")
    lines = "\n".join(f"{name}={value}" for name, value in env.items())
    await host.run(f"cat >/etc/imagebot/env <<'END'\n{lines}\nEND")
    # As the README has it, secrets in files of their own.
    (words,) = re.findall(r"```\n(\[Service\].*?)```", README, re.S)
    await host.run(f"umask 077; printf %s '{token}' >/etc/imagebot/telegram_token")
    for unit in units:
        edit = f"/etc/systemd/system/{unit}.service.d"
        await host.run(f"mkdir {edit}; cat >{edit}/override.conf <<'END'\n{words}END")
    await host.run(f"systemctl daemon-reload; {start}")

    system = System(tmp_path, {}, Ledger(host, apart), (WORLD, PORT))
    sends = Sends(system)
    system.middlewares.append(sends.middleware())
    await system.open()
    try:
        say("enabled, to all parts up", f"{await timed(all_up(host, units)):.1f} s")
        asked = [await one_picture(system)]
        await confined(host, units)
        await told(host, system, asked[0])
        assert "🟢" in await host.run(LOOK.replace("-qPG", "-qP"))

        system.kie.durations = (2.0, 6.0)
        async with asking(system, asked):
            say(f"`{RESTART}` under load", f"{await timed(host.run(RESTART)):.1f} s")
            await all_up(host, units)
            before = await host.run("readlink -f /opt/imagebot")
            took = await timed(host.run(f"cd /root/imagebot\n{PROGRAM}{RESTART}"))
            say("upgrade under load", f"{took:.1f} s")
            assert await host.run("readlink -f /opt/imagebot") != before
            await all_up(host, units)
            # At once, all that sends.
            killed = " ".join(unit for unit in units if unit != "imagebot-backup")
            died = await host.run(f"systemctl kill -s KILL {killed}; python3 -c '{NOW}'")
            sends.killed_at[""] = float(died)
            say("all killed by SIGKILL, to all parts up", f"{await timed(all_up(host, units)):.1f} s")
        await judged(system, asked, sends)

        system.kie.durations = (20.0, 30.0)
        asked += (wave := await ask(system, 10, every=0.1))
        await submitted(system, wave)
        say(
            "reboot under load, to all parts up",
            f"{await timed(again(host.reboot(), host, system, units)):.1f} s",
        )
        asked += (wave := await ask(system, 10, every=0.1))
        await submitted(system, wave)
        await host.cut_power()
        sends.killed("")
        say("power cut, to all parts up", f"{await timed(again(host.power_up(), host, system, units)):.1f} s")
        system.kie.durations = (2.0, 6.0)
        asked.append(await one_picture(system))
        await judged(system, asked, sends)

        for unit in reversed(units):
            say(f"`systemctl stop {unit}`", f"{await timed(host.run(f'systemctl stop {unit}')):.1f} s")
        journal = await host.run("journalctl -q --no-pager -u 'imagebot-*' -u systemd-journald")
        assert not re.findall(
            r".*(?:stop-sigterm. timed out|Suppressed|Permission denied|Read-only).*", journal
        )
        assert await host.run(f"find / -xdev -user imagebot {OUTSIDE}") == ""
    finally:
        with suppress(AssertionError):
            (tmp_path / "journal").write_text(await host.run("journalctl -q --no-pager -u 'imagebot-*'"))
        await host.cut_power()
        await system.close()


async def all_up(host: Host, units: list[str]) -> None:
    """Until systemd calls all parts active, the api answers and a worker lives."""
    await host.until(f"systemctl is-active {' '.join(units)} && python3 -c '{READY}'")


NOW = "import time; print(time.monotonic())"
READY = 'from urllib.request import urlopen as get; get("http://127.0.0.1:8000/readyz", timeout=20)'


async def again(start: Awaitable[None], host: Host, system: System, units: list[str]) -> None:
    await start
    await system.reconnect()
    await all_up(host, units)


async def submitted(system: System, wave: list[Asked]) -> None:
    await system.until(lambda: all(system.kie.audit.charged[wish.prompt] for wish in wave), WITHIN)


async def confined(host: Host, units: list[str]) -> None:
    """By systemd's own count at most 2 of 10, without rights, and with a limit of memory."""
    for unit in units:
        said = await host.run(f"systemd-analyze security --no-pager --threshold=20 {unit}")
        say(f"exposure of {unit}", re.findall(r"level for \S+: (\S+)", said)[0])
        pid, most = (await host.run(f"systemctl show --value -p MainPID -p MemoryMax {unit}")).split()
        status = host.file(f"/proc/{pid}/status").read_text()
        assert re.search(r"^CapEff:\t0+$", status, re.M)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
        assert not re.search(r"^Uid:\t0", status, re.M)
        assert int(most) < 2**32


async def told(host: Host, system: System, wish: Asked) -> None:
    """The journal names a job by the ids that it has in the ledger and in Jaeger."""
    (job,) = await system.jobs_of(wish.person)
    lines = await host.run("journalctl -q -o cat -u 'imagebot-*' --grep 'job ended'")
    told = [json.loads(line) for line in lines.splitlines()]
    assert [(one["job_id"], one["trace_id"]) for one in told] == [(job.id, trace_id(job))]


@asynccontextmanager
async def asking(system: System, asked: list[Asked]) -> AsyncIterator[None]:
    """A new person each second, until the block ends."""

    enough = asyncio.Event()

    async def go_on() -> None:
        while not enough.is_set():
            asked.extend(await ask(system, 1, every=1.0))

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        enough.set()
        await task
