"""Ends a worker process that only looks alive, so that its supervisor starts it again; and one that was
told to end and does not.

Dramatiq goes on without a thread that has died, and a loop that stands still stops no thread. What the
process held is taken over when its leases run out; whoever started it (`imagebot run`, a container's
restart policy) starts the next one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any

import dramatiq
import structlog
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.errors import BrokerError
from dramatiq.middleware import Middleware
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

# Counted in looks, not in seconds: a process that was stopped as a whole (SIGSTOP, a sleeping machine)
# wakes up late but well.
_EVERY = 2.0
_LOOP_LOOKS = 8
_FLOW_LOOKS = 15
# Orderly ends are over before; a container is killed 20 to 30 s after SIGTERM.
_LONGEST_END = 17.5


class Watchdog(Middleware):
    """Looks every two seconds whether everything that must run does. Stands before what skips messages.

    Args:
        waiting: messages in the queue; raises RedisError or BrokerError while nobody can know.
        background: the tasks of the event loop that run for ever.
        last_words: called before the process ends, to send what it has measured; takes a few seconds at most.
    """

    def __init__(
        self,
        waiting: Callable[[], int],
        background: Callable[[], list[asyncio.Task[None]]],
        last_words: Callable[[], object],
    ) -> None:
        self._waiting = waiting
        self._background = background
        self._last_words = last_words
        self._stopped = threading.Event()
        self._overdue: threading.Timer | None = None
        self._busy: set[int] = set()
        self._unanswered = 0
        self._untaken = 0

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        threading.Thread(target=self._watch, args=(worker,), name="watchdog", daemon=True).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopped.set()
        # Threads cannot be made to end. What they hold is due again when its leases run out.
        self._overdue = threading.Timer(_LONGEST_END, self._end, ("it was told to end and did not", 0))
        self._overdue.daemon = True
        self._overdue.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        # A process of Dramatiq's own still waits for threads in which a call hangs, which nothing else would end.
        if self._overdue is not None and multiprocessing.parent_process() is None:
            self._overdue.cancel()

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        self._busy.add(threading.get_ident())
        self._untaken = 0

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        self._busy.discard(threading.get_ident())

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        self._busy.discard(threading.get_ident())

    def _watch(self, worker: dramatiq.Worker) -> None:
        while not self._stopped.wait(_EVERY):
            if (reason := self.ailment(worker)) and not self._stopped.is_set():
                self._end(reason, 1)

    def ailment(self, worker: dramatiq.Worker) -> str:
        """What is wrong with this process; empty: nothing."""
        for thread in (*worker.workers, *worker.consumers.values()):
            if not thread.is_alive():
                return f"a {type(thread).__name__} has died"
        for task in self._background():
            if task.done():
                return f"{task.get_name()} has ended"
        if not self._loop_answers():
            return f"the event loop stood still for {_LOOP_LOOKS * _EVERY:.0f} s"
        if not self._messages_flow():
            return f"messages wait and none was taken for {_FLOW_LOOKS * _EVERY:.0f} s"
        return ""

    def _loop_answers(self) -> bool:
        """Ask the loop to say that it runs; whether it did so lately."""
        thread = get_event_loop_thread()
        if thread is None or not thread.is_alive():
            return False
        self._unanswered += 1
        thread.loop.call_soon_threadsafe(self._answer)
        return self._unanswered <= _LOOP_LOOKS

    def _answer(self) -> None:
        self._unanswered = 0

    def _messages_flow(self) -> bool:
        """Whether somebody takes the messages that wait, unless everybody here is busy."""
        try:
            waits = self._waiting() > 0
        except (RedisError, BrokerError):
            waits = False
        self._untaken = self._untaken + 1 if waits and not self._busy else 0
        return self._untaken <= _FLOW_LOOKS

    def _end(self, reason: str, code: int) -> None:
        log.critical("this process is of no use any more, it ends", reason=reason)
        self._last_words()
        # What is stuck would hold up an orderly exit.
        os._exit(code)
