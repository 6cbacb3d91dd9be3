"""The procedural picture maker behind the providers' stand-ins."""

from __future__ import annotations

import asyncio
import functools
import io
import zlib
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Format = Literal["png", "jpeg", "webp"]


class PictureMaker:
    """Draws sketches; with `cached`, a few ready ones over and over, which costs nothing."""

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
        """The picture as encoded bytes; the same arguments give the same bytes."""
        if self._cached:
            prompt, seed, source = "", zlib.crc32(prompt.encode()) % 8, None
        return await asyncio.to_thread(_render, prompt, size, seed, form, source)


@functools.lru_cache(maxsize=64)
def _render(prompt: str, size: tuple[int, int], seed: int, form: Format, source: bytes | None) -> bytes:
    image = Image.new("RGB", size, (seed * 37 % 256, 120, 160))
    ImageDraw.Draw(image).text((10, 10), "sandbox sketch", font=ImageFont.load_default(20))
    out = io.BytesIO()
    image.save(out, form.upper())
    return out.getvalue()
