"""What a process takes of its machine, said in Redis for the status page and the alerts.

Every process measures itself, because from outside its container nobody can. Its metrics are
`observability.process`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
import structlog
from redis.exceptions import RedisError

from src.app import App

log = structlog.get_logger(__name__)

Kind = Literal["bot", "worker", "api"]

EVERY = 5.0
"""Seconds between two reports of a process."""
_FRESH_MS = 20_000
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Vital:
    """One process, as it said of itself.

    Attributes:
        holder: its name in leases, `host:pid`.
        cpu: share of one core since its last report. machine_cpu: share of all cores of its machine.
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


class Vitals:
    """Measures this process and reports it."""

    def __init__(self, app: App, kind: Kind) -> None:
        self._app = app
        self._kind = kind
        self._process = psutil.Process(os.getpid())
        # The first reading of each has nothing to compare with.
        self._process.cpu_percent()
        psutil.cpu_percent()

    async def report(self) -> None:
        """Say once how this process does."""
        ledger = self._app.ledger
        vital = Vital(
            holder=self._app.holder,
            kind=self._kind,
            cpu=self._process.cpu_percent() / 100,
            memory=self._process.memory_info().rss,
            machine_cpu=psutil.cpu_percent() / 100,
            machine_memory=memory_share(),
            started=self._process.create_time(),
            at=await ledger.now(),
        )
        await self._app.redis.hset(ledger.key("vitals"), vital.holder, json.dumps(asdict(vital)))

    async def run(self) -> None:
        """Report for ever."""
        while True:
            try:
                await self.report()
            except RedisError as error:
                log.warning("vitals not reported", error=type(error).__name__)
            await asyncio.sleep(EVERY)

    async def retire(self) -> None:
        """This process ends: it is no longer to be seen."""
        try:
            await self._app.redis.hdel(self._app.ledger.key("vitals"), self._app.holder)
        except RedisError as error:
            log.info("vitals stay until they are old", error=type(error).__name__)


def parse_vitals(raw: dict[str, str], now: int) -> tuple[tuple[Vital, ...], tuple[str, ...]]:
    """The processes that reported lately, and the names of those that have stopped doing so."""
    found = [Vital(**json.loads(text)) for text in raw.values()]
    fresh = [vital for vital in found if now - vital.at <= _FRESH_MS]
    gone = tuple(vital.holder for vital in found if now - vital.at > _FRESH_MS)
    return tuple(sorted(fresh, key=lambda vital: (vital.kind, vital.holder))), gone


def memory_share() -> float:
    """Memory in use, as a share of the container's limit, or else of the machine's."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            used = int((_CGROUP / "memory.current").read_text())
            stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
            # As Docker counts: what the kernel would drop at once is not in use.
            return max(0, used - int(stat.get("inactive_file", 0))) / int(limit)
    except (OSError, ValueError):
        pass
    return float(psutil.virtual_memory().percent) / 100


def uptime(vital: Vital) -> float:
    """Seconds since a process was started."""
    return max(0.0, time.time() - vital.started)
