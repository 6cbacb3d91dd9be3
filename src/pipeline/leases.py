"""What the steps of a worker process share: the app, Telegram, and the jobs this process holds.

A held job's lease is renewed until the step lets go, so a step may take longer than a lease while a
dead process is noticed within one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiogram import Bot
from redis.exceptions import RedisError

from src.app import App
from src.jobs import Job, State, transitions
from src.pipeline.poll_schedule import ProgressCalibration
from src.providers.base import Room
from src.telegram.messages import Messages
from src.telegram.owner import Owner
from src.telemetry import job_spans
from src.telemetry.owed_spans import OwedSpans

log = structlog.get_logger(__name__)

_REPORTS = 10_000

_AGAIN_SECONDS = 0.5
# Each is a download and an upload at once and takes some hundred KB; Telegram takes thirty a second.
_UPLOADS = 32
# Unfinished pictures on their way to Telegram.
_PREVIEWS = 4
# Results inside a provider's answer that are read at once; in memory each takes about four times its size.
_ANSWERS = 8


class _Room:
    """One of the places for answers with pictures."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._taken = False

    async def __call__(self) -> None:
        if not self._taken:
            await self._places.acquire()
            self._taken = True

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._places.release()


@dataclass(slots=True)
class Work:
    """The shared parts of one worker process.

    Attributes:
        troubled: providers whose breaker counts failures or is open.
        suspects: per provider, the hash of the prompt that made it fail last.
        durations: per provider and model, seconds of the last generations, in order; refreshed now and then.
        progress: per provider and model, what its progress means; learned by this process.
        owner: who is told at once of what only the owner can mend.
        owed: takes back the ledger's notes of spans that are written.
        uploads: pictures on their way to Telegram at once; previews: unfinished ones.
    """

    app: App
    bot: Bot
    messages: Messages
    durations: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    progress: dict[tuple[str, str], ProgressCalibration] = field(default_factory=dict)
    troubled: set[str] = field(default_factory=set)
    suspects: dict[str, int] = field(default_factory=dict)
    owner: Owner = field(init=False)
    owed: OwedSpans = field(init=False)
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_UPLOADS))
    previews: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PREVIEWS))
    _answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ANSWERS))
    _reports: dict[str, tuple[float, float]] = field(default_factory=dict)
    _held: dict[str, tuple[int, asyncio.Task[Any] | None]] = field(default_factory=dict)
    _steps: dict[str, asyncio.Task[Any] | None] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)
    _submits: dict[str, str] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.owner = Owner(self.app, self.bot)
        self.owed = OwedSpans(self.app.ledger)
        job_spans.note_servers(self.app.settings, self.app.providers)

    def heard(self, job: Job, elapsed: float, progress: float) -> None:
        """Remember what a provider said of a generation, to learn from it when it has ended."""
        if len(self._reports) >= _REPORTS:
            del self._reports[next(iter(self._reports))]
        self._reports[job.id] = elapsed, progress

    def ended(self, job: Job, seconds: float | None) -> None:
        """A generation is done; `seconds`: how long it took, where the provider tells."""
        elapsed, progress = self._reports.pop(job.id, (0.0, 0.0))
        if seconds and 0 < elapsed <= seconds:
            known = self.progress.setdefault((job.provider, job.spec.model), ProgressCalibration())
            known.learn(progress, elapsed / seconds)

    @contextmanager
    def hold(self, job: Job, *, stop_if_lost: bool = False) -> Iterator[None]:
        """Keep a claimed job's lease while the block runs.

        Args:
            stop_if_lost: cancel this task when the job was cancelled or taken over.
        """
        task = asyncio.current_task()
        self._held[job.id] = (job.fence, task if stop_if_lost else None)
        self._steps[job.id] = task
        if job.state is State.SUBMITTING:
            self._submits[job.id] = f"provider:{job.provider}"
        try:
            yield
        finally:
            if self._held.get(job.id, (None,))[0] == job.fence:
                del self._held[job.id]
                del self._steps[job.id]
                self._told.pop(job.id, None)
                self._submits.pop(job.id, None)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[Room]:
        """Hand out room for a picture's bytes, which is left when the block ends at the latest."""
        room = _Room(self._answers)
        try:
            yield room
        finally:
            room.leave()

    def told(self, job_id: str, progress: float) -> None:
        """How far a held job is: written when its lease is renewed."""
        if job_id in self._held:
            self._told[job_id] = progress

    def let_go(self, job_id: str) -> None:
        """Stop a synchronous call for a job that was cancelled, if this process makes it."""
        _, task = self._held.get(job_id, (0, None))
        if task is not None:
            task.cancel()

    def spawn(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step in the loop, with no thread of its own."""
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cut_short(self) -> None:
        """Give up what is under way: this process must end, and another may begin at once."""
        held = {job: fence for job, (fence, _) in self._held.items()}
        for task in self._steps.values():
            if task is not None:
                task.cancel()
        if held:
            self.spawn(self._hand_back(held))
            # A client that waits for a connection can take one cancellation for its own time-out.
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self.cut_short)

    async def drain(self, seconds: float) -> None:
        """Wait for the spawned steps; what takes longer is handed back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        if self._tasks:
            self.cut_short()
            await asyncio.wait(self._tasks, timeout=1)

    async def _hand_back(self, held: dict[str, int]) -> None:
        """Let the leases of unfinished steps end now."""
        try:
            await self.app.ledger.run(
                transitions.renew([(job, fence, None) for job, fence in held.items()], 0)
            )
        except RedisError as error:
            log.warning("steps not handed back, their leases will end", error=type(error).__name__)

    async def keep_leases(self) -> None:
        """Renew the leases of all held jobs, for ever."""
        lease = self.app.settings.lease
        pause = lease / 3
        while True:
            await asyncio.sleep(pause)
            pause = lease / 3
            held = dict(self._held)
            if not held:
                continue
            try:
                lost = await self.app.ledger.run(
                    transitions.renew(
                        [(job, fence, self._told.get(job)) for job, (fence, _) in held.items()], lease
                    )
                )
                await self.app.limiter.try_on(set(self._submits.values()))
            except RedisError as error:
                log.warning("leases not renewed", error=type(error).__name__, jobs=len(held))
                # The first to be done when Redis is back: see the grace in due.lua.
                pause = min(pause, _AGAIN_SECONDS)
                continue
            for job in lost:
                _, task = held[job]
                if task is not None and self._held.get(job) == held[job]:
                    task.cancel()
