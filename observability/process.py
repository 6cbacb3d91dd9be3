"""What this process and its machine use: CPU time, memory. Read when metrics are collected, never in between."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation

# A container's memory as its kernel counts it, version 2 of control groups.
_USED = Path("/sys/fs/cgroup/memory.current")
_LIMIT = Path("/sys/fs/cgroup/memory.max")


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
    share = _share_of_container()
    if share is None:
        share = psutil.virtual_memory().percent / 100
    yield Observation(share, {"system.memory.state": "used"})


def _share_of_container() -> float | None:
    """None outside a container, or in one without a limit."""
    try:
        return int(_USED.read_text()) / int(_LIMIT.read_text())
    except (OSError, ValueError):
        return None
