"""Actors of one's own beside the bot's, as a Dramatiq user writes them; what they do is seen in a Redis list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dramatiq

QUEUE = "own"


@dataclass(frozen=True, slots=True)
class Own:
    """The actors."""

    note: dramatiq.Actor[..., None]
    count_to_three: dramatiq.Actor[..., None]
    never_end: dramatiq.Actor[..., None]


def declare(broker: dramatiq.Broker, seen: Callable[[str], Any]) -> Own:
    """The actors on that broker.

    Args:
        seen: called with what an actor has to say.
    """
    tries: list[int] = []

    @dramatiq.actor(broker=broker, queue_name=QUEUE)
    def note(text: str) -> None:
        seen(text)

    @dramatiq.actor(broker=broker, queue_name=QUEUE, max_retries=3, min_backoff=10, max_backoff=20)
    async def count_to_three() -> None:
        tries.append(1)
        seen(f"try {len(tries)}")
        if len(tries) < 3:
            raise ValueError("once more")

    @dramatiq.actor(broker=broker, queue_name=QUEUE, time_limit=300, max_retries=0)
    async def never_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen("interrupted")
            raise

    return Own(note, count_to_three, never_end)
