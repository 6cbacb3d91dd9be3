"""Text as Telegram keeps it: trimmed, with its entities, lengths counted in UTF-16 code units.

Markup is refused: a bot that quotes people's words sends entities, which no word of theirs can break.
"""

from __future__ import annotations

import re
from typing import Any

from src.sandbox.telegram.errors import bad_request

Entity = dict[str, Any]

MAX_TEXT = 4096
MAX_CAPTION = 1024


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of every limit and offset of the Bot API."""
    return len(text.encode("utf-16-le")) // 2


def parse(text: str, parse_mode: str, entities: list[Entity] | None) -> tuple[str, list[Entity]]:
    """The text and its entities, trimmed; raises ApiError where they do not fit."""
    if parse_mode:
        raise bad_request("unsupported parse_mode")
    found = [dict(entity) for entity in entities or []]
    _check_bounds(text, found)
    text, found = _trim(text, found)
    taken = [
        (e["offset"], e["offset"] + e["length"]) for e in found if e["type"] in ("code", "pre", "text_link")
    ]
    for entity in _detect(text):
        start, end = entity["offset"], entity["offset"] + entity["length"]
        if not any(start < other_end and other_start < end for other_start, other_end in taken):
            found.append(entity)
    found.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text, found


def _check_bounds(text: str, entities: list[Entity]) -> None:
    length = utf16_length(text)
    for entity in entities:
        offset, size = entity.get("offset"), entity.get("length")
        if (
            not isinstance(entity.get("type"), str)
            or not isinstance(offset, int)
            or not isinstance(size, int)
        ):
            raise bad_request("can't parse MessageEntity: expected an Object")
        if offset + size > length:
            raise bad_request(
                f"entity beginning at UTF-16 offset {offset} ends after the end of the text "
                f"at UTF-16 offset {length}"
            )


def _trim(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Drops the white space around the text, as the server does, and moves the entities along."""
    stripped = text.strip()
    lead = utf16_length(text[: len(text) - len(text.lstrip())])
    end = utf16_length(stripped)
    kept = []
    for entity in entities:
        start = max(0, entity["offset"] - lead)
        stop = min(end, entity["offset"] + entity["length"] - lead)
        if stop > start:
            kept.append({**entity, "offset": start, "length": stop - start})
    return stripped, kept


_DETECTED = re.compile(
    r"(?P<bot_command>(?<![\w/])/[A-Za-z0-9_]{1,64}(?:@\w{3,32})?)(?![\w/])"
    r"|(?P<url>\bhttps?://[^\s<>\"']+[^\s<>\"'.,;:!?)])"
    r"|(?P<mention>(?<!\w)@[A-Za-z]\w{3,31})"
    r"|(?P<hashtag>(?<!\w)#[^\W\d]\w*)"
)


def _detect(text: str) -> list[Entity]:
    return [
        {
            "type": str(match.lastgroup),
            "offset": utf16_length(text[: match.start()]),
            "length": utf16_length(match[0]),
        }
        for match in _DETECTED.finditer(text)
    ]
