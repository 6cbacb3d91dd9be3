"""Pictures judged by their bytes: results by header and end, a person's own by decoding."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageStat, PngImagePlugin

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


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGB", "AVIF"), ("RGBA", "TIFF")],
)
def test_neither_place_nor_name_leaves_with_a_source(mode: str, form: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Secret"
    exif.get_ifd(0x8825).update({1: "N", 2: (55.0, 45.0, 7.0)})
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Secret")
    more: dict[str, Any] = {
        "JPEG": {"comment": b"Secret", "xmp": b"Secret"},
        "PNG": {"pnginfo": texts},
        "TIFF": {},
    }.get(form, {"xmp": b"Secret"})
    out = io.BytesIO()
    Image.new(mode, (64, 48)).save(out, form, exif=exif, **more)
    assert b"Secret" in out.getvalue()
    source = source_image(out.getvalue())
    assert b"Secret" not in source.data
    assert not Image.open(io.BytesIO(source.data)).getexif().get_ifd(0x8825)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_source_may_come_in_many_formats(form: str) -> None:
    assert source_image(encoded(form)).mime == "image/jpeg"


def test_of_a_moving_picture_the_first_frame_is_taken() -> None:
    out = io.BytesIO()
    first, *rest = (Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue"))
    first.save(out, "GIF", save_all=True, append_images=rest)
    assert _mean(source_image(out.getvalue()).data) == pytest.approx((254, 0, 0), abs=3)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_is_scaled_and_not_cut_off(form: str) -> None:
    out = io.BytesIO()
    Image.new("I;16", (40, 40), 0x8000).save(out, form)
    assert _mean(source_image(out.getvalue()).data) == pytest.approx((128, 128, 128), abs=3)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_grey_of_thirty_two_bits_is_scaled_by_what_it_holds(mode: str) -> None:
    values = Image.linear_gradient("L").convert(mode).point(lambda value: value * 1000)
    out = io.BytesIO()
    values.save(out, "TIFF")
    low, high = Image.open(io.BytesIO(source_image(out.getvalue()).data)).convert("L").getextrema()
    assert low < 5
    assert high > 250


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_another_profile_become_those_a_screen_shows(mode: str) -> None:
    profile = wide_profile()
    wide = Image.new("RGB", (64, 64), (90, 200, 90))
    right = ImageCms.profileToProfile(wide, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
    assert right is not None
    out = io.BytesIO()
    wide.convert(mode).save(out, "PNG", icc_profile=profile)
    source = source_image(out.getvalue())
    assert _mean(source.data) == pytest.approx(ImageStat.Stat(right).mean, abs=6)
    assert "icc_profile" not in Image.open(io.BytesIO(source.data)).info


def test_a_profile_that_cannot_be_read_is_left_out() -> None:
    source = source_image(encoded("PNG", icc_profile=b"no profile at all"))
    assert "icc_profile" not in Image.open(io.BytesIO(source.data)).info


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.new("RGB", (3000, 2700), "green").save(out, "PNG")
    under_way, most = 0, 0
    load = Image.Image.thumbnail

    def counted(image: Image.Image, *args: Any, **options: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        load(image, *args, **options)
        under_way -= 1

    monkeypatch.setattr(Image.Image, "thumbnail", counted)
    with ThreadPoolExecutor(6) as pool:
        assert {source.mime for source in pool.map(source_image, [out.getvalue()] * 6)} == {"image/jpeg"}
    assert most == 1


def _mean(data: bytes) -> tuple[float, ...]:
    return tuple(ImageStat.Stat(Image.open(io.BytesIO(data)).convert("RGB")).mean)


def wide_profile() -> bytes:
    """Adobe RGB (1998)'s primaries with a gamma of 2.2, as a matrix profile."""

    def numbers(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    gamma = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0free\0",
        b"wtpt": numbers(0.9642, 1, 0.8249),
        b"rXYZ": numbers(0.60974, 0.31111, 0.01947),
        b"gXYZ": numbers(0.20528, 0.62567, 0.06087),
        b"bXYZ": numbers(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma),
    }
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(padded))
        body += padded
    kinds = (b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"\7\xd0\0\1\0\1" + b"\0" * 6, b"acsp")
    head = struct.pack(">I4sI4s4s4s12s4s", at + len(body), *kinds)
    return head.ljust(68, b"\0") + numbers(0.9642, 1, 0.8249)[8:].ljust(60, b"\0") + table + body


def test_a_clear_source_stays_clear() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(out, "PNG")
    source = source_image(out.getvalue())
    assert source.mime == "image/png"
    assert Image.open(io.BytesIO(source.data)).getpixel((5, 5)) == (255, 0, 0, 90)


def test_the_largest_clear_source_fits_into_the_apis_memory(tmp_path: Path) -> None:
    """Of 64 megapixels, in a process of its own, as the `api` has 512 MB in compose."""
    file, made = tmp_path / "large.png", tmp_path / "made.png"
    large = Image.new("RGBA", (8001, 7999), (10, 200, 30, 255))
    large.paste((200, 10, 30, 0), (0, 4000, 8001, 7999))
    large.save(file, "PNG", compress_level=1)
    script = (
        "import sys, pathlib; from src.providers.images import source_image\n"
        "source = source_image(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "pathlib.Path(sys.argv[2]).write_bytes(source.data)\n"
        "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, file, made], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 460_000
    small = Image.open(made)
    assert max(small.size) == 2048
    assert [small.getpixel((9, y)) for y in (9, small.height - 9)] == [(10, 200, 30, 255), (0, 0, 0, 0)]


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
