"""A Bot API server of its own: what `api.telegram.org` is to a bot, for tests, load runs and the demo.

Speaks `/bot{token}/{method}` and `/file/bot{token}/{path}`. Everything happens in one event loop; the
people on the other side are driven through `TelegramSandbox.person`, or over HTTP (see `control`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from src.sandbox.telegram import (
    account,
    answering,  # noqa: F401  adds its method
    editing,
    rights,
    sending,
)
from src.sandbox.telegram.audit import Audit
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.control import Control
from src.sandbox.telegram.errors import ApiError, unauthorized, unknown_method
from src.sandbox.telegram.faults import Fault, Faults
from src.sandbox.telegram.limits import Limits
from src.sandbox.telegram.methods import METHODS
from src.sandbox.telegram.people import Person, shared_sender
from src.sandbox.telegram.photos import Darkroom
from src.sandbox.telegram.records import Chat, Event, Feed, PersonRecord
from src.sandbox.telegram.store import FolderStore, MemoryStore, Store
from src.sandbox.telegram.wire import Call, read_call

DEMO_TOKEN = "424242:AA-sandbox-token-of-the-demo-no-secret"  # noqa: S105
"""Known to everybody: the sandbox is its own world, there is nothing to protect."""

DEMO_STORE = -1_000_000_000_001
"""The demo's channel for the pictures of inline mode, the first chat that it makes."""

LIMITED = frozenset(
    name
    for module in (sending, editing)
    for lower, (name, handler) in METHODS.items()
    if handler.__module__ == module.__name__ and lower not in ("sendchataction", "setmessagereaction")
) | {"sendInvoice"}
"""Methods that count against Telegram's limits."""


class TelegramSandbox:
    """The server and everything in it.

    `data_dir`: where its state survives a restart; None: nowhere. `limits`: answer 429 as Telegram does.
    `strict_images=False` skips decoding pictures; `keep_bytes`, `keep_messages` and `keep_calls` bound
    the memory of long runs (hashes and counters stay). `local_files`: be a local server (`--local`), which puts
    files there and serves none.
    """

    def __init__(
        self,
        *,
        token: str = DEMO_TOKEN,
        data_dir: Path | None = None,
        limits: bool = False,
        strict_images: bool = True,
        keep_bytes: int | None = None,
        keep_messages: int | None = None,
        keep_calls: int = 10_000,
        local_files: Path | None = None,
    ) -> None:
        self.store: Store = FolderStore(data_dir) if data_dir else MemoryStore(keep_bytes)
        self.people: dict[int, PersonRecord] = {}
        self.audit = Audit(keep_calls)
        self.faults = Faults()
        self.feed = Feed()
        self.bots: dict[str, Bot] = {}
        self._darkroom = Darkroom(strict=strict_images)
        self._limits = limits
        self._keep_messages = keep_messages
        self._local_files = local_files
        self._runner: web.AppRunner | None = None
        self.url = ""
        for record in self.store.load("person"):
            self.people[record["id"]] = PersonRecord(**record)
        self.bot = self.register(token)

    # What is in it

    def register(self, token: str, username: str = "imagebot_sandbox_bot") -> Bot:
        """Makes another bot known; its chats and files are its own."""
        bot = Bot(
            token,
            self.people,
            self.store,
            self._darkroom,
            Limits(self._limits),
            username=username,
            keep_messages=self._keep_messages,
            local_files=self._local_files,
        )
        bot.feed.listeners.add(self.feed.tell)
        self.bots[token] = bot
        return bot

    def person(
        self,
        first_name: str = "Anna",
        *,
        language_code: str = "en",
        username: str | None = None,
        id: int | None = None,
        bot: Bot | None = None,
    ) -> Person:
        """A new person, or the known one of that id."""
        if id is None:
            id = max(self.people, default=1_000_000) + 1
        record = self.people.get(id)
        if record is None:
            record = self.people[id] = PersonRecord(id, first_name, username, language_code)
            self.store.put("person", str(id), vars(record))
        return Person(record, bot or self.bot)

    def group(
        self,
        title: str,
        members: Iterable[Person],
        *,
        type: str = "supergroup",
        topics: Iterable[str] = (),
        bot: Bot | None = None,
    ) -> Chat:
        """A new group (or "channel", in whose name people write) with the bot in it; with `topics` a forum, its threads numbered from 2.
        The first of its members has made it."""
        bot = bot or self.bot
        number = len([chat for chat in bot.chats.values() if not chat.is_private]) + 1
        chat_id = -number if type == "group" else -1_000_000_000_000 - number
        people = [person.id for person in members]
        chat = Chat(chat_id, type, title, members=set(people), roles=dict.fromkeys(people[:1], "creator"))
        chat.topics = dict(enumerate(topics, start=2))
        chat.is_forum = bool(chat.topics)
        bot.save_chat(chat)
        return chat

    def join(self, person: Person, status: str, title: str) -> Chat:
        """Puts someone into the group of that title, as `member` or `administrator`. The first to come makes it, and
        adds the bot."""
        known = (c for c in self.bot.chats.values() if c.type == "supergroup" and c.title == title)
        group = next(known, None) or self.group(title, [])
        alone = not group.members
        group.members.add(person.id)
        self.set_role(group, person, status, by=person)
        if alone:
            group.blocked = True
            self.set_role(group, None, "member", by=person)
        return group

    def migrate(self, group: Chat, *, bot: Bot | None = None) -> Chat:
        """Turns a group into a supergroup: its id changes, the old one answers with the new."""
        bot = bot or self.bot
        members = [Person(self.people[number], bot) for number in group.members]
        new = self.group(group.title, members, bot=bot)
        new.permissions, new.roles = dict(group.permissions), dict(group.roles)
        for chat, field, other in (
            (group, "migrate_to_chat_id", new.id),
            (new, "migrate_from_chat_id", group.id),
        ):
            told = bot.add_message(
                chat, shared_sender(group), {field: other}, method="person", sender_chat=chat.as_json()
            )
            bot.note_update(told, bot.updates.push("message", told.as_json(), chat.id))
        group.migrated_to = new.id
        bot.save_chat(group)
        bot.save_chat(new)
        return new

    def set_role(
        self, group: Chat, who: Person | None, status: str, *, by: Person, bot: Bot | None = None, **may: bool
    ) -> None:
        """Makes someone (None: the bot, which is told so) an `administrator`, `member`, `restricted`, `left` or
        `kicked`; `may`: what the bot may not while it is restricted (`can_send_photos=False`)."""
        bot = bot or self.bot
        number, user = (bot.id, bot.as_user()) if who is None else (who.id, who.record.as_user())
        before = rights.member(group, user)
        group.roles[number] = status
        if who is None:
            group.blocked, group.restrictions = status in ("left", "kicked"), may
        bot.save_chat(group)
        if who is None:
            update = {"chat": group.as_json(), "from": by.record.as_user(), "date": int(time.time())}
            members = {"old_chat_member": before, "new_chat_member": rights.member(group, user)}
            bot.updates.push("my_chat_member", update | members, group.id)

    def inject(self, kind: str, body: dict[str, Any], *, lane: int = 0, bot: Bot | None = None) -> int | None:
        """Sends the bot an update of any kind and content; returns its update_id."""
        return (bot or self.bot).updates.push(kind, body, lane)

    # Serving

    def add_to(self, app: web.Application) -> None:
        """Serves the Bot API, its files and the people's side from `app`."""
        app.router.add_route("*", "/bot{token:[^/]+}/{method}", self._answer)
        app.router.add_get("/file/bot{token:[^/]+}/{path:.+}", self._file)
        Control(self).add_to(app)
        app.on_startup.append(self._begin)
        app.on_shutdown.append(self._end)
        app.on_cleanup.append(self._close)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serves alone, without other parts of the sandbox; returns the address."""
        app = web.Application()
        self.add_to(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self.url

    async def stop(self) -> None:
        """Ends what `start` began."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _begin(self, _: web.Application) -> None:
        for bot in self.bots.values():
            bot.updates.resume()

    async def _end(self, _: web.Application) -> None:
        for bot in self.bots.values():
            await bot.updates.close()
        self.feed.tell(Event("closed", {}))

    async def _close(self, _: web.Application) -> None:
        self.store.close()

    # One call

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        name, bot = request.match_info["method"], self.bots.get(request.match_info["token"])
        call, result, error, fault = Call(name, {}), None, None, None
        try:
            call = await read_call(request, name)
            if bot is None:
                raise unauthorized()
            if name.lower() not in METHODS:
                raise unknown_method()
            call.method, handler = METHODS[name.lower()]
            chat_id = call.integer("chat_id") or None
            fault = self.faults.take(call.method, chat_id)
            if fault is not None and fault.kind != "timeout_after_commit":
                early = await self._fail(request, fault)
                if early is not None:
                    self._record(bot, call, None, started, ApiError(early.status, f"fault: {fault.kind}"))
                    return early
            if call.method in LIMITED and bot.limits.enabled:
                self._count(bot, call)
            result = await handler(bot, call)
        except ApiError as problem:
            error = problem
        self._record(bot, call, result, started, error)
        if fault is not None and fault.kind == "timeout_after_commit":
            await asyncio.sleep(fault.seconds)
            return _broken(request)
        if error is not None:
            return _json(error.body(), error.code)
        return _json({"ok": True, "result": result}, 200)

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """Does what the fault says; None when the call goes on after it."""
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.kind == "reset":
            return _broken(request)
        if fault.kind == "html":
            page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
            return web.Response(status=502, text=page, content_type="text/html")
        raise fault.error()

    def _count(self, bot: Bot, call: Call) -> None:
        if call.text("inline_message_id"):
            bot.limits.admit(bot.inline.message(call.text("inline_message_id")).chat.id, group=False)
            return
        chat = bot.chat(call.text("chat_id"))
        media = call.structure("media", "media") if call.method == "sendMediaGroup" else None
        messages = len(media) if isinstance(media, list) else 1
        bot.limits.admit(chat.id, group=not chat.is_private, messages=messages)

    def _record(
        self, bot: Bot | None, call: Call, result: Any, started: float, error: ApiError | None
    ) -> None:
        made = [part for part in (result if isinstance(result, list) else [result]) if isinstance(part, dict)]
        message_id = made[0].get("message_id") if made else None
        self.audit.record(
            call,
            bot_id=bot.id if bot else 0,
            chat_id=call.integer("chat_id") or None,
            message_id=message_id or call.integer("message_id") or None,
            messages=sum("message_id" in part for part in made),
            status=error.code if error else 200,
            error=error.description if error else None,
            seconds=time.perf_counter() - started,
        )
        self.feed.tell(Event("call", {"method": call.method}))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        bot = self.bots.get(request.match_info["token"])
        if bot is None:
            return _json(unauthorized().body(), 401)
        fault = self.faults.take("file", None)
        if fault is not None and fault.kind != "cut":
            try:
                early = await self._fail(request, fault)
            except ApiError as error:
                early = _json(error.body(), error.code)
            if early is not None:
                return early
        record = bot.file_paths.get(request.match_info["path"]) if bot.local_files is None else None
        data = bot.file_bytes(record) if record is not None else None
        if data is None or len(data) > account.MAX_DOWNLOAD:
            return _json(ApiError(404, "Not Found").body(), 404)
        if fault is not None:
            # With no length announced, the end of the connection looks like the end of the file.
            cut = web.StreamResponse(headers={"Connection": "close"})
            cut.force_close()
            await cut.prepare(request)
            await cut.write(data[: len(data) // 2])
            return cut
        return web.Response(body=data, content_type="application/octet-stream")


def _json(body: dict[str, Any], status: int) -> web.Response:
    headers = {}
    retry_after = body.get("parameters", {}).get("retry_after")
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.Response(
        status=status,
        body=json.dumps(body, separators=(",", ":")).encode(),
        content_type="application/json",
        headers=headers,
    )


def _broken(request: web.Request) -> web.StreamResponse:
    """Breaks the connection under the client; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
