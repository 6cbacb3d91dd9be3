"""What this process and its machine use: CPU time, memory. Read when metrics are collected, never in between."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation

# A container's memory as its kernel counts it, version 2 of control groups.
_CGROUP = Path("/sys/fs/cgroup")


def observe_process(meter: Meter) -> None:
    """Add the process's metrics to `meter`; names and units as in OpenTelemetry's conventions."""
    meter.create_observable_counter(
        "process.cpu.time", [_cpu_time], "s", "CPU time of this process, all its threads together."
    )
    meter.create_observable_up_down_counter(
        "process.memory.usage", [_memory_usage], "By", "Resident memory of this process."
    )
    meter.create_observable_gauge(
        "system.memory.utilization",
        [_memory_utilization],
        "1",
        "Memory in use, as a share of the machine's, or of the container's limit where there is one.",
    )


# psutil is asked anew each time: a forked child is another process than the one that called `observe_process`.


def _cpu_time(_: CallbackOptions) -> Iterable[Observation]:
    times = psutil.Process().cpu_times()
    yield Observation(times.user, {"cpu.mode": "user"})
    yield Observation(times.system, {"cpu.mode": "system"})


def _memory_usage(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(psutil.Process().memory_info().rss)


def _memory_utilization(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(memory_share(), {"system.memory.state": "used"})


def memory_share() -> float:
    """Memory in use, as a share of the container's limit, or else of the machine's."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # As Docker counts: what the kernel would drop at once is not in use.
        used = int((_CGROUP / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
        return max(0, used) / limit
    except (OSError, ValueError):
        return float(psutil.virtual_memory().percent) / 100
