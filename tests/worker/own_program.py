"""A worker's program with the bot's actors, Dramatiq's Prometheus middleware and actors of one's own:
`dramatiq tests.worker.own_program`."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.middleware import Middleware
from dramatiq.middleware.prometheus import Prometheus

from src.actors import broker, settings
from src.store.clients import make_sync_redis
from src.worker.rate_limits import RateLimits
from tests.worker.own_actors import declare

_client = make_sync_redis(settings)


class _Settings(Middleware):
    """Tells how often this worker looks."""

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        _client.set("own:timeout", worker.worker_timeout)


def _seen(text: str) -> Any:
    return _client.rpush("own:seen", text)


broker.add_middleware(Prometheus(), before=RateLimits)
broker.add_middleware(_Settings())
declare(broker, _seen)
