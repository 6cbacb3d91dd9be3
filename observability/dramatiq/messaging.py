"""OpenTelemetry's messaging conventions (1.44) as Dramatiq fills them: names, attributes, metrics.

The names are written out here because the conventions still change and their Python module with them.
What they have no word for is under `messaging.dramatiq.`, as they ask of a messaging system.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dramatiq import Message, get_encoder
from dramatiq.common import q_name
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from .exceptions import encodable

if TYPE_CHECKING:
    from dramatiq.broker import MessageProxy

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

# Seconds. The conventions advise 0.005 to 10; actors and queues of long work need more.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)


class MessagingMetrics:
    """The instruments of one middleware."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str) -> Histogram:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=_BUCKETS
            )

        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Messages given to the broker."
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Messages taken up for processing."
        )
        self._send_duration = seconds("messaging.client.operation.duration", "Time to enqueue a message.")
        self._process_duration = seconds("messaging.process.duration", "Time to process a message.")
        self._queue_wait = seconds(
            "messaging.dramatiq.queue.wait", "Time from when a message was due until it was taken up."
        )

    # Each takes the context of the message's span, which the exemplars then name.

    def sent(self, labels: dict[str, str], context: Context, seconds: float, failure: str | None) -> None:
        labels = {**labels, "error.type": failure} if failure else labels
        self._sent.add(1, labels, context)
        self._send_duration.record(seconds, labels, context)

    def received(self, labels: dict[str, str], context: Context, waited: float | None) -> None:
        self._consumed.add(1, labels, context)
        if waited is not None:
            self._queue_wait.record(waited, labels, context)

    def processed(
        self, labels: dict[str, str], context: Context, seconds: float, outcome: str, failure: str | None
    ) -> None:
        labels = {**labels, "messaging.dramatiq.outcome": outcome}
        if failure:
            labels["error.type"] = failure
        self._process_duration.record(seconds, labels, context)


def labels_of(operation: str, message: Message[Any] | MessageProxy) -> dict[str, str]:
    """What metrics tell messages apart by; few values each. The same dict for all alike, to be copied for more."""
    return _labels(operation, message.queue_name, message.actor_name)


@lru_cache(256)
def _labels(operation: str, queue: str, actor: str) -> dict[str, str]:
    return {
        "messaging.system": "dramatiq",
        "messaging.operation.name": operation,
        "messaging.destination.name": encodable(q_name(queue)),
        "messaging.dramatiq.actor": encodable(actor),
    }


def attributes_of(
    labels: dict[str, str],
    message: Message[Any] | MessageProxy,
    *,
    delay: int | None = None,
    waited: float | None = None,
) -> dict[str, str | int | float]:
    """What a span says of a message. `delay` is in milliseconds, `waited` in seconds."""
    details: dict[str, str | int | float] = {
        **labels,
        "messaging.operation.type": labels["messaging.operation.name"],
        "messaging.message.id": encodable(message.message_id),
    }
    if delay:
        details["messaging.dramatiq.delay_ms"] = delay
    if retries := message.options.get("retries"):
        details["messaging.dramatiq.retries"] = retries
    if waited is not None:
        details["messaging.dramatiq.queue_wait_ms"] = round(waited * 1e3, 3)
    return details


def body_size(message: Message[Any] | MessageProxy) -> int | None:
    """Bytes of the arguments as the project's encoder writes them; None where it cannot. For spans that are recorded:
    what is large takes its time."""
    try:
        return len(get_encoder().encode({"args": message.args, "kwargs": message.kwargs}))
    except Exception:
        return None  # the broker will meet the same error and its span shows it
