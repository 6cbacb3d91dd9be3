"""The methods of the Bot API by name; each module of methods adds its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.wire import Call

Handler = Callable[[Bot, Call], Awaitable[Any]]

METHODS: dict[str, tuple[str, Handler]] = {}
"""Lower-case name (Telegram does not mind the case) → the name as documented, and what answers it."""


def method(*names: str) -> Callable[[Handler], Handler]:
    """Answers these methods with the decorated function; it returns what goes into `result`."""

    def add(handler: Handler) -> Handler:
        for name in names:
            METHODS[name.lower()] = (name, handler)
        return handler

    return add
