"""Showing the person a job's outcome: the picture, or why there is none. The last step of a job.

How it looks in the chat is `src.telegram.messages`; here is when it is tried again, and what counts as done.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from aiogram.exceptions import TelegramAPIError, TelegramBadRequest, TelegramNetworkError, TelegramRetryAfter
from redis.exceptions import RedisError

from src.jobs import NO_CHAT, Job, Request, State, transitions
from src.jobs.answers import Finish
from src.limits import delivery_turn, ticket_of
from src.pipeline import generation
from src.pipeline.leases import Work
from src.providers.base import ErrorKind, ImageRef, Picture, ProviderError
from src.telegram.client import Undeliverable
from src.telegram.placeholders import NotYet
from src.telegram.throttle import GateClosed, lane
from src.telemetry import job_spans, metrics

log = structlog.get_logger(__name__)

_DAY = 86_400
_FETCHES = 6
_BAD_REQUESTS = 3
_REFUSED = "retry:bad_request"
# What stands in the story after an attempt whose call to Telegram may have taken effect.
_UNHEARD = " retry:Telegram"
_LONGEST_PAUSE = 60.0
_CLOSE_PATIENCE = 2.0
_PING_AFTER = 60.0


async def show(work: Work, job: Job, request: Request | None) -> None:
    """Show a claimed job's outcome and end it."""
    if request is None:
        await _finish(work, job, {}, kind="request_lost")
        return
    with work.hold(job):
        try:
            if request.chat != NO_CHAT and not request.messages:
                request, sent = await work.delivery.placing.hold(job, request)
                if sent:
                    await _later(work, job, 0.0, "placed", free=True)
                    return
            if job.state is State.DELIVERING:
                async with work.uploads, await _picture(work, job) as picture:
                    if request.chat == NO_CHAT:
                        shown = _kept(job, picture)
                    else:
                        with lane("paid"):
                            shown = await work.delivery.picture(job, request, picture)
            elif request.chat == NO_CHAT:
                shown = {}
            else:
                with lane("paid"):
                    shown = await work.delivery.notice(job, request)
        except NotYet as waits:
            gates, ticket = delivery_turn(work.app.settings, job.id, request.chat, group=request.group)
            await work.app.limiter.keep(gates, ticket, waits.turn)
            await _later(work, job, waits.seconds, "limited:telegram", free=True)
            return
        except ProviderError as error:
            job_spans.fail_step(error.kind)
            await _fetch_failed(work, job, request, error)
            return
        except Undeliverable as error:
            job_spans.fail_step(error.kind)
            await _finish(work, job, {}, kind=error.kind)
            return
        except TelegramRetryAfter as error:
            await _later(work, job, float(error.retry_after), "limited:telegram", free=True)
            return
        except TelegramBadRequest as error:
            job_spans.fail_step(type(error).__name__)
            await _refused(work, job, request, error)
            return
        except (TelegramNetworkError, TelegramAPIError) as error:
            job_spans.fail_step(type(error).__name__)
            await _later(work, job, _pause(job), f"retry:{type(error).__name__}")
            return
        except (RedisError, OSError):
            raise  # its lease ends, and another tries
        except Exception as error:
            job_spans.fail_step(type(error).__name__)
            await _broken(work, job, request, error)
            return
        finish = await _finish(work, job, shown)
    if job.state is State.CANCELLED:
        work.let_go(job.id)
        await generation.stop(work, job)
    if request.chat != NO_CHAT:
        await _close(work, job, request, finish)
    elif job.spec.source is not None:
        await work.app.ledger.drop_upload(job.spec.source)


async def close(work: Work, request_id: str) -> None:
    """Give an album's status message its last words, if that was not done when its last job ended."""
    ledger = work.app.ledger
    standing = await ledger.standing(request_id)
    if standing is not None and standing.request.status_message is not None:
        try:
            with lane("result", patience=_CLOSE_PATIENCE, ticket=ticket_of("close", request_id)):
                await work.delivery.close(standing.request, standing.jobs)
        except (Undeliverable, TelegramBadRequest) as error:
            log.info("status message is gone", request_id=request_id, error=type(error).__name__)
        except GateClosed as closed:
            # Its turn is reserved: a little before it.
            await ledger.close_later(request_id, max(0.0, closed.seconds - _CLOSE_PATIENCE / 2))
            return
        except TelegramAPIError:
            return
    await ledger.closed(request_id)


async def _picture(work: Work, job: Job) -> AbstractAsyncContextManager[Picture]:
    """The job's picture, to be opened."""
    provider = work.app.providers.get(job.provider)
    if provider is None:
        raise ProviderError(ErrorKind.AUTH, "no_key")
    url = (job.result or {}).get("url")
    data = None if url else await work.app.ledger.blob(job.id)
    if not url and data is None:
        raise ProviderError(ErrorKind.BAD_RESULT, "blob_gone")
    return provider.open(ImageRef(url=url, data=data))


def _kept(job: Job, picture: Picture) -> dict[str, Any]:
    """What is kept of a picture that nobody's chat shows: what it is, and where it can be fetched again."""
    shown: dict[str, Any] = {"mime": picture.mime, "width": picture.width, "height": picture.height}
    if job.result and job.result.get("url"):
        shown["url"] = job.result["url"]
    return shown


async def _fetch_failed(work: Work, job: Job, request: Request, error: ProviderError) -> None:
    metrics.provider_errors.add(1, {"imagebot.provider": job.provider, "error.type": error.kind})
    log.warning("picture not fetched", job_id=job.id, kind=error.kind, code=error.code, status=error.status)
    if error.retryable and job.deliveries < _FETCHES:
        await _later(work, job, error.retry_after or _pause(job), f"retry:{error.kind}")
    else:
        await _give_up(work, job, request, error.kind, error.code)


async def _refused(work: Work, job: Job, request: Request, error: TelegramBadRequest) -> None:
    """Telegram does not take this message as it is: not likely to change, but once or twice it does."""
    log.warning("telegram refused", job_id=job.id, method=type(error.method).__name__)
    # Attempts that failed for other reasons say nothing about the message.
    if job.story.count(_REFUSED) < _BAD_REQUESTS - 1:
        await _later(work, job, _pause(job), _REFUSED)
    elif job.state is State.DELIVERING:
        await _give_up(work, job, request, "telegram_refused")
    else:
        await _finish(work, job, {}, kind="telegram_refused")


async def _broken(work: Work, job: Job, request: Request, error: Exception) -> None:
    """A fault of ours: some are passing, but one that stays must not keep the person waiting for ever."""
    log.error("showing broke", job_id=job.id, exc_info=error)
    if job.deliveries < _BAD_REQUESTS:
        await _later(work, job, _pause(job), f"retry:{type(error).__name__}")
    elif job.state is State.DELIVERING:
        await _give_up(work, job, request, "internal")
    else:
        await _finish(work, job, {}, kind="internal")


async def _give_up(work: Work, job: Job, request: Request, kind: str, code: str = "") -> None:
    """End a picture that cannot be shown, unless it is shown: the answer to an earlier edit may have been lost."""
    if request.chat != NO_CHAT and _UNHEARD in job.story:
        message = await work.delivery.shown_already(job, request)
        if message is not None:
            await _finish(work, job, {"message": message})
            return
    await generation.fail(work, job, kind, code)


def _pause(job: Job) -> float:
    return min(float(2 ** min(job.deliveries, 6)), _LONGEST_PAUSE)


async def _later(work: Work, job: Job, after: float, note: str, *, free: bool = False) -> None:
    await work.app.commit(transitions.retry(job.id, job.fence, after=after, note=note, free=free))


async def _finish(work: Work, job: Job, shown: dict[str, Any], *, kind: str = "") -> Finish:
    settings = work.app.settings
    finish = await work.app.commit(
        transitions.finish(job.id, job.fence, shown=shown, ttl=settings.job_ttl_days * _DAY, kind=kind)
    )
    if not finish.outcome:
        return finish
    job_spans.write_end(job, finish.outcome, kind=kind)
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
    asked_for = request.chosen == "later" and finish.outcome != State.CANCELLED
    if asked_for or (done and finish.seconds > _PING_AFTER):
        if len(request.jobs) > 1 and not done:
            jobs = await work.app.ledger.jobs(request.jobs)
            done = any(job.state is State.DELIVERED for job in jobs)
        try:
            await work.delivery.ping(job, request, done=done)
        except (TelegramAPIError, Undeliverable) as error:
            log.info("no ping", job_id=job.id, error=type(error).__name__)
