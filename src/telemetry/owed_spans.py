"""The spans of jobs and generations that are over in the ledger and not written yet.

The script that ends one notes in the ledger what belongs into its span, and the process that asked for it writes
the span and takes the note back. A note that stays is of a process that died in between: any worker writes its span
then, with the same id and the ledger's times.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json

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
_DIES = 60
"""Seconds after which a worker that began to write one has not."""


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
        client = self._ledger.client
        self._looks = {note: self._looks.get(note, 0) + 1 for note in await client.hkeys(keys.OWED())}
        for note, looks in self._looks.items():
            if looks <= _LOOKS:
                continue
            try:
                await self._write(note)
            except RedisError:
                raise
            except Exception as error:
                # Such as another version's: it is no obstacle to the others.
                log.error("a span that is owed cannot be written", note=note, error=type(error).__name__)
                await client.hdel(keys.OWED(), note)

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

    async def _write(self, note: str) -> None:
        client = self._ledger.client
        # Of several workers that look one writes it, and another where that one dies over it.
        if not await client.set(keys.OWING(note), "", nx=True, ex=_DIES):
            return
        if (text := await client.hget(keys.OWED(), note)) is None:
            return  # whoever wrote it took the note back meanwhile; until it is sent it is its machine's spool's
        kept = json.loads(text)
        generation = SpanRef.parse(note)
        job = await self._ledger.job(kept[0] if kept and generation else note)
        ref = generation or (job_spans.job_ref(job) if job else None)
        mine = ref is not None and await self._ledger.run(transitions.lost(f"{ref.span_id:016x}", "step"))
        if job and kept and mine:  # else its machine's spool has it, or another worker wrote it
            if generation:
                _write_generation(job, note, *kept[1:])
            else:
                job_spans.write_owed_end(_as_it_ended(job, *kept))
        await client.hdel(keys.OWED(), note)


def _write_generation(
    job: Job, note: str, at: int, provider: str, model: str, ticket: str, facts: str
) -> None:
    spec = dataclasses.replace(job.spec, model=model)
    task = json.loads(ticket) if ticket else None
    job = dataclasses.replace(job, generation=note, provider=provider, spec=spec, ticket=task)
    attributes = json.loads(facts)
    error = attributes.get("error.type", "")
    job_spans.write_generation(job, error=error, attributes=attributes, end_ns=_in_trace(job, int(at)))


def _as_it_ended(
    job: Job,
    at: int,
    tries: str,
    deliveries: str,
    ready: str,
    generation: str,
    polls: str,
    ticket: str,
    result: str,
) -> Job:
    """A job with what its record keeps only until its end."""
    return dataclasses.replace(
        job,
        tries=int(tries or 0),
        deliveries=int(deliveries or 0),
        ready=int(ready or 0),
        generation=generation,
        polls=int(polls or 0),
        ticket=json.loads(ticket) if ticket else None,
        result=json.loads(result) if result else None,
    )


def _in_trace(job: Job, at: int) -> int | None:
    """A moment of Redis's clock, in ms, as nanoseconds of the clock that the job's span began by."""
    ref = job_spans.job_ref(job)
    return job_spans.began(job, ref) + (at - job.created) * 1_000_000 if ref else None
