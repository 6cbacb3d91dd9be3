"""Text as Telegram keeps it: markup turned into entities, lengths counted in UTF-16 code units.

`parse` speaks HTML and MarkdownV2 with Telegram's own complaints; the legacy Markdown mode is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from src.sandbox.telegram.errors import ApiError, bad_request

Entity = dict[str, Any]

MAX_TEXT = 4096
MAX_CAPTION = 1024


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of every limit and offset of the Bot API."""
    return len(text.encode("utf-16-le")) // 2


def parse(text: str, parse_mode: str, entities: list[Entity] | None) -> tuple[str, list[Entity]]:
    """The plain text and its entities, trimmed; raises ApiError when the markup is broken."""
    mode = parse_mode.lower()
    if mode == "html":
        text, found = _HtmlParser(text).parse()
    elif mode == "markdownv2":
        text, found = _MarkdownParser(text).parse()
    elif mode:
        raise bad_request("unsupported parse_mode")
    else:
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


@dataclass
class _Open:
    """A tag or mark that waits for its end."""

    name: str
    offset: int
    byte_offset: int
    argument: str = ""


class _Output:
    """The plain text made so far, with its length in UTF-16."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.entities: list[Entity] = []

    def write(self, text: str) -> None:
        self.parts.append(text)
        self.length += utf16_length(text)

    def text(self) -> str:
        return "".join(self.parts)

    def since(self, offset: int) -> str:
        data = self.text().encode("utf-16-le")
        return data[offset * 2 :].decode("utf-16-le")

    def add(self, kind: str, offset: int, **more: str) -> None:
        if self.length > offset:
            self.entities.append({"type": kind, "offset": offset, "length": self.length - offset, **more})


def _complaint(reason: str) -> ApiError:
    return bad_request(f"can't parse entities: {reason}")


_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
}
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|amp|quot));?")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_START_TAG = re.compile(r"<([^\s>]*)((?:\s+[^\s=>/\"']+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[\w.-]+))?)*)\s*>")
_END_TAG = re.compile(r"</([^\s>]*)\s*>")
_ATTRIBUTE = re.compile(r"([^\s=>/\"']+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([\w.-]+)))?")


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[3]:
            return _NAMED[match[3]]
        code = int(match[1], 16) if match[1] else int(match[2])
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]

    return _REFERENCE.sub(character, text)


class _HtmlParser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.out = _Output()
        self.stack: list[_Open] = []

    def parse(self) -> tuple[str, list[Entity]]:
        position = 0
        while True:
            tag = self.source.find("<", position)
            self.out.write(_unescape(self.source[position : tag if tag >= 0 else None]))
            if tag < 0:
                break
            closing = self.source.startswith("</", tag)
            position = self._end(tag) if closing else self._start(tag)
        if self.stack:
            raise _complaint(f'Can\'t find end tag corresponding to start tag "{self.stack[-1].name}"')
        return self.out.text(), self.out.entities

    def _byte(self, position: int) -> int:
        return len(self.source[:position].encode())

    def _start(self, position: int) -> int:
        at = self._byte(position)
        name = re.split(r"[\s>]", self.source[position + 1 :], maxsplit=1)[0].lower()
        if not re.search(r"[\s>]", self.source[position:]):
            raise _complaint(f"Unclosed start tag at byte offset {at}")
        if name not in _TAGS:
            raise _complaint(f'Unsupported start tag "{name}" at byte offset {at}')
        match = _START_TAG.match(self.source, position)
        if match is None:
            raise _complaint(f'Unclosed start tag "{name}" at byte offset {at}')
        attributes = {
            key.lower(): _unescape(double or single or bare)
            for key, double, single, bare in _ATTRIBUTE.findall(match[2])
        }
        if name == "span" and attributes.get("class") != "tg-spoiler":
            raise _complaint(f'Tag "span" must have class "tg-spoiler" at byte offset {at}')
        argument = {
            "a": attributes.get("href", ""),
            "code": attributes.get("class", "").removeprefix("language-"),
            "tg-emoji": attributes.get("emoji-id", ""),
            "blockquote": "expandable" if "expandable" in attributes else "",
        }.get(name, "")
        self.stack.append(_Open(name, self.out.length, at, argument))
        return match.end()

    def _end(self, position: int) -> int:
        at = self._byte(position)
        if not self.stack:
            raise _complaint(f"Unexpected end tag at byte offset {at}")
        match = _END_TAG.match(self.source, position)
        if match is None:
            raise _complaint(f"Unclosed end tag at byte offset {at}")
        opened, found = self.stack[-1], match[1].lower()
        if found and found != opened.name:
            raise _complaint(
                f'Unmatched end tag at byte offset {at}, expected "</{opened.name}>", found "</{found}>"'
            )
        self.stack.pop()
        self._close(opened)
        return match.end()

    def _close(self, opened: _Open) -> None:
        kind = _TAGS[opened.name]
        if kind == "text_link":
            url = opened.argument or self.out.since(opened.offset)
            if re.match(r"(?i)(https?|tg|ton)://|mailto:|tel:", url) or "." in url:
                self.out.add(kind, opened.offset, url=url)
        elif kind == "custom_emoji":
            if not opened.argument.isdecimal():
                raise bad_request("invalid custom emoji identifier specified")
            self.out.add(kind, opened.offset, custom_emoji_id=opened.argument)
        elif kind == "blockquote" and opened.argument:
            self.out.add("expandable_blockquote", opened.offset)
        elif kind == "code" and opened.argument and self.stack and self.stack[-1].name == "pre":
            self.stack[-1].argument = opened.argument
        elif kind == "pre" and opened.argument:
            self.out.add(kind, opened.offset, language=opened.argument)
        else:
            self.out.add(kind, opened.offset)


_MARKS = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}
_NAMES = {
    "bold": "Bold",
    "italic": "Italic",
    "underline": "Underline",
    "strikethrough": "Strikethrough",
    "spoiler": "Spoiler",
    "code": "Code",
    "pre": "Pre",
    "text_link": "TextUrl",
}
_RESERVED = set("_*[]()~`>#+-=|{}.!")


class _MarkdownParser:
    """MarkdownV2, without its custom emoji and block quotes that close by `||`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.out = _Output()
        self.stack: list[_Open] = []

    def parse(self) -> tuple[str, list[Entity]]:
        position = 0
        quote: int | None = None
        while position < len(self.source):
            line_start = position == 0 or self.source[position - 1] == "\n"
            if line_start and self.source[position] == ">":
                quote = self.out.length if quote is None else quote
                position += 1
                continue
            if line_start and quote is not None:
                self.out.add("blockquote", quote)
                quote = None
            position = self._step(position)
        if quote is not None:
            self.out.add("blockquote", quote)
        if self.stack:
            raise self._no_end(self.stack[-1])
        return self.out.text(), self.out.entities

    def _step(self, position: int) -> int:
        source = self.source
        character = source[position]
        if character == "\\" and position + 1 < len(source) and ord(source[position + 1]) < 127:
            self.out.write(source[position + 1])
            return position + 2
        if character not in _RESERVED:
            self.out.write(character)
            return position + 1
        if character == "`":
            return self._code(position)
        if character == "]" and self.stack and self.stack[-1].name == "text_link":
            return self._link(position)
        mark = character * 2 if source.startswith(("__", "||"), position) else character
        kind = "text_link" if character == "[" else _MARKS.get(mark)
        if kind is None:
            raise _complaint(
                f"Character '{character}' is reserved and must be escaped with the preceding '\\'"
            )
        if kind != "text_link" and any(opened.name == kind for opened in self.stack):
            opened = self.stack.pop()
            if opened.name != kind:
                raise self._no_end(opened)
            self.out.add(kind, opened.offset)
        else:
            self.stack.append(_Open(kind, self.out.length, self._byte(position)))
        return position + len(mark)

    def _code(self, position: int) -> int:
        fence = "```" if self.source.startswith("```", position) else "`"
        opened = _Open("pre" if fence == "```" else "code", self.out.length, self._byte(position))
        start = position + len(fence)
        language = re.compile(r"([^\s`]+)(?=\s)|").match(self.source, start) if fence == "```" else None
        if language is not None:
            start = language.end()
            start += self.source.startswith("\n", start)
        match = re.compile(
            r"((?:\\.|[^`\\]|`(?!``))*?)```" if fence == "```" else r"((?:\\.|[^`\\])*)`", re.S
        ).match(self.source, start)
        if match is None:
            raise self._no_end(opened)
        self.out.write(re.sub(r"\\([\x00-\x7e])", r"\1", match[1]))
        named = {"language": language[1]} if language is not None and language[1] else {}
        self.out.add(opened.name, opened.offset, **named)
        return match.end()

    def _link(self, position: int) -> int:
        opened = self.stack.pop()
        if not self.source.startswith("(", position + 1):
            self.out.add("text_link", opened.offset, url=self.out.since(opened.offset))
            return position + 1
        match = re.compile(r"\(((?:\\.|[^)\\])*)\)").match(self.source, position + 1)
        if match is None:
            raise _complaint(f"Can't find end of a URL at byte offset {self._byte(position + 2)}")
        self.out.add("text_link", opened.offset, url=re.sub(r"\\(.)", r"\1", match[1]))
        return match.end()

    def _byte(self, position: int) -> int:
        return len(self.source[:position].encode())

    def _no_end(self, opened: _Open) -> ApiError:
        return _complaint(
            f"Can't find end of {_NAMES[opened.name]} entity at byte offset {opened.byte_offset}"
        )
