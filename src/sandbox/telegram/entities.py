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

_NEEDS = {
    **dict.fromkeys(("bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre", "blockquote")),
    **dict.fromkeys(("expandable_blockquote",)),
    "text_link": "url",
    "text_mention": "user",
    "custom_emoji": "custom_emoji_id",
    "date_time": "unix_time",
}
"""Entities a bot may send, each with the field it must bring."""

_FOUND = frozenset(
    ("mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number")
)
"""Entities the server finds by itself: a bot's are dropped unread."""

_EMPTY = " \n\u00a0\u200b\u200c\u200d\u200e\u200f\u202e\ufeff"
"""A text of these alone counts as none."""


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of every limit and offset of the Bot API."""
    return len(text.encode("utf-16-le")) // 2


def parse(text: str, parse_mode: str, entities: list[Entity] | None) -> tuple[str, list[Entity]]:
    """The text and its entities, trimmed; raises ApiError where they do not fit."""
    if parse_mode:
        raise bad_request("unsupported parse_mode")
    found = _given(text, entities or [])
    text, found = _trim(text, found)
    if not text.strip(_EMPTY):
        return "", []
    taken = [
        (e["offset"], e["offset"] + e["length"]) for e in found if e["type"] in ("code", "pre", "text_link")
    ]
    for entity in _detect(text):
        start, end = entity["offset"], entity["offset"] + entity["length"]
        if not any(start < other_end and other_start < end for other_start, other_end in taken):
            found.append(entity)
    found.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text, found


def _given(text: str, entities: list[Entity]) -> list[Entity]:
    """The entities a bot sent, those that the server finds by itself left out."""
    kept, length = [], utf16_length(text)
    for entity in entities:
        if not isinstance(entity, dict):
            raise bad_request("can't parse MessageEntity: expected an Object")
        kind = entity.get("type")
        for name in ("offset", "length", "type", _NEEDS.get(str(kind))):
            if name is not None and name not in entity:
                raise bad_request(f"can't parse MessageEntity: Can't find field \"{name}\"")
        if kind in _FOUND:
            continue
        if kind not in _NEEDS:
            raise bad_request("can't parse MessageEntity: Unsupported type specified")
        offset, size = entity["offset"], entity["length"]
        if not isinstance(offset, int) or not isinstance(size, int):
            raise bad_request('can\'t parse MessageEntity: Field "offset" must be of type Number')
        for name, value in (("offset", offset), ("length", size)):
            if not 0 <= value <= 1_000_000:
                raise bad_request(f"receive an entity with incorrect {name} {value}")
        if offset + size > length:
            raise bad_request(
                f"entity beginning at UTF-16 offset {offset} ends after the end of the text "
                f"at UTF-16 offset {offset + size}"
            )
        kept.append(dict(entity))
    return kept


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
