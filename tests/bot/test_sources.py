"""Which messages show a picture that can be changed."""

from __future__ import annotations

import datetime

import pytest
from aiogram.types import Chat, Document, Message

from src.bot.ordering import BadSource, source_of


def file(name: str | None, mime: str | None, size: int = 1000) -> Message:
    document = Document(
        file_id="f", file_unique_id="u", file_name=name, mime_type=mime, file_size=size, thumbnail=None
    )
    now = datetime.datetime.now(datetime.UTC)
    return Message(message_id=1, date=now, chat=Chat(id=1, type="private"), document=document)


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a.jpg", "image/jpeg"),
        ("IMG_0001.HEIC", "application/octet-stream"),
        ("scan.TIFF", None),
        ("shot.png", "text/plain"),
        (None, "image/avif"),
        ("odd", "image/x-something"),
    ],
)
def test_a_file_that_may_be_a_picture_is_tried(name: str | None, mime: str | None) -> None:
    assert source_of(file(name, mime)) == "f"


@pytest.mark.parametrize(("name", "mime"), [("a.pdf", "application/pdf"), (None, None), ("a.zip", None)])
def test_other_files_are_none(name: str | None, mime: str | None) -> None:
    assert source_of(file(name, mime)) is None


@pytest.mark.parametrize(
    ("name", "mime", "size", "key"),
    [
        ("a.svg", "image/svg+xml", 10, "photo-unsupported"),
        ("a.png", "image/png", 30_000_000, "photo-too-big"),
    ],
)
def test_what_cannot_be_used_is_said(name: str, mime: str, size: int, key: str) -> None:
    with pytest.raises(BadSource) as caught:
        source_of(file(name, mime, size))
    assert caught.value.key == key
