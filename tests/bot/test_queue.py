"""/queue and /cancel."""

from __future__ import annotations

import pytest

from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"openai_concurrency": 1}


async def test_queue_lists_own_jobs_with_place_and_cancel(world: World) -> None:
    eve, anna = world.sandbox.person("Eve"), world.sandbox.person("Anna")
    await eve.reply_after(await eve.send_text("the first"))
    first = await anna.reply_after(await anna.send_text("a fox"))
    assert "next in line" in first.text
    second = await anna.reply_after(await anna.send_text("a bear"))
    assert "number 2 in line" in second.text
    listed = await anna.reply_after(await anna.send_text("/queue"))
    assert "2 pictures of yours" in listed.text
    assert "1. \u2068a fox\u2069" in listed.text
    assert "number 2 in line" in listed.text
    assert "2 pictures wait, 1 is being drawn" in listed.text
    assert "the first" not in listed.text

    assert "Cancelled" in (await (await anna.tap(listed, "✖️ 1")).answered())["text"]
    await anna.wait_for(lambda m: m is listed and "1 picture of yours" in m.text)
    assert [job.spec.prompt for job in await world.active(anna.id)] == ["a bear"]
    unchanged = await anna.tap(listed, "Refresh")
    assert not (await unchanged.answered())["text"]


async def test_cancel_command(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    assert "Отменять нечего" in (await boris.reply_after(await boris.send_text("/cancel"))).text
    await boris.reply_after(await boris.send_text("лиса"))
    await boris.reply_after(await boris.send_text("медведь"))
    which = await boris.reply_after(await boris.send_text("/cancel"))
    assert "Что отменить" in which.text
    listed = await boris.reply_after(which)
    await (await boris.tap(listed, "✖️ 2")).answered()
    assert "Отменено" in (await boris.reply_after(await boris.send_text("/cancel"))).text
    assert await world.active(boris.id) == []
    empty = await boris.reply_after(await boris.send_text("/queue"))
    assert "нет картинок" in empty.text
    assert "никто не ждёт" in empty.text


async def test_others_cannot_cancel(world: World) -> None:
    eve, anna = world.sandbox.person("Eve"), world.sandbox.person("Anna")
    group = world.sandbox.group("Zoo", [eve, anna])
    asked = await anna.send_text("/imagine a fox", chat=group)
    placeholder = await anna.reply_after(asked, chat=group)
    tap = await eve.tap(placeholder, "Cancel")
    assert "someone else" in (await tap.answered())["text"]
    assert len(await world.active(anna.id)) == 1
