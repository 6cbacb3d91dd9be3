"""The gates of this system: what Telegram and each provider allow.

Telegram's numbers are from its bot FAQ: about 30 calls a second overall, one a second in a chat with
short bursts, 20 a minute in a group.
"""

from __future__ import annotations

from typing import Literal

from src.limits.limiter import Gate
from src.settings import Settings

Lane = Literal["result", "progress"]


def telegram_gates(
    settings: Settings, chat: int | None, *, group: bool = False, lane: Lane = "result"
) -> list[Gate]:
    """Gates of one Bot API call that sends or edits. `progress` leaves room for results: it is droppable."""
    # Together with the burst a second stays within the rate: a full bucket plus its refill.
    burst = max(1.0, settings.telegram_rate / 6)
    rate = max(0.5, settings.telegram_rate - burst)
    if lane == "progress":
        burst = max(1.0, burst / 3)
    gates = [Gate("telegram", rate, burst)]
    if chat is not None:
        gates.append(Gate(f"chat:{chat}", 0.25, 5) if group else Gate(f"chat:{chat}", 1.0, 5))
    return gates


def provider_gates(settings: Settings, provider: str) -> list[Gate]:
    """Gates of one submit to a provider."""
    rate: float = getattr(settings, f"{provider}_rate")
    return [Gate(f"provider:{provider}", rate, max(1.0, rate))]
