"""The actors, in a worker that counts the wake-ups it sends; with GUARD=off it sends again however long the queue is."""

from __future__ import annotations

import os
import sys
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

from src.actors import broker, deliver, settings, submit
from src.pipeline import scheduler
from src.store.clients import make_sync_redis

__all__ = ["broker", "deliver", "submit"]

SENT = "test:sent"
"""The key that counts."""

_client = make_sync_redis(settings)


class _Counting(Middleware):
    def after_enqueue(self, broker: dramatiq.Broker, message: Any, delay: Any) -> None:
        _client.incr(SENT)


broker.add_middleware(_Counting())
if os.environ.get("GUARD") == "off":
    scheduler._MANY = sys.maxsize
