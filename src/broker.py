"""The Dramatiq broker, Redis or RabbitMQ, and its middleware, in order.

Messages are wake-ups, so Dramatiq's own Retries, AgeLimit and delays are left out: when a step runs
again is written in the ledger, and a lost message is sent again from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from observability import Telemetry, setup
from observability.dramatiq import instrument_broker
from observability.worker import TelemetryMiddleware
from src import metrics, tracing
from src.clients import make_sync_redis
from src.limits import Limiter, RateLimits, Refusal
from src.loop import Loop
from src.settings import Settings, SettingsError
from src.wake import NAMESPACE, QUEUE_KEY
from src.watchdog import Watchdog
from src.worker import WorkerProcess


def _count_refusal(refusal: Refusal) -> None:
    metrics.limits_refused.add(1, {"imagebot.gate": metrics.gate_kind(refusal.gate)})


def start_telemetry(settings: Settings, service: str) -> Telemetry:
    """Telemetry and logs of a process, with every secret in force kept out."""
    return setup(
        service,
        secrets=settings.secrets(),
        log_format=settings.log_format,
        log_level=settings.log_level,
        spool=tracing.spans_folder(settings),
        first_to_write=tracing.first_to_write(settings),
    )


class WakeUps(RedisBroker):
    """Redis, without the queue for delayed messages that Dramatiq makes for each other one and polls for ever."""

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if delay is not None:
            raise ValueError("when a step runs again is written in the ledger, not in a delayed message")
        return super().enqueue(message)


def make_broker(settings: Settings) -> dramatiq.Broker:
    """The broker of this process."""
    client = make_sync_redis(settings)
    broker, waiting = _redis_broker(settings, client) if settings.broker_url is None else _rabbitmq(settings)
    process = WorkerProcess(settings)
    telemetry = TelemetryMiddleware(lambda: start_telemetry(settings, "imagebot-worker"))
    middleware: list[Middleware] = [
        # Before the rest, so that its shutdown is last: everything else has said its word by then.
        telemetry,
        # Ends the process when a thread or the loop has died.
        Watchdog(waiting, lambda: process.background, telemetry.flush),
        # The loop that async actors, HTTP and the watcher share.
        Loop(),
        # Before a message runs: does it meet a closed gate?
        RateLimits(Limiter(sync_client=client), _count_refusal),
        # The ledger, the providers and the watcher, inside that loop.
        process,
    ]
    for part in middleware:
        broker.add_middleware(part)
    # Puts itself before all that sends or skips messages, so that their spans are right; and works in
    # processes that only send, where no actor is declared.
    instrument_broker(broker, flush=False)
    return broker


def _redis_broker(settings: Settings, client: Any) -> tuple[dramatiq.Broker, Callable[[], int]]:
    broker = WakeUps(  # type: ignore[no-untyped-call]
        client=make_sync_redis(settings, decode_responses=False), middleware=[], namespace=NAMESPACE
    )
    return broker, lambda: int(client.llen(QUEUE_KEY))


def _rabbitmq(settings: Settings) -> tuple[dramatiq.Broker, Callable[[], int]]:
    try:
        from src.rabbitmq import QuorumBroker
    except ModuleNotFoundError:
        raise SettingsError("BROKER_URL: RabbitMQ needs `pip install 'imagebot[rabbitmq]'`") from None
    broker = QuorumBroker(settings)
    return broker, broker.waiting
