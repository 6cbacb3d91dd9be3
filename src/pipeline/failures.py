"""A step that failed, and a job that ends without a picture: told to whom it concerns, and carried out.

What is to be done is `retry_policy`'s to say.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import structlog

from src.jobs import Job, State, transitions
from src.pipeline import notify, retry_policy
from src.pipeline.leases import Work
from src.pipeline.retry_policy import Again, Elsewhere, GiveUp
from src.providers.base import ErrorKind, ProviderError, Ticket
from src.routing import Route
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)


async def provider_failed(
    work: Work, job: Job, error: ProviderError, step: Literal["submit", "poll", "fetch", "cancel"]
) -> None:
    """Count a provider's error, log it, and where it says so close its gate or tell its breaker."""
    metrics.provider_errors.add(1, {"imagebot.provider": job.provider, "error.type": error.kind})
    with job_spans.under(job.generation or job.wake.trace):
        log.warning(
            "provider error",
            job_id=job.id,
            provider=job.provider,
            step=step,
            kind=error.kind,
            code=error.code,
            status=error.status,
        )
    gate = f"provider:{job.provider}"
    if step == "submit" or error.host is not None:
        await work.owner.failed(job.provider, job.spec.model, error)
    if error.kind is ErrorKind.RATE_LIMITED:
        # Of a poll that failed only the next poll is put off.
        if step == "submit" or error.ended:
            await work.app.limiter.shut(gate, retry_policy.stay_away(error))
    elif step == "submit" and error.kind in retry_policy.BREAKER and not _edits_only(job, error):
        # A prompt at which it stumbles again and again is no reason to shut it for everybody: that counts once.
        prompt = hash(job.spec.prompt)
        if error.kind is ErrorKind.UPSTREAM and work.suspects.get(job.provider) == prompt:
            return
        work.suspects[job.provider] = prompt
        work.troubled.add(job.provider)
        if await work.app.limiter.failed(gate, at_once=retry_policy.BREAKER[error.kind] == "at once"):
            log.error("provider fails, left alone for a while", provider=job.provider, kind=error.kind)
    elif step == "submit":
        await provider_answered(work, job)


async def provider_answered(work: Work, job: Job) -> None:
    """A submit was answered, be it with a refusal: the provider's breaker closes."""
    mended = job.provider in work.troubled
    if mended:
        work.troubled.discard(job.provider)
        work.suspects.pop(job.provider, None)
        if await work.app.limiter.passed(f"provider:{job.provider}"):
            log.warning("provider answers again", provider=job.provider)
    await work.owner.passed(job.provider, mended=mended)


def _edits_only(job: Job, error: ProviderError) -> bool:
    """A model that makes pictures but changes none is no reason to shut the provider for everybody."""
    return error.kind is ErrorKind.MODEL_GONE and job.spec.source is not None


async def after_submit(
    work: Work, job: Job, error: ProviderError, facts: transitions.Facts | None = None
) -> bool:
    """Carry out what the policy says of a submit that failed or a generation that ended without a picture.
    Whether the job goes on."""
    if error.submitted and error.kind is not ErrorKind.RATE_LIMITED:
        metrics.submit_unknown.add(1, {"imagebot.provider": job.provider})
    decision = retry_policy.after_submit(
        job,
        error,
        on_unknown=work.app.settings.submit_unknown,
        others=work.app.routing.others(job.provider, job.spec),
    )
    return await carry_out(work, job, decision, facts)


async def carry_out(
    work: Work, job: Job, decision: Again | Elsewhere | GiveUp, facts: transitions.Facts | None = None
) -> bool:
    """Do what the policy decided; whether the job goes on. `facts`: of the generation that it goes on without."""
    if isinstance(decision, Elsewhere):
        if await _fail_over(work, job, decision.routes, facts):
            return True
        decision = decision.otherwise
    if isinstance(decision, Again):
        return await again(work, job, decision, facts)
    await fail(work, job, decision.kind, decision.code)
    return False


async def again(work: Work, job: Job, decision: Again, facts: transitions.Facts | None = None) -> bool:
    """Put a claimed job back for another try; False: it is no longer ours."""
    return await work.app.ledger.commit(
        transitions.retry(
            job.id,
            job.fence,
            after=decision.after,
            note=decision.note,
            free=decision.free,
            counts=decision.counts,
            facts=facts,
        )
    )


async def fail(work: Work, job: Job, kind: str, code: str = "", *, anyone: bool = False) -> None:
    """End a job without a picture; a deliver step will tell the person.

    Args:
        anyone: also when the job was not claimed here.
    """
    fence = None if anyone else job.fence
    ending = await work.app.ledger.commit(
        transitions.fail(
            job.id,
            fence,
            kind=str(kind),
            code=code,
            cap=work.app.cap(job.provider),
            provider=job.provider,
        )
    )
    if not ending.done:
        return
    with job_spans.under(job.wake.trace):
        log.info("job failed", job_id=job.id, kind=str(kind), code=code, state=ending.before)
    if ending.before == "running" and kind == ErrorKind.TIMEOUT:
        await stop(work, job)
    await notify.send(deliver=[job.wake], submit=ending.released)


async def move_on(work: Work, job_id: str, *, late: bool) -> None:
    """Let another provider make a picture that waits for one whose breaker is open or (`late`) waits so long that its
    deadline nears. Certainly nobody has been asked for it: a picture that may be paid for stays where it is."""
    job = await work.app.ledger.job(job_id)
    if job is None or job.state not in (State.WAITING, State.SUBMITTING):
        return
    if job.holder or job.lost or job.unknown:
        return
    if late or await work.app.limiter.is_open(f"provider:{job.provider}"):
        await _fail_over(
            work, job, retry_policy.untried(job, work.app.routing.others(job.provider, job.spec))
        )


async def expire(work: Work, job_id: str) -> None:
    """A job past its deadline: stop it at the provider and have the person told."""
    job = await work.app.ledger.job(job_id)
    if job is not None:
        await fail(work, job, ErrorKind.TIMEOUT, "deadline", anyone=True)


async def stop(work: Work, job: Job) -> None:
    """Cancel a generation at the provider, where it can; nothing depends on it."""
    provider = work.app.providers.get(job.provider)
    if provider is None or job.ticket is None or not provider.capabilities.cancel:
        return
    try:
        with job_spans.under(job.generation or job.wake.trace):
            await provider.cancel(Ticket.from_json(job.ticket))
    except ProviderError as error:
        await provider_failed(work, job, error, "cancel")


async def _fail_over(
    work: Work, job: Job, routes: tuple[Route, ...], facts: transitions.Facts | None = None
) -> bool:
    """Let the first of these make the picture whose breaker is not open."""
    app = work.app
    for name, model in routes:
        if await app.limiter.is_open(f"provider:{name}"):
            continue
        first = job.spec.instead_of or job.provider
        moved, released = await app.ledger.commit(
            transitions.reroute(
                job.id,
                job.fence,
                spec=job.spec.made_by(name, model, first),
                wake=dataclasses.replace(job.wake, provider=name),
                cap=app.cap(job.provider),
                other_cap=app.cap(name),
                charge=app.routing.charge(Route(name, model), job.spec.quality),
                facts=facts,
            )
        )
        await notify.submit(released)
        if moved:
            with job_spans.under(job.wake.trace):
                log.warning("failed over", job_id=job.id, provider=job.provider, to=name)
            return True
    return False
