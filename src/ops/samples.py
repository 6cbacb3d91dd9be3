"""The last hour: one small sample of the system every ten seconds, in a ring in Redis.

Enough for the status page's table and for rates; long-term figures are the monitoring stack's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from src.jobs import Ledger, keys

EVERY = 10.0
"""Seconds between two samples."""
KEPT = 360
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Sample:
    """The system at a moment, in the figures of `snapshot.Snapshot`. `admitted` counts from the beginning;
    `time` is None where no job ended in the ten minutes before."""

    at: int
    waiting: int
    time: float | None
    cpu: float
    memory: float
    admitted: int


def parse_sample(text: str | None) -> Sample | None:
    """A sample from the ring; None where there is none."""
    found = json.loads(text) if text else None
    return Sample(**{name: found[name] for name in Sample.__slots__}) if found else None


async def keep(ledger: Ledger, sample: Sample) -> None:
    """Put a sample into the ring."""
    async with ledger.client.pipeline() as pipe:
        pipe.lpush(keys.SAMPLES(), json.dumps(asdict(sample)))
        pipe.ltrim(keys.SAMPLES(), 0, KEPT - 1)
        await pipe.execute()


async def keep_pace(ledger: Ledger, now: int, memory: int) -> None:
    """Note once an hour how many bytes Redis uses, for a day."""
    newest = await ledger.client.lindex(keys.PACE(), 0)
    if newest is not None and now - int(newest.split()[0]) < _HOUR_MS:
        return
    async with ledger.client.pipeline() as pipe:
        pipe.lpush(keys.PACE(), f"{now} {memory}")
        pipe.ltrim(keys.PACE(), 0, 24)
        await pipe.execute()


async def last_hour(ledger: Ledger) -> list[Sample]:
    """The samples kept, newest first; after a stop of the system there may be a gap."""
    raw = await ledger.client.lrange(keys.SAMPLES(), 0, -1)
    return [sample for text in raw if (sample := parse_sample(text))]
