"""After the picture: what its buttons do, first tap to last, and where each picture comes from."""

from __future__ import annotations

import hashlib
import re

import pytest

from src.jobs import Job, keys
from src.pipeline import admission
from src.pipeline.admission import Wish
from src.sandbox.telegram import Message, Person
from tests.bot.bot_world import World, image, png

SAID = {
    "en": {
        "words": "a red fox in snow",
        "more": "⋯",
        "variation": "Variation",
        "edit": "✏️ Edit",
        "what": "What shall I change",
        "change": "a blue fox in snow",
        "details": "Details",
        "changed": "a red blue fox in snow",
        "varied": "A variation of: \u2068a red fox in snow\u2069",
        "edited": "Changed from: \u2068a red fox in snow\u2069",
        "back": "Back",
        "branch": "Branch",
        "ask": "new description",
        "other": "a green fox in snow",
        "start": "Use as start",
        "begin": "begin with this picture",
        "draw": "🎨 Draw",
        "less": "Back to the buttons",
        "file": "As file",
        "name": r"red-fox-in-snow-\d{4}\.png",
        "settings": "The original",
    },
    "ru": {
        "words": "рыжий лис в снегу",
        "more": "⋯",
        "variation": "Вариант",
        "edit": "✏️ Изменить",
        "what": "Что изменить",
        "change": "синий лис в снегу",
        "details": "Подробности",
        "changed": "рыжий синий лис в снегу",
        "varied": "Вариант картинки: \u2068рыжий лис в снегу\u2069",
        "edited": "Изменена картинка: \u2068рыжий лис в снегу\u2069",
        "back": "Назад",
        "branch": "Иначе",
        "ask": "новое описание",
        "other": "зелёный лис в снегу",
        "start": "Взять за основу",
        "begin": "Начну с этой картинки",
        "draw": "🎨 Нарисовать",
        "less": "Назад к кнопкам",
        "file": "Файлом",
        "name": r"рыжий-лис-в-снегу-\d{4}\.png",
        "settings": "Оригинал",
    },
}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    # Its catalog has models that enlarge and cut out.
    return {
        "openai_api_key": None,
        "kie_api_key": "key-of-a-test",
        "kie_base_url": "http://127.0.0.1:9",
        "kie_upload_url": "http://127.0.0.1:9",
        "provider_result_hosts": "127.0.0.1",
    }


async def picture(world: World, person: Person, words: str) -> tuple[Job, Message]:
    shown = await person.reply_after(await person.send_text(words))
    [job] = await world.active(person.id)
    await world.finished(job, image())
    return job, shown


async def pressed(world: World, person: Person, message: Message, button: str) -> str:
    """Tap a button and wait until all that it does is done; what the answer said."""
    answer = await (await person.tap(message, button)).answered()
    await world.settled()
    return str(answer.get("text", ""))


async def next_of(world: World, person: Person) -> tuple[Job, Message]:
    """The picture that was just asked for, drawn."""
    [job] = await world.active(person.id)
    await world.finished(job, image(colour="blue"))
    request = await world.request_of(job)
    return job, await person.wait_for(lambda m: m.message_id == request.messages[0])


@pytest.mark.parametrize("lang", SAID)
async def test_a_picture_is_varied_changed_looked_into_and_gone_back_from(world: World, lang: str) -> None:
    say = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    job, shown = await picture(world, anna, say["words"])

    await pressed(world, anna, shown, say["variation"])
    varied, second = await next_of(world, anna)
    assert (varied.spec.parent, varied.spec.how) == (job.id, "vary")

    await pressed(world, anna, shown, say["edit"])
    asked = await anna.wait_for(lambda m: say["what"] in m.text)
    assert asked.reply_to == shown.message_id
    await anna.reply_after(await anna.send_text(say["change"]))
    edited, third = await next_of(world, anna)
    assert (edited.spec.parent, edited.spec.how) == (job.id, "edit")
    assert edited.spec.source == shown.media["file_id"]

    for message, from_where in ((second, say["varied"]), (third, say["edited"])):
        await pressed(world, anna, message, say["more"])
        await pressed(world, anna, message, say["details"])
        told = await anna.wait_for(lambda m, at=message: m.reply_to == at.message_id)  # type: ignore[misc]
        assert from_where in told.text
        assert "Nano Banana 2.1" in told.text
    assert say["changed"] in told.text

    await pressed(world, anna, told, say["back"])
    again = await anna.wait_for(lambda m: m.has_photo and m.message_id > told.message_id)
    assert again.sha256 == shown.sha256
    await pressed(world, anna, told, say["branch"])
    await anna.wait_for(lambda m: say["ask"] in m.text)
    await anna.reply_after(await anna.send_text(say["other"]))
    branch, _ = await next_of(world, anna)
    assert (branch.spec.parent, branch.spec.source) == (job.id, shown.media["file_id"])

    await pressed(world, anna, third, say["start"])
    dialog = await anna.wait_for(lambda m: say["begin"] in m.text)
    await anna.send_text(say["other"])
    await anna.wait_until(lambda _: say["draw"] in [b["text"] for b in dialog.buttons])
    await pressed(world, anna, dialog, say["draw"])
    started, _ = await next_of(world, anna)
    assert (started.spec.parent, started.spec.how) == (edited.id, "start")
    await pressed(world, anna, third, say["less"])
    assert say["more"] in [b["text"] for b in third.buttons]


@pytest.mark.parametrize("lang", SAID)
async def test_the_original_is_a_file_with_a_name_and_can_come_first(world: World, lang: str) -> None:
    say = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    _, shown = await picture(world, anna, say["words"])
    await pressed(world, anna, shown, say["file"])
    file = await anna.wait_for(lambda m: "document" in m.content)
    assert file.sha256 == hashlib.sha256(png()).hexdigest()
    assert re.fullmatch(say["name"], file.media["file_name"])

    settings = await anna.reply_after(await anna.send_text("/settings"))
    await pressed(world, anna, settings, say["settings"])
    assert f"• 📎 {say['settings']}" in [b["text"] for b in settings.buttons]
    job, first = await picture(world, anna, say["words"])
    assert first.media["file_name"].endswith(".png")
    assert not first.has_photo
    await pressed(world, anna, first, say["variation"])
    varied, _ = await next_of(world, anna)
    assert (varied.spec.source, varied.spec.parent) == (first.media["file_id"], job.id)


@pytest.mark.parametrize(
    ("lang", "button", "how", "model", "told"),
    [
        ("en", "Upscale", "upscale", "recraft/crisp-upscale", "Enlarged from"),
        ("ru", "Убрать фон", "cutout", "recraft/remove-background", "Без фона картинка"),
    ],
)
async def test_what_a_model_does_without_words(
    world: World, lang: str, button: str, how: str, model: str, told: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    job, shown = await picture(world, anna, "a fox")
    await pressed(world, anna, shown, "⋯")
    await pressed(world, anna, shown, button)
    worked_on, second = await next_of(world, anna)
    assert (worked_on.spec.how, worked_on.spec.parent, worked_on.spec.model) == (how, job.id, model)
    assert worked_on.spec.source == shown.media["file_id"]
    # Others would draw what this model only enlarges or cuts out.
    assert world.app.routing.others("kie", worked_on.spec) == ()
    await pressed(world, anna, second, "⋯")
    await pressed(world, anna, second, SAID[lang]["details"])
    said = await anna.wait_for(lambda m: m.reply_to == second.message_id)
    assert told in said.text
    await pressed(world, anna, second, SAID[lang]["less"])
    # Anew is the same done to the same picture once more.
    await pressed(world, anna, second, {"en": "Again", "ru": "Ещё раз"}[lang])
    anew, _ = await next_of(world, anna)
    assert (anew.spec.how, anew.spec.parent, anew.spec.source) == (how, job.id, worked_on.spec.source)


async def test_a_tool_whose_models_are_off_is_neither_offered_nor_used(world: World) -> None:
    anna, routing = world.sandbox.person(), world.app.routing
    _, shown = await picture(world, anna, "a fox")
    off = set()
    while (tool := routing.tool("upscale")) is not None:
        off.add(str(routing.catalog.key(*tool)))
        await world.app.switches.turn_model(str(routing.catalog.key(*tool)), on=False)
    assert "recraft-crisp-upscale" in off
    await pressed(world, anna, shown, "⋯")
    offered = " ".join(button["text"] for button in shown.buttons)
    assert ("Upscale" in offered, "No background" in offered) == (False, True)
    with pytest.raises(admission.NoProvider):
        await admission.ask(
            world.app, Wish(user=5, chat=5, prompt="", update="1", source="file", how="upscale")
        )


async def test_words_in_answer_to_a_picture_change_it_also_one_of_an_album(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    for job in jobs:
        await world.finished(job, image())
    request = await world.request_of(jobs[1])
    tile = await anna.wait_for(lambda m: m.message_id == request.messages[1] and m.has_photo)
    await world.app.ledger.choose(str(anna.id), count=1)
    await anna.send_text("make it blue", reply_to=tile)
    [edit] = await world.active(anna.id)
    assert (edit.spec.parent, edit.spec.how) == (jobs[1].id, "edit")
    assert edit.spec.source == tile.media["file_id"]


async def test_where_a_picture_comes_from_is_told_though_that_is_gone(world: World) -> None:
    anna = world.sandbox.person()
    job, shown = await picture(world, anna, "a fox")
    await pressed(world, anna, shown, "Again")
    _, second = await next_of(world, anna)
    await world.app.redis.delete(keys.JOB(job.id))
    await pressed(world, anna, second, "⋯")
    await pressed(world, anna, second, "Details")
    told = await anna.wait_for(lambda m: m.reply_to == second.message_id)
    assert "Drawn anew from: (no longer kept)" in told.text
    assert "too old" in await pressed(world, anna, told, "Back")
