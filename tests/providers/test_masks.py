"""What was painted over in a photo, from its pixels as Telegram gives them back."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from src.providers.base import SourceImage
from src.providers.images import source_image
from src.providers.masks import painted_over

_SIZE = (768, 512)
_BLOB = (250, 150, 400, 280)


@functools.cache
def _drawn(seed: int = 1) -> Image.Image:
    """A picture with flat areas, sharp edges and fine grain."""
    some = random.Random(seed)
    image = (Image.radial_gradient if seed == 1 else Image.linear_gradient)("L").resize(_SIZE).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = some.randrange(_SIZE[0]), some.randrange(_SIZE[1])
        colour = (some.randrange(256), some.randrange(256), some.randrange(256))
        draw.rectangle([x, y, x + some.randrange(5, 150), y + some.randrange(5, 100)], fill=colour)
    grain = Image.frombytes("L", _SIZE, some.randbytes(_SIZE[0] * _SIZE[1])).convert("RGB")
    return Image.blend(image, grain, 0.15)


def _sent(image: Image.Image, side: int = 640) -> SourceImage:
    """As a photo comes back from Telegram: smaller, and with less in it."""
    copy, out = image.copy(), io.BytesIO()
    copy.thumbnail((side, side))
    copy.save(out, "JPEG", quality=70)
    return source_image(out.getvalue())


def _original(image: Image.Image) -> SourceImage:
    out = io.BytesIO()
    image.save(out, "PNG")
    return source_image(out.getvalue())


def _with(paint: Callable[[ImageDraw.ImageDraw], object], image: Image.Image | None = None) -> Image.Image:
    copy = (image or _drawn()).copy()
    paint(ImageDraw.Draw(copy))
    return copy


def _blob(colour: str) -> Callable[[ImageDraw.ImageDraw], object]:
    return lambda draw: draw.ellipse(_BLOB, fill=colour)


@pytest.mark.parametrize("side", [640, 481])
@pytest.mark.parametrize(
    "paint",
    [
        pytest.param(_blob("red"), id="red"),
        pytest.param(_blob("white"), id="white"),
        pytest.param(_blob("black"), id="black"),
        pytest.param(lambda draw: draw.ellipse(_BLOB, outline="lime", width=12), id="a ring"),
    ],
)
def test_the_mask_is_what_was_painted_over(paint: Callable[[ImageDraw.ImageDraw], object], side: int) -> None:
    found = painted_over(_original(_drawn()), _sent(_with(paint), side))
    assert found is not None
    source, mask = found
    assert {source.mime, mask.mime} == {"image/png"}
    opened = Image.open(io.BytesIO(mask.data))
    assert opened.size == (mask.width, mask.height) == (source.width, source.height) == _SIZE
    assert opened.mode == "RGBA"
    kept = opened.getchannel("A")
    # All of the blob may change, and nothing that is further from it than a finger's width.
    inside = Image.new("L", _SIZE)
    ImageDraw.Draw(inside).ellipse(_BLOB, fill=255)
    changing = kept.point(lambda value: 255 - value)
    assert sum(Image.composite(kept, Image.new("L", _SIZE), inside).histogram()[1:]) < 0.005 * 15_000
    left, top, right, bottom = changing.getbbox() or (0, 0, 0, 0)
    assert left > _BLOB[0] - 35
    assert top > _BLOB[1] - 35
    assert right < _BLOB[2] + 35
    assert bottom < _BLOB[3] + 35


@pytest.mark.parametrize(
    "painted",
    [
        pytest.param(lambda: _drawn(), id="nothing"),
        pytest.param(lambda: _with(lambda draw: draw.ellipse([50, 50, 55, 55], fill="red")), id="a speck"),
        pytest.param(
            lambda: _with(lambda draw: draw.rectangle([0, 0, 768, 475], fill="red")), id="nearly all"
        ),
        pytest.param(lambda: _drawn(2), id="another picture"),
        pytest.param(lambda: ImageEnhance.Brightness(_drawn()).enhance(0.8), id="darker all over"),
        pytest.param(lambda: _with(_blob("red")).crop((0, 0, 512, 512)), id="another shape"),
        pytest.param(lambda: _with(_blob("red")).crop((75, 50, 693, 462)), id="a part of it"),
    ],
)
def test_what_is_no_mask(painted: Callable[[], Image.Image]) -> None:
    assert painted_over(_original(_drawn()), _sent(painted())) is None


def test_a_picture_that_one_can_see_through_is_compared_as_it_is_shown() -> None:
    clear = Image.new("RGBA", (600, 600))
    ImageDraw.Draw(clear).rectangle([200, 200, 400, 400], fill="blue")
    white = Image.new("RGBA", clear.size, "white")
    white.alpha_composite(clear)
    shown = _with(lambda draw: draw.ellipse([20, 20, 120, 120], fill="red"), white.convert("RGB"))
    found = painted_over(_original(clear), _sent(shown))
    assert found is not None
    mask = Image.open(io.BytesIO(found[1].data)).getchannel("A")
    assert (mask.getpixel((70, 70)), mask.getpixel((300, 300)), mask.getpixel((500, 70))) == (0, 255, 255)
