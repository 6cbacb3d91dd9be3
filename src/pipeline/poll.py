"""The second step: ask the provider about a running generation, until its picture is there.

When it is asked is `poll_schedule`'s to say, and the scheduler's to do.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog
from opentelemetry.util.types import AttributeValue
from redis.exceptions import RedisError

from src.jobs import Job, transitions
from src.jobs.spending import millionths
from src.jobs.transitions import GoesOn
from src.pipeline import failures, notify, poll_schedule, retry_policy, timeouts
from src.pipeline.leases import Work
from src.providers.base import Done, Pending, ProviderError, Ticket
from src.providers.http import ROOM
from src.store.blobs import ORIGINALS, BlobsAway
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)


async def poll(work: Work, job: Job) -> GoesOn | None:
    """Ask about a running generation. The answer: its next look, or None where it has ended."""
    async with work.room() as room:
        # Some answers hold the picture: so many are read at once, and kept until they are put away.
        outer = ROOM.set(room)
        try:
            return await _poll(work, job)
        finally:
            ROOM.reset(outer)


async def _poll(work: Work, job: Job) -> GoesOn | None:
    provider = work.app.providers.get(job.provider)
    if provider is None or job.ticket is None:
        return GoesOn(job.id, job.fence, timeouts.LONGEST_PAUSE, job.progress, job.ahead)
    known = work.durations.get((job.provider, job.spec.model), [])
    elapsed = (job.now - job.accepted) / 1000
    try:
        with job_spans.under(job.generation):
            found = await provider.poll(Ticket.from_json(job.ticket))
    except ProviderError as error:
        await failures.provider_failed(work, job, error, "poll")
        if error.ended:
            await ended(work, job, error)
            return None
        return GoesOn(job.id, job.fence, retry_policy.after_poll(error), job.progress, job.ahead)
    if isinstance(found, Pending):
        if found.progress is not None:
            work.heard(job, elapsed, found.progress)
        meaning = work.progress.get((job.provider, job.spec.model))
        after = poll_schedule.next_poll(
            known, elapsed, found.progress, work.app.settings.poll_interval, meaning
        )
        return GoesOn(job.id, job.fence, after, found.progress, found.queue_position)
    work.ended(job, found.seconds)
    await ready(work, job, found, elapsed)
    return None


async def ended(work: Work, job: Job, error: ProviderError) -> None:
    """A generation ended without a picture: a new one, or the job's end."""
    facts: dict[str, AttributeValue] = {"error.type": error.kind}
    if error.code:
        facts["imagebot.error.code"] = error.code
    if job.ticket is not None:
        facts["imagebot.polls"] = job.polls + 1
    if await failures.after_submit(work, job, error, facts):
        job_spans.write_generation(job, error=error.kind, attributes=facts)
        work.owed.written(job.generation)


async def ready(work: Work, job: Job, done: Done, seconds: float, previews: int = 0) -> None:
    """The picture is there, so many seconds after the provider took the job; `previews` were shown meanwhile."""
    data = done.image.data or b""
    if data:
        await _keep(work, job, data)
    facts = _facts(job, done) | ({"imagebot.previews": previews} if previews else {})
    result = ({"url": done.image.url} if done.image.url else {}) | done.told()
    ours, released = await work.app.ledger.commit(
        transitions.ready(
            job.id,
            job.fence,
            result=result,
            cap=work.app.cap(job.provider),
            model=job.spec.model,
            kept=len(data),
            took=done.seconds,
            costs={done.costs[1]: millionths(done.costs[0])} if done.costs else None,
            facts=facts,
        )
    )
    if ours:
        job_spans.write_generation(job, attributes=facts)
        work.owed.written(job.generation)
        labels = {"imagebot.provider": job.provider, "gen_ai.request.model": job.spec.model}
        with job_spans.under(job.generation):
            metrics.generation_duration.record(seconds, labels)
            if job.ticket is not None:
                metrics.generation_polls.record(job.polls + 1, {"imagebot.provider": job.provider})
    await notify.send(deliver=[job.wake] if ours else (), submit=released)


async def _keep(work: Work, job: Job, data: bytes) -> None:
    """Keep a picture that came in an answer. It is paid and nowhere else, so a store that does not take it is asked
    for as long as the job lasts; meanwhile nobody else may ask for one."""
    until = time.monotonic() + max(timeouts.KEEP, (job.deadline - job.now) / 1000)
    while True:
        try:
            await work.app.blobs.put(f"{ORIGINALS}/{job.id}", data)
        except BlobsAway as error:
            log.error("picture not kept yet", job_id=job.id, why=str(error))
            with suppress(RedisError):
                await work.app.close_store()
            if time.monotonic() > until:
                raise
            await asyncio.sleep(timeouts.KEEP_AGAIN)
        else:
            return


def _facts(job: Job, done: Done) -> dict[str, AttributeValue]:
    """What the generation's span tells of its outcome."""
    facts: dict[str, AttributeValue] = {"gen_ai.response.finish_reasons": (done.finish_reason or "stop",)}
    if (seed := job.spec.seed if done.seed is None else done.seed) is not None:
        facts["gen_ai.request.seed"] = seed
    if done.cost is not None:
        facts["imagebot.cost"] = done.cost
        facts["imagebot.cost.unit"] = done.unit
    if done.tokens is not None:
        facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"] = done.tokens
    if job.ticket is not None:
        facts["imagebot.polls"] = job.polls + 1
    return facts
