"""Showing the person a job's outcome: the picture, or why there is none. The last step of a job.

How it looks in the chat is `src.telegram.messages`'s to say, and whether it is tried again `retry_policy`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramMigrateToChat,
    TelegramRetryAfter,
)
from opentelemetry import trace
from redis.exceptions import RedisError

from src.jobs import NO_CHAT, Job, Request, State, transitions
from src.jobs.answers import Finish, Standing
from src.jobs.spending import DAY
from src.jobs.uploads import name_of
from src.pipeline import failures, notify, retry_policy, timeouts
from src.pipeline.leases import Work
from src.pipeline.retry_policy import Again, GiveUp
from src.providers.base import ErrorKind, ImageRef, Picture, ProviderError
from src.store.blobs import UPLOADS, BlobsAway
from src.telegram.client import Undeliverable
from src.telegram.placeholders import NotYet
from src.telegram.throttle import GateClosed, priority
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)


async def show(work: Work, job: Job, request: Request | None) -> None:
    """Show a claimed job's outcome and end it."""
    if job.state is State.CANCELLED:
        # Before this step holds it in that one's place.
        work.let_go(job.id)
    with priority("result", patience=timeouts.DELIVERY_PATIENCE, comes_again=True):
        await _show(work, job, request)


async def _show(work: Work, job: Job, request: Request | None) -> None:
    if request is None:
        await _finish(work, job, {}, kind="request_lost")
        return
    with work.hold(job):
        try:
            # A finished picture is tried all the same: it may have been let in meanwhile.
            if job.state is not State.DELIVERING and await _is_put_out(work, request):
                raise Undeliverable("blocked")
            if request.chat != NO_CHAT and not request.messages:
                request, others = await work.messages.placeholders.hold(job, request)
                await notify.deliver(others)
            if job.state is State.DELIVERING:
                began = time.time_ns()
                async with work.uploads:
                    job_spans.waited("wait for an upload", began)
                    async with await _picture(work, job) as picture:
                        _describe(picture)
                        if request.chat == NO_CHAT:
                            shown = _kept(job, picture)
                        else:
                            shown = await work.messages.picture(job, request, picture)
            elif request.chat == NO_CHAT:
                shown = {}
            else:
                shown = await work.messages.notice(job, request)
        except NotYet:
            await failures.again(work, job, retry_policy.no_turn(timeouts.ALBUM_AGAIN))
            return
        except (RedisError, OSError):
            raise  # its lease ends, and another tries
        except Exception as error:
            await _failed(work, job, request, error)
            return
        finish = await _finish(work, job, shown)
    if request.chat != NO_CHAT:
        await _close(work, job, request, finish)
    elif job.spec.source is not None:
        await _drop_upload(work, job.spec.source)


async def _is_put_out(work: Work, request: Request) -> bool:
    """Nothing can be said in the request's chat, so not even a turn is taken for it."""
    return (
        request.inline is None and request.chat != NO_CHAT and await work.app.ledger.is_put_out(request.chat)
    )


async def _drop_upload(work: Work, source: str) -> None:
    try:
        await work.app.blobs.delete(f"{UPLOADS}/{name_of(source)}")
    except BlobsAway as error:
        log.warning("upload not dropped, a sweep will", why=str(error))


async def close(work: Work, request_id: str) -> None:
    """Leave nothing of a request in its chat that promises what is over: its status message or notice has the last
    words, and messages that do not count are deleted."""
    ledger = work.app.ledger
    standing = await ledger.standing(request_id)
    if standing is not None and not _tried_long(standing):
        request, jobs = standing.request, standing.jobs
        try:
            if await _is_put_out(work, request):
                raise Undeliverable("blocked")
            with priority("result", patience=timeouts.CLOSE_PATIENCE, comes_again=True):
                await _last_words(work, request, jobs)
                await work.messages.placeholders.take_back_strays(request)
        except (Undeliverable, TelegramBadRequest, TelegramMigrateToChat) as error:
            log.info("status message is gone", request_id=request_id, error=type(error).__name__)
            await ledger.settled(request_id, "changing", "previewing")
        except GateClosed as closed:
            await ledger.close_later(request_id, closed.seconds)
            return
        except TelegramAPIError:
            return
        else:
            if request.changing and all(job.ended for job in jobs):
                # A change that was on its way has the last word, unless ours comes after it.
                await ledger.settled(request_id, "changing", "previewing")
                await ledger.close_later(request_id, timeouts.SETTLES)
                return
    await ledger.closed(request_id)


def _tried_long(standing: Standing) -> bool:
    since = standing.request.closing or standing.lines.now
    return standing.lines.now - since >= 1000 * timeouts.CLOSING


async def _last_words(work: Work, request: Request, jobs: Sequence[Job]) -> None:
    if not jobs or not all(job.ended for job in jobs):
        return
    await work.messages.end(request, jobs)


async def _picture(work: Work, job: Job) -> AbstractAsyncContextManager[Picture]:
    """The job's picture, to be opened."""
    provider = work.app.providers.get(job.provider)
    if provider is None:
        raise ProviderError(ErrorKind.AUTH, "no_key")
    url = (job.result or {}).get("url")
    data = None if url else await work.app.original(job.id)
    if not url and data is None:
        raise ProviderError(ErrorKind.BAD_RESULT, "blob_gone")
    return provider.open(ImageRef(url=url, data=data))


def _describe(picture: Picture) -> None:
    """Let the step's span tell what is shown."""
    trace.get_current_span().set_attributes(
        {
            "imagebot.image.type": picture.mime,
            "imagebot.image.bytes": picture.size,
            "imagebot.image.width": picture.width,
            "imagebot.image.height": picture.height,
        }
    )


def _kept(job: Job, picture: Picture) -> dict[str, Any]:
    """What is kept of a picture that nobody's chat shows: what it is, and where it can be fetched again."""
    shown: dict[str, Any] = {"mime": picture.mime, "width": picture.width, "height": picture.height}
    return shown | (job.result or {})


async def _failed(work: Work, job: Job, request: Request, error: Exception) -> None:
    """Say what failed, and do what the policy decides."""
    decision = retry_policy.after_delivery(job, error)
    if isinstance(error, TelegramMigrateToChat):
        await work.app.ledger.commit(transitions.migrated(request.chat, error.migrate_to_chat_id, request.id))
    kind = error.kind if isinstance(error, (ProviderError, Undeliverable)) else type(error).__name__
    if not isinstance(error, TelegramRetryAfter):
        job_spans.fail_step(kind)
    if isinstance(error, GateClosed):
        metrics.limits_refused.add(1, {"imagebot.gate": metrics.gate_kind(error.gate)})
        trace.get_current_span().add_event(
            "imagebot.limited", {"imagebot.gate": error.gate, "imagebot.retry_after": error.seconds}
        )
    elif isinstance(error, ProviderError):
        await failures.provider_failed(work, job, error, "fetch")
    elif kind == "no_storage":
        await work.owner.no_storage()
    elif isinstance(error, TelegramBadRequest):
        log.warning("telegram refused", job_id=job.id, method=type(error.method).__name__)
    elif not isinstance(error, (TelegramAPIError, Undeliverable)):
        log.error("showing broke", job_id=job.id, exc_info=error)
    if isinstance(decision, Again):
        await failures.again(work, job, decision)
    elif job.state is State.DELIVERING and decision.told:
        await _give_up(work, job, request, decision)
    else:
        await _finish(work, job, {}, kind=decision.kind)


async def _give_up(work: Work, job: Job, request: Request, end: GiveUp) -> None:
    """End a picture that cannot be shown, unless it is: the answer to an earlier edit may have been lost."""
    if request.chat != NO_CHAT and job.unheard:
        try:
            shown = await work.messages.shown_already(job, request)
        except TelegramRetryAfter as error:
            await _failed(work, job, request, error)
            return
        if shown is not None:
            await _finish(work, job, shown)
            return
    await failures.fail(work, job, end.kind, end.code)


async def _finish(work: Work, job: Job, shown: dict[str, Any], *, kind: str = "") -> Finish:
    settings = work.app.settings
    finish = await work.app.ledger.commit(
        transitions.finish(job.id, job.fence, shown=shown, ttl=settings.job_ttl_days * DAY, kind=kind)
    )
    if not finish.outcome:
        return finish
    job_spans.write_end(job, finish.outcome, seconds=finish.seconds, kind=kind)
    work.owed.written(job.id)
    outcome = {"imagebot.outcome": finish.outcome, "imagebot.provider": job.provider}
    metrics.jobs.add(1, {**outcome, "gen_ai.request.model": job.spec.model})
    metrics.job_duration.record(finish.seconds, outcome)
    if finish.outcome == State.DELIVERED and job.ready:
        metrics.delivery_duration.record(finish.seconds - (job.ready - job.created) / 1000)
    log.info(
        "job ended",
        job_id=job.id,
        outcome=finish.outcome,
        kind=kind or job.kind,
        seconds=round(finish.seconds, 1),
        trace_id=job_spans.trace_id(job),
    )
    if job.state is State.CANCELLED:
        await failures.stop(work, job)
    return finish


async def _close(work: Work, job: Job, request: Request, finish: Finish) -> None:
    """After the last job of a request: the album's last words, and a ping when it took long."""
    if not finish.outcome or finish.open_jobs:
        return
    if finish.outcome == State.DELIVERED and request.eta and finish.seconds:
        metrics.eta_error.record(abs(request.eta - finish.seconds) / finish.seconds)
    if request.status_message is not None:
        await close(work, request.id)
    done = finish.outcome == State.DELIVERED
    if len(request.jobs) > 1:
        # Chosen, perhaps, while another job of it was on its way.
        request = await work.app.ledger.request(request.id) or request
    if request.inline is not None:
        return
    asked_for = request.chosen == "later" and finish.outcome != State.CANCELLED
    if asked_for or (done and finish.seconds > timeouts.PING_AFTER):
        if len(request.jobs) > 1 and not done:
            jobs = await work.app.ledger.jobs(request.jobs)
            done = any(job.state is State.DELIVERED for job in jobs)
        try:
            with priority("result"):
                await work.messages.ping(job, request, done=done)
        except (TelegramAPIError, Undeliverable) as error:
            log.info("no ping", job_id=job.id, error=type(error).__name__)
