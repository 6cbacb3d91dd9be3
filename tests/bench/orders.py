"""The bot's part of a job, done outside of what is measured: placeholders, and orders in the ledger."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import httpx
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import TraceFlags
from redis.asyncio import Redis

from observability.spans import SpanRef, reserve_span
from src.jobs import Ledger, Limits, Spec, Wake, new_id, transitions
from src.sandbox.telegram import DEMO_TOKEN

Placeholder = tuple[int, int]
"""A chat and the message in it that a picture will replace."""

_MANY = 10_000_000
_AT_ONCE = 32
_PAUSE = 0.25
# No longer than the shortest generation: the first that ends lets the worker fill all slots.
_START_SECONDS = 20.0
_STEPS = 80


class Orders:
    """Plays the bot for as many people as are given, who ask in turn, one a chat."""

    def __init__(self, client: httpx.AsyncClient, redis: Redis, people: Sequence[int]) -> None:
        self._client = client
        self._ledger = Ledger(redis)
        self._people: Iterator[int] = itertools.cycle(people)
        self._serial = itertools.count(1)

    async def placeholders(self, count: int) -> list[Placeholder]:
        """Send so many."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(chat: int) -> Placeholder:
            async with free:
                body = {"chat_id": chat, "text": "a moment"}
                answer = await self._client.post(f"/bot{DEMO_TOKEN}/sendMessage", json=body)
            return chat, answer.json()["result"]["message_id"]

        return await asyncio.gather(*(one(next(self._people)) for _ in range(count)))

    async def fill(self, in_flight: int, waiting: int) -> None:
        """Let so many orders wait, and behind them those that will follow."""
        held = await self._ledger.waiting("kie") + await self._ledger.running("kie")
        await self.admit(in_flight + waiting - held)

    async def keep(self, in_flight: int, waiting: int) -> None:
        """Start generations little by little, as the floors do, then keep that many orders waiting, until
        cancelled: what began together would end together, wave after wave."""
        for step in range(1, _STEPS + 1):
            await self._ledger.run(transitions.release("kie", in_flight * step // _STEPS))
            await asyncio.sleep(_START_SECONDS / _STEPS)
        while True:
            await asyncio.sleep(_PAUSE)
            await self.admit(waiting - await self._ledger.waiting("kie"))

    async def admit(self, count: int) -> None:
        """Put so many orders into the ledger, as the bot does."""
        placed = await self.placeholders(max(0, count))
        # Many at once: one after the other they would be fewer than the worker ends.
        free = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._admit(free, chat, message) for chat, message in placed))

    async def _admit(self, free: asyncio.Semaphore, chat: int, message: int) -> None:
        request, prompt = new_id(), f"a boat, no. {next(self._serial)}"
        spec = Spec(prompt=prompt, model="nano-banana-2-1", aspect="1:1", chat=chat, lang="en")
        async with free:
            await self._ledger.run(
                transitions.admit(
                    request=request,
                    user=str(chat),
                    provider="kie",
                    cap=0,
                    jobs=[(spec, Wake(new_id(), "kie", chat, trace=_trace()))],
                    limits=Limits(_MANY, 60, _MANY, _MANY),
                    deadline=3600,
                    ttl=86_400,
                )
            )
            await self._ledger.run(transitions.placed(request, [message]))


def _trace() -> str:
    """The job's span in a sampled trace, as the update that asks for a job leaves it."""
    ids = RandomIdGenerator()
    update = SpanRef(ids.generate_trace_id(), ids.generate_span_id(), 0, TraceFlags.SAMPLED, 0)
    return str(reserve_span(update))
