"""What the parts of a load run cost: CPU and memory of their processes, and Redis's commands."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
import redis
from redis.asyncio import Redis

_TICK = 1.0
_LISTENED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One part at one time. `cpu`: seconds of CPU used since its start; `memory`: bytes; `processes`: how many."""

    at: float
    cpu: float
    memory: int
    processes: int


@dataclass(slots=True)
class Machine:
    """Samples the parts once a second.

    Args:
        pids: gives each part's main process; its children are counted with it.
    """

    pids: Callable[[], Mapping[str, int]]
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_TICK)

    def look(self) -> None:
        """Take one sample of each part."""
        for name, pid in self.pids().items():
            sample = _sample(pid)
            if sample is not None:
                self.samples.setdefault(name, []).append(sample)

    def share(self, name: str, since: float, until: float) -> float:
        """Cores that a part used on average between two times (unix seconds)."""
        inside = [s for s in self.samples.get(name, []) if since <= s.at <= until]
        if len(inside) < 2 or inside[-1].at <= inside[0].at:
            return 0.0
        return (inside[-1].cpu - inside[0].cpu) / (inside[-1].at - inside[0].at)

    def shares(self, name: str, since: float, until: float, window: int = 10) -> list[tuple[float, float]]:
        """The same in steps of some seconds: (time, cores)."""
        inside = [s for s in self.samples.get(name, []) if since <= s.at <= until][::window]
        return [
            (b.at, max(0.0, b.cpu - a.cpu) / (b.at - a.at))
            for a, b in itertools.pairwise(inside)
            if b.at > a.at
        ]

    def memory(self, name: str) -> int:
        """The most bytes a part held at once."""
        return max((s.memory for s in self.samples.get(name, [])), default=0)


def _sample(pid: int) -> Sample | None:
    try:
        main = psutil.Process(pid)
        tree = [main, *main.children(recursive=True)]
    except psutil.Error:
        return None
    cpu, memory, counted = 0.0, 0, 0
    for process in tree:
        try:
            with process.oneshot():
                times = process.cpu_times()
                # Children that have ended (RQ forks one a job) are counted with who waited for them.
                cpu += times.user + times.system + times.children_user + times.children_system
                # What it shares with its parent is not held twice.
                memory += process.memory_full_info().uss
        except psutil.Error:
            continue
        counted += 1
    return Sample(time.time(), cpu, memory, counted)


@dataclass(frozen=True, slots=True)
class Commands:
    """Redis's counters at one time: calls by command, those that scripts made included; memory in bytes;
    seconds of CPU."""

    calls: Counter[str]
    memory: int
    cpu: float

    @classmethod
    async def read(cls, client: Redis) -> Commands:
        found = await client.info("commandstats")
        memory = (await client.info("memory"))["used_memory"]
        cpu = await client.info("cpu")
        calls = Counter({name.removeprefix("cmdstat_"): v["calls"] for name, v in found.items()})
        return cls(calls, int(memory), float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]))

    def since(self, before: Commands) -> Counter[str]:
        """Calls made between two readings, without our own."""
        made = Counter({name: n - before.calls[name] for name, n in self.calls.items()})
        for ours in ("info", "monitor", "ping", "hello", "client|setinfo", "client|setname", "select"):
            made.pop(ours, None)
        return +made


async def scripted_shares(url: str, seconds: float, *, slices: int = 1) -> dict[str, float]:
    """Per command the share of its calls that scripts made.

    Redis's counters do not tell a client's call from a script's, and listening to all of them costs.

    Args:
        seconds: until the answer. slices: that time has so many parts, each begins with a second of listening.
    """
    by_script: Counter[str] = Counter()
    all_calls: Counter[str] = Counter()
    for _ in range(slices):
        await asyncio.to_thread(_listen, url, min(_LISTENED_SECONDS, seconds / slices), by_script, all_calls)
        await asyncio.sleep(max(0.0, seconds / slices - _LISTENED_SECONDS))
    return {name: by_script[name] / n for name, n in all_calls.items()}


def _listen(url: str, seconds: float, by_script: Counter[str], all_calls: Counter[str]) -> None:
    client: Any = redis.Redis.from_url(url, socket_timeout=1.0)
    until = time.monotonic() + seconds
    with client.monitor() as monitor:
        while time.monotonic() < until:
            try:
                heard = monitor.next_command()
            except redis.TimeoutError:
                break
            name = heard["command"].split(" ", 1)[0].strip('"').lower()
            all_calls[name] += 1
            by_script[name] += heard["client_type"] == "lua"
    client.close()
