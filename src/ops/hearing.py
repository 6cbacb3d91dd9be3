"""Does the bot hear Telegram? A token that was revoked or another program that polls leaves all else well.

Whoever asks Telegram for updates, or how its webhook fares, says here how that went. It is kept in Redis for those
who watch the whole system, and in the process for its container's health check.
"""

from __future__ import annotations

import datetime
import time

from aiogram.exceptions import (
    TelegramAPIError,
    TelegramConflictError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import WebhookInfo

from src.jobs import Ledger, keys
from src.ops import report
from src.ops.thresholds import TELEGRAM

_SAID_SECONDS = 5.0
# Telegram tries again a few times a minute; an error older than this has passed.
_ERROR_SECONDS = 120.0
_WHY = {
    TelegramUnauthorizedError: "ops-deaf-token",
    TelegramConflictError: "ops-deaf-conflict",
    TelegramNotFound: "ops-deaf-unknown",
    TelegramServerError: "ops-deaf-server",
    TelegramNetworkError: "ops-deaf-network",
}
"""A text's key; what follows a space in what is kept is a part of that text (`report.deaf` says it)."""


class Hearing:
    """What one process hears of Telegram."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._said: float | None = None
        self._deaf_since: float | None = None
        self._why = ""

    async def good(self) -> None:
        """Telegram gave its updates, or said that the webhook takes them.

        Raises:
            redis.RedisError: it could not be kept.
        """
        if (
            self._deaf_since is None
            and self._said is not None
            and time.monotonic() - self._said < _SAID_SECONDS
        ):
            return
        self._deaf_since, self._why = None, ""
        now = await self._ledger.now()
        await self._ledger.client.hset(keys.HEARD(), mapping={"at": now, "why": ""})
        self._said = time.monotonic()

    async def bad(self, error: TelegramAPIError | str) -> None:
        """It did not.

        Raises:
            redis.RedisError: it could not be kept.
        """
        self._why = error if isinstance(error, str) else why(error)
        self._deaf_since = self._deaf_since or time.monotonic()
        # One that never heard anything is deaf from its first question on.
        await self._ledger.client.hsetnx(keys.HEARD(), "at", await self._ledger.now())
        await self._ledger.client.hset(keys.HEARD(), "why", self._why)

    def idle(self) -> None:
        """Another process asks."""
        self._said = self._deaf_since = None

    @property
    def ailment(self) -> str:
        """What is wrong, for a health check; empty while all is well."""
        if self._deaf_since is None or time.monotonic() - self._deaf_since <= TELEGRAM.problem:
            return ""
        return f"no updates: {report.deaf_in_english(self._why)}"


def why(error: TelegramAPIError) -> str:
    """What an error of Telegram means, without what it was asked."""
    known = (text for kind, text in _WHY.items() if isinstance(error, kind))
    return next(known, f"ops-deaf-else {type(error).__name__}")


def webhook_trouble(info: WebhookInfo, address: str) -> str:
    """Why updates do not come by the webhook at this address; empty: they do."""
    if not info.url.startswith(address):
        return "ops-deaf-webhook-anothers"
    at = info.last_error_date
    if at is None or not info.pending_update_count:
        return ""
    seconds = at.timestamp() if isinstance(at, datetime.datetime) else float(str(at))
    fresh = time.time() - seconds < _ERROR_SECONDS
    return f"ops-deaf-webhook-fails {info.last_error_message}" if fresh else ""
