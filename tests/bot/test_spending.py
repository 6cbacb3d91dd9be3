"""Caps of the day and strikes in the chat: people are told kindly and plainly, admins see what was spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world(tmp_path: Path) -> dict[str, object]:
    words = tmp_path / "words"
    words.write_text("gore\n")
    return {"spend_cap_day": "2 pictures", "spend_cap_person_day": "1 picture", "blocked_words_file": words}


async def test_who_asks_for_what_is_not_drawn_is_told_how_often_they_may(world: World) -> None:
    ann = world.sandbox.person("Ann")
    said = [(await ann.reply_after(await ann.send_text(f"gore {n}"))).text for n in range(3)]
    assert all(text.startswith("🛡 I don’t draw that.") for text in said)
    assert [text.splitlines()[1][:6] for text in said] == ["⚠️ 2 m", "⚠️ Onc", "⚠️ Tha"]
    late = await ann.reply_after(await ann.send_text("a red fox"))
    assert "I draw for you again in 30 minutes" in late.text


async def test_what_no_longer_fits_is_refused_kindly_and_shown_to_admins(world: World) -> None:
    ann, bob, eve = (world.sandbox.person(name) for name in ("Ann", "Bob", "Eve"))
    await world.asked(ann)
    again = await ann.reply_after(await ann.send_text("a red fox"))
    assert "You’ve had all your pictures for today" in again.text
    await world.asked(bob)
    late = await eve.reply_after(await eve.send_text("a red fox"))
    assert late.text.startswith("🌙 Today’s budget for pictures is used up. A new day begins in about")

    admin = world.sandbox.person("Root", id=77)
    await admin.send_text("/stats")
    said = await admin.wait_for(lambda m: m.from_bot and "Asked 2" in m.text)
    assert "💰 2 pictures" in said.text
    assert f"{ann.id} (1 picture)" in said.text
    await admin.send_text("/ops")
    said = await admin.wait_for(lambda m: m.from_bot and "What to do" in m.text)
    assert "2 pictures; 100 % of the cap of 2 pictures" in said.text
