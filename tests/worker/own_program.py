"""A worker's program with the bot's actors, Dramatiq's Prometheus middleware and actors of one's own:
`dramatiq tests.worker.own_program`."""

from __future__ import annotations

from typing import Any

from dramatiq.middleware.prometheus import Prometheus

from src.actors import broker, settings
from src.store.clients import make_sync_redis
from src.worker.rate_limits import RateLimits
from tests.worker.own_actors import declare

_client = make_sync_redis(settings)


def _seen(text: str) -> Any:
    return _client.rpush("own:seen", text)


broker.add_middleware(Prometheus(), before=RateLimits)
declare(broker, _seen)
