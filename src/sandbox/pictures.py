"""The pictures of the providers' stand-ins: hills under a sky, in colours that the prompt's words and the seed give.

Nobody takes one for a model's work: the prompt is written on it, and `sandbox` in a corner. Pillow's own
font has Latin letters only: Russian is spelled in those where the machine has no other.
"""

from __future__ import annotations

import asyncio
import colorsys
import functools
import io
import math
import random
import re
import struct
import textwrap
import zlib
from contextlib import suppress
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

Format = Literal["png", "jpeg", "webp"]
_VARIANTS = 8
# What a megapixel usually weighs when a provider has compressed it well.
_READY_BYTES = 300_000
# The last chunk of a PNG, which has no data.
_PNG_END = 12
# From this side on nobody sees that its edges are not smoothed, which takes three quarters of the drawing.
_LARGE = 1600
# Hue, saturation and brightness of what a word's beginning stands for.
_COLOURS = {
    r"night|midnight|moon|star|space|ноч|лун|звёзд|звезд|космо": (0.64, 0.7, 0.22),
    r"sunset|dusk|evening|закат|вечер": (0.04, 0.6, 0.85),
    r"dawn|sunrise|morning|рассвет|утр|pink|розов|flower|цвет": (0.94, 0.4, 0.95),
    r"snow|winter|ice|white|снег|зим|бел|fog|туман": (0.58, 0.1, 0.97),
    r"red|rose|красн|роз": (0.0, 0.7, 0.8),
    r"fox|orange|ginger|autumn|лис|оранж|рыж|осен": (0.06, 0.75, 0.9),
    r"yellow|gold|sun\b|desert|жёлт|желт|золот|солнц|пустын": (0.12, 0.6, 0.95),
    r"green|forest|tree|field|зелён|зелен|лес|дерев|поле": (0.36, 0.5, 0.55),
    r"blue|sea|ocean|lake|river|sky|син|голуб|мор|океан|озер|рек|неб": (0.56, 0.6, 0.75),
    r"purple|violet|фиолет|сирен": (0.76, 0.45, 0.7),
    r"black|grey|gray|city|чёрн|черн|сер|город": (0.62, 0.15, 0.4),
}
_LATIN = str.maketrans(
    {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya"}
) | str.maketrans("абвгдеёзийклмнопрстуфыэьъ", "abvgdeeziyklmnoprstufye''")
Rgb = tuple[int, int, int]


class PictureMaker:
    """Draws pictures; with `cached`, a few ready ones over and over, which cost nothing each."""

    def __init__(self, *, cached: bool = False) -> None:
        self._cached = cached

    async def make(
        self,
        prompt: str,
        size: tuple[int, int],
        *,
        seed: int = 0,
        form: Format = "png",
        source: bytes | None = None,
        mask: bytes | None = None,
    ) -> bytes:
        """The picture as encoded bytes, the same for the same arguments; `source`: a picture to be changed, where a
        `mask` is transparent."""
        if self._cached:
            return _ready(size, zlib.crc32(prompt.encode("utf-8", "replace")) % _VARIANTS, form)
        return await asyncio.to_thread(render, prompt, size, seed=seed, form=form, source=source, mask=mask)


@functools.cache
def _ready(size: tuple[int, int], variant: int, form: Format) -> bytes:
    plain = render("ready", size, seed=variant, form=form)
    if form != "png":
        return plain
    padding = b"paDd" + random.Random(variant).randbytes(max(0, _READY_BYTES - len(plain)))
    chunk = struct.pack(">I", len(padding) - 4) + padding + struct.pack(">I", zlib.crc32(padding))
    return plain[:-_PNG_END] + chunk + plain[-_PNG_END:]


def render(
    prompt: str,
    size: tuple[int, int],
    *,
    seed: int = 0,
    form: Format = "png",
    source: bytes | None = None,
    mask: bytes | None = None,
) -> bytes:
    chance = random.Random(f"{seed}:{prompt}")
    colours = _colours(prompt, chance)
    if source and (image := _opened(source, size)):
        tinted = Image.blend(image, Image.new("RGB", size, colours[0]), 0.35)
        kept = Image.open(io.BytesIO(mask)).convert("RGBA").getchannel("A").resize(size) if mask else None
        image = Image.composite(image, tinted, kept) if kept else tinted
        _write(image, f"edit: {prompt}", 0.1)
    else:
        image = _landscape(size, colours, chance)
        _write(image, prompt, 0.8)
    out = io.BytesIO()
    image.save(out, form.upper(), quality=88, compress_level=1)
    return out.getvalue()


def worked_on(source: bytes, *, larger: bool) -> bytes:
    """A picture twice as large, or with nothing around the circle in its middle; as PNG."""
    image = Image.open(io.BytesIO(source)).convert("RGBA")
    if larger:
        image = image.resize((image.width * 2, image.height * 2))
    else:
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).ellipse([0, 0, *image.size], fill=255)
        image.putalpha(mask)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


@functools.lru_cache(32)
def unfinished(picture: bytes, grain: int, form: Format) -> bytes:
    """A picture as it is in the making: in squares of so many pixels."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.reduce(grain).resize(image.size, Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, form.upper(), quality=70, compress_level=1)
    return out.getvalue()


def _colours(prompt: str, chance: random.Random) -> list[Rgb]:
    """Those of the prompt's words in their order, and what it leaves open by lot: of the land, the sky, the sun."""
    found = ((re.search(rf"\b(?:{words})", prompt, re.I), colour) for words, colour in _COLOURS.items())
    named = [colour for _, colour in sorted((match.start(), colour) for match, colour in found if match)]
    while len(named) < 3:
        bright = named[0][2] if named else chance.uniform(0.6, 0.9)
        named.append((chance.random(), chance.uniform(0.3, 0.6), bright))
    return [_rgb(hue + chance.uniform(-0.02, 0.02), *rest) for hue, *rest in named[:3]]


def _rgb(*hsv: float) -> Rgb:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(*hsv))
    return red, green, blue


def _mixed(a: Rgb, b: Rgb, share: float) -> Rgb:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _landscape(size: tuple[int, int], colours: list[Rgb], chance: random.Random) -> Image.Image:
    """Drawn at twice the size and reduced, which smooths the edges; a large one as it is."""
    land, sky, sun = colours
    times = 1 if max(size) >= _LARGE else 2
    width, height = size[0] * times, size[1] * times
    image = ImageOps.colorize(Image.linear_gradient("L").resize((width, height)), sky, _mixed(sky, sun, 0.6))
    pen = ImageDraw.Draw(image)
    x, y, radius = width * chance.uniform(0.2, 0.8), height * chance.uniform(0.2, 0.4), min(width, height) / 9
    for ring in (2.2, 1.5, 1.0):
        glow = _mixed(sky, _mixed(sun, (255, 255, 255), 0.5), 0.9 / ring)
        pen.ellipse([x - radius * ring, y - radius * ring, x + radius * ring, y + radius * ring], fill=glow)
    for layer in range(4):
        level, phase = height * (0.52 + 0.12 * layer), chance.uniform(0, math.tau)
        waves = chance.uniform(0.6, 1.6) * math.tau / width
        line = [
            (x, level + math.sin(phase + x * waves) * height * 0.05)
            for x in range(0, width + width // 50 + 1, max(1, width // 50))
        ]
        far = _mixed(_mixed(land, (0, 0, 0), 0.12 * layer), sky, 0.6 - 0.2 * layer)
        pen.polygon([(0, height), *line, (width, height)], fill=far)
    return image.reduce(times)


@functools.cache
def _font(size: float) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """The letters to write with, and whether there are Russian ones among them."""
    # By the names under which Linux, macOS and Windows have them.
    for name in ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf"):
        with suppress(OSError):
            return ImageFont.truetype(name, size), True
    return ImageFont.load_default(size), False


def _write(image: Image.Image, prompt: str, height: float) -> None:
    russian = _font(12)[1]
    said = prompt.lower() if russian else prompt.lower().translate(_LATIN)
    words = " ".join(re.findall(r"[!-~\u00c0-\u017f\u0400-\u045f]+", said))
    words = textwrap.fill(words, 24, max_lines=4, placeholder=" ...")
    pen, side = ImageDraw.Draw(image), min(image.size)
    for text, size, at in ((words, 1 / 16, height), ("sandbox", 1 / 36, 0.97)):
        font, place = _font(max(6, side * size))[0], (image.width / 2, image.height * at)
        pen.text(
            place, text, "white", font, "mm", align="center", stroke_width=side / 400, stroke_fill="#223"
        )


def _opened(source: bytes, size: tuple[int, int]) -> Image.Image | None:
    try:
        return ImageOps.fit(Image.open(io.BytesIO(source)).convert("RGB"), size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
