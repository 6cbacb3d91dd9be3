"""The `world` of the bot's tests."""

from tests.bot.conftest import settings_of_world, world

__all__ = ["settings_of_world", "world"]
