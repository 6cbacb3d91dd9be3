"""The gates of this system: what Telegram and each provider allow.

Telegram's numbers are from its bot FAQ: about 30 calls a second overall, one a second in a chat with
short bursts, 20 a minute in a group.
"""

from __future__ import annotations

from typing import Literal

from src.limits.limiter import Gate
from src.settings import Settings

Lane = Literal["result", "progress"]

OVERALL = "telegram"
"""The gate of all chats together."""

# One fewer at once than Telegram takes: a call may arrive a little later than its turn was.
_CHAT_BURST = 4

# Who fills their own chat faster than Telegram allows must not keep a thread, or others' updates, waiting.
_CHAT_PATIENCE = 0.5


def telegram_gates(
    settings: Settings,
    chat: int | None,
    *,
    group: bool = False,
    lane: Lane = "result",
    messages: int = 1,
    taken: int = 0,
) -> list[Gate]:
    """Gates of one Bot API call that sends or edits. `progress` leaves room for results: it is droppable.

    Args:
        messages: an album counts as many.
        taken: for how many of them the caller has just taken a turn.
    """
    # Together with the burst a second stays within the rate: a full bucket plus its refill.
    burst = max(1.0, settings.telegram_rate / 15)
    rate = max(0.5, settings.telegram_rate - burst)
    if lane == "progress":
        burst = 1.0
    had = taken / messages
    gates = [Gate(OVERALL, rate / messages, burst / messages, taken=had)]
    if chat is not None:
        a_second = 1 / _chat_pause(group)
        burst_of_chat = _CHAT_BURST / messages
        gates.append(Gate(f"chat:{chat}", a_second / messages, burst_of_chat, _CHAT_PATIENCE, taken=had))
    return gates


def _chat_pause(group: bool) -> float:
    """Seconds between two messages that one chat takes in the long run."""
    return 4.0 if group else 1.0


def pause_in(messages: int, *, group: bool) -> float:
    """Seconds before the last of so many messages that one turn is for: what a chat does not take at once."""
    return max(0, messages - _CHAT_BURST) * _chat_pause(group)


def provider_gates(settings: Settings, provider: str) -> list[Gate]:
    """Gates of one submit to a provider."""
    rate: float = getattr(settings, f"{provider}_rate")
    return [Gate(f"provider:{provider}", rate, max(1.0, rate))]


def delivery_turn(settings: Settings, job_id: str, chat: int, *, group: bool) -> tuple[list[Gate], str]:
    """The gates that a job's delivery takes, and the ticket under which its turn is reserved.

    Whoever gives a turn back (`Limiter.keep`) has to name both as they were when it was taken.
    """
    return telegram_gates(settings, chat, group=group), ticket_of("deliver", job_id)


def ticket_of(step: str, job_id: str) -> str:
    """Under what name the turns of a job's step are reserved."""
    return f"{step}:{job_id}"
