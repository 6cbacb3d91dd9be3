"""Photos as Telegram takes them: checked, recompressed to JPEG, offered in several sizes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import warnings
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image, ImageOps

from src.sandbox.telegram.errors import bad_request

MAX_BYTES = 10 * 1024 * 1024
MAX_SIDES = 10_000
MAX_RATIO = 20
SIDES = (90, 320, 800, 1280)
"""Longest sides of the sizes Telegram makes, pixels."""

_CACHED = 64


@dataclass(frozen=True)
class Size:
    """One size of a photo."""

    width: int
    height: int
    data: bytes
    sha256: str


class Darkroom:
    """Makes the sizes of uploaded photos; one picture uploaded again costs nothing.

    `strict=False` reads no further than the header and keeps the bytes as they came, for load runs.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._cache: OrderedDict[str, tuple[Size, ...]] = OrderedDict()

    async def develop(self, data: bytes, sha256: str) -> tuple[Size, ...]:
        """The sizes of the photo of that hash, smallest first; raises ApiError for what Telegram refuses."""
        if not data:
            raise bad_request("file must be non-empty")
        if len(data) > MAX_BYTES:
            raise bad_request(
                f"file of size {len(data)} bytes is too big for a photo; the maximum size is {MAX_BYTES} bytes"
            )
        if not self._strict:
            width, height = measure(data)
            return (Size(width, height, data, sha256),)
        if sha256 in self._cache:
            self._cache.move_to_end(sha256)
            return self._cache[sha256]
        sizes = self._cache[sha256] = await asyncio.to_thread(_develop, data)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return sizes


def measure(data: bytes) -> tuple[int, int]:
    """Width and height from the header; raises ApiError if there is none or a photo can't be that large."""
    with _open(data) as image:
        _check_size(*image.size)
        return image.size


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise bad_request("IMAGE_PROCESS_FAILED") from None


def _check_size(width: int, height: int) -> None:
    if width + height > MAX_SIDES or max(width, height) > MAX_RATIO * min(width, height):
        raise bad_request("PHOTO_INVALID_DIMENSIONS")


def _develop(data: bytes) -> tuple[Size, ...]:
    with _open(data) as image:
        _check_size(*image.size)
        try:
            if image.format == "JPEG":
                image.draft("RGB", (SIDES[-1], SIDES[-1]))
            picture = _on_white(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, EOFError):
            raise bad_request("IMAGE_PROCESS_FAILED") from None
    longest = max(picture.size)
    sides = [side for side in SIDES[:-1] if side < longest] + [min(longest, SIDES[-1])]
    sizes: list[Size] = []
    for side in reversed(sides):
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=87)
        made = buffer.getvalue()
        sizes.append(Size(*picture.size, made, hashlib.sha256(made).hexdigest()))
    return tuple(reversed(sizes))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")
