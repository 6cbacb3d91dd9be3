"""The sketches: what is understood, honest and repeatable, the right size, and cheap when it must be."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from src.sandbox.figures import FIGURES
from src.sandbox.painting import paint
from src.sandbox.pictures import PictureMaker, render
from src.sandbox.scene import read


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


def difference(a: Image.Image, b: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(a, b.resize(a.size))).mean) / 3


@pytest.mark.parametrize(
    ("prompt", "understood"),
    [
        ("a red fox in snow", ("red fox", "snow")),
        ("рыжая лиса в снегу", ("orange fox", "snow")),
        ("Кот в ночном городе", ("cat", "city", "night")),
        ("олень в осеннем лесу на рассвете", ("deer", "forest", "autumn", "dawn")),
        ("🦊🌙", ("fox", "night")),
        ("лист на полке", ()),
        ("the art of starting", ()),
        ("category of carbon", ()),
        ("", ()),
    ],
)
def test_understands_words_not_letters(prompt: str, understood: tuple[str, ...]) -> None:
    assert tuple(word for word in read(prompt, random.Random(0)).understood if word) == understood


@pytest.mark.parametrize("size", [(1024, 1024), (1536, 864), (832, 1248)])
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_has_the_size_and_form_asked_for(size: tuple[int, int], form: str) -> None:
    image = Image.open(io.BytesIO(render("boat at sunset", size, form=form)))  # type: ignore[arg-type]
    assert (image.size, image.format) == (size, form.upper())


def test_is_repeatable_and_varies_with_the_seed() -> None:
    assert render("a fox", (256, 256), seed=1) == render("a fox", (256, 256), seed=1)
    assert render("a fox", (256, 256), seed=1) != render("a fox", (256, 256), seed=2)


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_each_figure_is_in_the_picture(name: str) -> None:
    def draw(prompt: str) -> Image.Image:
        chance = random.Random(5)
        return paint(read(prompt, chance), (256, 256), random.Random(5), grain=False)

    assert difference(draw("day, field"), draw(f"day, field, {name}")) > 1.0


def test_night_is_darker_than_day() -> None:
    def brightness(prompt: str) -> float:
        return ImageStat.Stat(opened(render(prompt, (256, 256))).convert("L")).mean[0]

    assert brightness("hills at night") < brightness("hills at noon, day") - 60


def test_an_edit_comes_from_its_source() -> None:
    source = render("whale, day", (512, 512), seed=3)
    edit = opened(render("black and white", (512, 512), source=source))
    assert difference(opened(source).convert("L").convert("RGB"), edit) < 40
    assert all(
        low == high for low, high in zip(edit.getpixel((300, 20)), edit.getpixel((300, 20))[1:], strict=False)
    )


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
