"""Limits that protect the providers from us and us from Telegram's: gates and the limiter."""

from src.limits.gates import (
    OVERALL,
    delivery_turn,
    pause_in,
    provider_gates,
    telegram_gates,
    ticket_of,
)
from src.limits.limiter import Gate, Limiter, Refusal

__all__ = [
    "OVERALL",
    "Gate",
    "Limiter",
    "Refusal",
    "delivery_turn",
    "pause_in",
    "provider_gates",
    "telegram_gates",
    "ticket_of",
]
