"""The Dramatiq broker, Redis or RabbitMQ, and its middleware, in order.

Messages are wake-ups, so Dramatiq's own Retries, AgeLimit and delays are left out: when a step runs
again is written in the ledger, and a lost message is sent again from there.
"""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
from dramatiq.middleware import Middleware

from observability import Telemetry, setup
from observability.dramatiq import instrument_broker
from observability.worker import TelemetryMiddleware
from src.pipeline.notify import QUEUE
from src.settings import Settings, SettingsError
from src.store.clients import make_sync_redis
from src.telemetry import job_spans
from src.worker.loop import Loop
from src.worker.process import WorkerProcess
from src.worker.rate_limits import RateLimits
from src.worker.wakeups import WakeUps
from src.worker.watchdog import Watchdog


def start_telemetry(settings: Settings, service: str) -> Telemetry:
    """Telemetry and logs of a process, with every secret in force kept out."""
    return setup(
        service,
        secrets=settings.secrets(),
        log_format=settings.log_format,
        log_level=settings.log_level,
        spool=job_spans.spans_folder(settings),
        first_to_write=job_spans.first_to_write(settings),
    )


def make_broker(settings: Settings) -> dramatiq.Broker:
    """The broker of this process."""
    broker, waiting = (_redis_broker if settings.broker_url is None else _rabbitmq)(settings)
    process = WorkerProcess(settings)
    telemetry = TelemetryMiddleware(lambda: start_telemetry(settings, "imagebot-worker"))
    middleware: list[Middleware] = [
        # Before the rest, so that its shutdown is last: everything else has said its word by then.
        telemetry,
        # Ends the process when a thread or the loop has died.
        Watchdog(waiting, lambda: process.background, telemetry.flush),
        # The loop that the steps, HTTP and the scheduler share.
        Loop(),
        # Before a message runs: which gates does it need?
        RateLimits(),
        # The ledger, the providers and the scheduler, inside that loop.
        process,
    ]
    for part in middleware:
        broker.add_middleware(part)
    # Puts itself before all that sends or skips messages, so that their spans are right; and works in
    # processes that only send, where no actor is declared.
    instrument_broker(broker, flush=False)
    return broker


def _redis_broker(settings: Settings) -> tuple[dramatiq.Broker, Callable[[], int]]:
    broker = WakeUps(lambda: make_sync_redis(settings, decode_responses=False))
    return broker, lambda: broker.waiting(QUEUE)


def _rabbitmq(settings: Settings) -> tuple[dramatiq.Broker, Callable[[], int]]:
    try:
        from src.worker.rabbitmq import QuorumBroker
    except ModuleNotFoundError:
        raise SettingsError("BROKER_URL: RabbitMQ needs `pip install 'imagebot[rabbitmq]'`") from None
    broker = QuorumBroker(settings)
    return broker, broker.waiting
