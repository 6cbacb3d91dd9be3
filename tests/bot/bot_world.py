"""A bot over real sockets: the Telegram sandbox, a real Redis, and a hand in place of the workers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from src.app import App
from src.bot.handling import Handling
from src.bot.inbox import Inbox
from src.bot.polling import Poller
from src.bot.process import BotParts
from src.jobs import Job, Request, State, keys, transitions
from src.ops.hearing import Hearing
from src.providers.base import ImageBytes
from src.sandbox.telegram import Message, Person, TelegramSandbox
from src.settings import Settings
from src.store.blobs import ORIGINALS
from src.telegram.messages import Messages


@dataclass
class World:
    """Everything a test of a conversation needs.

    The methods that are given a job (but `request_of`) do what a worker would do with it.
    """

    settings: Settings
    sandbox: TelegramSandbox
    app: App
    bot: Any
    messages: Messages
    parts: BotParts
    inbox: Inbox
    handling: Handling = field(init=False)
    poller: Poller = field(init=False)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Receive what people send."""
        self.handling = Handling(self.app, self.inbox, self.bot, self.parts.dispatcher)
        self.poller = Poller(
            self.bot,
            self.parts.dispatcher,
            self.inbox,
            self.handling,
            Hearing(self.app.ledger),
            poll_seconds=5,
        )
        self.running += [asyncio.create_task(part.run()) for part in (self.handling, self.poller)]

    async def stop(self) -> None:
        self.poller.stop()
        self.handling.stop()
        await asyncio.gather(*self.running)
        self.running.clear()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """What people send meanwhile is received in one piece, however slowly they send it."""
        await self.stop()
        yield
        self.start()

    async def settled(self, within: float = 40) -> None:
        """Until every update that was sent is confirmed and handled."""
        async with asyncio.timeout(within):
            while self.sandbox.bot.updates.pending or await self.inbox.waiting():
                await asyncio.sleep(0.01)

    async def active(self, user: int) -> list[Job]:
        """A person's open jobs, once the bot has done what it was sent."""
        await self.settled()
        jobs = await self.app.ledger.active(str(user))
        return sorted(jobs, key=lambda job: (job.created, job.spec.index))

    async def asked(self, person: Person, count: int = 1) -> tuple[list[Job], Message]:
        """A person asks for pictures: their jobs once the placeholder counts, and the first message that answers."""
        await self.app.ledger.choose(str(person.id), count=count)
        first = await person.reply_after(await person.send_text("a red fox"))
        jobs = await self.active(person.id)
        async with asyncio.timeout(40):
            # A busy machine lets an update be handled before its placeholder is noted.
            while not (await self.request_of(jobs[0])).messages:
                await asyncio.sleep(0.01)
        return jobs, first

    def let_changes_cross(self) -> None:
        """From now on changes of placeholders arrive though the end was said after they had left."""

        async def changing(request_id: str, *, preview: bool = False) -> bool:
            marks = ("previewing", "previewed") if preview else ("changing",)
            await self.app.redis.hset(keys.REQUEST(request_id), mapping=dict.fromkeys(marks, 1))
            return True

        self.app.ledger.changing = changing  # type: ignore[method-assign]

    async def request_of(self, job: Job) -> Request:
        request = await self.app.ledger.request(job.request)
        assert request is not None
        return request

    async def accepted(self, job: Job) -> Job:
        """The provider has taken the job."""
        held = await self.app.ledger.run(transitions.claim(job.id, "submit", holder="test", lease=30))
        assert held is not None
        ticket = {"provider": job.provider, "external_id": "t-1"}
        assert await self.app.ledger.run(transitions.accepted(job.id, held.fence, ticket=ticket, after=20))
        found = await self.app.ledger.job(job.id)
        assert found is not None
        return found

    async def made(self, job: Job, data: bytes = b"") -> Job:
        """The provider has made the picture, and sent it along where there is `data`."""
        running = await self.accepted(job)
        if data:
            await self.app.blobs.put(f"{ORIGINALS}/{job.id}", data)
        made, _ = await self.app.ledger.run(
            transitions.ready(
                job.id,
                running.fence,
                result={},
                cap=self.app.cap(job.provider),
                model=job.spec.model,
                kept=len(data),
            )
        )
        assert made
        return running

    async def finished(self, job: Job, image: ImageBytes, *, original: bool = True) -> dict[str, Any]:
        """The picture is made and shown."""
        return await self.shown(await self.made(job, image.data if original else b""), image)

    async def shown(self, job: Job, image: ImageBytes) -> dict[str, Any]:
        held = await self.app.ledger.run(transitions.claim(job.id, "deliver", holder="test", lease=30))
        assert held is not None
        request, _ = await self.messages.placeholders.hold(held, await self.request_of(held))
        shown = await self.messages.picture(held, request, image)
        await self._finish(held, shown)
        return shown

    async def failed(self, job: Job, kind: str) -> None:
        """The job ends without a picture, and the person is told."""
        cap = self.app.cap(job.provider)
        ending = await self.app.ledger.run(transitions.fail(job.id, None, kind=kind, cap=cap))
        assert ending.done
        await self.told(job)

    async def told(self, job: Job) -> None:
        held = await self.app.ledger.run(transitions.claim(job.id, "deliver", holder="test", lease=30))
        assert held is not None
        assert held.state in (State.FAILED, State.CANCELLED)
        shown = await self.messages.notice(held, await self.request_of(held))
        await self._finish(held, shown)

    async def _finish(self, job: Job, shown: dict[str, Any]) -> None:
        finish = await self.app.ledger.run(transitions.finish(job.id, job.fence, shown=shown, ttl=600))
        if finish.open_jobs == 0:
            request = await self.request_of(job)
            await self.messages.close(request, await self.app.ledger.jobs(request.jobs))


class OpenGates:
    """A limiter whose gates are open: the chats here are busier than Telegram would like."""

    async def take(self, gates: Any, *, wait: float = 0.0, spread: bool = False) -> None:
        return None

    async def shut(self, gate: str, seconds: float) -> None:
        return None


def png(width: int = 64, height: int = 48, colour: str = "orange") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def image(width: int = 64, height: int = 48, colour: str = "orange") -> ImageBytes:
    return ImageBytes(png(width, height, colour), "image/png", width, height)
