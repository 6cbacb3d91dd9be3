"""The actors, in a worker that ends in order but for a thread that is left in a call: Python would wait for it."""

from __future__ import annotations

import asyncio
import threading

from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware

from src.actors import broker, deliver, submit

__all__ = ["broker", "deliver", "submit"]


class _Leaving(Middleware):
    def before_worker_shutdown(self, *_: object) -> None:
        thread = get_event_loop_thread()
        assert thread is not None
        thread.run_coroutine(_hang())


async def _hang() -> None:
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)


broker.add_middleware(_Leaving())
