"""The updates that wait for a bot: long polling and webhook, as Telegram hands them out.

An update waits until the bot confirms it: by an offset beyond it, or by answering the webhook with 2xx.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import ssl
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

from src.sandbox.telegram.errors import conflict
from src.sandbox.telegram.store import Store

NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Update types a bot gets only when it asks for them."""

_SAME_QUESTION_SECONDS = 0.5
"""A getUpdates with the offset of the last one is answered with one update within this time, as by Telegram's server."""
_FUTURE = 10
"""An offset so far beyond the newest update is of an older count: nothing is confirmed by it."""
_WEBHOOK_TIMEOUT = aiohttp.ClientTimeout(total=60)
_BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before an update that the webhook did not take is sent again."""


@dataclass
class Webhook:
    """Where updates are sent."""

    url: str
    secret_token: str = ""
    max_connections: int = 40
    last_error_date: int | None = None
    last_error_message: str | None = None


@dataclass
class Update:
    """A pending update; `lane` is the chat or person within which the order is kept."""

    update_id: int
    body: dict[str, Any]
    lane: int
    not_before: float = 0.0
    failures: int = 0


@dataclass
class _Poll:
    """A getUpdates call that waits."""

    future: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Updates:
    """The queue of one bot."""

    def __init__(self, bot_id: int, store: Store) -> None:
        self.pending: dict[int, Update] = {}
        self.allowed: set[str] | None = None
        self.webhook: Webhook | None = None
        self.sent = 0
        self._bot_id = bot_id
        self._store = store
        self._poll: _Poll | None = None
        self._wake = asyncio.Event()
        self._delivery: asyncio.Task[None] | None = None
        self._closing = False
        self._next_id = random.randrange(100_000_000, 900_000_000)
        self._asked: tuple[int, float] = (0, 0.0)
        self._load()

    @property
    def polled(self) -> bool:
        """Whether a getUpdates call waits for something to come."""
        return self._poll is not None

    def push(self, kind: str, body: dict[str, Any], lane: int) -> int | None:
        """Queues an update and returns its id; None if the bot did not ask for this kind."""
        if kind in NOT_BY_DEFAULT if self.allowed is None else kind not in self.allowed:
            return None
        update_id = self._next_id
        self._next_id += 1
        update = Update(update_id, {"update_id": update_id, kind: body}, lane)
        self.pending[update_id] = update
        self._store.put(
            "update",
            f"{self._bot_id}:{update_id}",
            {"bot_id": self._bot_id, "update_id": update_id, "body": update.body, "lane": lane},
        )
        self._save()
        self._notify()
        return update_id

    def allow(self, kinds: list[str] | None) -> None:
        """Sets the wanted kinds: None keeps the setting, an empty list is Telegram's default."""
        if kinds is not None:
            self.allowed = set(kinds) or None
            self._save()

    async def poll(self, offset: int, limit: int, seconds: float) -> list[dict[str, Any]]:
        """getUpdates. A poll that waits already is ended with a conflict: the newer one wins."""
        if self.webhook is not None:
            raise conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            )
        self._interrupt(
            "terminated by other getUpdates request; make sure that only one bot instance is running"
        )
        now = asyncio.get_running_loop().time()
        if offset == self._asked[0] and now < self._asked[1] + _SAME_QUESTION_SECONDS:
            limit = 1
        self._asked = offset, now
        self._confirm(offset)
        deadline = now + seconds
        while not self.pending and not self._closing:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            poll = self._poll = _Poll()
            try:
                await asyncio.wait_for(poll.future, left)
            except TimeoutError:
                break
            finally:
                if self._poll is poll:
                    self._poll = None
        bodies = [update.body for update in self.pending.values()]
        self.sent += len(bodies[:limit])
        return bodies[:limit]

    def drop_all(self) -> None:
        for update_id in tuple(self.pending):
            self._forget(update_id)

    def set_webhook(self, webhook: Webhook | None) -> None:
        """Switches to a webhook, or back to long polling."""
        if webhook is not None:
            self._interrupt("terminated by setWebhook request")
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        self.webhook = webhook
        self._save()
        if webhook is not None:
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(webhook))

    def resume(self) -> None:
        """Goes on sending to a webhook that was set before a restart."""
        if self.webhook is not None and self._delivery is None:
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(self.webhook))

    async def close(self) -> None:
        """Ends waiting polls and the sending to a webhook."""
        self._closing = True
        self._notify()
        if self._delivery is not None:
            self._delivery.cancel()
            await asyncio.gather(self._delivery, return_exceptions=True)
            self._delivery = None

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            for update_id in list(self.pending)[:offset]:
                self._forget(update_id)
        if offset > self._next_id + _FUTURE:
            return
        for update_id in tuple(itertools.takewhile(lambda number: number < offset, self.pending)):
            self._forget(update_id)

    def renumber(self, next_id: int) -> None:
        """Number updates anew from here on, as Telegram does after a week without any."""
        self._next_id = next_id
        self._save()

    def _forget(self, update_id: int) -> None:
        if self.pending.pop(update_id, None) is not None:
            self._store.drop("update", f"{self._bot_id}:{update_id}")

    def _interrupt(self, reason: str) -> None:
        poll, self._poll = self._poll, None
        if poll is not None and not poll.future.done():
            poll.future.set_exception(conflict(reason))

    def _notify(self) -> None:
        if self._poll is not None and not self._poll.future.done():
            self._poll.future.set_result(None)
        self._wake.set()

    # Webhook

    async def _deliver(self, webhook: Webhook) -> None:
        """Sends what is pending, side by side for different chats, in order within one."""
        sending: dict[int, asyncio.Task[None]] = {}
        # Made now, it trusts whom SSL_CERT_FILE names now.
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
        async with aiohttp.ClientSession(connector=connector, timeout=_WEBHOOK_TIMEOUT) as session:
            try:
                while True:
                    self._wake.clear()
                    now = asyncio.get_running_loop().time()
                    wait: float | None = None
                    seen: set[int] = set(sending)
                    for update in tuple(self.pending.values()):
                        if update.lane in seen or len(sending) >= webhook.max_connections:
                            continue
                        seen.add(update.lane)
                        if update.not_before > now:
                            wait = min(wait or 60.0, update.not_before - now)
                            continue
                        task = asyncio.create_task(self._send(session, webhook, update))
                        sending[update.lane] = task
                        task.add_done_callback(functools.partial(self._sent, sending, update.lane))
                    # Not `wait_for`, which until Python 3.12 takes a cancellation that comes with the wake for it.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._wake.wait()
            finally:
                for task in sending.values():
                    task.cancel()

    def _sent(self, sending: dict[int, asyncio.Task[None]], lane: int, _: asyncio.Task[None]) -> None:
        sending.pop(lane, None)
        self._wake.set()

    async def _send(self, session: aiohttp.ClientSession, webhook: Webhook, update: Update) -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": webhook.secret_token} if webhook.secret_token else {}
        self.sent += 1
        try:
            async with session.post(
                webhook.url, json=update.body, headers=headers, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    self._forget(update.update_id)
                    return
                problem = f"Wrong response from the webhook: {response.status} {response.reason}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"Connection failed: {type(error).__name__}"
        webhook.last_error_date = int(time.time())
        webhook.last_error_message = problem
        update.failures += 1
        pause = _BACKOFF[min(update.failures, len(_BACKOFF)) - 1]
        update.not_before = asyncio.get_running_loop().time() + pause

    # Restart

    def _save(self) -> None:
        self._store.put(
            "queue",
            str(self._bot_id),
            {
                "bot_id": self._bot_id,
                "next_id": self._next_id,
                "allowed": None if self.allowed is None else sorted(self.allowed),
                "webhook": None if self.webhook is None else asdict(self.webhook),
            },
        )

    def _load(self) -> None:
        for record in self._store.load("queue"):
            if record["bot_id"] == self._bot_id:
                self._next_id = record["next_id"]
                self.allowed = None if record["allowed"] is None else set(record["allowed"])
                self.webhook = None if record["webhook"] is None else Webhook(**record["webhook"])
        for record in self._store.load("update"):
            if record["bot_id"] == self._bot_id:
                update = Update(record["update_id"], record["body"], record["lane"])
                self.pending[update.update_id] = update
