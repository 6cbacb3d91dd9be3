"""How fast a bot may send: Telegram's limits as its FAQ gives them, answered with 429 and `retry_after`.

About 30 messages a second overall, one a second to a chat with short bursts, 20 a minute to a group.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from src.sandbox.telegram.errors import too_many_requests

_CHATS_KEPT = 20_000


@dataclass
class Bucket:
    """A token bucket: `burst` at once, then `rate` a second."""

    rate: float
    burst: float
    level: float
    at: float

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` fits, 0 if it does now. More than a burst needs a full bucket."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (min(amount, self.burst) - self.level) / self.rate)


@dataclass
class Limits:
    """The limits of one bot. Off unless `enabled`: unit tests send as fast as they like."""

    enabled: bool = False
    per_second: float = 30.0
    chat_per_second: float = 1.0
    chat_burst: float = 5.0
    group_per_minute: float = 20.0
    clock: Callable[[], float] = time.monotonic
    _overall: Bucket | None = None
    _chats: OrderedDict[int, Bucket] = field(default_factory=OrderedDict)

    def admit(self, chat_id: int, *, group: bool, messages: int = 1) -> None:
        """Counts `messages` to a chat; raises ApiError 429 when they come too fast."""
        if not self.enabled:
            return
        now = self.clock()
        if self._overall is None:
            self._overall = Bucket(self.per_second, self.per_second, self.per_second, now)
        chat = self._chats.get(chat_id)
        if chat is None:
            rate = self.group_per_minute / 60 if group else self.chat_per_second
            burst = self.group_per_minute if group else self.chat_burst
            chat = self._chats[chat_id] = Bucket(rate, burst, burst, now)
            if len(self._chats) > _CHATS_KEPT:
                self._chats.popitem(last=False)
        self._chats.move_to_end(chat_id)
        wait = max(self._overall.wait(now, messages), chat.wait(now, messages))
        if wait > 0:
            raise too_many_requests(math.ceil(wait))
        self._overall.level -= messages
        chat.level -= messages
