"""Every process reports every five seconds that it is alive, with its CPU and memory.

To Redis for the status page, the readiness probe and the alerts, which look at the whole system; to a file
for its container's health check (`src.ops.healthcheck`), which must be cheap. Every process measures itself,
because nobody can from outside its container.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import psutil
import structlog
from redis.exceptions import RedisError

from observability.process import memory_share
from src.app import App
from src.jobs import Ledger, keys
from src.ops.thresholds import ALIVE_SECONDS
from src.store.clients import trouble

log = structlog.get_logger(__name__)

Kind = Literal["bot", "worker", "api"]

EVERY = 5.0
_KEPT_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Beat:
    """One process, as it last reported itself.

    Attributes:
        holder: its name in leases, `host:pid`.
        cpu: share of one core since the beat before. machine_cpu: share of all cores of its machine.
        memory: its resident bytes. machine_memory: share of the machine's memory in use, or of the
            container's limit where there is one.
        started: seconds since the epoch. at: ms of Redis's clock of the report.
    """

    holder: str
    kind: Kind
    cpu: float
    memory: int
    machine_cpu: float
    machine_memory: float
    started: float
    at: int


_FIELDS = frozenset(field.name for field in fields(Beat))


class Heartbeat:
    """Measures this process and reports that it is alive.

    Args:
        ailment: what is wrong with it all the same, for the health check; empty: nothing.
    """

    def __init__(self, app: App, kind: Kind, ailment: Callable[[], str] = str) -> None:
        self._app = app
        self._kind: Kind = kind
        self._ailment = ailment
        self._process = psutil.Process(os.getpid())
        # The first reading of each has nothing to compare with.
        self._process.cpu_percent()
        psutil.cpu_percent()

    async def beat(self) -> None:
        """Report once. If Redis cannot be reached, the file says why."""
        try:
            await self._say()
        except RedisError as error:
            log.warning("no heartbeat", error=type(error).__name__)
            self._write(f"Redis: {trouble(error)}")
        else:
            self._write(self._ailment())

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            await self.beat()
            await asyncio.sleep(EVERY)

    async def retire(self) -> None:
        """Remove this process's heartbeat: it ends."""
        with suppress(OSError):
            file_of(self._kind).unlink()
        try:
            await self._app.redis.hdel(keys.HEARTBEATS(), self._app.holder)
            await self._app.redis.hdel(keys.DISKS(), self._app.holder)
        except RedisError as error:
            log.info("heartbeat stays until it is old", error=type(error).__name__)

    async def _say(self) -> None:
        await self._app.switches.look()
        ledger = self._app.ledger
        beat = Beat(
            holder=self._app.holder,
            kind=self._kind,
            cpu=self._process.cpu_percent() / 100,
            memory=self._process.memory_info().rss,
            machine_cpu=psutil.cpu_percent() / 100,
            machine_memory=memory_share(),
            started=self._process.create_time(),
            at=await ledger.now(),
        )
        await say(ledger, beat)
        await say_disk(ledger, beat.holder, disk_share(self._app.settings.data_dir))

    def _write(self, trouble: str) -> None:
        # Where this cannot be written there is no container's health check that reads it.
        with suppress(OSError):
            file = os.open(file_of(self._kind), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "w") as words:
                words.write(trouble)
            os.utime(file_of(self._kind))


def file_of(kind: str) -> Path:
    """The file that the processes of this kind touch on this machine."""
    return Path(tempfile.gettempdir()) / f"imagebot-{kind}.heartbeat"


async def say(ledger: Ledger, beat: Beat) -> None:
    """Write a heartbeat to Redis."""
    async with ledger.client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.HEARTBEATS(), beat.holder, json.dumps(asdict(beat)))
        pipe.expire(keys.HEARTBEATS(), _KEPT_SECONDS)
        await pipe.execute()


async def say_disk(ledger: Ledger, holder: str, share: float) -> None:
    """Write how full a process's disk is to Redis."""
    async with ledger.client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.DISKS(), holder, f"{share:.3f}")
        pipe.expire(keys.DISKS(), _KEPT_SECONDS)
        await pipe.execute()


def disk_share(folder: Path) -> float:
    """Share in use of the disk that a folder is on, or will be."""
    there = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    usage = shutil.disk_usage(there)
    return 1 - usage.free / usage.total


async def alive(ledger: Ledger) -> list[Beat]:
    """The live processes, by kind and name."""
    return parse(await ledger.client.hvals(keys.HEARTBEATS()), await ledger.now())


def parse(said: Iterable[str], now: int) -> list[Beat]:
    """The heartbeats that are fresh at `now` (ms of Redis's clock), by kind and name."""
    found = (beat for text in said if (beat := _beat(text)) is not None)
    fresh = (beat for beat in found if now - beat.at <= ALIVE_SECONDS * 1000)
    return sorted(fresh, key=lambda beat: (beat.kind, beat.holder))


def _beat(text: str) -> Beat | None:
    """None: another version's that says too little. During an update two versions report, and the later says more."""
    try:
        return Beat(**{name: value for name, value in json.loads(text).items() if name in _FIELDS})
    except (AttributeError, TypeError, ValueError):
        return None


async def forget(ledger: Ledger, now: int) -> None:
    """Drop the heartbeats of processes that are gone."""
    said = await ledger.client.hgetall(keys.HEARTBEATS())
    living = {beat.holder for beat in parse(said.values(), now)}
    if gone := said.keys() - living:
        await ledger.client.hdel(keys.HEARTBEATS(), *gone)
        await ledger.client.hdel(keys.DISKS(), *gone)
