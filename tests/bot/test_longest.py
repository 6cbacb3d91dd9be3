"""The longest lists still fit into a message and under its 100 buttons and 10 KB, in both languages."""

from __future__ import annotations

import pytest

from src.bot import styles
from src.bot.styles import Style
from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    """Everybody draws here, and nobody has limits."""
    keys = ("kie", "openrouter", "gemini", "fal", "replicate", "yandexart", "gigachat")
    return {
        **{f"{name}_api_key": "of-a-test" for name in keys},
        **{f"{name}_base_url": "http://127.0.0.1:9" for name in ("kie", "openrouter", "gemini")},
        "yandexart_folder": "a-folder",
        "max_active_per_user": 100,
        "rate_limit": 100,
    }


@pytest.mark.parametrize(("lang", "more"), [("en", "and 2 requests more"), ("ru", "и ещё 2 запроса")])
async def test_the_longest_lists(world: World, lang: str, more: str) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    assert len(world.app.routing.models()) > 12
    shown = await admin.reply_after(await admin.send_text("/models"))
    assert len(shown.buttons) > 12
    # What takes no words is a tool under a picture, and draws nothing.
    assert "Recraft" not in shown.text

    for number in range(styles.MOST):
        await styles.save(world.app, Style(f"ё{number:019}", "слово " * 80))
    listed = await admin.reply_after(await admin.send_text("/styles"))
    assert len(listed.buttons) == styles.MOST + 1
    told = (await (await admin.tap(listed, "y|new|")).answered())["text"]
    assert str(styles.MOST) in told

    for number in range(22):
        await admin.send_text(f"{number} " + "ё" * 100)
    await world.settled()
    listed = await admin.reply_after(await admin.send_text("/queue"))
    assert more in listed.text
    assert len(listed.buttons) == 21
