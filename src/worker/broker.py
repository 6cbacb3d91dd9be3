"""The Dramatiq broker, Redis or RabbitMQ, and its middleware, in order.

Both are Dramatiq's own, with its own default middleware, so other actors beside ours find what they expect. Ours
say `max_retries=0`: when a step runs again is written in the ledger, and a lost message is sent again from there.
"""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, default_middleware

from observability import Telemetry, setup
from observability.dramatiq import TracingMiddleware, instrument_broker
from observability.worker import TelemetryMiddleware
from src.limits import Refusal
from src.pipeline import notify
from src.pipeline.queues import NAMESPACE, QUEUES
from src.settings import Settings, SettingsError
from src.store.clients import make_sync_redis
from src.telemetry import job_spans, metrics
from src.worker.loop import WorkerLoop
from src.worker.process import WorkerProcess, work
from src.worker.rate_limits import RateLimits
from src.worker.watchdog import Watchdog

# Between two looks of an idle worker into an empty queue of ours, at most: a message waits for 46 ms at the median.
_IDLE_MS = 120


def start_telemetry(settings: Settings, service: str) -> Telemetry:
    """Telemetry and logs of a process, with every secret in force kept out.

    Raises:
        SettingsError: a variable of OpenTelemetry's cannot be read.
    """
    try:
        return setup(
            service,
            version=metrics.VERSION,
            secrets=settings.secrets(),
            log_format=settings.log_format,
            log_level=settings.log_level,
            spool=job_spans.spans_folder(settings),
            first_to_write=job_spans.first_to_write(settings),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def make_broker(settings: Settings) -> dramatiq.Broker:
    """The broker of this process.

    Raises:
        SettingsError: it cannot be made in this process.
    """
    _refuse_gevent()
    broker = _redis_broker(settings) if settings.broker_url is None else _rabbitmq_broker(settings)
    process = WorkerProcess(settings)
    telemetry = TelemetryMiddleware(lambda: start_telemetry(settings, "imagebot-worker"))
    middleware: list[Middleware] = [
        # Before the rest, so that its shutdown is last: everything else has said its word by then.
        telemetry,
        # Ends the process when a thread or the loop has died.
        Watchdog(lambda: notify.in_queue(broker), lambda: process.background, telemetry.flush),
        # The loop that the steps, HTTP and the scheduler share.
        WorkerLoop(),
        # The ledger, the providers and the scheduler, inside that loop.
        process,
        *(part() for part in default_middleware),
        # Last, so that no gate is taken for what another would skip.
        RateLimits(lambda: work().app.limiter, _count),
    ]
    for part in middleware:
        broker.add_middleware(part)
    # Puts itself before all that sends or skips messages, so that their spans are right; and works in
    # processes that only send, where no actor is declared.
    instrument_broker(broker, flush=False)
    # What stands before it has its turn when a message's span has ended.
    broker.add_middleware(job_spans.EndJobSpans(), before=TracingMiddleware)
    return broker


class _PromptRedisBroker(RedisBroker):
    """Dramatiq's, with our queues looked into more often than a second apart; its threads and others' queues are not."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        if queue_name in QUEUES and "dramatiq_worker_timeout" not in os.environ:
            timeout = min(timeout, _IDLE_MS)
        return super().consume(queue_name, prefetch, timeout)


def _redis_broker(settings: Settings) -> dramatiq.Broker:
    client = make_sync_redis(settings, decode_responses=False)
    return _PromptRedisBroker(client=client, namespace=NAMESPACE, middleware=[])  # type: ignore[no-untyped-call]


def _rabbitmq_broker(settings: Settings) -> dramatiq.Broker:
    try:
        from src.worker.rabbitmq import QuorumBroker
    except ModuleNotFoundError:
        raise SettingsError("BROKER_URL: RabbitMQ needs `pip install 'imagebot[rabbitmq]'`") from None
    return QuorumBroker(settings)


def _refuse_gevent() -> None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise SettingsError(
            "dramatiq-gevent cannot run these actors: their steps share an asyncio loop, which needs a thread of "
            "its own. Start them by `dramatiq`"
        )


def _count(refusal: Refusal) -> None:
    metrics.limits_refused.add(1, {"imagebot.gate": metrics.gate_kind(refusal.gate)})
