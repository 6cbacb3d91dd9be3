"""Every process says each five seconds that it lives, and what it takes of its machine.

In Redis for the status page, the readiness probe and the alerts, which see the whole system; in a file
for its container's health check (`src.ops.healthcheck`), which costs next to nothing. Every process measures
itself, because nobody can from outside its container.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
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
    """One process, as it last said of itself.

    Attributes:
        holder: its name in leases, `host:pid`.
        cpu: share of one core since the beat before. machine_cpu: share of all cores of its machine.
        memory: its resident bytes. machine_memory: share of the machine's memory in use, or of the
            container's limit where there is one.
        started: seconds since the epoch. at: ms of Redis's clock when it said so.
    """

    holder: str
    kind: Kind
    cpu: float
    memory: int
    machine_cpu: float
    machine_memory: float
    started: float
    at: int


class Heartbeat:
    """Measures this process and says that it lives."""

    def __init__(self, app: App, kind: Kind) -> None:
        self._app = app
        self._kind: Kind = kind
        self._process = psutil.Process(os.getpid())
        # The first reading of each has nothing to compare with.
        self._process.cpu_percent()
        psutil.cpu_percent()

    async def beat(self) -> None:
        """Say it once; why Redis did not take it is said in the file."""
        try:
            await self._say()
        except RedisError as error:
            log.warning("no heartbeat", error=type(error).__name__)
            self._write(f"Redis: {trouble(error)}")
        else:
            self._write("")

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            await self.beat()
            await asyncio.sleep(EVERY)

    async def retire(self) -> None:
        """This process ends: it is no longer to be seen."""
        with suppress(OSError):
            file_of(self._kind).unlink()
        try:
            await self._app.redis.hdel(keys.HEARTBEATS(), self._app.holder)
        except RedisError as error:
            log.info("heartbeat stays until it is old", error=type(error).__name__)

    async def _say(self) -> None:
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

    def _write(self, trouble: str) -> None:
        # A machine without a place for it has no container's health check either.
        with suppress(OSError):
            file = os.open(file_of(self._kind), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "w") as words:
                words.write(trouble)
            os.utime(file_of(self._kind))


def file_of(kind: str) -> Path:
    """Where the processes of this kind write on this machine that they live."""
    return Path(tempfile.gettempdir()) / f"imagebot-{kind}.heartbeat"


async def say(ledger: Ledger, beat: Beat) -> None:
    """Put a heartbeat where all can read it."""
    async with ledger.client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.HEARTBEATS(), beat.holder, json.dumps(asdict(beat)))
        pipe.expire(keys.HEARTBEATS(), _KEPT_SECONDS)
        await pipe.execute()


async def alive(ledger: Ledger) -> list[Beat]:
    """The processes that beat lately, by kind and name."""
    return parse(await ledger.client.hvals(keys.HEARTBEATS()), await ledger.now())


def parse(said: Iterable[str], now: int) -> list[Beat]:
    """Of heartbeats those that are fresh at `now` (ms of Redis's clock), by kind and name."""
    found = (Beat(**json.loads(text)) for text in said)
    fresh = (beat for beat in found if now - beat.at <= ALIVE_SECONDS * 1000)
    return sorted(fresh, key=lambda beat: (beat.kind, beat.holder))


async def forget(ledger: Ledger, now: int) -> None:
    """Drop the heartbeats of processes that are gone."""
    said = await ledger.client.hgetall(keys.HEARTBEATS())
    living = {beat.holder for beat in parse(said.values(), now)}
    if gone := said.keys() - living:
        await ledger.client.hdel(keys.HEARTBEATS(), *gone)
