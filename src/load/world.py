"""The outside of a load run in one process: Telegram, the providers, the receiver of traces, the people.

    python -m src.load.world --port 0 --users 30

Bound to durations of 20-40 s, Telegram's real limits, and pictures of 300 KB that are drawn once. It is
driven under `/load/`. Bytes, messages and spans are let go early, so that its memory stays small.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import typer
from aiohttp import web

from src.load import Mix
from src.load.people import People
from src.load.seen import Seen
from src.sandbox.__main__ import serve
from src.sandbox.faults import Faults
from src.sandbox.generations import LOAD_DURATIONS
from src.sandbox.kie import KieSandbox
from src.sandbox.openai import OpenAISandbox
from src.sandbox.pictures import PictureMaker
from src.sandbox.telegram import DEMO_STORE, DEMO_TOKEN, TelegramSandbox
from src.sandbox.telegram.server import LIMITED

_LARGEST_BODY = 64 * 1024 * 1024
_KEEP_BYTES = 32 * 1024 * 1024
_KEEP_MESSAGES = 60_000
OWNER = 999
"""The admin's id."""


class World:
    """The stand-ins and the people among them.

    Args:
        scale: real seconds in one second of generations and people.
        limits: answer 429 at Telegram's rates.
    """

    def __init__(
        self,
        *,
        users: int,
        heavy: int,
        seed: int,
        think: float,
        scale: float = 1.0,
        limits: bool = True,
        mix: Mix = "words",
    ) -> None:
        pictures, faults = PictureMaker(cached=True), Faults(seed)
        low, high = LOAD_DURATIONS if isinstance(LOAD_DURATIONS, tuple) else (20.0, 40.0)
        durations = low * scale, high * scale
        self.telegram = TelegramSandbox(
            token=DEMO_TOKEN,
            limits=limits,
            strict_images=False,
            keep_bytes=_KEEP_BYTES,
            keep_messages=_KEEP_MESSAGES,
            keep_calls=0,
        )
        self.kie = KieSandbox(pictures=pictures, faults=faults, durations=durations, seed=seed)
        self.openai = OpenAISandbox(pictures=pictures, faults=faults, durations=durations, seed=seed)
        self.telegram.bot.inline.feedback = True
        self.telegram.group("Pictures on their way", [], type="channel")
        # Whoever sells has somebody whom payments are told of.
        self.telegram.bot.private_chat(self.telegram.person("Owner", id=OWNER).record)
        self.seen = Seen(self.telegram, store=DEMO_STORE)
        self.people = People(self.telegram, self.seen, seed=seed, think=think, scale=scale, mix=mix)
        self.people.gather(users, heavy)
        self._bytes_of_spans = 0

    def add_to(self, app: web.Application) -> None:
        """Serve everything, and `/load/` to drive it."""
        for part in (self.telegram, self.openai, self.kie):
            part.add_to(app)
        for signal in ("traces", "metrics", "logs"):
            app.router.add_post(f"/v1/{signal}", self._take_telemetry)
        app.router.add_post("/load/greet", self._greet)
        app.router.add_post("/load/begin", self._begin)
        app.router.add_post("/load/end", self._end)
        app.router.add_post("/load/unsaid", self._unsaid)
        app.router.add_get("/load/now", self._now)
        app.router.add_get("/load/record", self._record)

    async def _take_telemetry(self, request: web.Request) -> web.Response:
        """The exporters run at their full cost; what they send is not looked at."""
        self._bytes_of_spans += len(await request.read())
        return web.Response(content_type="application/x-protobuf")

    async def _greet(self, _: web.Request) -> web.Response:
        """Everybody starts the bot, so that it may write to them; nothing more."""
        for person in self.people.ordinary:
            await person.send_text("/start")
        return web.json_response({"people": [person.id for person in self.people.ordinary]})

    async def _begin(self, _: web.Request) -> web.Response:
        self.people.begin()
        return web.json_response({"heavy": [person.id for person in self.people.heavy]})

    async def _end(self, _: web.Request) -> web.Response:
        self.people.stop()
        return web.json_response({})

    async def _unsaid(self, request: web.Request) -> web.Response:
        """The bot has handled these updates and ordered nothing."""
        self.seen.not_admitted(await request.json())
        return web.json_response({})

    async def _now(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "asked": len(self.seen.asked),
                "open": [(asked.updates, asked.answered) for asked in self.seen.open],
                "untaken": len(self.telegram.bot.updates.pending),
                "polled": self.telegram.bot.updates.polled,
                "pictures": sum(len(asked.pictures) for asked in self.seen.asked),
                **self._counts(),
            }
        )

    async def _record(self, _: web.Request) -> web.Response:
        """Everything; nobody waits any more."""
        broken = await self.people.leave()
        return web.json_response(
            {
                "asked": self.seen.to_json(),
                "submits": dict(self.kie.audit.submits + self.openai.audit.submits),
                "seconds": self.openai.audit.seconds | self.kie.audit.seconds,
                "bought": self.people.bought,
                "stars": self.telegram.bot.till.balance,
                "vain": dict(self.people.vain),
                "broken": broken,
                "noticed": list(self.kie.audit.noticed),
                "heavy": [person.id for person in self.people.heavy],
                "bytes_of_telemetry": self._bytes_of_spans,
                **self._counts(),
            }
        )

    def _counts(self) -> dict[str, Any]:
        by_status = self.telegram.audit.by_status
        return {
            "at": time.time(),
            "polls": self.kie.audit.polls,
            "submitted": self.kie.audit.submits.total(),
            "calls": sum(n for (method, _), n in by_status.items() if method in LIMITED),
            "besides": self.seen.besides,
            "other_calls": sum(n for (method, _), n in by_status.items() if method not in LIMITED),
            "calls_by_method": dict(self.telegram.audit.by_method),
            "telegram_429": sum(n for (_, status), n in by_status.items() if status == 429),
            "provider_refused": dict(self.kie.audit.refused),
        }


def main(
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 0,
    users: Annotated[int, typer.Option()] = 30,
    heavy: Annotated[int, typer.Option()] = 1,
    seed: Annotated[int, typer.Option()] = 0,
    think: Annotated[float, typer.Option()] = 45.0,
    scale: Annotated[float, typer.Option()] = 1.0,
    limits: Annotated[bool, typer.Option()] = True,
    mix: Annotated[Mix, typer.Option()] = "words",
) -> None:
    """Runs the world of a load run."""
    app = web.Application(client_max_size=_LARGEST_BODY)
    World(users=users, heavy=heavy, seed=seed, think=think, scale=scale, limits=limits, mix=mix).add_to(app)
    asyncio.run(serve(app, host, port))


if __name__ == "__main__":
    typer.run(main)
