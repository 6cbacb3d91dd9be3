"""Pictures judged by their bytes: results by header and end, a person's own by decoding."""

from __future__ import annotations

import contextlib
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.providers.base import ErrorKind, ProviderError
from src.providers.images import inspect, pixels_in, source_image
from src.sandbox.generations import bad_picture


def encoded(form: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    noise = Image.frombytes("L", size, random.Random(1).randbytes(size[0] * size[1]))
    noise.convert(mode).save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "mode", "mime"),
    [
        ("PNG", "RGB", "image/png"),
        ("PNG", "RGBA", "image/png"),
        ("JPEG", "RGB", "image/jpeg"),
        ("WEBP", "RGBA", "image/webp"),
    ],
)
def test_a_whole_result_passes_and_a_cut_one_does_not(form: str, mode: str, mime: str) -> None:
    data = encoded(form, mode=mode)
    found = inspect(data)
    assert (found.mime, found.width, found.height) == (mime, 64, 48)
    for cut in (len(data) // 2, 30, 12):
        with pytest.raises(ProviderError) as caught:
            inspect(data[:cut])
        assert caught.value.kind is ErrorKind.BAD_RESULT


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_an_image"),
        (b"<svg/>", "not_an_image"),
        (encoded("GIF"), "not_an_image"),
        (bad_picture("bomb", b""), "too_many_pixels"),
    ],
)
def test_a_bad_result_has_a_code(data: bytes, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        inspect(data)
    assert caught.value.code == code


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_the_head_tells_the_size_or_that_more_is_needed(form: str) -> None:
    data = encoded(form, (640, 300))
    assert pixels_in(data[:1000]) == (640, 300)
    assert pixels_in(data[:20]) is None


def test_a_head_that_was_damaged_or_asks_for_too_much_is_not_believed() -> None:
    data = bytearray(encoded("PNG"))
    data[18] ^= 1
    assert pixels_in(bytes(data)) is None
    for head, code in ((b"<svg/>", "not_an_image"), (bad_picture("bomb", b""), "too_many_pixels")):
        with pytest.raises(ProviderError) as caught:
            pixels_in(head)
        assert caught.value.code == code


def test_a_source_is_upright_small_and_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "Secret Street 1"
    source = source_image(encoded("JPEG", (3000, 1500), exif=exif))
    image = Image.open(io.BytesIO(source.data))
    assert image.size == (1024, 2048)
    assert not image.getexif()
    assert b"Secret Street" not in source.data
    assert source.mime == "image/jpeg"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_source_may_come_in_many_formats(form: str) -> None:
    assert source_image(encoded(form)).mime == "image/jpeg"


def test_a_clear_source_stays_clear() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(out, "PNG")
    source = source_image(out.getvalue())
    assert source.mime == "image/png"
    assert Image.open(io.BytesIO(source.data)).getpixel((5, 5)) == (255, 0, 0, 90)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"x" * 20_000_001, "too_large"),
        (b"GIF89a but not really", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (encoded("JPEG")[:1500], "broken"),
        (encoded("PNG")[:600], "broken"),
        (encoded("PNG", (8, 900)), "too_small"),
        (bad_picture("bomb", b""), "too_many_pixels"),
    ],
)
def test_a_bad_source_has_a_code(data: bytes, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        source_image(data)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_SOURCE, code)


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF"]), st.data())
def test_damaged_bytes_raise_nothing_else(form: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(form, (32, 32)))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=20)):
        raw[place] = data.draw(st.integers(0, 255))
    for judge in (inspect, source_image):
        with contextlib.suppress(ProviderError):
            assert judge(bytes(raw)).mime.startswith("image/")
