"""Keeps placeholders up to date: one loop in one of the bot processes, with few Redis commands.

A tick costs a round trip or two of a handful of commands however many jobs are open, and one for all those
requests whose words may have changed. When many are open Telegram's calls are needed for pictures, so a
request then gets at most one change, when its turn has come. A chat that takes nothing now is left alone
for a while: who floods it with requests costs the others nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import structlog
from aiogram.exceptions import TelegramAPIError, TelegramRetryAfter
from redis.exceptions import RedisError

from src.app import App
from src.bot.estimates import Outlook
from src.bot.ordering import PLACE_PATIENCE
from src.jobs import PENDING, Request, Standing, keys
from src.limits import OVERALL
from src.ops.leader import Leader
from src.pipeline import notify
from src.telegram.client import Undeliverable
from src.telegram.messages import Messages
from src.telegram.throttle import MANY_OPEN, GateClosed, seconds_of
from src.telemetry import job_spans

log = structlog.get_logger(__name__)

_AT_ONCE = 8
_LINE_READ = 2000
_UNPLACED_MS = 1000 * (PLACE_PATIENCE + 5)
# For how long one answer of Telegram's gates is believed, and a request without a placeholder is not read.
_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Redis's time in ms, the requests that are open, and, where these are many, the jobs that wait."""

    now: int
    requests: tuple[str, ...]
    waiting: frozenset[str]


class Progress:
    """The loop. Several bot processes may run one; the lease in Redis lets one of them act."""

    def __init__(self, app: App, messages: Messages, outlook: Outlook) -> None:
        self._app = app
        self._messages = messages
        self._outlook = outlook
        self._watched: dict[str, Request] = {}
        # When those without a placeholder are read again, in ms of Redis's clock.
        self._read_again: dict[str, float] = {}
        # Until when a chat takes nothing, or (None) all of Telegram: seconds of this process's clock.
        self._closed: dict[int | None, float] = {}
        self._since: int | None = None
        self._leader = Leader(app, "progress", 3 * app.settings.progress_interval)

    async def run(self) -> None:
        """Tick until cancelled; Redis or Telegram being away only costs ticks."""
        while True:
            await asyncio.sleep(self._app.settings.progress_interval)
            try:
                if await self._leader.held():
                    await self.tick()
                else:
                    self._watched.clear()
            except RedisError as error:
                log.warning("no progress", error=type(error).__name__)
            except Exception:
                log.exception("progress failed")

    async def resign(self) -> None:
        """Let another process lead at once."""
        await self._leader.resign()

    async def tick(self) -> int:
        """Look once; how many placeholders were changed."""
        snapshot = await self._snapshot()
        if self._since is None:
            self._since = snapshot.now
        await self._follow(snapshot)
        many = len(self._watched) > MANY_OPEN
        worth = [
            request
            for request in self._watched.values()
            if self._may_change(request, snapshot, many) and self._takes(request.chat)
        ]
        worth.sort(key=lambda request: request.shown_at)
        asked = [request.id for request in worth[:MANY_OPEN]]
        standings = await self._app.ledger.standings(asked)
        going_on = {s.request.id for s in standings if not all(job.ended for job in s.jobs)}
        if over := set(asked) - going_on:
            # Ended by a version that left them here, or gone.
            await self._app.redis.zrem(keys.OPEN(), *over)
        self._watched |= {standing.request.id: standing.request for standing in standings}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(standing: Standing) -> bool:
            async with gate:
                # The ones before it may have found its chat closed.
                return self._takes(standing.request.chat) and await self._bring_up_to_date(standing)

        return sum(await asyncio.gather(*map(one, standings)))

    async def _snapshot(self) -> Snapshot:
        async with self._app.redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(keys.OPEN(), 0, -1)
            (seconds, micros), requests = await pipe.execute()
        lines: list[list[str]] = []
        if len(requests) > MANY_OPEN:
            async with self._app.redis.pipeline(transaction=False) as pipe:
                for provider in self._app.providers:
                    pipe.zrange(keys.LINE(provider), 0, _LINE_READ - 1)
                lines = await pipe.execute()
        now = int(seconds) * 1000 + int(micros) // 1000
        return Snapshot(now, tuple(requests), frozenset(job for line in lines for job in line))

    async def _follow(self, snapshot: Snapshot) -> None:
        """Begin to watch what is new, read again what had no placeholder, forget what has ended."""
        unknown = [number for number in snapshot.requests if self._is_to_be_read(number, snapshot.now)]
        if unknown:
            async with self._app.redis.pipeline(transaction=False) as pipe:
                for number in unknown:
                    pipe.hgetall(keys.REQUEST(number))
                answers = await pipe.execute()
            for number, raw in zip(unknown, answers, strict=True):
                if (request := Request.parse(number, raw)) is not None:
                    self._watched[number] = request
                    # Soon while it is new: its placeholder is on its way.
                    age = (snapshot.now - request.created) / 2
                    self._read_again[number] = snapshot.now + min(age, 1000 * _AGAIN_SECONDS)
        gone = [number for number in snapshot.requests if number not in self._watched]
        if gone:
            await self._app.redis.zrem(keys.OPEN(), *gone)
        current = set(snapshot.requests).difference(gone)
        self._watched = {number: r for number, r in self._watched.items() if number in current}
        self._read_again = {number: at for number, at in self._read_again.items() if number in current}

    def _is_to_be_read(self, number: str, now: int) -> bool:
        known = self._watched.get(number)
        return known is None or (not known.messages and now >= self._read_again.get(number, 0))

    def _takes(self, chat: int) -> bool:
        """Whether Telegram may take something for a chat now."""
        now = time.monotonic()
        return all(self._closed.get(which, now) <= now for which in (chat, None))

    def _leave_alone(self, chat: int, refused: TelegramRetryAfter) -> None:
        now = time.monotonic()
        self._closed = {which: until for which, until in self._closed.items() if until > now}
        overall = isinstance(refused, GateClosed) and refused.gate == OVERALL
        self._closed[None if overall else chat] = now + min(seconds_of(refused), _AGAIN_SECONDS)

    def _may_change(self, request: Request, snapshot: Snapshot, many: bool) -> bool:
        if not request.messages:
            # What is older than this process was left by one that died before it could send it.
            left = request.created < (self._since or 0)
            return left or request.unplaced or snapshot.now - request.created > _UNPLACED_MS
        if snapshot.now - request.shown_at < self._app.settings.progress_interval * 1000:
            return False
        # In a group a change takes one of the twenty messages a minute that its pictures need.
        if not many and not request.group:
            return True
        return "waiting" in request.shown and snapshot.waiting.isdisjoint(request.jobs)

    async def _bring_up_to_date(self, standing: Standing) -> bool:
        request, jobs = standing.request, standing.jobs
        if len(jobs) != len(request.jobs) or all(job.state not in PENDING for job in jobs):
            # The delivery of these is under way, and its edit is the one that counts.
            return False
        estimates = await self._outlook.estimates(jobs, standing.lines)
        offer = await self._outlook.offer(standing, estimates)
        try:
            with job_spans.under(jobs[0].wake.trace):
                if not request.messages:
                    wakes = await self._messages.placeholders.place(request, jobs, estimates, offer)
                    await notify.deliver(wakes)
                    return True
                changed = await self._messages.progress(request, jobs, estimates, offer)
                if changed and (current := await self._app.ledger.request(request.id)) is not None:
                    self._watched[request.id] = current
                    if current.chosen != request.chosen:
                        # The answer to that choice was on its way too, and this change may hide it.
                        shown = replace(current, shown="")
                        await self._messages.progress(shown, jobs, estimates, asked=True)
        except TelegramRetryAfter as error:
            self._leave_alone(request.chat, error)
            return False
        except (Undeliverable, TelegramAPIError) as error:
            # The picture's own delivery decides what becomes of it.
            log.info("progress not shown", request_id=request.id, error=type(error).__name__)
            return False
        return changed
