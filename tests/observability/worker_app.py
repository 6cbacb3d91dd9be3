"""The program that test_worker_processes runs under Dramatiq's command line."""

from __future__ import annotations

import logging
import os

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

client = redis.Redis.from_url(os.environ["TEST_REDIS_URL"])
namespace = os.environ["TEST_NAMESPACE"]
broker = RedisBroker(client=client, namespace=namespace)
logger = logging.getLogger("worker_app")

if os.environ.get("TEST_TELEMETRY") == "own":
    from observability import setup
    from observability.dramatiq import instrument_broker
    from observability.worker import TelemetryMiddleware

    instrument_broker(broker, flush=False)
    broker.middleware.insert(0, TelemetryMiddleware(lambda: setup("test-worker", secrets=["hush-hush"])))

dramatiq.set_broker(broker)


@dramatiq.actor
def quick(number: int) -> None:
    logger.info("quick %s with hush-hush", number)
    client.rpush(f"{namespace}:done", number)


@dramatiq.actor
def hold() -> None:
    """Says that it runs, then runs until it is released."""
    client.rpush(f"{namespace}:started", os.getpid())
    client.blpop([f"{namespace}:release"], timeout=30)
    client.rpush(f"{namespace}:done", "held")
