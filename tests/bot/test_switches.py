"""Admins pause the bot and switch features and models, and what people are told then; first tap to last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.jobs import NO_CHAT
from src.jobs.switches import FEATURES, Feature
from src.pipeline import admission as intake
from src.pipeline.admission import Wish
from src.sandbox.telegram import Message, Person
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image, png


async def _tapped(world: World, person: Person, message: Message, button: str) -> None:
    await (await person.tap(message, button)).answered()
    await world.settled()


@pytest.mark.parametrize(
    ("lang", "goes_on", "short_break", "resumed", "resume", "pause"),
    [
        ("en", "Waiting 0, being drawn 1: these go on", "short break", "taken again", "Resume", "Pause"),
        ("ru", "Ждут 0, рисуются 1: они продолжаются", "небольшой перерыв", "снова принимаются", "Продолжить", "Пауза"),
    ],
)  # fmt: skip
async def test_a_pause_takes_nothing_new_and_what_is_in_the_works_comes(
    world: World, lang: str, goes_on: str, short_break: str, resumed: str, resume: str, pause: str
) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    anna = world.sandbox.person("Anna", language_code=lang)
    await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    told = await admin.reply_after(await admin.send_text("/pause new colours"))
    assert (goes_on in told.text, short_break in told.text, "new colours" in told.text) == (True,) * 3
    refused = await anna.reply_after(await anna.send_text("a bear"))
    assert (short_break in refused.text, "\nnew colours\n" in refused.text) == (True, True)
    assert await world.active(anna.id) == [job]
    await world.finished(job, image())
    await anna.wait_for(lambda m: m.has_photo and len(m.buttons) > 3)
    # It does not count, and the admin may try whether all is well.
    assert len(await world.app.ledger.asked_lately(str(anna.id), 60)) == 1
    await admin.reply_after(await admin.send_text("a wolf"))
    assert len(await world.active(77)) == 1
    status = await admin.reply_after(await admin.send_text("/ops"))
    assert "⏸" in status.text
    assert "new colours" in status.text

    await _tapped(world, admin, told, resume)
    status = await admin.reply_after(await admin.send_text("/ops"))
    assert "⏸" not in status.text
    await anna.reply_after(await anna.send_text("a bear"))
    assert [job.spec.prompt for job in await world.active(anna.id)] == ["a bear"]

    shown = await admin.reply_after(await admin.send_text("/switches"))
    await _tapped(world, admin, shown, pause)
    refused = await anna.reply_after(await anna.send_text("a cat"))
    assert refused.text.startswith(get_texts().get(lang, "refused-paused"))
    assert resumed in (await admin.reply_after(await admin.send_text("/resume"))).text


@pytest.mark.parametrize(
    ("lang", "edits", "off", "models", "none"),
    [
        ("en", "changing pictures", "switched off right now: changing pictures", "Models on", "don’t have"),
        ("ru", "изменение картинок", "Это сейчас выключено: изменение картинок", "Модели: вкл", "у меня нет"),
    ],
)
async def test_features_and_models_go_off_and_on(
    world: World, lang: str, edits: str, off: str, models: str, none: str
) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    anna = world.sandbox.person("Anna", language_code=lang)
    shown = await admin.reply_after(await admin.send_text("/switches"))
    await _tapped(world, admin, shown, edits)
    assert shown.button(f"⚪️ {edits}")
    photo = await anna.send_photo(png(), "make it blue")
    assert off in (await anna.reply_after(photo)).text
    await anna.reply_after(await anna.send_text("a fox"))
    assert len(await world.active(anna.id)) == 1
    await _tapped(world, admin, shown, edits)
    await anna.send_photo(png(), "make it blue")
    assert len(await world.active(anna.id)) == 2

    listed = await anna.reply_after(await anna.send_text("/models"))
    assert not [button for button in listed.buttons if models in button["text"]]
    listed = await admin.reply_after(await admin.send_text("/models"))
    await _tapped(world, admin, listed, models)
    app = world.app
    key, name = next((key, model.name.of(lang)) for key, model in app.routing.every_model().items())
    await _tapped(world, admin, listed, name)
    assert listed.button(f"⚪️ {name}")
    assert key not in app.routing.models()
    assert none in (await anna.reply_after(await anna.send_text(f"a cat --model {key}"))).text
    usual = app.routing.catalog.key("openai", app.routing.model("openai", edit=False))
    await app.switches.turn_model(str(usual), on=False)
    route = app.routing.route(None, 0)
    assert route is None or app.routing.catalog.key(*route) != usual
    for known in (key, str(usual)):
        await app.switches.turn_model(known, on=True)
    assert app.routing.route(None, 0) is not None
    acts = (await admin.reply_after(await admin.send_text("/journal"))).text
    assert (acts.count("edits"), acts.count(f" {key}")) == (2, 1)


async def test_what_is_off_is_ordered_by_no_way_in(world: World) -> None:
    app, plain = world.app, Wish(user=5, chat=5, prompt="a fox", update="1", count=3)
    ways: dict[Feature, Wish] = {
        "edits": replace(plain, source="file"),
        "tools": replace(plain, source="file", how="upscale"),
        "groups": replace(plain, chat=-5, group=True),
        "inline": replace(plain, inline="message"),
        "api": replace(plain, user="client", chat=NO_CHAT),
    }
    for feature in FEATURES:
        await app.switches.turn(feature, on=False)
    for feature, wish in ways.items():
        admission = await intake.ask(app, wish)
        assert (admission.verdict, admission.why) == ("off", feature)
    assert await world.active(5) == []
    assert (await intake.ask(app, plain)).accepted
    assert len(await world.active(5)) == 1
