"""The last hour: one small sample of the system every ten seconds, in a ring in Redis.

Enough for the charts of the status page and for rates; long-term figures are the monitoring stack's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from src.app import App

if TYPE_CHECKING:
    from src.ops.snapshot import Snapshot

EVERY = 10.0
"""Seconds between two samples."""
KEPT = 360


@dataclass(frozen=True, slots=True)
class Sample:
    """The system at a moment, in numbers. Times as in `health.Snapshot`; `admitted`, `delivered`, `failed`
    count from the beginning; `time` is None where no job ended in the ten minutes before."""

    at: int
    waiting: int
    running: int
    oldest: float
    time: float | None
    cpu: float
    memory: float
    workers: int
    admitted: int
    delivered: int
    failed: int


def parse_sample(text: str | None) -> Sample | None:
    """A sample from the ring; None where there is none."""
    return Sample(**json.loads(text)) if text else None


def sample_of(snapshot: Snapshot) -> Sample:
    """What is kept of a snapshot."""
    counts = snapshot.counts
    return Sample(
        at=snapshot.at,
        waiting=snapshot.waiting,
        running=snapshot.running,
        oldest=round(snapshot.oldest, 1),
        time=None if snapshot.processing is None else round(snapshot.processing, 2),
        cpu=round(snapshot.cpu, 3),
        memory=round(snapshot.memory, 3),
        workers=snapshot.workers,
        admitted=counts.get("admitted", 0),
        delivered=counts.get("delivered", 0),
        failed=counts.get("failed", 0),
    )


async def keep(app: App, sample: Sample) -> None:
    """Put a sample into the ring."""
    key = app.ledger.key("samples")
    async with app.redis.pipeline() as pipe:
        pipe.lpush(key, json.dumps(asdict(sample)))
        pipe.ltrim(key, 0, KEPT - 1)
        await pipe.execute()


async def last_hour(app: App) -> list[Sample]:
    """The samples kept, oldest first; after a stop of the system there may be a gap."""
    raw = await app.redis.lrange(app.ledger.key("samples"), 0, -1)
    return [sample for text in reversed(raw) if (sample := parse_sample(text))]
