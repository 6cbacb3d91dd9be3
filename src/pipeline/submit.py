"""The first step: hand a job to its provider.

An answer is a ticket, which `poll` asks about from then on, or at once the picture. A provider whose answer may take
as long as the picture is awaited in the worker's loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from contextlib import suppress
from typing import cast

import structlog
from redis.exceptions import RedisError

from src.jobs import Job, transitions
from src.jobs.uploads import is_upload
from src.pipeline import failures, notify, poll, poll_schedule, retry_policy, timeouts
from src.pipeline.leases import Work
from src.pipeline.previews import Previews
from src.pipeline.previews import wanted as previews_wanted
from src.pipeline.retry_policy import Again
from src.providers.base import (
    OF_SOURCE,
    Aspect,
    Done,
    ErrorKind,
    GenRequest,
    ImageRef,
    Provider,
    ProviderError,
    SourceImage,
    Ticket,
    nearest_aspect,
)
from src.providers.images import source_image
from src.providers.masks import painted_over
from src.store.blobs import BlobsAway
from src.telegram import files
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)


async def begin(work: Work, job: Job) -> None:
    """Submit a claimed job. A synchronous provider is awaited in the loop, not here. Both may answer with a ticket
    or with the picture."""
    provider = work.app.providers.get(job.provider)
    if provider is None:
        await failures.fail(work, job, ErrorKind.AUTH, "no_key")
        return
    if job.lost:
        idempotent = _count_unknown(job, provider)
        end = retry_policy.before_repeated_submit(
            job, idempotent=idempotent, on_unknown=work.app.settings.submit_unknown
        )
        if end is not None:
            await failures.carry_out(work, job, end)
            return
    if job.now >= job.deadline:
        await failures.fail(work, job, ErrorKind.TIMEOUT, "deadline")
        return
    if provider.capabilities.inline and not await work.app.has_room():
        await failures.again(work, job, Again(timeouts.KEEP, "limited", "originals", free=True))
        return
    with work.hold(job):
        try:
            request = await _request(work, job)
        except ProviderError as error:
            # The provider was not asked: nothing of this is its fault.
            job_spans.fail_step(error.kind)
            log.warning("source not to be had", job_id=job.id, kind=error.kind, code=error.code)
            await failures.after_submit(work, job, error)
            return
        try:
            if provider.capabilities.synchronous:
                await _begin_synchronous(work, job, provider, request)
                return
            generation, began = job_spans.open_generation(job), time.monotonic()
            answer = await provider.submit(request)
        except ProviderError as error:
            if error.kind is not ErrorKind.RATE_LIMITED:
                job_spans.fail_step(error.kind)
            await _failed(work, job, error)
            await failures.after_submit(work, job, error)
            return
        if isinstance(answer, Ticket):
            await _accepted(work, job, provider, request, answer)
        elif await _runs(work, job, generation):
            running = dataclasses.replace(job, generation=generation)
            await _done(work, running, answer, time.monotonic() - began)


async def lost(work: Work, job: Job) -> None:
    """A synchronous call whose process died: its picture is there if it was kept in time."""
    provider = work.app.providers.get(job.provider)
    if provider is None:
        return
    if (kept := await work.app.original(job.id)) is not None:
        await poll.ready(work, job, Done(ImageRef(data=kept)), (job.now - job.accepted) / 1000)
        return
    decision = retry_policy.after_lost_call(
        job, idempotent=_count_unknown(job, provider), on_unknown=work.app.settings.submit_unknown
    )
    await failures.carry_out(work, job, decision, {"error.type": "worker_lost"})
    if isinstance(decision, Again):
        job_spans.write_generation(job, error="worker_lost")
        work.owed.written(job.generation)
        await notify.submit([job.wake])


def _count_unknown(job: Job, provider: Provider) -> bool:
    """Count a submit whose answer nobody was there to hear; whether a second one is not billed again."""
    if not provider.capabilities.idempotent_submit:
        metrics.submit_unknown.add(1, {"imagebot.provider": job.provider})
    return provider.capabilities.idempotent_submit


async def _request(work: Work, job: Job) -> GenRequest:
    sources = tuple([await _source(work, source) for source in job.spec.pictures])
    mask = None
    if job.spec.painted is not None:
        sources, mask = await _masked(job, sources, await _source(work, job.spec.painted))
    aspect = cast(Aspect, job.spec.aspect)
    if job.spec.aspect == OF_SOURCE:
        aspect = nearest_aspect(sources[0].width, sources[0].height) if sources else "1:1"
    return GenRequest(
        job_id=job.id,
        prompt=job.spec.prompt,
        model=job.spec.model,
        aspect=aspect,
        sources=sources,
        mask=mask,
        quality=job.spec.quality,
        seed=job.spec.seed,
        negative_prompt=job.spec.negative_prompt,
        user_hash=await work.app.ledger.pseudonym(job.user),
        callback_url=_callback_url(work, job.provider),
        deadline=max(1.0, (job.deadline - job.now) / 1000),
    )


def _callback_url(work: Work, provider: str) -> str | None:
    public = work.app.settings.webhook_url
    if public is None or not work.app.providers[provider].capabilities.callback:
        return None
    return f"{public}/callbacks/{provider}"


async def _source(work: Work, source: str) -> SourceImage:
    """The picture to be changed, checked: from Telegram, or what came over REST."""
    if not is_upload(source):
        return await _from_telegram(work, source)
    try:
        data = await work.app.upload(source)
    except BlobsAway as error:
        raise ProviderError(ErrorKind.NETWORK, "upload") from error
    if data is None:
        raise ProviderError(ErrorKind.BAD_SOURCE, "upload_gone")
    return await asyncio.to_thread(source_image, data)


async def _masked(
    job: Job, sources: tuple[SourceImage, ...], painted: SourceImage
) -> tuple[tuple[SourceImage, ...], SourceImage | None]:
    """The pictures to be changed, and what of the first may: where nobody can tell, the photo that was sent is what
    shall be changed, unless it was asked for as a mask."""
    source, *others = sources
    if (found := await asyncio.to_thread(painted_over, source, painted)) is not None:
        picture, mask = found
        return (picture, *others), mask
    if job.spec.how == "mask":
        raise ProviderError(ErrorKind.BAD_MASK, "unpainted")
    return (painted, *others), None


async def _from_telegram(work: Work, file_id: str) -> SourceImage:
    try:
        data = await files.download(work.bot, file_id, seconds=timeouts.SOURCE_TIMEOUT)
    except files.NoFile as error:
        code = "too_large" if error.too_big else "telegram_file"
        raise ProviderError(ErrorKind.BAD_SOURCE, code) from error
    except files.NotNow as error:
        raise ProviderError(ErrorKind.NETWORK, "telegram_file") from error
    return await asyncio.to_thread(source_image, data)


async def _begin_synchronous(work: Work, job: Job, provider: Provider, request: GenRequest) -> None:
    generation = job_spans.open_generation(job)
    if await _runs(work, job, generation):
        running = dataclasses.replace(job, generation=generation)
        work.spawn(_synchronous(work, running, provider, request))


async def _runs(work: Work, job: Job, generation: str) -> bool:
    """Note that a job runs in this process's hands, without a ticket; whether it is still ours."""
    ours = await work.app.ledger.commit(
        transitions.accepted(
            job.id,
            job.fence,
            ticket=None,
            after=work.app.settings.lease,
            generation=generation,
            holder=work.app.holder,
        )
    )
    if ours:
        metrics.wait_duration.record(_waited(job), {"imagebot.provider": job.provider})
    return ours


async def _done(work: Work, job: Job, done: Done, took: float, previews: int = 0) -> None:
    """The provider answered with the picture."""
    # What is paid for is kept first of all.
    with suppress(RedisError):
        await failures.provider_answered(work, job)
    await poll.ready(work, job, done, took, previews)


async def _failed(work: Work, job: Job, error: ProviderError) -> None:
    """Told to whom it concerns; where that cannot be, what is known of this submit counts all the same."""
    with suppress(RedisError):
        await failures.provider_failed(work, job, error, "submit")


async def _synchronous(work: Work, job: Job, provider: Provider, request: GenRequest) -> None:
    """Await the answer of a provider that takes its time over it; the lease is kept meanwhile."""
    async with work.room() as room:
        with work.hold(job, stop_if_lost=True):
            previews = Previews(work, job, provider)
            try:
                watched = await previews_wanted(work, job, provider)
                began = time.monotonic()
                with job_spans.under(job.generation):
                    async with previews, asyncio.timeout(request.deadline):
                        told = functools.partial(work.told, job.id)
                        preview = previews.take if watched else None
                        asked = dataclasses.replace(request, room=room, told=told, preview=preview)
                        answer = await provider.submit(asked)
                        took = time.monotonic() - began
            except ProviderError as error:
                await _failed(work, job, error)
                await poll.ended(work, job, error)
            except TimeoutError:
                await failures.fail(work, job, ErrorKind.TIMEOUT, "deadline")
            else:
                if isinstance(answer, Ticket):
                    await _accepted(work, job, provider, request, answer, runs=True)
                else:
                    await _done(work, job, answer, took, previews.shown)


async def _accepted(
    work: Work, job: Job, provider: Provider, request: GenRequest, ticket: Ticket, *, runs: bool = False
) -> None:
    """Keep the ticket. `runs`: the answer was awaited beside the actor, so the job runs already."""
    known = work.durations.get((job.provider, job.spec.model), [])
    generation = job.generation if runs else job_spans.open_generation(job)
    task = ticket.to_json()
    ours = await work.app.ledger.commit(
        transitions.accepted(
            job.id,
            job.fence,
            ticket=task,
            after=poll_schedule.first_poll(known, work.app.settings.poll_interval),
            generation=generation,
            callback=request.callback_url is not None,
        )
    )
    await failures.provider_answered(work, job)
    if ours and not runs:
        metrics.wait_duration.record(_waited(job), {"imagebot.provider": job.provider})
    elif not ours:
        running = dataclasses.replace(job, ticket=task, generation=generation)
        if not runs:
            # Else it is written by whoever ends the job, who knows of it.
            job_spans.write_generation(running, error="cancelled")
        await failures.stop(work, running)


def _waited(job: Job) -> float:
    return max(0.0, (job.now - job.created) / 1000)
