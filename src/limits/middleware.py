"""The rate-limit middleware: an actor's `limits` option names the gates each message must pass.

    @dramatiq.actor(limits=submit_limits)
    def submit(job_id: str, provider: str) -> None: ...

`limits` is called with the message and returns a `Demand`. A refused message is skipped before it is
processed: that costs no attempt and holds no thread. `Demand.refused` is told how long to stay away.
It leaves an event in the message's span; what Dramatiq logs about it is for debugging, no warning.
Knows nothing of jobs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware, SkipMessage
from opentelemetry import trace
from redis.exceptions import RedisError

from src.limits.limiter import Gate, Limiter, Refusal


@dataclass(frozen=True, slots=True)
class Demand:
    """What a message needs before it may run.

    Attributes:
        gates: the gates it takes, all or none.
        ticket: names the step, so that its reserved turn is found again.
        refused: called when it was refused; arranges that the step comes again.
    """

    gates: Sequence[Gate]
    ticket: str
    refused: Callable[[Refusal], None]


class MessageRefused(SkipMessage):
    """By a gate: usual, unlike any other skip."""


class RateLimits(Middleware):
    """Takes the gates of actors that have a `limits` option."""

    def __init__(self, limiter: Limiter, on_refusal: Callable[[Refusal], None] | None = None) -> None:
        self.limiter = limiter
        self.on_refusal = on_refusal

    @property
    def actor_options(self) -> set[str]:
        return {"limits"}

    def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: Any) -> None:
        thread.logger.addFilter(_refusals_are_usual)

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        try:
            actor = broker.get_actor(message.actor_name)
        except dramatiq.errors.ActorNotFound:
            return
        limits: Callable[[Any], Demand | None] | None = actor.options.get("limits")
        demand = limits(message) if limits else None
        if demand is None or not demand.gates:
            return
        try:
            refusal = self.limiter.take_sync(demand.gates, ticket=demand.ticket)
            if refusal is None:
                return
            demand.refused(refusal)
        except RedisError as error:
            # Without its limits a step must not run; the ledger sends it again.
            raise SkipMessage("the limiter cannot be asked") from error
        trace.get_current_span().add_event(
            "imagebot.limited", {"imagebot.gate": refusal.gate, "imagebot.retry_after": refusal.seconds}
        )
        if self.on_refusal:
            self.on_refusal(refusal)
        raise MessageRefused(f"gate {refusal.gate} is closed")


def _refusals_are_usual(record: logging.LogRecord) -> bool:
    """A filter of Dramatiq's logger, which warns of every skip; under load the gates refuse thousands."""
    # Its line is logged where the exception is handled, and does not hold it.
    if isinstance(sys.exc_info()[1], MessageRefused):
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
    return True
