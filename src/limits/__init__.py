"""Limits that protect the providers from us and us from Telegram's: gates and the limiter."""

from src.limits.gates import OVERALL, provider_gates, telegram_gates
from src.limits.limiter import Breaker, Gate, Limiter, Refusal

__all__ = ["OVERALL", "Breaker", "Gate", "Limiter", "Refusal", "provider_gates", "telegram_gates"]
