"""Parameters in the text and behind *Advanced*, checked against the catalog before anything is ordered."""

from __future__ import annotations

from typing import Any

import pytest

from src.bot.parameters import Impossible, read
from src.jobs import Job
from src.sandbox.telegram import Message, Person
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image, png


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    """kie has models with a seed and negative words, OpenAI's have qualities."""
    return {"kie_api_key": "of-a-test", "kie_base_url": "http://127.0.0.1:9"}


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_what_a_text_says_and_what_is_wrong_with_it(world: World, lang: str) -> None:
    say = get_texts().translator(lang)
    understood: dict[str, tuple[str, dict[str, Any]]] = {
        "a red fox": ("a red fox", {}),
        "a fox --ar 16:9 --n 4 --quality high": ("a fox", {"aspect": "16:9", "count": 4, "quality": "high"}),
        "a fox —ar 16x9 –n=2": ("a fox", {"aspect": "16:9", "count": 2}),
        "лиса —формат 1920х1080 —число 3 —качество Высокое": (
            "лиса",
            {"aspect": "16:9", "count": 3, "quality": "high"},
        ),
        "--ar 1:1 a fox": ("a fox", {"aspect": "1:1"}),
        "a fox --model qwen --seed 7 --no text, people\nin snow": (
            "a fox in snow",
            {"model": "qwen-image", "seed": 7, "negative": "text, people"},
        ),
        "лиса --модель Nano Banana Pro --ar 21:9": ("лиса", {"model": "nano-banana-pro", "aspect": "21:9"}),
        "--model flux a fox": ("a fox", {"model": "flux-2-pro"}),
        "лиса — зверь, а пёс—друг - да --": ("лиса — зверь, а пёс—друг - да --", {}),
        "a well--known fox": ("a well--known fox", {}),
    }
    for text, expected in understood.items():
        assert read(text, None, 0, world.app, say) == expected, text
    wrong = {
        "a fox --ra 16:9": ["ra", "--" + say("parameter-aspect").split()[0]],
        "a fox --ar 5:4": ["5:4", "16:9, 9:16"],
        "a fox --ar": ["ar"],
        "a fox --n 5": ["5", "4"],
        "a fox --n many": ["many"],
        "a fox --quality best": ["best", say("quality-medium")],
        "a fox --model dalle": ["dalle", "FLUX.2 Pro"],
        "a fox --model seedream": ["Seedream 5 Pro, Seedream 4.5"],
        "a fox --seed 7": ["Qwen Image"],
        "a fox --no text": ["Qwen Image"],
        "a fox --model qwen --quality high": ["GPT Image 2"],
        "a fox --model qwen --seed -1": ["2147483647"],
        "a fox --model qwen --seed 99999999999999999999": ["2147483647"],
        "a fox --n 9 --ar 7:1": ["9", "7:1"],
    }
    for text, parts in wrong.items():
        with pytest.raises(Impossible) as caught:
            read(text, None, 0, world.app, say)
        assert all(part in caught.value.words for part in [*parts, say("parameter-nothing")]), (
            caught.value.words
        )
    with pytest.raises(Impossible) as caught:
        read("a fox --model qwen", None, 3, world.app, say)
    assert "Qwen Image" in caught.value.words
    assert "FLUX.2 Pro" in caught.value.words


@pytest.mark.parametrize(
    ("lang", "text", "impossible", "said"),
    [
        (
            "en",
            "a fox --model qwen --seed 7 --no text --n 2 --ar 16:9",
            "a fox --ar 5:4",
            "Nothing was ordered",
        ),
        ("ru", "лиса —модель qwen —сид 7 —без text —число 2 —формат 16:9", "лиса —сид", "Ничего не заказано"),
    ],
)
async def test_parameters_are_obeyed_or_told_before_anything_is_ordered(
    world: World, lang: str, text: str, impossible: str, said: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    assert said in (await anna.reply_after(await anna.send_text(impossible))).text
    assert await world.active(anna.id) == []
    await anna.reply_after(await anna.send_text(text))
    jobs = await world.active(anna.id)
    assert [(j.provider, j.spec.model, j.spec.aspect, j.spec.seed, j.spec.negative_prompt) for j in jobs] == [
        ("kie", "qwen/text-to-image", "16:9", seed, "text") for seed in (7, 8)
    ]
    assert {job.spec.prompt for job in jobs} <= {"a fox", "лиса"}
    person = await world.app.ledger.person(str(anna.id))
    assert (person.model, person.count) == (None, 1)


async def test_parameters_under_a_photo_and_in_a_group(world: World) -> None:
    anna = world.sandbox.person()
    await anna.reply_after(await anna.send_photo(png(), "make it night --ar 9:16 --quality low"))
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.aspect, job.spec.quality) == ("make it night", "9:16", "low")
    group = world.sandbox.group("Zoo", [anna])
    refused = await anna.reply_after(await anna.send_text("/imagine a fox --q best", chat=group), chat=group)
    assert "low, medium, high" in refused.text
    await anna.reply_after(await anna.send_text("/imagine a fox --q high", chat=group), chat=group)
    assert [j.spec.quality for j in await world.active(anna.id)] == ["low", "high"]


async def _press(person: Person, message: Message, *buttons: str) -> None:
    for button in buttons:
        await (await person.tap(message, button)).answered()


def _labels(message: Message) -> list[str]:
    return [button["text"] for button in message.buttons]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "en",
            {
                "more": "Advanced", "seed": "Seed: any", "set": "🌱 Seed: 7 ✖️", "not": "Leave out", "back": "Back",
                "without": "🚫 Without text ✖️", "draw": "Draw", "high": "high", "bad": "whole number",
            },
        ),
        (
            "ru",
            {
                "more": "Настроить", "seed": "Сид: любой", "set": "🌱 Сид: 7 ✖️", "not": "Чего не рисовать", "back": "Назад",
                "without": "🚫 Без: text ✖️", "draw": "Нарисовать", "high": "высокое", "bad": "целое число",
            },
        ),
    ],
)  # fmt: skip
async def test_advanced_from_the_first_tap_to_the_picture_and_the_next_time(
    world: World, lang: str, words: dict[str, str]
) -> None:
    anna = world.sandbox.person(language_code=lang)
    dialog = await anna.reply_after(await anna.send_text("/create a fox"))
    await _press(anna, dialog, words["more"])
    # The model that the settings name has qualities, no seed, no negative words.
    assert _labels(dialog)[0] == "🖌 GPT Image 2.5 Flare"
    assert not any("🌱" in label or "🚫" in label for label in _labels(dialog))
    await _press(anna, dialog, words["high"])
    assert f"• {words['high']}" in _labels(dialog)
    await _press(anna, dialog, "GPT Image 2.5 Flare")
    assert "Qwen Image: " in dialog.text
    await _press(anna, dialog, "Qwen Image")
    assert _labels(dialog)[0] == "🖌 Qwen Image"
    assert words["high"] not in " ".join(_labels(dialog))
    await _press(anna, dialog, words["seed"])
    assert words["bad"] in (await anna.reply_after(await anna.send_text("seven"))).text
    await anna.send_text("7")
    await anna.wait_for(lambda m: m is dialog and words["set"] in _labels(m))
    await _press(anna, dialog, words["not"])
    await anna.send_text("text")
    await anna.wait_for(lambda m: m is dialog and words["without"] in _labels(m))
    await _press(anna, dialog, words["back"], "16:9", "d|count|2", words["draw"])
    jobs = await world.active(anna.id)
    assert [
        (j.spec.model, j.spec.aspect, j.spec.seed, j.spec.negative_prompt, j.spec.quality) for j in jobs
    ] == [("qwen/text-to-image", "16:9", seed, "text", None) for seed in (7, 8)]
    # The last choices are kept: model and format for every wish, what to leave out for the dialog, the seed for none.
    await anna.send_text("a bear")
    *_, bear = await world.active(anna.id)
    assert (bear.spec.model, bear.spec.aspect, bear.spec.seed, bear.spec.negative_prompt) == (
        "qwen/text-to-image", "16:9", None, None,
    )  # fmt: skip
    again = await anna.reply_after(await anna.send_text("/create a wolf"))
    await _press(anna, again, words["more"])
    assert words["without"] in _labels(again)
    assert any(words["seed"] in label for label in _labels(again))
    # A tap on what is chosen takes it back.
    await _press(anna, again, words["without"])
    assert words["without"] not in _labels(again)
    await world.app.ledger.choose(str(anna.id), quality="low")
    await _press(anna, again, words["draw"])
    person = await world.app.ledger.person(str(anna.id))
    assert (person.model, person.quality, person.negative) == ("qwen-image", "low", "")


@pytest.mark.parametrize(
    ("lang", "more", "draw"), [("en", "Advanced", "Draw"), ("ru", "Настроить", "Нарисовать")]
)
async def test_advanced_under_a_picture_begins_with_what_made_it(
    world: World, lang: str, more: str, draw: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    shown = await anna.reply_after(await anna.send_text("a fox --model qwen --seed 7 --ar 4:3"))
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    await _press(anna, shown, "⋯")
    await anna.wait_for(lambda m: m is shown and more in " ".join(_labels(m)))
    await _press(anna, shown, more)
    dialog = await anna.wait_for(lambda m: m.message_id > shown.message_id)
    assert _labels(dialog)[0] == "🖌 Qwen Image"
    await _press(anna, dialog, draw)
    [again] = await world.active(anna.id)
    assert _made_of(again) == _made_of(job)


def _made_of(job: Job) -> tuple[object, ...]:
    return job.spec.prompt, job.spec.model, job.spec.seed, job.spec.aspect, job.provider


async def test_a_model_that_cannot_change_pictures_or_is_gone_leaves_it_to_the_settings(world: World) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), model="of-the-past", quality="high")
    await anna.reply_after(await anna.send_text("a fox"))
    await world.app.ledger.choose(str(anna.id), model="qwen-image")
    async with world.away():
        album = await anna.send_album([png(), png()], "both in one")
    await anna.reply_after(album[-1])
    assert [job.spec.model for job in await world.active(anna.id)] == ["gpt-image-2.5-flare"] * 2
