"""The procedural picture maker behind the providers' stand-ins: a seeded sketch of what a prompt names.

It is no image model and says so: every picture carries the caption `sandbox sketch` with the words
that were understood, in English because the font inside Pillow has Latin letters only.
"""

from __future__ import annotations

import asyncio
import functools
import io
import random
import zlib
from typing import Literal

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from src.sandbox.painting import caption, paint, retouch
from src.sandbox.scene import Scene, read

Format = Literal["png", "jpeg", "webp"]
_VARIANTS = 8
# What a megapixel usually weighs when a provider has compressed it well.
_READY_BYTES = 300_000


class PictureMaker:
    """Draws sketches; with `cached`, a few ready ones over and over, which cost nothing each."""

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
    ) -> bytes:
        """The picture as encoded bytes; the same arguments give the same bytes.

        Args:
            prompt: what to sketch.
            size: width and height in pixels.
            seed: decides what the prompt leaves open.
            form: encoding.
            source: a picture to be changed instead of a new one.
        """
        if self._cached:
            return _ready(size, zlib.crc32(prompt.encode("utf-8", "replace")) % _VARIANTS, form)
        return await asyncio.to_thread(render, prompt, size, seed=seed, form=form, source=source)


@functools.cache
def _ready(size: tuple[int, int], variant: int, form: Format) -> bytes:
    prompts = ("a red fox in snow", "boat at sunset", "cat, city, night", "mountains at dawn")
    prompt = prompts[variant % len(prompts)]
    chance = random.Random(variant)
    scene = read(prompt, chance)
    image = paint(scene, size, chance, grain=False)
    caption(image, _title("sandbox sketch", scene))
    plain = _encoded(image, form)
    if form != "png":
        return plain
    padding = PngInfo()
    padding.add(b"paDd", chance.randbytes(max(0, _READY_BYTES - len(plain))))
    return _encoded(image, form, padding)


def render(
    prompt: str, size: tuple[int, int], *, seed: int = 0, form: Format = "png", source: bytes | None = None
) -> bytes:
    """The picture as encoded bytes; about 100 ms of CPU for a megapixel."""
    chance = random.Random(f"{seed}:{prompt}")
    scene = read(prompt, chance)
    image = _opened(source, size) if source else None
    if image is None:
        image, title = paint(scene, size, chance), "sandbox sketch"
    else:
        image, title = retouch(image, scene, chance), "sandbox edit"
    caption(image, _title(title, scene))
    return _encoded(image, form)


def _title(what: str, scene: Scene) -> str:
    words = ", ".join(word for word in scene.understood if word)
    return f"{what}: {words}" if words else what


def _encoded(image: Image.Image, form: Format, extra: PngInfo | None = None) -> bytes:
    out = io.BytesIO()
    if form == "png":
        image.save(out, "PNG", compress_level=1, pnginfo=extra)
    else:
        image.save(out, form.upper(), quality=88)
    return out.getvalue()


def _opened(source: bytes, size: tuple[int, int]) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(source))
        image.draft("RGB", size)
        return ImageOps.fit(image.convert("RGB"), size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
