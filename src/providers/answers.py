"""Finding the picture in an answer of the images API, in every form in which gateways were seen to send one.

A picture that was paid for must not be lost over its wrapping: any answer of success that holds one is one. Not
here: what an answer without a picture means when it says so itself (`src.providers.refusals`).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from src.providers import refusals
from src.providers.base import ErrorKind, ImageRef, ProviderError
from src.providers.http import Answer, Heard, data_of
from src.providers.images import sniff

# Where answers have their pictures, the usual place first; and what a picture is called there.
_LISTS = ("data", "images", "image", "output", "outputs", "result", "results", "artifacts")
_BYTES = ("b64_json", "b64", "base64", "image_base64", "bytesBase64Encoded", "image_b64")
_ADDRESSES = ("url", "image_url", "imageUrl", "image", "uri")
_WORDS = ("text", "content", "message", "output_text")
_CODES = ("code", "error_code", "errcode", "err_code", "status_code", "success")
_TASKS = ("requestId", "taskId", "task_id")
# The last of the events that a picture comes about in.
_LAST = frozenset({"image_generation.completed", "image_edit.completed", "error"})
_FAILED = frozenset({"error", "failed", "fail"})
_UNFINISHED = frozenset(
    {"queued", "pending", "processing", "in_progress", "running", "submitted", "starting"}
)
_PATH = re.compile(r"[\w./%~-]+\.(?:png|jpe?g|webp)(?:\?\S*)?")
_LONGEST_ADDRESS = 8192
# Fewer characters are no picture, whatever they decode to.
_SHORTEST = 60
_DEEPEST = 4
_TOKENS = (b"input|prompt", b"output|completion")
_USAGE_BYTES = 1000
_SENTENCE = re.compile(r"\S\s+\S")


def usage(answer: Answer) -> bytes:
    """What an answer says it was counted as. Read where it stands: a picture is long."""
    at = answer.body.rfind(b'"usage"')
    return answer.body[at : at + _USAGE_BYTES] if at >= 0 else b""


def usage_in(answer: Answer) -> dict[str, Any]:
    """The same, read; empty where it says nothing that can be."""
    try:
        found, _ = json.JSONDecoder().raw_decode(
            usage(answer).partition(b":")[2].decode("ascii", "replace").strip()
        )
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def tokens_in(answer: Answer) -> tuple[int, int] | None:
    """The tokens that an answer says were asked and answered."""
    said = usage(answer)
    counts = [re.search(rb'"(?:%b)_tokens"\s*:\s*(\d{1,12})\b' % names, said) for names in _TOKENS]
    return None if None in counts else tuple(int(count[1]) for count in counts if count)  # type: ignore[return-value]


def picture_in(answer: Answer, prompt: str = "") -> ImageRef:
    """The picture in an answer to a submit, or its address as the gateway wrote it.

    Args:
        prompt: the person's words, which an error may quote.

    Raises:
        ProviderError: for everything else that can be in it.
    """
    if not answer.ok:
        raise refusals.refusal(answer, prompt)
    if sniff(answer.body) is not None:
        return ImageRef(data=answer.body)
    body = answer.body.removeprefix(b"\xef\xbb\xbf").strip()
    if body.startswith((b"data:image/", b"event:", b"data:", b"id:", b":")):
        body = _streamed(body)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise _no_json(answer, body, prompt) from None
    if not isinstance(content, dict | list):
        raise _broken(answer, "wrong_type")
    if refusals.withheld(content):
        # Gateways blank or darken a blocked picture and still send it: their flag goes before the bytes.
        raise _withheld(answer, "content_filter")
    found = _first(_places(content))
    if isinstance(found, ImageRef):
        return replace(found, borderline=refusals.borderline(content))
    raise _without(answer, content, found, prompt)


def _places(content: Any, depth: int = 0) -> Iterator[Any]:
    """What may be a picture, as far as it has a picture's name: texts, and one level around them."""
    if isinstance(content, list):
        for item in content[:16]:
            yield from [item] if isinstance(item, str) else _places(item, depth + 1)
    elif isinstance(content, dict) and depth <= _DEEPEST:
        for name in (*_BYTES, *_ADDRESSES):
            value = content.get(name)
            if isinstance(value, dict):
                value = value.get("url")
            if isinstance(value, str) and value:
                yield value
        for name in _LISTS:
            if isinstance(value := content.get(name), list | dict):
                yield from _places(value, depth + 1)
            elif isinstance(value, str) and name != "image":
                yield value


def _first(texts: Iterator[Any]) -> ImageRef | str | None:
    """The first of these that is a picture or an address; else what was there instead, if anything."""
    instead = None
    for text in texts:
        ref = _read(text)
        if ref is not None:
            return ref
        instead = instead or text
    return instead


def _read(text: str) -> ImageRef | None:
    text = text.strip()
    if text.startswith("data:"):
        text = text.partition(",")[2]
    address = text.startswith(("http://", "https://", "/"))
    data = decoded(text)
    if data is not None and (sniff(data) is not None or (not address and len(text) >= _SHORTEST)):
        return ImageRef(data=data)
    if len(text) <= _LONGEST_ADDRESS and (
        _PATH.fullmatch(text) if not address else not _SENTENCE.search(text)
    ):
        return ImageRef(url=text)
    return None


def decoded(text: str) -> bytes | None:
    """The bytes of base64; with line breaks, in the alphabet for addresses or without its padding only where they
    are a picture's. None: it is something else."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    clean = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(clean + "=" * (-len(clean) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if sniff(data) is not None else None


@dataclass(frozen=True)
class Event:
    """One of a stream of events.

    Attributes:
        data: what it says. content: the same, read. kind: what it is by its own word.
        heard: what it is to the answer.
    """

    data: bytes
    content: dict[str, Any]
    kind: str

    @property
    def heard(self) -> Heard:
        if not self.data or "partial" in self.kind:
            return Heard.ASIDE
        if self.data == b"[DONE]" or self.content.get("error") or self.kind in _LAST:
            return Heard.END
        return Heard.ENOUGH if isinstance(self.picture, ImageRef) else Heard.PART

    @functools.cached_property
    def picture(self) -> ImageRef | str | None:
        """The picture in it, finished or not; else what is there instead."""
        return _first(_places(self.content))


def read_event(block: bytes) -> Event:
    """Read an event of a stream; one that says nothing we can read is a part of it without content."""
    data = data_of(block)
    try:
        content = json.loads(data or b"null")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return Event(data, {}, "")
    named = re.search(rb"^event:\s*([\w.]+)", block, re.M)
    return Event(data, content, str(content.get("type") or (named[1].decode() if named else "")))


def _streamed(body: bytes) -> bytes:
    """What a stream of events came to: the data of its last one that is not a mere preview."""
    nothing = last = b"{}"
    for event in map(read_event, re.split(rb"\r?\n\r?\n", body)):
        if event.content.get("error"):
            return event.data
        if event.content and event.heard is not Heard.ASIDE and (last is nothing or event.picture):
            last = event.data
    return last


def _no_json(answer: Answer, body: bytes, prompt: str) -> ProviderError:
    start = body[:1000].decode("utf-8", "replace")
    if body[:1] in (b"", b"{", b"[", b"<", b'"') or "\0" in start or "\ufffd" in start:
        return _broken(answer, "html" if body[:1] == b"<" else "not_json")
    return _in_words(answer, start, prompt) if _SENTENCE.search(start) else _broken(answer, "not_json")


def _without(answer: Answer, content: Any, instead: str | None, prompt: str) -> ProviderError:
    """Why there is no picture in an answer of success."""
    fields = content if isinstance(content, dict) else {}
    error = {name: fields[name] for name in ("error", "errors") if fields.get(name)}
    # What it says of itself stands beside a code of the server's; other words may be a model's.
    coded = any(isinstance(fields.get(name), str | int) for name in _CODES)
    coded = coded or str(fields.get("status")).lower() in _FAILED
    itself = {name: value for name, value in fields.items() if coded and isinstance(value, str | int)}
    said = refusals.refusal(answer, prompt, refusals.read_content(error or itself))
    if error or said.kind is not ErrorKind.UPSTREAM:
        return said
    task = not coded and any(isinstance(fields.get(name), str) for name in _TASKS)
    if task or answer.status == 202 or str(fields.get("status")).lower() in _UNFINISHED:
        # A task of its own, which has no way to be followed here: asking again would be paid again.
        return ProviderError(ErrorKind.BAD_RESULT, "task_for_picture", status=answer.status)
    texts = [
        text for text in (instead, *_sentences(content, 0 if coded else 1)) if text and _SENTENCE.search(text)
    ]
    if texts:
        return _in_words(answer, texts[0], prompt)
    if any(fields.get(name) == [] for name in _LISTS):
        return _withheld(answer, "no_picture")
    return _broken(answer, "no_picture" if instead is None else "not_base64")


def _in_words(answer: Answer, text: str, prompt: str) -> ProviderError:
    """A text where a picture should be."""
    kind = refusals.kind_of_words(text, prompt)
    return ProviderError(kind, "text_for_picture", status=answer.status, request_id=answer.request_id)


def _sentences(content: Any, depth: int = 0) -> Iterator[str]:
    """What a model of words says in a picture's place."""
    if depth > _DEEPEST + 2:
        return
    if isinstance(content, list):
        for item in content[:16]:
            yield from _sentences(item, depth + 1)
    elif isinstance(content, dict):
        for name in (*_WORDS, "choices", "data", "images", "output", "candidates", "parts"):
            value = content.get(name)
            if isinstance(value, str):
                # A server's message about the whole answer may be anything.
                if depth or name != "message":
                    yield value
            else:
                yield from _sentences(value, depth + 1)


def _withheld(answer: Answer, code: str) -> ProviderError:
    return ProviderError(ErrorKind.MODERATED_OUTPUT, code, status=answer.status, request_id=answer.request_id)


def _broken(answer: Answer, code: str) -> ProviderError:
    return ProviderError(
        ErrorKind.UPSTREAM, code, status=answer.status, submitted=True, request_id=answer.request_id
    )
