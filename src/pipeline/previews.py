"""Showing a person the picture as far as it is drawn, while its provider draws on.

Nothing depends on it: a preview that fails, or for which Telegram has no room, is left out.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiogram.exceptions import TelegramAPIError
from redis.exceptions import RedisError

from src.jobs import Job, Request, State, keys
from src.pipeline import timeouts
from src.pipeline.leases import Work
from src.providers.base import ImageRef, Provider, ProviderError
from src.telegram.client import Undeliverable
from src.telegram.throttle import MANY_OPEN
from src.telemetry import job_spans

log = structlog.get_logger(__name__)

# Each is a call of Telegram's; a provider may offer them as long as it draws.
_MOST = 3


async def wanted(work: Work, job: Job, provider: Provider) -> bool:
    """Whether unfinished pictures are to be asked for: each costs something. Albums and groups have no room for them,
    nor has anybody while many wait; and who stumbled over it is asked without the next time."""
    single = job.spec.chat > 0 and job.spec.count == 1 and job.tries == 1
    if not (single and provider.capabilities.previews):
        return False
    try:
        if await work.app.redis.zcard(keys.OPEN()) > MANY_OPEN:
            return False
        request = await work.app.ledger.request(job.request)
    except RedisError:
        return False
    # What a person sent through us takes no upload.
    return request is not None and request.inline is None


class Previews:
    """Of a job that runs in this process's hands; left as a context, none is on its way any more.

    Attributes:
        shown: how many were.
    """

    def __init__(self, work: Work, job: Job, provider: Provider) -> None:
        self.shown = 0
        self._work = work
        self._job = job
        self._provider = provider
        self._task: asyncio.Task[None] | None = None
        self._newest = b""
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Previews:
        return self

    async def __aexit__(self, error: object, *_: object) -> None:
        if self._task is None:
            return
        self._ended.set()
        try:
            if error is None:
                # The picture comes after it. Cut short, its fate would be unknown, and the picture put there twice.
                await asyncio.wait({self._task}, timeout=timeouts.LAST_PREVIEW)
        finally:
            self._task.cancel()

    def take(self, data: bytes) -> None:
        """Show an unfinished picture, unless enough were shown, another is on its way, or those of too many others are."""
        self._newest = data
        free = self._task is None or self._task.done()
        if self.shown < _MOST and free and not self._work.previews.locked():
            self._task = asyncio.get_running_loop().create_task(self._show())

    async def _show(self) -> None:
        job = self._job
        try:
            if (request := await self._in_turn()) is None:
                return
            async with self._work.previews:
                image = await self._provider.fetch(ImageRef(data=self._newest))
                with job_spans.under(job.generation):
                    self.shown += await self._work.messages.preview(job, request, image)
        except (ProviderError, TelegramAPIError, Undeliverable, RedisError, OSError) as error:
            log.info("no preview", job_id=job.id, error=type(error).__name__)
        except Exception:
            log.exception("preview broke", job_id=job.id)

    async def _in_turn(self) -> Request | None:
        """The request, when its placeholder may be changed again: the last change was a while ago. None: it may not, or the
        picture is there before."""
        pause = 1000 * self._work.app.settings.progress_interval
        while (standing := await self._work.app.ledger.standing(self._job.request)) is not None:
            request, jobs = standing.request, standing.jobs
            ours = [(job.state, job.fence) for job in jobs] == [(State.RUNNING, self._job.fence)]
            if not (ours and request.messages):
                break
            if (left := pause - (standing.lines.now - request.shown_at)) <= 0:
                return request
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), left / 1000)
                break
        return None
