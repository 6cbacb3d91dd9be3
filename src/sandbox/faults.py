"""Faults of the providers' stand-ins: asked for from Python, by `POST /sandbox/provider-faults`, or by a
word in the prompt; and waiting that ends when the server does.

Three families: `BEFORE` refuses or hangs instead of working, `AFTER` works and spoils the answer,
`GENERATION` goes with the generation to its end (its states, its picture).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refuse = Callable[[int, "Fault"], web.Response]

STATUSES = {k: int(k) for k in ("400", "401", "402", "403", "404", "408", "429", "500", "502", "503", "504")}
BEFORE = frozenset({*STATUSES, "insufficient_quota", "business", "hang", "reset"})
AFTER = frozenset(
    {"html", "truncated_json", "wrong_types", "empty", "drip", "timeout_after_accept", "reset_after_accept"}
)
GENERATION = frozenset(
    {
        "moderated",
        "moderated_output",
        "blocked_200",
        "fail",
        "slow",
        "never_ends",
        "vanish",
        "late",
        "unknown_state",
        "url",
        "data_url",
        "not_an_image",
        "truncated_image",
        "webp",
        "huge",
        "bomb",
        "redirect",
        "redirect_private",
        "redirect_loop",
        "foreign_host",
        "plain_http",
        "metadata_host",
        "expired_403",
    }
)
KINDS = BEFORE | AFTER | GENERATION

# Words that do the same from a chat, for the demo and for whoever tries the bot by hand.
TRIGGERS = {
    "nsfw": "moderated",
    "moderation": "moderated",
    "модерация": "moderated",
    "#blocked": "moderated_output",
    "#fail": "fail",
    "#slow": "slow",
    "#never": "never_ends",
    "#vanish": "vanish",
    "#huge": "huge",
    "#bomb": "bomb",
    "#broken": "truncated_image",
    "#notimage": "not_an_image",
    "#expired": "expired_403",
    "#redirect": "redirect_private",
}

# Answers whose shape is wrong in as many ways as were seen or can be thought of; taken in turn.
WRONG_BODIES = (
    "null",
    "[]",
    '"ok"',
    "7",
    '{"code":200,"msg":"success","data":null}',
    '{"code":200,"data":[1,2]}',
    '{"code":"200","data":"text","error":"text"}',
    '{"code":200,"data":{"taskId":7,"state":["success"],"resultJson":{"resultUrls":{}}}}',
    '{"data":[null]}',
    '{"data":[{"b64_json":{"a":1}}]}',
    '{"data":{"0":{"b64_json":"x"}}}',
    "[" * 100_000,
)


@dataclass(slots=True)
class Fault:
    """One kind of trouble.

    Attributes:
        kind: one of `KINDS`.
        times: how often yet; None: always.
        chance: 0..1, drawn at each occasion.
        path: only requests whose path contains it.
        options: `retry_after` (seconds, or a text sent as it is), `code` and `message` for `business`,
            `seconds` for `late`.
    """

    kind: str
    times: int | None = 1
    chance: float = 1.0
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)


class Faults:
    """The faults in force, shared by the stand-ins of one server."""

    def __init__(self, seed: int = 0) -> None:
        self._active: list[Fault] = []
        self._random = random.Random(seed)
        self._wrong = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._closing = False

    def add(
        self, kind: str, *, times: int | None = 1, chance: float = 1.0, path: str = "", **options: Any
    ) -> None:
        """Put a fault in force.

        Raises:
            ValueError: there is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(sorted(KINDS))}")
        self._active.append(Fault(kind, times, chance, path, options))

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults in force; one that is used up is gone."""
        return tuple(self._active)

    def clear(self) -> None:
        """Take all faults out of force."""
        self._active.clear()

    def take(self, path: str, kinds: Collection[str]) -> Fault | None:
        """The first fault due for this path, used up once."""
        for fault in self._active:
            if fault.kind not in kinds or fault.path not in path:
                continue
            if fault.chance < 1 and self._random.random() >= fault.chance:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._active.remove(fault)
            return fault
        return None

    def behaviour(self, path: str, prompt: str) -> Fault | None:
        """The `GENERATION` fault of a new generation: by its prompt, else the next one in force."""
        lowered = prompt.lower()
        for word, kind in TRIGGERS.items():
            if word in lowered:
                return Fault(kind)
        return self.take(path, GENERATION)

    def add_to(self, app: web.Application) -> None:
        """Serve `/sandbox/provider-faults` and let go of all waiting at shutdown. Safe to call twice."""
        if _INSTALLED in app:
            return
        app[_INSTALLED] = True
        app.router.add_get("/sandbox/provider-faults", self._list)
        app.router.add_post("/sandbox/provider-faults", self._add)
        app.router.add_delete("/sandbox/provider-faults", self._delete)
        app.on_shutdown.append(self._release)

    def around(self, handler: Handler, refuse: Refuse) -> Handler:
        """The handler with `BEFORE` and `AFTER` faults around it; `refuse` words a vendor's error."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            before = self.take(request.path, BEFORE)
            if before is not None:
                if before.kind == "hang":
                    await self.hang(request)
                elif before.kind == "reset":
                    abort(request)
                else:
                    await request.read()
                    return refuse(STATUSES.get(before.kind, 429), before)
                return web.Response()
            response = await handler(request)
            if response.prepared:
                # A stream, which has taken its own.
                return response
            after = self.take(request.path, AFTER)
            return response if after is None else await self._spoilt(request, response, after)

        return guarded

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than the server lives. One timer, no task."""
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _resolve, future)
        self._waiting.add(future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.discard(future)

    async def hang(self, request: web.Request) -> None:
        """Answer nothing until the client goes away."""
        while not self._closing and request.transport is not None and not request.transport.is_closing():
            await self.pause(0.02)

    async def _spoilt(
        self, request: web.Request, response: web.StreamResponse, fault: Fault
    ) -> web.StreamResponse:
        body = response.body if isinstance(response, web.Response) else b""
        text = body if isinstance(body, bytes) else b"{}"
        if fault.kind == "timeout_after_accept":
            await self.hang(request)
            return web.Response()
        if fault.kind == "reset_after_accept":
            abort(request)
            return web.Response()
        if fault.kind == "html":
            return web.Response(text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
        if fault.kind == "empty":
            return web.Response(content_type="application/json")
        if fault.kind == "wrong_types":
            self._wrong += 1
            wrong = WRONG_BODIES[self._wrong % len(WRONG_BODIES)]
            return web.Response(text=wrong, content_type="application/json")
        if fault.kind == "truncated_json":
            return web.Response(body=text[: len(text) // 2], content_type="application/json")
        drip = web.StreamResponse(headers={"Content-Type": "application/json"})
        await drip.prepare(request)
        await self.drip(request, drip, b" ")
        return drip

    async def drip(self, request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
        """Send the same again and again until the client goes away."""
        while not self._closing and request.transport is not None and not request.transport.is_closing():
            await response.write(piece)
            await self.pause(0.02)

    async def _list(self, request: web.Request) -> web.Response:
        active = [
            {"kind": f.kind, "times": f.times, "chance": f.chance, "path": f.path, **f.options}
            for f in self._active
        ]
        return web.json_response({"active": active, "kinds": sorted(KINDS), "triggers": TRIGGERS})

    async def _add(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            self.add(**wanted)
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"ok": True})

    async def _delete(self, request: web.Request) -> web.Response:
        self.clear()
        return web.json_response({"ok": True})

    async def _release(self, app: web.Application) -> None:
        self._closing = True
        for future in tuple(self._waiting):
            _resolve(future)


_INSTALLED = web.AppKey("provider_faults", bool)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def abort(request: web.Request) -> None:
    """Break the connection off."""
    if request.transport is not None:
        request.transport.abort()


def retry_after_headers(fault: Fault) -> dict[str, str]:
    """The `Retry-After` header a fault asks for, if it does."""
    value = fault.options.get("retry_after")
    return {} if value is None else {"Retry-After": str(value)}
