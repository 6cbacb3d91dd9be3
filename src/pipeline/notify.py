"""Wake-ups: telling the workers, through Dramatiq, to look at a job.

A wake-up that cannot be sent is no error: the job is due in the ledger and is sent again from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import dramatiq
import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import BrokerError
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from redis.exceptions import RedisError

from observability.dramatiq import anchored_context
from observability.spans import SpanRef, attached, context_of
from src.jobs import Wake
from src.pipeline.queues import DELIVERIES, QUEUE_KEYS, QUEUES, SUBMITS

log = structlog.get_logger(__name__)


async def submit(wakes: Iterable[Wake]) -> None:
    """Wake a worker to submit each job."""
    await send(submit=wakes)


async def deliver(wakes: Iterable[Wake]) -> None:
    """Wake a worker to show the person each job's outcome."""
    await send(deliver=wakes)


async def send(*, deliver: Iterable[Wake] = (), submit: Iterable[Wake] = ()) -> None:
    """Both at once."""
    wakes = [("deliver", wake) for wake in deliver] + [("submit", wake) for wake in submit]
    if wakes:
        # Dramatiq's clients block: in the loop they would stop every chat while the broker is away.
        await asyncio.to_thread(_send, dramatiq.get_broker(), wakes)


async def waiting() -> int:
    """Wake-ups that wait in the queues.

    Raises:
        redis.RedisError: Redis is away.
        dramatiq.BrokerError: RabbitMQ is away.
    """
    return await asyncio.to_thread(in_queue, dramatiq.get_broker())


def in_queue(broker: dramatiq.Broker) -> int:
    """The same, asked from a thread. What a worker has taken and not begun is in neither."""
    if isinstance(broker, RedisBroker):
        return sum(int(broker.client.llen(key)) for key in QUEUE_KEYS)
    counts = getattr(broker, "get_queue_message_counts", None)
    return sum(int(counts(queue)[0]) for queue in QUEUES) if counts is not None else 0


def _send(broker: dramatiq.Broker, wakes: Sequence[tuple[str, Wake]]) -> None:
    for sent, (step, wake) in enumerate(wakes):
        try:
            with attached(_context_of(wake)):
                broker.enqueue(_message(step, wake))
        except (RedisError, BrokerError, OSError) as error:
            # The broker is away: the rest would only take as long to learn it.
            _not_sent(wakes[sent:], error)
            return


def _message(step: str, wake: Wake) -> Message[None]:
    if step == "submit":
        return Message(SUBMITS, step, (wake.job, wake.provider), {}, {})
    return Message(DELIVERIES, step, (wake.job, wake.chat, wake.group), {}, {})


def _not_sent(wakes: Sequence[tuple[str, Wake]], error: Exception) -> None:
    step, wake = wakes[0]
    log.warning(
        "wake-ups not sent, the ledger will",
        step=step,
        job_id=wake.job,
        wake_ups=len(wakes),
        error=type(error).__name__,
    )


def _context_of(wake: Wake) -> Context:
    """The message belongs to the job's trace, whoever's turn it was to send it."""
    job = SpanRef.parse(wake.trace)
    if job is None:
        return get_current()
    # Under the step that sends it, if that is the job's own and still goes on; else under the job.
    span = trace.get_current_span()
    own = span.is_recording() and span.get_span_context().trace_id == job.trace_id
    return anchored_context(job, get_current() if own else context_of(job))
