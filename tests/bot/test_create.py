"""Asking for pictures in a private chat."""

from __future__ import annotations

from bot_world import World, image, png


async def test_plain_words_become_a_picture_in_one_message(world: World) -> None:
    anna = world.sandbox.person("Anna", language_code="en")
    asked = await anna.send_text("a red fox in snow")
    placeholder = await anna.reply_after(asked)
    assert "Drawing" in placeholder.text
    assert placeholder.reply_to == asked.message_id
    [job] = await world.active(anna.id)
    assert job.spec.prompt == "a red fox in snow"

    await world.finished(job, image())

    assert [m.message_id for m in anna.messages] == [asked.message_id, placeholder.message_id]
    shown = anna.messages[-1]
    assert shown.has_photo
    assert "a red fox in snow" in shown.text
    assert [b["text"] for b in shown.buttons] == ["🔁 Again", "🎨 Variation", "📎 As file"]


async def test_photo_with_caption_is_an_edit(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    asked = await boris.send_photo(png(), "сделай зимой")
    placeholder = await boris.reply_after(asked)
    assert "Рисую" in placeholder.text
    [job] = await world.active(boris.id)
    assert job.spec.source == asked.media["file_id"]
    assert job.spec.lang == "ru"
