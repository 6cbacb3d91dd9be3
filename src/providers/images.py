"""Judging a picture by its bytes: type, size, wholeness. No network here.

A result is not decoded: its magic bytes, header and end are enough to know that Telegram will take it, so
it can be judged while it is on its way. A person's own picture is decoded once, because it may be anything.
"""

from __future__ import annotations

import base64
import io
import threading
import warnings
import zlib
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, ImageOps

from src.providers.base import ErrorKind, ImageBytes, ProviderError, SourceImage

MAX_PIXELS = 64_000_000
SOURCE_MAX_BYTES = 20_000_000
SOURCE_MAX_SIDE = 2048
END_BYTES = 1024
_SOURCE_MIN_SIDE = 16
_SOURCE_FORMATS = ("PNG", "JPEG", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "TIFF")
_RESULT_FORMATS = ("PNG", "JPEG", "WEBP")
# A decoded pixel takes four bytes: beyond so many pixels one picture of the process is decoded at a time.
_LARGE_PIXELS = 8_000_000
_AT_ONCE = 4

pillow_heif.register_heif_opener()
_large = threading.Lock()
decoding = threading.BoundedSemaphore(_AT_ONCE)
_srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def sniff(data: bytes) -> str | None:
    """Media type by the magic bytes of PNG, JPEG or WEBP; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def data_uri(image: SourceImage) -> str:
    """A picture as an address that holds it."""
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


def inspect(data: bytes) -> ImageBytes:
    """Check a finished picture without decoding it.

    Raises:
        ProviderError: BAD_RESULT: not a picture, cut short, or too many pixels.
    """
    mime = sniff(data)
    if mime is None:
        raise ProviderError(ErrorKind.BAD_RESULT, "not_an_image")
    try:
        width, height = _header(data, _RESULT_FORMATS).size
    except _Unreadable as error:
        raise ProviderError(ErrorKind.BAD_RESULT, str(error)) from None
    if mime == "image/webp":
        whole = len(data) >= int.from_bytes(data[4:8], "little") + 8
    else:
        whole = has_end(mime, data[-END_BYTES:])
    if not whole:
        raise ProviderError(ErrorKind.BAD_RESULT, "truncated")
    return ImageBytes(data, mime, width, height)


def pixels_in(head: bytes) -> tuple[int, int] | None:
    """Width and height as the first bytes of a PNG or JPEG tell them; None when more are needed. Of a
    WEBP all are.

    Raises:
        ProviderError: BAD_RESULT: not a picture, or too many pixels.
    """
    mime = sniff(head)
    if mime is None:
        raise ProviderError(ErrorKind.BAD_RESULT, "not_an_image")
    if mime == "image/webp":
        return None
    try:
        return _pixels_of_png(head) if mime == "image/png" else _header(head, _RESULT_FORMATS).size
    except _Unreadable as error:
        if str(error) == "not_an_image":
            return None
        raise ProviderError(ErrorKind.BAD_RESULT, str(error)) from None


def _pixels_of_png(head: bytes) -> tuple[int, int]:
    """From the chunk that is always first. Most results are PNGs, and opening one with Pillow takes as much
    CPU as asking for it."""
    length, kind = head[8:12], head[12:16]
    if length != b"\0\0\0\x0d" or kind != b"IHDR" or zlib.crc32(head[12:29]).to_bytes(4) != head[29:33]:
        raise _Unreadable("not_an_image")
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    _check_pixels(width, height)
    return width, height


def has_end(mime: str, tail: bytes) -> bool:
    """Do the last `END_BYTES` of a PNG or JPEG hold its end? Some writers leave padding after it."""
    return (b"IEND" if mime == "image/png" else b"\xff\xd9") in tail


def source_image(data: bytes) -> SourceImage:
    """Check a person's picture and make it fit to send: upright, at most 2048 px, sRGB, PNG or JPEG, no EXIF.

    Of a moving picture it is the first frame. Decodes, so it takes up to some seconds, and waits while other large
    ones are decoded: call it in a thread.

    Raises:
        ProviderError: BAD_SOURCE, with the code empty, too_large, not_an_image, too_many_pixels,
            too_small or broken.
    """
    if not data:
        raise ProviderError(ErrorKind.BAD_SOURCE, "empty")
    if len(data) > SOURCE_MAX_BYTES:
        raise ProviderError(ErrorKind.BAD_SOURCE, "too_large")
    try:
        image = _header(data, _SOURCE_FORMATS)
        if min(image.size) < _SOURCE_MIN_SIDE:
            raise _Unreadable("too_small")
        with _large if image.width * image.height > _LARGE_PIXELS else decoding:
            return _fitted(image)
    except _Unreadable as error:
        raise ProviderError(ErrorKind.BAD_SOURCE, str(error)) from None


class _Unreadable(Exception):
    """Its text is the error code."""


def _header(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError:
        raise _Unreadable("too_many_pixels") from None
    except Exception:
        # Pillow's parsers raise many types on hostile bytes; all of them mean the same here.
        raise _Unreadable("not_an_image") from None
    _check_pixels(*image.size)
    return image


def _check_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise _Unreadable("not_an_image")
    if width * height > MAX_PIXELS:
        raise _Unreadable("too_many_pixels")


def _fitted(image: Image.Image) -> SourceImage:
    try:
        image.draft("RGB", (SOURCE_MAX_SIDE, SOURCE_MAX_SIDE))
        image.load()
        image = _reduced(image)
        # Small first: each step after this one makes a copy.
        image.thumbnail((SOURCE_MAX_SIDE, SOURCE_MAX_SIDE), reducing_gap=2.0)
        image = ImageOps.exif_transpose(image)
        clear = image.has_transparency_data
        image = _in_srgb(_eight_bit(image), clear)
        image.info.clear()
        out = io.BytesIO()
        if clear:
            image.save(out, "PNG", compress_level=3)
        else:
            image.save(out, "JPEG", quality=92)
    except Exception:
        raise _Unreadable("broken") from None
    return SourceImage(out.getvalue(), "image/png" if clear else "image/jpeg", *image.size)


def _reduced(image: Image.Image) -> Image.Image:
    """A much too large picture in which one can see through, at a whole part of its size. A strip at a time: to scale it
    Pillow would copy all of it, and 64 megapixels twice are more than the `api` has."""
    factor = max(image.size) // SOURCE_MAX_SIDE
    if factor < 2 or image.mode not in ("RGBA", "LA"):
        return image
    width, height = image.size
    small = Image.new(image.mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, strip := factor * 64):
        piece = image.crop((0, top, width, min(height, top + strip))).reduce(factor)
        small.paste(piece, (0, top // factor))
    small.info = dict(image.info)
    return small


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits as those of 8, which Pillow would else cut off at white."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
        lowest, highest = 0.0, 65_535.0
    elif image.mode in ("I", "F"):
        ends: Any = image.getextrema()
        lowest, highest = ends
    else:
        return image
    scale = 255 / max(highest - lowest, 1e-9)
    return image.point(lambda value: value * scale + (0.5 - lowest * scale)).convert("L")


def _in_srgb(image: Image.Image, clear: bool) -> Image.Image:
    """The picture's colours as a screen shows them, whatever profile they were written by."""
    mode = "RGBA" if clear else "RGB"
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image.convert(mode)
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Alpha is no colour: it stays as it is.
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        colours = image.convert("RGB") if image.mode == "RGBA" else image
        found = ImageCms.profileToProfile(colours, own, _srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A profile that cannot be read says nothing of its colours.
        return image.convert(mode)
    if found is None:
        return image.convert(mode)
    if alpha is not None:
        found.putalpha(alpha)
    return found.convert(mode)
