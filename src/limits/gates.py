"""The gates of this system: what Telegram and each provider allow.

Telegram's numbers are from its bot FAQ: about 30 calls a second overall, one a second in a chat with
short bursts, 20 a minute in a group.
"""

from __future__ import annotations

from src.limits.limiter import Gate
from src.settings import Settings

OVERALL = "telegram"
"""The gate of all chats together."""

# One fewer at once than Telegram takes: a call may arrive a little later than its turn was.
_CHAT_BURST = 4
_GROUP_RATE = 0.25

# Who fills their own chat faster than Telegram allows must not keep a thread, or others' updates, waiting.
_CHAT_PATIENCE = 0.5


def telegram_gates(
    settings: Settings, chat: int | None, *, messages: int = 1, droppable: bool = False
) -> list[Gate]:
    """Gates of one Bot API call that sends or edits: all chats' together, then the chat's own.

    Args:
        messages: an album counts as many.
        droppable: the call leaves room for the others.
    """
    # Together with the burst a second stays within the rate: a full bucket plus its refill.
    burst = max(1.0, settings.telegram_rate / 15)
    rate = max(0.5, settings.telegram_rate - burst)
    gates = [Gate(OVERALL, rate / messages, 1.0 if droppable else burst / messages)]
    if chat is not None:
        a_second = _GROUP_RATE if chat < 0 else 1.0
        gates.append(Gate(f"chat:{chat}", a_second / messages, _CHAT_BURST / messages, _CHAT_PATIENCE))
    return gates


def provider_gates(settings: Settings, provider: str) -> list[Gate]:
    """Gates of one submit to a provider."""
    rate: float = getattr(settings, f"{provider}_rate")
    return [Gate(f"provider:{provider}", rate, max(1.0, rate))]
