"""A worker process: what lives in its event loop, and how the actors' steps get there.

As Dramatiq middleware it opens the app when the worker boots, runs the scheduler and the leases'
renewal, and on SIGTERM lets what is under way end before the process does.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import queue
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, ParamSpec, TypeVar

import dramatiq
import structlog
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread
from dramatiq.middleware import Middleware, SkipMessage

from observability.dramatiq import outlasting
from src.app import cancel_all, open_app
from src.limits import Refusal
from src.ops.heartbeat import Heartbeat
from src.pipeline.leases import Work
from src.pipeline.scheduler import Scheduler
from src.settings import Settings
from src.telegram.client import make_bot
from src.telegram.i18n import Texts
from src.telegram.messages import Delivery
from src.telemetry import metrics
from src.worker.rate_limits import MessageRefused, take_gates, takes_gates

T = TypeVar("T")
P = ParamSpec("P")

log = structlog.get_logger(__name__)

# From SIGTERM to the end; a container is killed 20 to 30 s after it.
_DRAIN_SECONDS = 17.0
_STEPS_SECONDS = 14.0

# Objects made and not yet freed before the garbage collector looks at the young ones. With thousands of
# generations in flight, Python's 700 would have it look at all of them several times a second.
_YOUNG_OBJECTS = 50_000

# Steps under way in the loop; beyond them messages wait, for whichever process is free.
_STEPS = 128

# A place for each. It is written in C, and a step has to do with it twice.
_room: queue.SimpleQueue[None] = queue.SimpleQueue()
for _ in range(_STEPS):
    _room.put(None)
_work: Work | None = None


def work() -> Work:
    """The shared parts of this worker process."""
    if _work is None:
        raise RuntimeError("this is not a worker process")
    return _work


def in_loop(step: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An actor's function that starts the step in the worker's loop and lets its thread go.

    The step first takes its actor's `limits`. The message is acknowledged by then, and its CONSUMER span ends with
    the step. What the step raises is logged: the ledger has it done again.
    """

    @functools.wraps(step)
    def start(*args: P.args, **kwargs: P.kwargs) -> None:
        thread = _loop_thread()
        _room.get()
        ended = outlasting()

        async def run() -> None:
            error: BaseException | None = None
            try:
                await take_gates(work().app.limiter, _count)
                await step(*args, **kwargs)
            except asyncio.CancelledError as cancelled:
                error = cancelled
                raise
            except SkipMessage as skipped:
                error = skipped
                if not isinstance(skipped, MessageRefused):
                    log.warning("a step was skipped, it is done again", step=step.__name__, why=str(skipped))
            except Exception as failure:
                error = failure
                log.error("a step broke, it is done again", step=step.__name__, exc_info=failure)
            finally:
                _room.put(None)
                ended(error)

        thread.loop.call_soon_threadsafe(lambda: work().spawn(run()), context=contextvars.copy_context())

    return takes_gates(start)


def _count(refusal: Refusal) -> None:
    metrics.limits_refused.add(1, {"imagebot.gate": metrics.gate_kind(refusal.gate)})


class WorkerProcess(Middleware):
    """Opens and closes the shared parts of a worker process. Stands after `Loop`."""

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
        _run(self._open(broker))

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

    async def _open(self, broker: dramatiq.Broker) -> None:
        global _work
        settings = self._settings
        app = await self._stack.enter_async_context(open_app(settings, broker))
        bot = make_bot(settings, app.limiter)
        self._stack.push_async_callback(bot.session.close)
        _work = Work(app, bot, Delivery(bot, app.ledger, Texts(), settings))
        self._scheduler = Scheduler(_work)
        heartbeat = Heartbeat(app, "worker")
        self._stack.push_async_callback(heartbeat.retire)
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self._scheduler.run(), name="the scheduler"),
            loop.create_task(_work.keep_leases(), name="the leases' renewal"),
            loop.create_task(heartbeat.run(), name="the heartbeat"),
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
        await cancel_all(self._background)
        await self._stack.aclose()


def _run(step: Coroutine[Any, Any, T]) -> T:
    """Do something in the loop and wait for it."""
    return _loop_thread().run_coroutine(step)


def _loop_thread() -> EventLoopThread:
    thread = get_event_loop_thread()
    if thread is None:
        raise RuntimeError("the Loop middleware must stand before WorkerProcess")
    return thread
