"""Which messages a bot cannot know that it sent: Telegram took them, and its answer was cut or read by nobody who lived
to note it. Telegram has no key by which a message that is sent again would be the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import psutil
from aiohttp import web
from aiohttp.typedefs import Handler

from src.sandbox.telegram.audit import CallRecord, recording
from tests.chaos.machine import family
from tests.system import System

_SENDS = ("/sendMessage", "/sendMediaGroup")
# From Telegram's answer until a process that lives has noted it, on a crowded machine.
_NOTED = 2.0


@dataclass(slots=True)
class Send:
    """A call that made messages, and who made it; `answered`: when, 0 where nobody got the answer."""

    call: CallRecord
    part: str
    answered: float

    def made(self, chat: int, message: int) -> bool:
        first = self.call.message_id or 0
        return self.call.chat_id == chat and first <= message < first + self.call.messages


@dataclass(slots=True)
class Sends:
    """Sees every message that a system sends, and who sent it. Times are of this process's clock, s.

    Attributes:
        killed_at: when each part was killed outright. away: from when to when the ledger could be told nothing.
    """

    system: System
    seen: list[Send] = field(default_factory=list)
    killed_at: dict[str, float] = field(default_factory=dict)
    away: list[tuple[float, float]] = field(default_factory=list)
    # To ask the machine takes long when it has many processes; who holds a connection stays the same.
    _holders: WeakKeyDictionary[asyncio.Transport, str] = field(default_factory=WeakKeyDictionary)

    def killed(self, part: str) -> None:
        """A part was killed outright, just now."""
        self.killed_at[part] = time.monotonic()

    @contextmanager
    def ledger_away(self) -> Iterator[None]:
        """Nothing can be noted while this lasts."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.away.append((began, time.monotonic()))

    def unknowable(self, chat: int, message: int) -> bool:
        """Whether no process can know of that message."""
        send = next((send for send in self.seen if send.made(chat, message)), None)
        if send is None or not send.answered:
            return send is not None
        died = self.killed_at.get(send.part)
        # A part that was started again under its name has sent what came later.
        if died is None or send.answered - died > _NOTED:
            return False
        to_note, seen = 0.0, send.answered
        for begin, end in sorted(self.away):
            to_note += max(0.0, min(begin, died) - seen)
            seen = max(seen, end)
        return to_note + max(0.0, died - seen) <= _NOTED

    def history(self, chat: int) -> Iterator[str]:
        """What was sent to a chat, by whom, and when its answer came and its sender was killed."""
        for send in self.seen:
            if send.call.chat_id == chat:
                died = self.killed_at.get(send.part)
                yield f"{send.call.message_id} by {send.part}, answered {send.answered:.2f}, killed {died}"

    def middleware(self) -> web.middleware:
        @web.middleware
        async def see(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not request.path.endswith(_SENDS):
                return await handler(request)
            assert request.transport is not None
            part = self._holders.get(request.transport) or sender(self.system, request.transport)
            self._holders[request.transport] = part
            with recording() as calls:
                response = await handler(request)
            cut = request.transport is None or request.transport.is_closing()
            answered = 0.0 if cut else time.monotonic()
            self.seen += [Send(call, part, answered) for call in calls if call.messages]
            return response

        return see


def sender(system: System, connection: asyncio.Transport) -> str:
    """The part of a system that holds the other end of a connection."""
    port = connection.get_extra_info("peername")[1]
    for name in system.parts:
        for process in family(system.pid(name)):
            with suppress(psutil.Error):
                if any(c.laddr.port == port for c in process.net_connections("tcp")):
                    return name
    return ""
