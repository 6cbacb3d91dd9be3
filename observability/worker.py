"""Telemetry of a Dramatiq worker process, as middleware: set up when it boots, sent when it stops.

Forked workers start without the parent's threads and leave without running `atexit`, so both belong
into Dramatiq's hooks. It makes no spans; that is `observability.dramatiq`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dramatiq import Broker, Middleware

from observability import Telemetry


class TelemetryMiddleware(Middleware):
    """Starts telemetry in each worker process and shuts it down after its last message.

    Belongs first in the list of middleware: shutdown hooks run in reverse, so what others still
    record while they stop is sent too.

        broker = RedisBroker(middleware=[
            TelemetryMiddleware(lambda: setup("worker", secrets=[token])),
            TracingMiddleware(flush=False),
            ...
        ])

    Args:
      start: called once in each worker process; usually `observability.setup` with its arguments.
    """

    def __init__(self, start: Callable[[], Telemetry]) -> None:
        self._start = start
        self._telemetry: Telemetry | None = None

    def after_process_boot(self, broker: Broker) -> None:
        self._telemetry = self._start()

    def flush(self) -> None:
        """Send what is buffered, for a process that is about to end without its shutdown hooks."""
        if self._telemetry is not None:
            self._telemetry.flush(timeout=1.0)

    def after_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.shutdown()
