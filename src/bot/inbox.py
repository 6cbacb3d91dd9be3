"""The inbox: updates that Telegram gave us, in Redis until they are handled.

Whoever receives updates (`src.bot.polling`, the api's webhook) puts them here at once, and Telegram is told only
then; so no chat waits for another's handler, and what was taken outlives a process. `src.bot.handling` takes them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.app import App
from src.jobs import keys
from src.settings import SettingsError
from src.store.scripts import script_text

WEBHOOK_PATH = "/telegram/webhook"
"""Where the `api` process takes updates."""

# For so long Telegram may give an update again.
_KNOWN_SECONDS = 86_400
_LONGEST = 10_000
_WAIT_MS = 1000


class InboxFull(Exception):
    """More updates wait than may; Telegram keeps them for a day."""


class Inbox:
    """Updates that were taken and are not yet handled, in a stream of Redis.

    Raises:
        SettingsError: there is no token, which says whose updates they are.
    """

    def __init__(self, app: App) -> None:
        if app.settings.telegram_token is None:
            raise SettingsError("TELEGRAM_TOKEN: is needed here, the bot's token as @BotFather gave it")
        self._redis = app.redis
        self._take = app.redis.register_script(script_text("src.bot", "take_updates"))
        self._bot_id = app.settings.telegram_token.get_secret_value().partition(":")[0]
        self.key = keys.UPDATES(self._bot_id)

    async def put(self, updates: Sequence[Mapping[str, Any]]) -> int:
        """Take updates; how many of them are new. May be called again after a lost answer.

        Raises:
            InboxFull: none was taken.
            redis.RedisError: it is not known whether they were taken.
        """
        rows = [part for update in updates for part in (update["update_id"], json.dumps(update))]
        args = [self._bot_id, _KNOWN_SECONDS, _LONGEST, *rows]
        taken = await self._take(keys=[keys.PREFIX], args=args)
        if int(taken) < 0:
            raise InboxFull
        return int(taken)

    async def read(self, after: str, count: int) -> list[tuple[str, str]]:
        """Entries behind one, in order: their ids and texts; waits a second where there is none."""
        found = await self._redis.xread({self.key: after}, count=count, block=_WAIT_MS)
        return [(entry, fields["update"]) for _, entries in found for entry, fields in entries]

    async def done(self, entry: str) -> None:
        """An update was handled."""
        await self._redis.xdel(self.key, entry)

    async def waiting(self) -> int:
        """Updates that are not handled yet."""
        return int(await self._redis.xlen(self.key))
