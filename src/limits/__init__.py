"""Limits that protect the providers from us and us from Telegram's: gates and the limiter."""

from src.limits.gates import OVERALL, provider_gates, telegram_gates
from src.limits.limiter import Gate, Limiter, Refusal

__all__ = ["OVERALL", "Gate", "Limiter", "Refusal", "provider_gates", "telegram_gates"]
