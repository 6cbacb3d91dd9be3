"""Moments of a running system, caught from outside: between any two of its steps something may die.

Every step speaks to somebody: Telegram and the providers (the sandbox, where a middleware sees each
request arrive and each answer leave) or the ledger (a proxy in front of Redis sees each script go and
its answer come). An armed moment runs an action exactly there. The system itself knows nothing of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler

from src.jobs import ledger
from tests.chaos.sends import sender
from tests.system import System

Action = Callable[[str], Awaitable[None]]
"""What happens at a moment; it gets the name of the part that is at it."""

_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True)
class Moment:
    """A point between two steps.

    Attributes:
        where: part of a request's path, or `lua:` and the name of a transition's script.
        when: `before` it takes effect, or `after` it did and before the answer is known.
        by: the kind of part whose step it is, `worker` or `bot`.
        says: bytes that the answer must contain; those of a script's call, where it is `before`.
    """

    where: str
    when: Literal["before", "after"]
    by: Literal["worker", "bot"] = "worker"
    says: bytes = b""

    def __str__(self) -> str:
        return f"{self.by} {self.when} {self.where.rstrip('/').rpartition('/')[2]}"


@dataclass(slots=True)
class _Armed:
    moment: Moment
    action: Action
    goes_on: bool
    sha: bytes = b""
    hit: asyncio.Event = field(default_factory=asyncio.Event)


class Moments:
    """The armed moments of a system. `url` is the address of Redis for the system's processes."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._armed: list[_Armed] = []
        self._socket = Path(tempfile.mkdtemp(prefix="ib-")) / "p.sock"
        self.url = f"unix://{self._socket}?db=0"
        system.middlewares.append(self._middleware())

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve_redis, self._socket)

    async def close(self) -> None:
        self._server.close()

    def at(self, moment: Moment, action: Action, *, goes_on: bool = False) -> asyncio.Event:
        """Run `action` once at that moment; the answer is set when it is over.

        Args:
            goes_on: then let the request or its answer through; else both are lost.
        """
        script = moment.where.removeprefix("lua:")
        sha = (
            hashlib.sha1(ledger.script(script).encode()).hexdigest().encode()
            if script != moment.where
            else b""
        )
        armed = _Armed(moment, action, goes_on, sha)
        self._armed.append(armed)
        return armed.hit

    async def _reach(self, armed: _Armed, part: str) -> None:
        self._armed.remove(armed)
        await armed.action(part)
        armed.hit.set()

    def _part_of(self, pid: int) -> str:
        """The part a process belongs to: parts lead process groups."""
        with suppress(ProcessLookupError):
            group = os.getpgid(pid)
            return next((name for name in self._system.parts if self._system.pid(name) == group), "")
        return ""

    # Requests

    def _middleware(self) -> web.middleware:
        @web.middleware
        async def catch(request: web.Request, handler: Handler) -> web.StreamResponse:
            armed = [a for a in self._armed if not a.sha and a.moment.where in request.path]
            part = sender(self._system, request.transport) if armed and request.transport else ""
            armed = [a for a in armed if part.startswith(a.moment.by)]
            for here in armed:
                if here.moment.when == "before" and here in self._armed:
                    await request.read()
                    await self._reach(here, part)
                    if not here.goes_on:
                        return _drop(request)
            response = await handler(request)
            body = response.body if isinstance(response, web.Response) else b""
            for here in armed:
                if here.moment.when == "after" and here in self._armed and here.moment.says in _bytes(body):
                    await self._reach(here, part)
                    if not here.goes_on:
                        return _drop(request)
            return response

        return catch

    # Scripts

    async def _serve_redis(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(str(self._system.redis_process.socket))
        except OSError:
            writer.close()
            return
        connection = _Connection(self, self._part_of(_peer(writer)), (reader, writer), (there, back))
        await connection.run()


class _Connection:
    """One connection of the system to Redis, passed on in both directions."""

    def __init__(
        self,
        moments: Moments,
        part: str,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._moments = moments
        self._part = part
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._answering: _Armed | None = None

    async def run(self) -> None:
        ways = [asyncio.create_task(self._forth()), asyncio.create_task(self._back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (self._to_client, self._to_server):
            writer.close()

    async def _forth(self) -> None:
        while data := await self._from_client.read(1 << 20):
            here = next((a for a in self._moments._armed if self._is_at(a, data)), None)
            if here is not None and here.moment.when == "before":
                await self._moments._reach(here, self._part)
                if not here.goes_on:
                    return
            elif here is not None:
                self._answering = here
            self._to_server.write(data)
            await self._to_server.drain()

    async def _back(self) -> None:
        while data := await self._from_server.read(1 << 20):
            here = self._answering
            # Another connection may have been at the moment first.
            if here is not None and here in self._moments._armed and here.moment.says in data:
                self._answering = None
                await self._moments._reach(here, self._part)
                if not here.goes_on:
                    return
            self._to_client.write(data)
            await self._to_client.drain()

    def _is_at(self, armed: _Armed, call: bytes) -> bool:
        moment = armed.moment
        ours = bool(armed.sha) and armed.sha in call and self._part.startswith(moment.by)
        return ours and (moment.when == "after" or moment.says in call)


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _bytes(body: object) -> bytes:
    return bytes(body) if isinstance(body, bytes | bytearray) else b""


def _peer(writer: asyncio.StreamWriter) -> int:
    connected = writer.get_extra_info("socket")
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[0])
