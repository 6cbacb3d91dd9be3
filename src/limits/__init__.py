"""Limits that protect the providers from us and us from Telegram's: gates, the limiter, the middleware."""

from src.limits.gates import (
    OVERALL,
    delivery_turn,
    pause_in,
    provider_gates,
    telegram_gates,
    ticket_of,
)
from src.limits.limiter import Gate, Limiter, Refusal
from src.limits.middleware import Demand, MessageRefused, RateLimits, take_gates, takes_gates

__all__ = [
    "OVERALL",
    "Demand",
    "Gate",
    "Limiter",
    "MessageRefused",
    "RateLimits",
    "Refusal",
    "delivery_turn",
    "pause_in",
    "provider_gates",
    "take_gates",
    "takes_gates",
    "telegram_gates",
    "ticket_of",
]
