"""The sandbox's pictures: told apart, honest and repeatable, the right size, and cheap when they must be."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from src.sandbox.pictures import PictureMaker, _font, render


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


def difference(a: Image.Image, b: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(a, b.resize(a.size))).mean) / 3


@pytest.mark.parametrize("size", [(1024, 1024), (1536, 864), (832, 1248)])
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_has_the_size_and_form_asked_for(size: tuple[int, int], form: str) -> None:
    image = Image.open(io.BytesIO(render("boat at sunset", size, form=form)))  # type: ignore[arg-type]
    assert (image.size, image.format) == (size, form.upper())


def test_is_repeatable_and_varies_with_the_seed() -> None:
    assert render("a fox", (256, 256), seed=1) == render("a fox", (256, 256), seed=1)
    assert render("a fox", (256, 256), seed=1) != render("a fox", (256, 256), seed=2)


@pytest.mark.parametrize(
    ("one", "other"), [("a fox", "a cat"), ("red", "blue"), ("лиса", "кот"), ("рассвет", "закат")]
)
def test_different_prompts_give_different_pictures(one: str, other: str) -> None:
    assert difference(opened(render(one, (256, 256))), opened(render(other, (256, 256)))) > 5


@pytest.mark.parametrize(
    ("named", "channel"), [("red", 0), ("красный дом", 0), ("green", 1), ("синее море", 2)]
)
def test_a_colour_that_is_named_is_seen(named: str, channel: int) -> None:
    means = ImageStat.Stat(opened(render(named, (256, 256))).crop((0, 200, 256, 256))).mean
    assert means[channel] == max(means)


def test_the_prompt_is_written_on_it() -> None:
    def ink(prompt: str) -> int:
        words = opened(render(prompt, (512, 512))).crop((0, 350, 512, 470)).convert("L")
        return sum(words.histogram()[250:])

    assert ink("night") > 200 < ink("ночь")
    assert ink("night night night") > 2 * ink("night") > ink("🌙")


def test_russian_is_written_in_its_own_letters_where_the_machine_has_them() -> None:
    if not _font(12)[1]:
        pytest.skip("needs a font with Russian letters")

    def width(prompt: str) -> int:
        words = opened(render(prompt, (512, 512))).crop((0, 380, 512, 440)).convert("L")
        left, _, right, _ = words.point(lambda light: 255 * (light > 250)).getbbox() or (0, 0, 0, 0)
        return right - left

    assert 0 < width("щщщ") < width("shchshchshch")


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_only_where_its_mask_is_open_is_a_picture_changed(mode: str) -> None:
    source, out = render("whale, day", (512, 512), seed=3), io.BytesIO()
    mask = Image.new("P", (512, 512))
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.paste(1, (0, 256, 512, 512))
    mask.info["transparency"] = 1
    mask.convert(mode).save(out, "PNG")
    edit = opened(render("red", (512, 512), source=source, mask=out.getvalue()))
    below = (0, 260, 512, 512)
    assert difference(opened(source).crop(below), edit.crop(below)) > 5
    # The words are written above.
    between = (0, 120, 512, 250)
    assert difference(opened(source).crop(between), edit.crop(between)) == 0


def test_night_is_darker_than_day() -> None:
    def brightness(prompt: str) -> float:
        return ImageStat.Stat(opened(render(prompt, (256, 256))).convert("L")).mean[0]

    assert brightness("hills at night") < brightness("hills at noon, day") / 2


def test_an_edit_comes_from_its_source() -> None:
    source = render("whale, day", (512, 512), seed=3)
    edit, other = (opened(render(wish, (512, 512), source=source)) for wish in ("green", "red"))
    assert 5 < difference(opened(source), edit) < 60
    assert difference(edit, other) > 5


def test_a_source_that_cannot_be_read_is_not_the_end() -> None:
    assert opened(render("a fox", (128, 128), source=b"nonsense")).size == (128, 128)


async def test_ready_pictures_are_drawn_once() -> None:
    maker = PictureMaker(cached=True)
    first = await maker.make("one", (1024, 1024))
    assert await maker.make("one", (1024, 1024), seed=9) is first
    assert 250_000 < len(first) < 350_000
    assert opened(first).size == (1024, 1024)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60), st.integers(16, 200), st.integers(16, 200))
def test_any_text_at_any_size_gives_a_picture(prompt: str, width: int, height: int) -> None:
    assert opened(render(prompt, (width, height))).size == (width, height)
