"""The event loop of the long-running processes: uvloop, or asyncio's own where it is not installed.

Nothing depends on which it is; uvloop does the same work with less CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import dramatiq
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.middleware import AsyncIO

try:
    import uvloop
except ImportError:
    _new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_event_loop = uvloop.new_event_loop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in that loop."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(work)


class WorkerLoop(AsyncIO):
    """Dramatiq's `AsyncIO` with that loop in its thread."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        thread = EventLoopThread(self.logger)
        thread.loop.close()
        thread.loop = _new_event_loop()
        thread.start(timeout=1.0)
        set_event_loop_thread(thread)
