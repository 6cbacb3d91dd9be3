"""The bot: one module a conversation, and the process that runs them."""

from src.bot.process import make_dispatcher, run_bot

__all__ = ["make_dispatcher", "run_bot"]
