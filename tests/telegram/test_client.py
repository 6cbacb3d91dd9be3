"""The client of the Bot API: what it needs, and what it never does to a person's words."""

from __future__ import annotations

import pytest

from src.limits import Limiter
from src.settings import SettingsError, load_settings
from src.telegram.client import make_bot
from tests.bot.bot_world import World


async def test_words_are_never_markup(world: World) -> None:
    anna = world.sandbox.person()
    await anna.send_text("hello")
    sent = await world.bot.send_message(anna.id, "<b>*_`[x](https://example.com)")
    assert sent.text == "<b>*_`[x](https://example.com)"
    assert {e.type for e in sent.entities or []} <= {"url"}


def test_a_missing_token_is_named() -> None:
    with pytest.raises(SettingsError, match="TELEGRAM_TOKEN"):
        make_bot(load_settings(), Limiter())
