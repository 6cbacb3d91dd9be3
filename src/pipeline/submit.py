"""A generation from its submit to its picture: begin, poll, end, or why not.

Each function takes a job this process has claimed and leaves it to the ledger again. What may be
tried again, and when, is decided here and nowhere else.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from typing import cast

import structlog
from aiogram.exceptions import TelegramAPIError, TelegramBadRequest, TelegramNetworkError, TelegramRetryAfter

from src.jobs import Job, transitions
from src.jobs.uploads import is_upload
from src.pipeline import notify, poll_schedule
from src.pipeline.leases import Work
from src.providers.base import (
    Aspect,
    Done,
    ErrorKind,
    GenRequest,
    Pending,
    Provider,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.images import source_image
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)

_TRIES = 4
_ITS_FAULT = frozenset({ErrorKind.UPSTREAM, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT, ErrorKind.NETWORK})
# A key or a balance does not mend itself between two calls.
_AT_ONCE = frozenset({ErrorKind.AUTH, ErrorKind.QUOTA})
_STAY_AWAY = 5.0
_POLL_AGAIN = 3.0
_LONGEST_PAUSE = 60.0
_ORIGINAL_SECONDS = 86_400


async def begin(work: Work, job: Job) -> None:
    """Submit a claimed job. A synchronous provider is awaited in the loop, not here."""
    provider = work.app.providers.get(job.provider)
    if provider is None:
        await fail(work, job, ErrorKind.AUTH, "no_key")
        return
    if job.lost and not await _may_repeat(work, job, provider):
        return
    if job.now >= job.deadline:
        await fail(work, job, ErrorKind.TIMEOUT, "deadline")
        return
    with work.hold(job):
        try:
            request = await _request(work, job)
            if provider.capabilities.synchronous:
                await _begin_synchronous(work, job, provider, request)
                return
            ticket = await provider.submit(request)
        except ProviderError as error:
            if error.kind is not ErrorKind.RATE_LIMITED:
                job_spans.fail_step(error.kind)
            _count(job, error)
            await _judge(work, job, error)
            await _submit_failed(work, job, error)
            return
        if isinstance(ticket, Done):
            raise TypeError(f"{provider.name} is not synchronous but answered with a picture")
        await _accepted(work, job, provider, request, ticket)


async def poll(work: Work, job: Job) -> tuple[str, int, float, float | None] | None:
    """Ask about a running generation. The answer: its next look, as `transitions.polled` takes it, or None."""
    provider = work.app.providers.get(job.provider)
    if provider is None or job.ticket is None:
        return job.id, job.fence, _LONGEST_PAUSE, job.progress
    known = work.durations.get((job.provider, job.spec.model), [])
    elapsed = (job.now - job.accepted) / 1000
    try:
        with job_spans.under(job.generation):
            found = await provider.poll(Ticket.from_json(job.ticket))
    except ProviderError as error:
        _count(job, error)
        if error.ended:
            await _generation_failed(work, job, error)
            return None
        return job.id, job.fence, min(error.retry_after or _POLL_AGAIN, _LONGEST_PAUSE), job.progress
    if isinstance(found, Pending):
        if found.progress is not None:
            work.heard(job, elapsed, found.progress)
        meaning = work.progress.get((job.provider, job.spec.model))
        after = poll_schedule.next_poll(
            known, elapsed, found.progress, work.app.settings.poll_interval, meaning
        )
        return job.id, job.fence, after, found.progress
    work.ended(job, found.seconds)
    await _ready(work, job, found, elapsed)
    return None


async def lost(work: Work, job: Job) -> None:
    """A synchronous call whose process died: its picture, if any, is gone."""
    provider = work.app.providers.get(job.provider)
    if provider is not None and await _may_repeat(work, job, provider, again=True):
        await work.app.commit(transitions.retry(job.id, job.fence, after=0, note="worker_lost", unknown=True))
        job_spans.write_generation(job, error="worker_lost")
        await notify.submit([job.wake])


async def expire(work: Work, job_id: str) -> None:
    """A job past its deadline: stop it at the provider and have the person told."""
    job = await work.app.ledger.job(job_id)
    if job is not None:
        await fail(work, job, ErrorKind.TIMEOUT, "deadline", anyone=True)


async def fail(work: Work, job: Job, kind: ErrorKind | str, code: str = "", *, anyone: bool = False) -> None:
    """End a job without a picture; a deliver step will tell the person.

    Args:
        anyone: also when the job was not claimed here.
    """
    fence = None if anyone else job.fence
    ending = await work.app.commit(
        transitions.fail(job.id, fence, kind=str(kind), code=code, cap=work.app.cap(job.provider))
    )
    if not ending.done:
        return
    with job_spans.under(job.wake.trace):
        log.info("job failed", job_id=job.id, kind=str(kind), code=code, state=ending.before)
    if ending.before == "running" and kind == ErrorKind.TIMEOUT:
        await stop(work, job)
    await notify.send(deliver=[job.wake], submit=ending.released)


async def stop(work: Work, job: Job) -> None:
    """Cancel a generation at the provider, where it can; nothing depends on it."""
    provider = work.app.providers.get(job.provider)
    if provider is None or job.ticket is None or not provider.capabilities.cancel:
        return
    try:
        with job_spans.under(job.generation or job.wake.trace):
            await provider.cancel(Ticket.from_json(job.ticket))
    except ProviderError as error:
        _count(job, error)


async def _request(work: Work, job: Job) -> GenRequest:
    return GenRequest(
        job_id=job.id,
        prompt=job.spec.prompt,
        model=job.spec.model,
        aspect=cast(Aspect, job.spec.aspect),
        source=await _source(work, job.spec.source) if job.spec.source else None,
        user_hash=hashlib.sha256(f"imagebot:{job.user}".encode()).hexdigest()[:32],
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
    data = await work.app.ledger.upload(source)
    if data is None:
        raise ProviderError(ErrorKind.BAD_SOURCE, "upload_gone")
    return await asyncio.to_thread(source_image, data)


async def _from_telegram(work: Work, file_id: str) -> SourceImage:
    try:
        buffer = await work.bot.download(file_id, timeout=60)
    except TelegramBadRequest as error:
        raise ProviderError(ErrorKind.BAD_SOURCE, "telegram_file") from error
    except (TelegramRetryAfter, TelegramNetworkError, TelegramAPIError, OSError) as error:
        raise ProviderError(ErrorKind.NETWORK, "telegram_file") from error
    if buffer is None:
        raise ProviderError(ErrorKind.BAD_SOURCE, "telegram_file")
    return await asyncio.to_thread(source_image, buffer.read())


async def _begin_synchronous(work: Work, job: Job, provider: Provider, request: GenRequest) -> None:
    generation = job_spans.open_generation(job)
    ours = await work.app.commit(
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
        running = dataclasses.replace(job, generation=generation)
        work.spawn(_synchronous(work, running, provider, request))


async def _synchronous(work: Work, job: Job, provider: Provider, request: GenRequest) -> None:
    """Await the answer of a provider that has no tasks; the lease is kept meanwhile."""
    async with work.room() as room:
        with work.hold(job, stop_if_lost=True):
            try:
                began = time.monotonic()
                with job_spans.under(job.generation):
                    async with asyncio.timeout(request.deadline):
                        done = await provider.submit(dataclasses.replace(request, room=room))
            except ProviderError as error:
                _count(job, error)
                await _judge(work, job, error)
                await _generation_failed(work, job, error)
            except TimeoutError:
                await fail(work, job, ErrorKind.TIMEOUT, "deadline")
            else:
                if isinstance(done, Ticket):
                    raise TypeError(f"{provider.name} is synchronous but answered with a ticket")
                took = time.monotonic() - began
                await _judge(work, job)
                await _ready(work, job, done, took)


async def _accepted(work: Work, job: Job, provider: Provider, request: GenRequest, ticket: Ticket) -> None:
    known = work.durations.get((job.provider, job.spec.model), [])
    generation = job_spans.open_generation(job)
    task = ticket.to_json()
    ours = await work.app.commit(
        transitions.accepted(
            job.id,
            job.fence,
            ticket=task,
            after=poll_schedule.first_poll(known, work.app.settings.poll_interval),
            generation=generation,
            callback=request.callback_url is not None,
        )
    )
    await _judge(work, job)
    if ours:
        metrics.wait_duration.record(_waited(job), {"imagebot.provider": job.provider})
    else:
        running = dataclasses.replace(job, ticket=task, generation=generation)
        job_spans.write_generation(running, error="cancelled")
        await stop(work, running)


async def _ready(work: Work, job: Job, done: Done, seconds: float) -> None:
    """The picture is there, so many seconds after the provider took the job."""
    data = done.image.data or b""
    result = {"url": done.image.url} if done.image.url else {}
    ours, released = await work.app.commit(
        transitions.ready(
            job.id,
            job.fence,
            result=result,
            data=data,
            cap=work.app.cap(job.provider),
            model=job.spec.model,
            keep=_ORIGINAL_SECONDS,
            took=done.seconds,
        )
    )
    if ours:
        facts = {"gen_ai.response.finish_reasons": (done.finish_reason or "stop",)}
        job_spans.write_generation(job, attributes=facts)
        labels = {"imagebot.provider": job.provider, "gen_ai.request.model": job.spec.model}
        metrics.generation_duration.record(seconds, labels)
        if job.ticket is not None:
            metrics.generation_polls.record(job.polls + 1, {"imagebot.provider": job.provider})
    await notify.send(deliver=[job.wake] if ours else (), submit=released)


async def _judge(work: Work, job: Job, error: ProviderError | None = None) -> None:
    """Tell the provider's breaker how a submit went; what is the job's own fault says nothing."""
    gate = f"provider:{job.provider}"
    if error is not None and error.kind in _ITS_FAULT | _AT_ONCE:
        work.troubled.add(job.provider)
        if await work.app.limiter.failed(gate, at_once=error.kind in _AT_ONCE):
            log.error("provider fails, left alone for a while", provider=job.provider, kind=error.kind)
    elif job.provider in work.troubled and (error is None or error.kind is not ErrorKind.RATE_LIMITED):
        work.troubled.discard(job.provider)
        if await work.app.limiter.passed(gate):
            log.warning("provider answers again", provider=job.provider)


async def _submit_failed(work: Work, job: Job, error: ProviderError) -> bool:
    """A submit came to nothing: once more later (True), or the end."""
    if error.kind is ErrorKind.RATE_LIMITED:
        away = error.retry_after if error.retry_after is not None else _STAY_AWAY
        await work.app.limiter.close(f"provider:{job.provider}", away)
        return await _again(work, job, away, f"limited:{job.provider}", free=True)
    if error.submitted:
        return await _unknown(work, job)
    if error.retryable and job.tries < _TRIES:
        pause = error.retry_after or min(2.0**job.tries, _LONGEST_PAUSE)
        return await _again(work, job, pause, f"retry:{error.kind}")
    if error.kind in _ITS_FAULT | _AT_ONCE and await _fail_over(work, job):
        return True
    await fail(work, job, error.kind, error.code)
    return False


async def _fail_over(work: Work, job: Job) -> bool:
    """Let another provider make the picture, if one can. Never after a refusal: that would be going
    round a safety filter."""
    app = work.app
    moves = job.story.count(" failover:")
    if not app.settings.failover or moves >= len(app.providers) - 1:
        return False
    for name, provider in app.providers.items():
        able = provider.capabilities.can_make(job.spec.prompt, edit=job.spec.source is not None)
        tried = name == job.provider or f" failover:{name}@" in job.story
        if tried or not able or await app.limiter.breaker(f"provider:{name}") == 2:
            continue
        model = app.model(name, edit=job.spec.source is not None)
        moved, released = await app.commit(
            transitions.reroute(
                job.id,
                job.fence,
                spec=dataclasses.replace(job.spec, model=model),
                wake=dataclasses.replace(job.wake, provider=name),
                cap=app.cap(job.provider),
                other_cap=app.cap(name),
            )
        )
        await notify.submit(released)
        if moved:
            with job_spans.under(job.wake.trace):
                log.warning("failed over", job_id=job.id, provider=job.provider, to=name)
            return True
    return False


async def _generation_failed(work: Work, job: Job, error: ProviderError) -> None:
    """A generation ended without a picture: a new one, or the end."""
    if await _submit_failed(work, job, error):
        job_spans.write_generation(job, error=error.kind)


async def _unknown(work: Work, job: Job) -> bool:
    """The provider may have taken the job without our knowing its task."""
    metrics.submit_unknown.add(1, {"imagebot.provider": job.provider})
    if work.app.settings.submit_unknown == "fail" or job.unknown > 0:
        await fail(work, job, "submit_unknown")
        return False
    return await _again(work, job, 1.0, "submit_unknown", unknown=True)


async def _may_repeat(work: Work, job: Job, provider: Provider, *, again: bool = False) -> bool:
    """Whether a step whose process died may be submitted a second time; if not, the job was failed.

    `job.unknown` counts the lost submits, this one included unless `again`.
    """
    if provider.capabilities.idempotent_submit:
        return True
    metrics.submit_unknown.add(1, {"imagebot.provider": job.provider})
    allowed = 0 if again else 1
    if work.app.settings.submit_unknown == "retry" and job.unknown <= allowed:
        return True
    await fail(work, job, "submit_unknown")
    return False


async def _again(
    work: Work, job: Job, after: float, note: str, *, free: bool = False, unknown: bool = False
) -> bool:
    if job.now + after * 1000 >= job.deadline:
        await fail(work, job, ErrorKind.TIMEOUT, note.partition(":")[0])
        return False
    return await work.app.commit(
        transitions.retry(job.id, job.fence, after=after, note=note, free=free, unknown=unknown)
    )


def _count(job: Job, error: ProviderError) -> None:
    metrics.provider_errors.add(1, {"imagebot.provider": job.provider, "error.type": error.kind})
    with job_spans.under(job.generation or job.wake.trace):
        log.warning(
            "provider error",
            job_id=job.id,
            provider=job.provider,
            kind=error.kind,
            code=error.code,
            status=error.status,
        )


def _waited(job: Job) -> float:
    return max(0.0, (job.now - job.created) / 1000)
