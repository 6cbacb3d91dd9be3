"""Pictures the bot itself draws: the tiles an album shows while its pictures are made or where one failed.

And the one change it makes to others' pictures: fitting an outsized one into what an album can show.
"""

from __future__ import annotations

import functools
import io
from typing import Literal

from PIL import Image, ImageDraw, ImageOps

from src.providers.base import OF_SOURCE

Face = Literal["waiting", "failed"]

MAX_PHOTO_BYTES = 10_000_000
MAX_PHOTO_SIDES = 10_000
MAX_PHOTO_RATIO = 20
_LONG_SIDE = 720
_FITTED_SIDE = 2560

# Top and bottom of a tile's ground, and its mark.
_COLOURS = {
    "waiting": ((238, 234, 255), (199, 221, 255), (122, 134, 204)),
    "failed": ((245, 240, 238), (226, 214, 212), (170, 140, 138)),
}


def fits_photo(size: int, width: int, height: int) -> bool:
    """Whether Telegram takes a picture of that many bytes and pixels as a photo."""
    short, long = sorted((width, height))
    return size <= MAX_PHOTO_BYTES and width + height <= MAX_PHOTO_SIDES and long <= MAX_PHOTO_RATIO * short


def fit(data: bytes) -> bytes:
    """The picture as a JPEG that Telegram takes as a photo; a strip too long for that gets margins.

    Raises:
        OSError: the picture cannot be decoded.
    """
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_FITTED_SIDE, _FITTED_SIDE), Image.Resampling.LANCZOS)
    short = -(-max(image.size) // MAX_PHOTO_RATIO)
    if min(image.size) < short:
        room = (max(image.width, short), max(image.height, short))
        image = ImageOps.pad(image, room, color="white")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@functools.cache
def tile(aspect: str, face: Face) -> bytes:
    """A calm PNG of the format `aspect`: three dots for a picture in the making, a dash for none."""
    across, down = (int(part) for part in ("1:1" if aspect == OF_SOURCE else aspect).split(":"))
    # Drawn at twice the size, so that the edges are smooth when it is halved.
    scale = 2 * _LONG_SIDE / max(across, down)
    width, height = round(across * scale), round(down * scale)
    first, last, ink = _COLOURS[face]
    ramp = Image.linear_gradient("L").resize((width, height))
    ground = Image.composite(
        Image.new("RGB", (width, height), last), Image.new("RGB", (width, height), first), ramp
    )
    draw = ImageDraw.Draw(ground)
    radius = min(width, height) // 28
    middle = (width // 2, height // 2)
    if face == "waiting":
        for offset in (-3, 0, 3):
            x = middle[0] + offset * radius
            draw.ellipse((x - radius, middle[1] - radius, x + radius, middle[1] + radius), fill=ink)
    else:
        x, y = middle
        draw.rounded_rectangle(
            (x - 3 * radius, y - radius // 2, x + 3 * radius, y + radius // 2), radius, ink
        )
    out = io.BytesIO()
    ground.reduce(2).save(out, "PNG", optimize=True)
    return out.getvalue()
