"""The rate-limit middleware: an actor's `limits` option names the gates each message must pass.

    @dramatiq.actor(limits=submit_limits)
    async def submit(job_id: str, provider: str) -> None: ...

`limits` is called with the message and returns a `Demand`. A refused message is skipped: that costs no
attempt and holds no thread, and `Demand.refused` is told how long to stay away. The refusal is an event in
the message's span. An actor without `limits` is left alone. Knows nothing of jobs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware, SkipMessage
from opentelemetry import trace

from src.limits import Gate, Limiter, Refusal

# Dramatiq warns of each message that is skipped, and in a crowd most are, once or twice. The span and the
# metric tell it too.
logging.getLogger("dramatiq.worker.WorkerThread").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a message needs before it may run.

    Attributes:
        gates: the gates it takes, all or none.
        refused: awaited when it was refused; arranges that the step comes again.
    """

    gates: Sequence[Gate]
    refused: Callable[[Refusal], Awaitable[None]]


class RateLimits(Middleware):
    """Takes the gates of a message before its actor runs. Stands after `AsyncIO`, whose loop asks for them.

    Args:
        limiter: called for the limiter to ask.
        on_refusal: called with each refusal, to count it.
    """

    def __init__(self, limiter: Callable[[], Limiter], on_refusal: Callable[[Refusal], None]) -> None:
        self._limiter = limiter
        self._on_refusal = on_refusal

    @property
    def actor_options(self) -> set[str]:
        return {"limits"}

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Let the message through, or skip it.

        Raises:
            SkipMessage: a gate is closed, or the limiter cannot be asked.
        """
        actor = broker.actors.get(message.actor_name)
        limits: Callable[[Any], Demand | None] | None = actor.options.get("limits") if actor else None
        if limits is None:
            return
        try:
            refusal = self._take(limits(message))
        except Exception as error:
            # Dramatiq would only log it and run the actor, and without its gates a step must not run.
            raise SkipMessage(f"the limiter cannot be asked: {type(error).__name__}") from error
        if refusal is not None:
            self._on_refusal(refusal)
            trace.get_current_span().add_event(
                "imagebot.limited", {"imagebot.gate": refusal.gate, "imagebot.retry_after": refusal.seconds}
            )
            raise SkipMessage(f"gate {refusal.gate} is closed")

    def _take(self, demand: Demand | None) -> Refusal | None:
        if demand is None or not demand.gates:
            return None
        loop = get_event_loop_thread()
        if loop is None:
            raise RuntimeError("AsyncIO must stand before RateLimits")
        return loop.run_coroutine(self._ask(demand))

    async def _ask(self, demand: Demand) -> Refusal | None:
        refusal = await self._limiter().take(demand.gates, spread=True)
        if refusal is not None:
            await demand.refused(refusal)
        return refusal
