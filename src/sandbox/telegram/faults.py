"""Faults of the Bot API that can be switched on while it runs.

Kinds: an HTTP status as a number (`400`, `403`, `500` …), `429` (with `retry_after`), `bare_429`
(without), `html` (a gateway's error page), `cut` (of method `file`, a download: half of it comes), `reset` (the connection breaks before anything happened),
`timeout_after_commit` (the call takes effect, its answer never arrives), `slow` (answers after `seconds`).
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from src.sandbox.telegram.errors import ApiError, too_many_requests

KINDS = ("429", "bare_429", "html", "cut", "reset", "timeout_after_commit", "slow")

_DESCRIPTIONS = {
    400: "Bad Request: fault of the sandbox",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass
class Fault:
    """What goes wrong, for which calls, how often."""

    kind: str
    method: str = "*"
    chat_id: int | None = None
    times: int | None = 1
    """Calls it still hits; None: all, until it is removed."""
    chance: float = 1.0
    retry_after: int = 1
    """Seconds, for kind `429`."""
    seconds: float = 0.0
    """How long `slow` waits, and `timeout_after_commit` before it breaks the connection."""
    description: str | None = None
    hits: int = 0

    def __post_init__(self) -> None:
        self.kind = str(self.kind)
        if self.kind not in KINDS and not (self.kind.isdecimal() and 400 <= int(self.kind) <= 599):
            raise ValueError(f"unknown fault {self.kind!r}; known: an HTTP status, {', '.join(KINDS)}")

    def error(self) -> ApiError:
        """The refusal of a fault that answers in the Bot API's form."""
        if self.kind == "429":
            return too_many_requests(self.retry_after)
        if self.kind == "bare_429":
            return ApiError(429, "Too Many Requests")
        if self.kind == "cut":
            return ApiError(502, "Bad Gateway")
        status = int(self.kind)
        return ApiError(status, self.description or _DESCRIPTIONS.get(status, "Error"))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Faults:
    """The faults that are switched on, in the order they are tried."""

    active: list[Fault] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random)

    def add(self, kind: str | int, method: str = "*", **options: Any) -> Fault:
        """Switches a fault on; the options are the fields of `Fault`. Raises ValueError for an unknown kind."""
        fault = Fault(kind=str(kind), method=method, **options)
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        self.active.clear()

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """The fault that hits this call, counted as used."""
        for fault in self.active:
            if fault.method not in ("*", method) and fault.method.lower() != method.lower():
                continue
            if fault.chat_id is not None and fault.chat_id != chat_id:
                continue
            if fault.chance < 1 and self.random.random() >= fault.chance:
                continue
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.active.remove(fault)
            return fault
        return None
