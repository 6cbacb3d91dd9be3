"""The scheduler: one loop a worker process that does what is due in the ledger.

It polls generations, sends wake-ups again that went missing, takes over what a dead process held, and
ends jobs that are past their deadline. Thousands of rows are one script call and no thread.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from src.jobs import Job, Wake, transitions
from src.jobs.answers import Row
from src.jobs.transitions import GoesOn
from src.pipeline import deliver, failures, notify, poll, submit, timeouts
from src.pipeline.leases import Work
from src.telemetry import owed_spans

log = structlog.get_logger(__name__)

_POLLS = 1000
_ROWS = 250
# Wake-ups in the queue beyond which those that nobody acted on are not sent again.
_MANY = 200


class Scheduler:
    """Runs until `stop`, which lets the polls under way end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ledger = work.app.ledger
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        # Under way, with the moment at which each began, in that order.
        self._polls: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._polled: list[GoesOn] = []
        self._has_polled = asyncio.Event()
        # In the queue, as far as is known: nothing is sent again before that is asked.
        self._waiting = _MANY

    async def run(self) -> None:
        """Look at what is due, for ever; Redis being away only makes it wait."""
        self._spawn(self._record_last())
        self._spawn(self._learn())
        self._spawn(self._count_waiting())
        self._spawn(self._write_owed_spans())
        while not self._stopping.is_set():
            self._give_up_late()
            try:
                wait = await self._look()
            except RedisError as error:
                log.warning("ledger is away", error=type(error).__name__)
                await self._sleep(timeouts.LONGEST_LOOK)
                continue
            except Exception:
                # One row that cannot be read must not keep all others from being looked at.
                log.exception("looking at what is due broke")
                await self._sleep(timeouts.LONGEST_LOOK)
                continue
            await self._sleep(timeouts.SHORTEST_LOOK)
            if wait > timeouts.SHORTEST_LOOK:
                await _wait(self._has_polled, min(wait, timeouts.LONGEST_LOOK) - timeouts.SHORTEST_LOOK)

    async def stop(self, seconds: float) -> None:
        """Claim nothing more and wait for what is under way, at most that long."""
        self._stopping.set()
        self._has_polled.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _look(self) -> float:
        settings = self._work.app.settings
        room = min(_ROWS, _POLLS - len(self._polls))
        if room <= 0:
            return timeouts.SHORTEST_LOOK
        polled = self._take_polled()
        try:
            rows, wait = await self._ledger.run(
                transitions.due(room, lease=settings.lease, holder=self._work.app.holder, polled=polled)
            )
        except RedisError:
            # Their leases run out and they are polled again.
            if polled:
                log.warning("polls not recorded", jobs=len(polled))
            raise
        submits: list[Wake] = []
        delivers: list[Wake] = []
        # Behind a long queue a wake-up is not lost but late: one more would make it longer still.
        late = self._waiting >= _MANY
        for row in rows:
            if row.what == "poll" and row.job is not None:
                self._polls[self._spawn(self._poll(row.job))] = time.monotonic()
            elif row.again and late:
                continue
            elif row.what == "submit" and row.wake is not None:
                submits.append(row.wake)
            elif row.what == "deliver" and row.wake is not None:
                delivers.append(row.wake)
            else:
                self._spawn(self._rare(row))
        self._waiting += len(delivers) + len(submits)
        await notify.send(deliver=delivers, submit=submits)
        return 0.0 if len(rows) == room else timeouts.LONGEST_LOOK if wait is None else wait

    def _take_polled(self) -> list[GoesOn]:
        self._has_polled.clear()
        polled, self._polled = self._polled, []
        return polled

    async def _poll(self, job: Job) -> None:
        again: GoesOn | None = None
        task = asyncio.current_task()
        try:
            again = await poll.poll(self._work, job)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            again = GoesOn(job.id, job.fence, timeouts.HUNG_POLL_PAUSE, job.progress, job.ahead)
        except RedisError as error:
            log.warning("poll not recorded", job_id=job.id, error=type(error).__name__)
        finally:
            if task is not None:
                self._polls.pop(task, None)
                self._late.discard(task)
            if again is not None:
                self._polled.append(again)
            if again is not None or self._stopping.is_set():
                self._has_polled.set()

    def _give_up_late(self) -> None:
        """The lease covers a poll: a provider that hangs longer is asked again by whoever is free.

        Looked at here for all, as a timer for each would cost half of what the poll's own steps do.
        """
        until = time.monotonic() - self._work.app.settings.lease
        late = itertools.takewhile(lambda poll: poll[1] < until, self._polls.items())
        for task in {task for task, _ in late} - self._late:
            self._late.add(task)
            task.cancel()

    async def _record_last(self) -> None:
        """Let go what was polled and is in no look: the looks end before the last polls do."""
        await self._stopping.wait()
        while self._polls or self._polled:
            await self._has_polled.wait()
            polled = self._take_polled()
            if not polled:
                continue
            try:
                await self._ledger.run(transitions.polled(polled))
            except RedisError as error:
                log.warning("polls not recorded", jobs=len(polled), error=type(error).__name__)

    async def _rare(self, row: Row) -> None:
        try:
            if row.what == "lost" and row.job is not None:
                await submit.lost(self._work, row.job)
            elif row.what == "expired":
                await failures.expire(self._work, row.id)
            elif row.what == "late":
                await failures.move_on(self._work, row.id, late=True)
            elif row.what == "close":
                await deliver.close(self._work, row.id)
        except RedisError as error:
            log.warning("not done, due again later", what=row.what, id=row.id, error=type(error).__name__)

    async def _learn(self) -> None:
        """Learn how long generations take, and which providers have trouble."""
        while not self._stopping.is_set():
            try:
                known = await self._ledger.all_durations()
                # In order, as they are looked at for each poll.
                self._work.durations.update({model: sorted(took) for model, took in known.items()})
                await self._look_for_trouble()
            except RedisError as error:
                log.warning("nothing learned", error=type(error).__name__)
            await self._sleep(timeouts.LEARN)

    async def _write_owed_spans(self) -> None:
        """Write the spans of what has ended whose process died before it did."""
        while not self._stopping.is_set():
            try:
                await self._work.owed.look()
            except RedisError as error:
                log.warning("spans that are owed not looked at", error=type(error).__name__)
            await self._sleep(owed_spans.EVERY)

    async def _count_waiting(self) -> None:
        """Ask how long the queue is; between two answers each look adds what it sends."""
        while not self._stopping.is_set():
            try:
                self._waiting = await notify.waiting()
            except (RedisError, BrokerError, OSError):
                # What would be sent now would not arrive.
                self._waiting = _MANY
            await self._sleep(timeouts.COUNT_WAITING)

    async def _look_for_trouble(self) -> None:
        """Another process may have opened a provider's breaker that this one can close."""
        for name in self._work.app.providers:
            if await self._work.app.limiter.breaker(f"provider:{name}"):
                self._work.troubled.add(name)

    async def _sleep(self, seconds: float) -> None:
        await _wait(self._stopping, seconds)

    def _spawn(self, step: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a step of the scheduler broke", error=type(error).__name__, exc_info=error)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """For the event, at most that long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
