"""A worker process: what lives in its event loop beside the actors' steps.

As Dramatiq middleware it opens the app when the worker boots, runs the scheduler and the leases'
renewal, and on SIGTERM lets what is under way end before the process does.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware

from src.app import cancel_all, open_app
from src.ops.heartbeat import Heartbeat
from src.ops.originals import Sweeper
from src.settings import Settings

if TYPE_CHECKING:
    from src.pipeline.leases import Work
    from src.pipeline.scheduler import Scheduler

T = TypeVar("T")

# From SIGTERM to the end; a container is killed 20 to 30 s after it.
_DRAIN_SECONDS = 17.0
_STEPS_SECONDS = 14.0

# Objects made and not yet freed before the garbage collector looks at the young ones. With thousands of
# generations in flight, Python's 700 would have it look at all of them several times a second.
_YOUNG_OBJECTS = 50_000

_work: Work | None = None


def work() -> Work:
    """The shared parts of this worker process."""
    if _work is None:
        raise RuntimeError("this is not a worker process")
    return _work


class WorkerProcess(Middleware):
    """Opens and closes the shared parts of a worker process. Stands after `AsyncIO`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._scheduler: Scheduler | None = None
        self._background: list[asyncio.Task[None]] = []
        self._end = 0.0

    @property
    def background(self) -> list[asyncio.Task[None]]:
        """The tasks that run until the process ends."""
        return list(self._background)

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        _run(self._open())

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        # The modules stay as long as the process: the collector need not go through them again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._end = time.monotonic() + _DRAIN_SECONDS
        _run(self._stop_claiming())

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        _run(self._close())

    async def _open(self) -> None:
        # A client of Telegram costs seconds to load: the api and the commands make this broker, too, and need none.
        from src.pipeline.leases import Work
        from src.pipeline.scheduler import Scheduler
        from src.telegram.client import make_bot
        from src.telegram.i18n import Texts
        from src.telegram.messages import Messages

        global _work
        settings = self._settings
        app = await self._stack.enter_async_context(open_app(settings))
        bot = make_bot(settings, app.limiter)
        self._stack.push_async_callback(bot.session.close)
        _work = Work(app, bot, Messages(bot, app.ledger, Texts(), settings, edits=app.routing.offered().edit))
        self._scheduler = Scheduler(_work)
        heartbeat = Heartbeat(app, "worker")
        self._stack.push_async_callback(heartbeat.retire)
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self._scheduler.run(), name="the scheduler"),
            loop.create_task(_work.keep_leases(), name="the leases' renewal"),
            loop.create_task(heartbeat.run(), name="the heartbeat"),
            loop.create_task(Sweeper(app).run(), name="the sweep of originals"),
        ]

    async def _stop_claiming(self) -> None:
        if self._scheduler is not None and _work is not None:
            await self._scheduler.stop(0)
            # Dramatiq waits for its threads without a limit of ours: what takes long must let them go.
            asyncio.get_running_loop().call_later(_STEPS_SECONDS, _work.cut_short)

    async def _close(self) -> None:
        if self._scheduler is not None and _work is not None:
            left = max(0.5, self._end - time.monotonic())
            await asyncio.gather(self._scheduler.stop(left), _work.drain(left))
            await _work.messages.placeholders.finish(max(0.5, self._end - time.monotonic()))
        await cancel_all(self._background)
        await self._stack.aclose()


def _run(step: Coroutine[Any, Any, T]) -> T:
    """Do something in the loop and wait for it."""
    thread = get_event_loop_thread()
    if thread is None:
        raise RuntimeError("AsyncIO must stand before WorkerProcess")
    return thread.run_coroutine(step)
