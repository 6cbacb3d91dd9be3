"""What somebody painted over in a picture, as the mask of what may change. No network here."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps, ImageStat

from src.providers.base import SourceImage, same_shape
from src.providers.images import decoding

# Compared at so many pixels across, where what JPEG leaves is averaged out and a stroke of a finger is wide.
_SIDE = 256
_BLUR = 1.0
# Of 255: paint differs by more from what it covers; beside it two copies of a picture differ on average by less.
_PAINT = 28
_REST = 8
# Shares of the picture: less is a speck, more is another picture.
_LEAST, _MOST = 0.002, 0.8
_GROWN = 5


def painted_over(source: SourceImage, painted: SourceImage) -> tuple[SourceImage, SourceImage] | None:
    """A picture, and the mask of what was painted over in a copy of it: both as PNG and of the same size, the mask
    transparent where the picture may change. What a stroke goes round belongs to it. Decodes: call it in a thread.

    Returns:
        None: hardly anything was painted over, or nearly everything, or the copy is none.
    """
    if not same_shape((source.width, source.height), (painted.width, painted.height)):
        return None
    with decoding:
        picture = _opened(source)
        scale = _SIDE / max(picture.size)
        small = (max(8, round(picture.width * scale)), max(8, round(picture.height * scale)))
        difference = ImageChops.difference(_compared(picture, small), _compared(_opened(painted), small))
        red, green, blue = difference.split()
        most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        area = _filled(most.point(lambda value: 255 * (value > _PAINT)).filter(ImageFilter.MedianFilter(3)))
        share = ImageStat.Stat(area).mean[0] / 255
        grown = area.filter(ImageFilter.MaxFilter(2 * _GROWN + 1))
        rest = ImageOps.invert(grown)
        if not _LEAST <= share <= _MOST or (rest.getbbox() and ImageStat.Stat(most, rest).mean[0] > _REST):
            return None
        kept = rest.resize(picture.size, Image.Resampling.BILINEAR).point(lambda value: 255 * (value > 127))
        mask = Image.new("RGBA", picture.size, "white")
        mask.putalpha(kept)
        return _png(picture), _png(mask)


def _opened(image: SourceImage) -> Image.Image:
    return Image.open(io.BytesIO(image.data), formats=("PNG", "JPEG"))


def _compared(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """As a screen shows it, small and without what is smaller than paint."""
    small = image.resize(size, Image.Resampling.BOX)
    if small.has_transparency_data:
        small = Image.alpha_composite(Image.new("RGBA", size, "white"), small.convert("RGBA"))
    return small.convert("RGB").filter(ImageFilter.GaussianBlur(_BLUR))


def _filled(area: Image.Image) -> Image.Image:
    """An area with what it encloses: all that cannot be reached from the edge."""
    framed = ImageOps.expand(area, border=1, fill=0)
    ImageDraw.floodfill(framed, (0, 0), 128)
    return ImageOps.crop(framed, border=1).point(lambda value: 0 if value == 128 else 255)


def _png(image: Image.Image) -> SourceImage:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return SourceImage(out.getvalue(), "image/png", *image.size)
