"""The actors, in a worker whose consumer threads die as Dramatiq's can: quietly."""

from __future__ import annotations

from dramatiq.worker import ConsumerThread

from src.actors import broker, deliver, submit

__all__ = ["broker", "deliver", "submit"]


def _die(self: ConsumerThread) -> None:
    return


ConsumerThread.run = _die  # type: ignore[method-assign]
