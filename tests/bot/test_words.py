"""Help with words by optional models: off by default, shown before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.sandbox.telegram import Message, Person
from src.sandbox.words import WordsSandbox
from tests.bot.bot_world import World, png

KEY = "sk-words-of-a-test"


@pytest.fixture
async def words() -> AsyncIterator[tuple[WordsSandbox, str]]:
    stand_in = WordsSandbox(key=KEY, models=("gpt-5-mini", "gpt-4o-transcribe"))
    app = web.Application()
    stand_in.add_to(app)
    async with TestServer(app) as server:
        yield stand_in, str(server.make_url("/words/v1"))


@pytest.fixture
def settings_of_world(words: tuple[WordsSandbox, str]) -> dict[str, object]:
    return {
        "text_api_key": KEY,
        "text_base_url": words[1],
        "text_model": "gpt-5-mini",
        "speech_model": "gpt-4o-transcribe",
    }


def _labels(message: Message) -> str:
    return " ".join(button["text"] for button in message.buttons)


@pytest.mark.parametrize(
    ("lang", "improve", "take", "leave", "draw", "failed"),
    [
        ("en", "Improve", "Take", "Keep mine", "Draw", "couldn’t find better"),
        ("ru", "Улучшить", "Взять", "Оставить", "Нарисовать", "не получилось найти"),
    ],
)
async def test_better_words_are_shown_and_then_taken_or_left(
    world: World,
    words: tuple[WordsSandbox, str],
    lang: str,
    improve: str,
    take: str,
    leave: str,
    draw: str,
    failed: str,
) -> None:
    stand_in = words[0]
    anna = world.sandbox.person(language_code=lang)
    for choice, prompt in ((leave, "a fox"), (take, "a fox, evening light, fine")):
        dialog = await anna.reply_after(await anna.send_text("/create a fox --ar 16:9"))
        stand_in.adds = ", evening light, --fine"
        await (await anna.tap(dialog, improve)).answered()
        await anna.wait_for(lambda m, dialog=dialog: m is dialog and take in _labels(m))  # type: ignore[misc]
        assert "a fox, evening light, fine" in dialog.text
        await (await anna.tap(dialog, choice)).answered()
        await (await anna.tap(dialog, draw)).answered()
        assert (await world.active(anna.id))[-1].spec.prompt == prompt
    assert stand_in.asked == ["a fox", "a fox"]
    dialog = await anna.reply_after(await anna.send_text("/create a bear"))
    stand_in.adds = "x" * 5000
    await (await anna.tap(dialog, improve)).answered()
    await anna.wait_for(lambda m: failed in m.text)
    assert "a bear" in dialog.text
    assert len(await world.active(anna.id)) == 2


async def _say(person: Person, world: World, speech: bytes) -> Message:
    file = world.sandbox.bot.add_file(
        "Voice", speech, hashlib.sha256(speech).hexdigest(), "a.oga", "audio/ogg"
    )
    voice = {"file_id": file.file_id, "file_unique_id": file.file_unique_id, "duration": 2}
    return await person.send_content({"voice": voice})


@pytest.mark.parametrize(
    ("lang", "heard", "draw", "failed"),
    [
        ("en", "a fox in the snow", "Draw", "couldn’t make out"),
        ("ru", "лиса в снегу", "Нарисовать", "Не получилось разобрать"),
    ],
)
async def test_a_voice_message_is_words_that_are_shown_first(
    world: World, words: tuple[WordsSandbox, str], lang: str, heard: str, draw: str, failed: str
) -> None:
    words[0].hears = heard
    anna = world.sandbox.person(language_code=lang)
    dialog = await anna.reply_after(await _say(anna, world, b"OggS"))
    assert heard in dialog.text
    assert await world.active(anna.id) == []
    await (await anna.tap(dialog, draw)).answered()
    photo = await anna.send_photo(png())
    await anna.reply_after(photo)
    dialog = await anna.reply_after(await _say(anna, world, b"OggS"))
    await (await anna.tap(dialog, draw)).answered()
    first, second = await world.active(anna.id)
    assert (first.spec.prompt, first.spec.pictures) == (heard, ())
    assert (second.spec.prompt, second.spec.pictures) == (heard, (photo.media["file_id"],))
    words[0].hears = ""
    assert failed in (await anna.reply_after(await _say(anna, world, b"OggS"))).text


async def test_help_costs_money_too_so_it_has_the_same_limit(
    world: World, words: tuple[WordsSandbox, str]
) -> None:
    anna = world.sandbox.person()
    words[0].hears = ""
    for _ in range(world.settings.rate_limit):
        await anna.reply_after(await _say(anna, world, b"OggS"))
    words[0].hears = "a fox"
    assert "couldn’t make out" in (await anna.reply_after(await _say(anna, world, b"OggS"))).text


class TestOff:
    @pytest.fixture
    def settings_of_world(self) -> dict[str, object]:
        return {}

    async def test_neither_is_offered_by_default(self, world: World) -> None:
        anna = world.sandbox.person()
        dialog = await anna.reply_after(await anna.send_text("/create a fox"))
        assert "Improve" not in _labels(dialog)
        assert "too old" in (await (await anna.tap_data(dialog, "d|improve|")).answered())["text"]
        assert "words and photos" in (await anna.reply_after(await _say(anna, world, b"OggS"))).text
