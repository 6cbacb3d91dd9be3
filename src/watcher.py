"""The watcher: one loop a worker process that does what is due in the ledger.

It polls generations, sends wake-ups again that went missing, takes over what a dead process held, and
ends jobs that are past their deadline. Thousands of rows are one script call and no thread.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from redis.exceptions import RedisError

from src import generation, showing, wake
from src.jobs import Job, Wake, transitions
from src.jobs.transitions import Row
from src.work import Work

log = structlog.get_logger(__name__)

_POLLS = 1000
_ROWS = 250
_LONGEST_SLEEP = 0.5
_SHORTEST_SLEEP = 0.02
_BATCH_SECONDS = 0.03
_HEARTBEAT_SECONDS = 5.0
_LEARN_SECONDS = 5.0


class Watcher:
    """Runs until `stop`, which lets the polls under way end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ledger = work.app.ledger
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._polling = 0
        self._polled: list[tuple[str, int, float, float | None]] = []
        self._has_polled = asyncio.Event()

    async def run(self) -> None:
        """Look at what is due, for ever; Redis being away only makes it wait."""
        self._spawn(self._commit_polls())
        self._spawn(self._beat())
        while not self._stopping.is_set():
            try:
                wait = await self._look()
            except RedisError as error:
                log.warning("ledger is away", error=type(error).__name__)
                wait = _LONGEST_SLEEP
            except Exception:
                # One row that cannot be read must not end the watch over all others.
                log.exception("looking at what is due broke")
                wait = _LONGEST_SLEEP
            await self._sleep(max(_SHORTEST_SLEEP, min(wait, _LONGEST_SLEEP)))

    async def stop(self, seconds: float) -> None:
        """Claim nothing more and wait for what is under way, at most that long."""
        self._stopping.set()
        self._has_polled.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _look(self) -> float:
        settings = self._work.app.settings
        room = min(_ROWS, _POLLS - self._polling)
        if room <= 0:
            return _SHORTEST_SLEEP
        rows, wait = await self._ledger.run(
            transitions.due(room, lease=settings.lease, holder=self._work.app.holder)
        )
        submits: list[Wake] = []
        delivers: list[Wake] = []
        for row in rows:
            if row.what == "poll" and row.job is not None:
                self._polling += 1
                self._spawn(self._poll(row.job))
            elif row.what == "submit" and row.wake is not None:
                submits.append(row.wake)
            elif row.what == "deliver" and row.wake is not None:
                delivers.append(row.wake)
            else:
                self._spawn(self._rare(row))
        await wake.send(deliver=delivers, submit=submits)
        return 0.0 if len(rows) == room else _LONGEST_SLEEP if wait is None else wait

    async def _poll(self, job: Job) -> None:
        try:
            # The lease covers a poll: a provider that hangs longer is asked again by whoever is free.
            async with asyncio.timeout(self._work.app.settings.lease):
                again = await generation.poll(self._work, job)
        except TimeoutError:
            again = (job.id, job.fence, 1.0, job.progress)
        except RedisError as error:
            log.warning("poll not recorded", job_id=job.id, error=type(error).__name__)
            return
        finally:
            self._polling -= 1
        if again is not None:
            self._polled.append(again)
            self._has_polled.set()

    async def _commit_polls(self) -> None:
        """Record polls in bulk: one script call for all that ended within a moment."""
        while not (self._stopping.is_set() and self._polling == 0 and not self._polled):
            await self._has_polled.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            if not self._stopping.is_set():
                self._has_polled.clear()
            batch, self._polled = self._polled, []
            if not batch:
                continue
            try:
                await self._ledger.run(transitions.polled(batch))
            except RedisError as error:
                # Their leases run out and they are polled again.
                log.warning("polls not recorded", jobs=len(batch), error=type(error).__name__)

    async def _rare(self, row: Row) -> None:
        try:
            if row.what == "lost" and row.job is not None:
                await generation.lost(self._work, row.job)
            elif row.what == "expired":
                await generation.expire(self._work, row.id)
            elif row.what == "close":
                await showing.close(self._work, row.id)
        except RedisError as error:
            log.warning("not done, due again later", what=row.what, id=row.id, error=type(error).__name__)

    async def _beat(self) -> None:
        """Say that this process lives, and learn how long generations take."""
        learned = 0.0
        while not self._stopping.is_set():
            try:
                await self._ledger.beat(self._work.app.holder)
                if time.monotonic() - learned > _LEARN_SECONDS:
                    learned = time.monotonic()
                    self._work.durations.update(await self._ledger.all_durations())
                    await self._look_for_trouble()
            except RedisError as error:
                log.warning("no heartbeat", error=type(error).__name__)
            await self._sleep(_HEARTBEAT_SECONDS)

    async def _look_for_trouble(self) -> None:
        """Another process may have opened a provider's breaker that this one can close."""
        for name in self._work.app.providers:
            if await self._work.app.limiter.breaker(f"provider:{name}"):
                self._work.troubled.add(name)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _spawn(self, step: Any) -> None:
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a watcher's step broke", error=type(error).__name__, exc_info=error)
