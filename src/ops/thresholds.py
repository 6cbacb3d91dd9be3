"""The operator's guide in numbers: from where a figure is worth a look, and from where it is a problem.

The status page, the report, the advice, the load test and `observability/prometheus/rules/alerts.yml`
(a test compares) all go by these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The guide's three columns."""

    NORMAL = 0
    ATTENTION = 1
    PROBLEM = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Threshold:
    """Normal is all up to `attention`; over `problem` it is one."""

    attention: float
    problem: float = math.inf

    def level(self, value: float | None) -> Level:
        """Where a figure stands. None, nothing to measure: normal."""
        if value is None or value <= self.attention:
            return Level.NORMAL
        return Level.PROBLEM if value > self.problem else Level.ATTENTION


WAITING = Threshold(5, 10)
"""Jobs in line."""
TIME = Threshold(30, 60)
"""Seconds from asking to the picture. A slow job is one over `problem`."""
CPU = Threshold(0.7)
"""Share of one core, all that one Python process can fill."""
LOAD = Threshold(0.9)
"""Share of all cores of a machine."""
MEMORY = Threshold(0.8)
"""Share of the machine's or the container's memory."""
DISK = Threshold(0.85, 0.95)
"""Share of the disk of the data folder."""
REDIS_MEMORY = Threshold(0.8, 0.95)
"""Share of `maxmemory`; over `problem` nothing new is asked for (`admit.lua`)."""
REDIS_FULL = Threshold(-14, -3)
"""Days until `maxmemory` is reached, counted down: -14, -13 …"""
OLDEST = Threshold(60, 300)
"""Seconds that the job has waited which waits longest."""
BACKUP = Threshold(1.2, 2)
"""Age of the newest backup, in the time from one to the next."""
TELEGRAM = Threshold(60, 60)
"""Seconds since Telegram last answered when it was asked for updates, or that its webhook fails."""
ALIVE_SECONDS = 15.0
"""Since its last heartbeat, after which a process counts as gone."""
