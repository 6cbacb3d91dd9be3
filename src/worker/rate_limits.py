"""The rate-limit middleware: an actor's `limits` option names the gates each message must pass.

    @dramatiq.actor(limits=submit_limits)
    @in_loop
    async def submit(job_id: str, provider: str) -> None: ...

`limits` is called with the message and returns a `Demand`, which its step takes in the event loop before it does
anything else (`take_gates`): a thread that asked Redis would wait for it, and every thread that waits costs the loop
its turn. A refused message is skipped: that costs no attempt and holds nothing. `Demand.refused` is told how long to
stay away. It leaves an event in the message's span. Knows nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware, MiddlewareError, SkipMessage
from opentelemetry import trace
from redis.exceptions import RedisError

from src.limits.limiter import Gate, Limiter, Refusal


@dataclass(frozen=True, slots=True)
class Demand:
    """What a message needs before it may run.

    Attributes:
        gates: the gates it takes, all or none.
        ticket: names the step, so that its reserved turn is found again.
        refused: awaited when it was refused; arranges that the step comes again.
    """

    gates: Sequence[Gate]
    ticket: str
    refused: Callable[[Refusal], Awaitable[None]]


class MessageRefused(SkipMessage):
    """By a gate: usual, unlike any other skip."""


_owed: ContextVar[Demand | None] = ContextVar("gates_of_the_message", default=None)

_ASKS = "_takes_its_gates"


def takes_gates(function: Callable[..., None]) -> Callable[..., None]:
    """Says of an actor's function that its step calls `take_gates`, in the context it was begun in."""
    setattr(function, _ASKS, True)
    return function


class RateLimits(Middleware):
    """Finds out which gates the messages of actors with a `limits` option have to take."""

    @property
    def actor_options(self) -> set[str]:
        return {"limits"}

    def before_declare_actor(self, broker: dramatiq.Broker, actor: Any) -> None:
        """Refuses an actor whose limits nobody would ask for.

        Raises:
            MiddlewareError: its function is not a step that takes its gates.
        """
        if actor.options.get("limits") and not getattr(actor.fn, _ASKS, False):
            raise MiddlewareError(f"actor {actor.actor_name}: limits are for steps in the loop, use @in_loop")

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        # Should asking fail, the step must not take what the thread's last message was to take.
        _owed.set(None)
        actor = broker.actors.get(message.actor_name)
        limits: Callable[[Any], Demand | None] | None = actor.options.get("limits") if actor else None
        _owed.set(limits(message) if limits else None)


async def take_gates(limiter: Limiter, on_refusal: Callable[[Refusal], None] | None = None) -> None:
    """Take the gates that the message in hand needs.

    Args:
        on_refusal: called with a refusal, to count it.

    Raises:
        MessageRefused: a gate is closed.
        SkipMessage: the limiter cannot be asked. Without its limits a step must not run.
    """
    demand = _owed.get()
    if demand is None or not demand.gates:
        return
    try:
        refusal = await limiter.take(demand.gates, ticket=demand.ticket)
        if refusal is None:
            return
        await demand.refused(refusal)
    except RedisError as error:
        raise SkipMessage("the limiter cannot be asked") from error
    trace.get_current_span().add_event(
        "imagebot.limited", {"imagebot.gate": refusal.gate, "imagebot.retry_after": refusal.seconds}
    )
    if on_refusal:
        on_refusal(refusal)
    raise MessageRefused(f"gate {refusal.gate} is closed")
