"""What a message may consist of: text, photos and files read from a call, with Telegram's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from src.sandbox.telegram import entities
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.records import Content, FileRecord
from src.sandbox.telegram.wire import Call, Upload

FILE_METHODS = {
    "document": "Document",
    "sticker": "Sticker",
    "animation": "Animation",
    "video": "Video",
    "audio": "Audio",
    "voice": "Voice",
}
"""Parameter that carries the file → the kind of file."""


@dataclass(frozen=True)
class Part:
    """What one message shows, and the hash of its picture or file as uploaded."""

    content: Content
    sha256: str | None = None


def read_text(call: Call) -> Part:
    """The `text` of a call with its entities."""
    source = _utf8(call.text("text"))
    mode = call.text("parse_mode")
    text, found = entities.parse(source, mode, call.structure("entities", "message entities"))
    if not text:
        raise bad_request("message text is empty")
    if entities.utf16_length(text) > entities.MAX_TEXT:
        raise bad_request("message is too long")
    content: Content = {"text": text}
    if found:
        content["entities"] = found
    preview = call.structure("link_preview_options", "link preview options")
    if preview:
        content["link_preview_options"] = preview
    return Part(content)


def read_caption(item: dict[str, Any]) -> Content:
    """The caption of a call's parameters or of an InputMedia, with its entities; empty without one."""
    source = item.get("caption")
    if not source:
        return {}
    mode = str(item.get("parse_mode") or "")
    text, found = entities.parse(_utf8(str(source)), mode, item.get("caption_entities"))
    if entities.utf16_length(text) > entities.MAX_CAPTION:
        raise bad_request("message caption is too long")
    content: Content = {"caption": text} if text else {}
    if found:
        content["caption_entities"] = found
    return content


def read_call_caption(call: Call) -> Content:
    return read_caption(
        {
            "caption": call.text("caption"),
            "parse_mode": call.text("parse_mode"),
            "caption_entities": call.structure("caption_entities", "caption entities"),
        }
    )


async def read_photo(bot: Bot, source: Upload | str | None) -> Part:
    """A photo, uploaded or named by its file_id."""
    if source is None:
        raise bad_request("there is no photo in the request")
    if isinstance(source, Upload):
        sizes = bot.add_photo(await bot.darkroom.develop(source.data, source.sha256), source.sha256)
    else:
        sizes = bot.photo_sizes(_known_file(bot, source, "Photo"))
    photo = [{**size.as_json(), "width": size.width, "height": size.height} for size in sizes]
    return Part({"photo": photo}, sizes[-1].source_sha256)


async def read_file(bot: Bot, field: str, source: Upload | str | None) -> Part:
    """A document or another file, uploaded or named by its file_id."""
    kind = FILE_METHODS[field]
    if source is None:
        raise bad_request(f"there is no {field} in the request")
    if isinstance(source, Upload):
        if not source.data:
            raise bad_request("file must be non-empty")
        record = bot.add_file(kind, source.data, source.sha256, source.name, _mime(source))
    else:
        record = _known_file(bot, source, kind)
    return Part({field: file_json(record)}, record.source_sha256)


def file_json(record: FileRecord) -> dict[str, Any]:
    """The Bot API's object of a file that is not a photo."""
    shown = record.as_json()
    if record.kind == "Sticker":
        size = {"width": 512, "height": 512, "is_animated": False, "is_video": False, "type": "regular"}
        return {**shown, **size}
    if record.kind in ("Animation", "Video"):
        shown |= {"width": record.width, "height": record.height, "duration": 0}
    if record.kind in ("Audio", "Voice"):
        shown["duration"] = 0
    if record.name and record.kind != "Voice":
        shown["file_name"] = record.name
    return {**shown, "mime_type": record.mime_type}


async def read_media(bot: Bot, call: Call, item: Any) -> Part:
    """One InputMedia of a call."""
    if not isinstance(item, dict):
        raise bad_request("can't parse InputMedia: expected an Object")
    kind = item.get("type")
    reference = item.get("media")
    if kind not in ("photo", *FILE_METHODS) or kind in ("sticker", "voice"):
        raise bad_request(f'can\'t parse InputMedia: type "{kind}" is unsupported')
    if not isinstance(reference, str) or not reference:
        raise bad_request("can't parse InputMedia: media not found")
    source = call.attached(reference)
    part = await (read_photo(bot, source) if kind == "photo" else read_file(bot, kind, source))
    content = {**part.content, **read_caption(item)}
    if item.get("has_spoiler"):
        content["has_media_spoiler"] = True
    if item.get("show_caption_above_media"):
        content["show_caption_above_media"] = True
    return Part(content, part.sha256)


def _known_file(bot: Bot, file_id: str, kind: str) -> FileRecord:
    if file_id.startswith(("http://", "https://")):
        # The sandbox reaches nothing outside itself.
        raise bad_request("failed to get HTTP URL content")
    record = bot.files.get(file_id)
    if record is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if record.kind != kind:
        raise bad_request(f"can't use file of type {record.kind} as {kind}")
    return record


def _mime(upload: Upload) -> str | None:
    return None if upload.content_type == "application/octet-stream" else upload.content_type


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return text
