"""A cap of the day in the chat: people are told kindly, admins see what was spent."""

from __future__ import annotations

import pytest

from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"spend_cap_day": "2 pictures", "spend_cap_person_day": "1 picture"}


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
    assert "💰 Today (UTC): 2 pictures" in said.text
    assert f"{ann.id} (1 pictures)" in said.text
    await admin.send_text("/ops")
    said = await admin.wait_for(lambda m: m.from_bot and "What to do" in m.text)
    assert "2 pictures; 100 % of the cap of 2 pictures" in said.text
