"""The actors, in a worker whose threads never come back from a message."""

from __future__ import annotations

import threading
from typing import Any

from dramatiq.worker import WorkerThread

from src.actors import broker, deliver, submit

__all__ = ["broker", "deliver", "submit"]


def _never_end(self: WorkerThread, message: Any) -> None:
    threading.Event().wait()


WorkerThread.process_message = _never_end  # type: ignore[method-assign]
