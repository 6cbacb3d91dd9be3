"""The last line of defence: known secret values never leave the process inside telemetry or logs.

The instrumentations already avoid secrets; this catches what slips through them (an exception that
quotes an address, a library's log line). It knows only the values it is given, no patterns.
"""

from __future__ import annotations

import html
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

REDACTED = "[redacted]"

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|\\[uUxnrt\"'/\\]|&[#a-z]")
_ESCAPE_BYTES = re.compile(_ESCAPE.pattern.encode())

# Shorter values would redact ordinary words.
_SHORTEST_SECRET = 6


class Scrubber:
    """Replaces the given secrets, also as they stand in an address, JSON, a traceback, HTML, base64 or hexadecimal, by
    `[redacted]`.

    What it has gone through can also be encoded: half of a surrogate pair, which no UTF-8 has, is `?` after it.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        values = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        first = "".join(re.escape(value[0]) for value in longest_first)
        escaped = rf"(?=[%\\&{first}])(?:{'|'.join(map(_escaped, longest_first))})"
        # Takes longer, and is asked only where something is escaped.
        self._escaped, self._escaped_bytes = re.compile(escaped), re.compile(escaped.encode())
        values |= {secret.replace(" ", "+") for secret in values}
        values |= {form for secret in values for form in _in_base64(secret.encode())}
        values |= {
            form for secret in values for form in (secret.encode().hex(), secret.encode().hex().upper())
        }
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        plain = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(plain) if plain else None
        self._bytes = re.compile(plain.encode())

    def __bool__(self) -> bool:
        return self._pattern is not None

    def text(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        if self._pattern is None:
            return text
        text = self._pattern.sub(REDACTED, text)
        return self._escaped.sub(REDACTED, text) if _ESCAPE.search(text) else text

    def finds_in(self, encoded: bytes) -> bool:
        """Whether bytes that hold texts in UTF-8 hold a secret."""
        if self._pattern is None:
            return False
        if self._bytes.search(encoded):
            return True
        return _ESCAPE_BYTES.search(encoded) is not None and self._escaped_bytes.search(encoded) is not None

    def value(self, value: Any) -> Any:
        """`value` with every text in it scrubbed, however deep; other things as they are.

        Knows what exporters are given: spans, log records (changed in place), the data of metrics.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self._pattern_sub(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return tuple(self.value(item) for item in value)
        if isinstance(value, ReadableSpan):
            return self.span(value)
        if isinstance(value, LogRecord):
            value.body = self.value(value.body)
            value.attributes = self.value(value.attributes or {})
            value.event_name = self.value(value.event_name)
            return value
        if isinstance(value, InstrumentationScope):
            attributes = self.value(value.attributes)
            return InstrumentationScope(self.text(value.name), value.version, value.schema_url, attributes)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(
                value, **{part.name: self.value(getattr(value, part.name)) for part in fields(value)}
            )
        return value

    def span(self, span: ReadableSpan) -> ReadableSpan:
        """A scrubbed copy, whose times are such as can be encoded."""
        start = _moment(span.start_time, time.time_ns())
        return ReadableSpan(
            name=self.text(str(span.name)),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self.value(span.attributes or {}),
            events=[
                Event(self.text(str(e.name)), self.value(e.attributes or {}), _moment(e.timestamp, start))
                for e in span.events
            ],
            links=[Link(link.context, self.value(link.attributes or {})) for link in span.links],
            kind=span.kind,
            status=Status(span.status.status_code, self.text(span.status.description or "") or None),
            start_time=start,
            end_time=None if span.end_time is None else _moment(span.end_time, start),
            instrumentation_scope=self.value(span.instrumentation_scope),
        )

    def _pattern_sub(self, value: bytes) -> bytes:
        if not self.finds_in(value):
            return value
        return self._escaped_bytes.sub(REDACTED.encode(), self._bytes.sub(REDACTED.encode(), value))


def scrubbing(exporter: type[Any], scrubber: Scrubber) -> type[Any]:
    """The class of exporter, for whichever signal, with what it exports scrubbed before."""

    class Scrubbing(exporter):  # type: ignore[misc]
        def export(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
            return super().export(scrubber.value(batch), *args, **kwargs)

    return Scrubbing


def _escaped(secret: str) -> str:
    """A pattern for a secret any of whose characters may be written as in an address, JSON, Python or HTML, however
    often that was done."""
    return "".join(f"(?:{'|'.join(_ways(char))})" for char in secret)


# From each backslash of a long row, which anybody can send, the search runs along the row again.
_ROW = r"\\{1,32}"


def _ways(char: str) -> Iterator[str]:
    yield re.escape(char)
    in_bytes, in_units, number = char.encode(), char.encode("utf-16-be"), ord(char)
    yield "".join(f"%(?:25)*{_hex(byte, 2)}" for byte in in_bytes)
    yield "".join(rf"{_ROW}x{_hex(byte, 2)}" for byte in in_bytes)
    yield "".join(
        rf"{_ROW}u{_hex(high, 2)}{_hex(low, 2)}" for high, low in zip(*[iter(in_units)] * 2, strict=True)
    )
    yield rf"{_ROW}U{_hex(number, 8)}"
    if char == " ":
        yield r"\+"
    if number < 256:
        yield rf"{_ROW}x{_hex(number, 2)}"
    if char in _BACKSLASHED:
        yield rf"{_ROW}{re.escape(_BACKSLASHED[char])}"
    names = "".join(f"|{re.escape(name)}" for name in (html.escape(char)[1:-1],) if name)
    yield f"&(?:amp;)*(?:#0*{number}|#[xX]0*{_hex(number, 2)}{names});"


_BACKSLASHED = {**{char: char for char in "\"'\\/"}, "\n": "n", "\r": "r", "\t": "t"}


def _hex(number: int, digits: int) -> str:
    return "".join(
        f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{number:0{digits}x}"
    )


def _in_base64(secret: bytes) -> Iterator[str]:
    """The characters that are the secret's alone, wherever it stands in what was encoded."""
    for before in range(3):
        padded = bytes(before) + secret
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(padded).decode()
            yield whole[(0, 2, 3)[before] : len(padded) * 8 // 6]


def _moment(value: Any, otherwise: int) -> int:
    """Nanoseconds since the epoch as they can be encoded."""
    return int(value) if isinstance(value, int | float) and 0 < value < 1 << 63 else otherwise
