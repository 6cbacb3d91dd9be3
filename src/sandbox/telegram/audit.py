"""What the bot asked of Telegram: every call with its outcome, for tests, the page and load runs.

Keeps the last calls and all counters. Texts are kept as they were sent (the sandbox is a test's or a
demo's own chat); pictures only as hashes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from src.sandbox.telegram.wire import Call

_TEXT_KEPT = 200

_recorded: ContextVar[list[CallRecord] | None] = ContextVar("recorded", default=None)


@dataclass(frozen=True)
class CallRecord:
    """One Bot API call: what it was, and how it ended."""

    number: int
    at: float
    """Unix time, seconds."""
    bot_id: int
    method: str
    chat_id: int | None
    message_id: int | None
    """The first, where it made several."""
    messages: int
    """How many it made or changed."""
    status: int
    error: str | None
    milliseconds: float
    payload: dict[str, Any]
    sha256: tuple[str, ...]
    """Of the uploaded files, in the order of their parts."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def recording() -> Iterator[list[CallRecord]]:
    """The calls that are answered inside, in this task."""
    calls: list[CallRecord] = []
    token = _recorded.set(calls)
    try:
        yield calls
    finally:
        _recorded.reset(token)


@dataclass
class Audit:
    """The log of calls, bounded to `keep`, and counters that are not."""

    keep: int = 10_000
    total: int = 0
    by_method: Counter[str] = field(default_factory=Counter)
    by_chat: Counter[tuple[int | None, str]] = field(default_factory=Counter)
    by_status: Counter[tuple[str, int]] = field(default_factory=Counter)
    calls: deque[CallRecord] = field(init=False)

    def __post_init__(self) -> None:
        self.calls = deque(maxlen=self.keep)

    def record(
        self,
        call: Call,
        *,
        bot_id: int,
        chat_id: int | None,
        message_id: int | None,
        messages: int,
        status: int,
        error: str | None,
        seconds: float,
    ) -> None:
        self.total += 1
        self.by_method[call.method] += 1
        self.by_chat[chat_id, call.method] += 1
        self.by_status[call.method, status] += 1
        record = CallRecord(
            number=self.total,
            at=time.time(),
            bot_id=bot_id,
            method=call.method,
            chat_id=chat_id,
            message_id=message_id,
            messages=messages,
            status=status,
            error=error,
            milliseconds=round(seconds * 1000, 2),
            payload=_summary(call),
            sha256=tuple(upload.sha256 for upload in call.uploads.values()),
        )
        if self.keep:
            self.calls.append(record)
        if (recorded := _recorded.get()) is not None:
            recorded.append(record)

    def of(self, method: str | None = None, chat_id: int | None = None) -> Iterator[CallRecord]:
        """The kept calls, oldest first, of one method or one chat if given."""
        for call in self.calls:
            if (method is None or call.method == method) and (chat_id is None or call.chat_id == chat_id):
                yield call


def _summary(call: Call) -> dict[str, Any]:
    return {
        name: value[:_TEXT_KEPT] + "…" if isinstance(value, str) and len(value) > _TEXT_KEPT else value
        for name, value in call.params.items()
        if name != "secret_token"
    }
