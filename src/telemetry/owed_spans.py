"""The spans of jobs and generations that are over in the ledger and not written yet.

The script that ends one notes in the ledger what belongs into its span, and the process that asked for it writes
the span and takes the note back. A note that stays is of a process that died in between: any worker writes its span
then, with the same id and the ledger's times.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import structlog
from redis.exceptions import RedisError

from observability.spans import SpanRef
from src.jobs import Job, Ledger, keys, transitions
from src.telemetry import job_spans

log = structlog.get_logger(__name__)

EVERY = 5.0
"""Seconds between two looks at the notes."""
_LOOKS = 3
"""Looks in a row at which a note was there before its span is taken for owed: while Redis is away nobody looks."""


class OwedSpans:
    """Takes back the notes of one process's spans, many in a call under load, and finds those of the dead."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._written: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self._looks: dict[str, int] = {}

    def written(self, note: str) -> None:
        """The span of this job (its id) or generation (its reference) is on its way to the Collector."""
        if not note:
            return
        self._written.add(note)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def look(self) -> None:
        """Write the spans that nobody else will; to be called every so often."""
        await self._tell()
        notes = await self._ledger.client.hgetall(keys.OWED())
        self._looks = {note: self._looks.get(note, 0) + 1 for note in notes}
        for note, looks in self._looks.items():
            if looks > _LOOKS:
                await self._write(note, json.loads(notes[note]))

    async def _tell(self) -> None:
        while self._written:
            told = set(self._written)
            try:
                await self._ledger.client.hdel(keys.OWED(), *told)
            except RedisError as error:
                # The next look says it again.
                log.info("spans not marked as written", spans=len(told), error=type(error).__name__)
                return
            self._written -= told

    async def _write(self, note: str, kept: list[Any]) -> None:
        generation = SpanRef.parse(note)
        job = await self._ledger.job(kept[0] if generation else note)
        # Of several workers that look, one takes the note.
        if not await self._ledger.client.hdel(keys.OWED(), note) or job is None:
            return
        ref = generation or job_spans.job_ref(job)
        if ref is None or not await self._ledger.run(transitions.lost(f"{ref.span_id:016x}", "step")):
            return  # its machine's spool has it
        if generation is None:
            job_spans.write_owed_end(_as_it_ended(job, *kept))
            return
        _, at, provider, model, error = kept
        job = dataclasses.replace(
            job, generation=note, provider=provider, spec=dataclasses.replace(job.spec, model=model)
        )
        job_spans.write_generation(job, error=error, end_ns=_in_trace(job, int(at)))


def _as_it_ended(job: Job, at: int, tries: str, deliveries: str, ready: str, generation: str) -> Job:
    """A job with what its record keeps only until its end."""
    return dataclasses.replace(
        job,
        tries=int(tries or 0),
        deliveries=int(deliveries or 0),
        ready=int(ready or 0),
        generation=generation,
    )


def _in_trace(job: Job, at: int) -> int | None:
    """A moment of Redis's clock, in ms, as nanoseconds of the clock that the job's span began by."""
    ref = job_spans.job_ref(job)
    return job_spans.began(job, ref) + (at - job.created) * 1_000_000 if ref else None
