"""CPU of one exchange with the outside: ours without tracing, and those of `tests.bench.floor`.

    python -m tests.bench.exchanges --calls 600

The outside is the load run's world in a process of its own; counted is the CPU time of this process alone,
the least of some rounds. Ours runs in uvloop as the worker does, the others in asyncio's loop. `picture` gets
300 KB, `edit` gets them and puts them into a message.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Annotated, Any, cast

import aiohttp
import httpx
import typer
import uvloop
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import BufferedInputFile, InputMediaPhoto
from aiogram.utils.formatting import Text

from src.providers.base import Done, GenRequest, ImageRef
from src.providers.http import make_client
from src.providers.kie import KieProvider
from src.sandbox.telegram import DEMO_TOKEN
from src.settings import Settings, load_settings
from src.telegram import keyboards
from src.telegram.client import make_bot
from src.telegram.i18n import Texts
from src.telegram.photos import Media
from tests.bench import wire
from tests.bot.bot_world import OpenGates

Calls = dict[str, Callable[[int], Awaitable[object]]]

_AT_ONCE = 32
_ROUNDS = 5
# Each chat takes an edit a second.
_PEOPLE = 1000
_KINDS = ("submit", "poll", "picture", "edit")


class Place:
    """The world's address, a finished task, its picture, and messages to edit: each a chat and an id."""

    def __init__(self, url: str, task: str, picture: str, messages: list[tuple[int, int]]) -> None:
        self.url, self.task, self.picture, self.messages = url, task, picture, messages
        self.create = f"{url}/kie/api/v1/jobs/createTask"
        self.record = f"{url}/kie/api/v1/jobs/recordInfo?taskId={task}"

    def settings(self) -> Settings:
        return load_settings(
            kie_base_url=f"{self.url}/kie",
            kie_api_key="bench",
            telegram_api_url=self.url,
            telegram_token=DEMO_TOKEN,
            allow_private_hosts=True,
        )


@asynccontextmanager
async def _world() -> AsyncIterator[Place]:
    command = ["-m", "src.load.world", "--users", str(_PEOPLE), "--heavy", "0", "--no-limits"]
    world = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--scale", "0.001", stdout=asyncio.subprocess.PIPE
    )
    assert world.stdout is not None
    try:
        url = json.loads(await world.stdout.readline())["url"]
        async with httpx.AsyncClient(base_url=url, trust_env=False, headers=wire.HEADERS) as client:
            people = (await client.post("/load/greet")).json()["people"]
            created = (await client.post("/kie/api/v1/jobs/createTask", json=wire.task())).json()
            task = created["data"]["taskId"]
            address = None
            while address is None:
                record = (await client.get(f"/kie/api/v1/jobs/recordInfo?taskId={task}")).json()
                address = wire.picture_of(record)
            messages = []
            for person in people:
                body = {"chat_id": person, "text": "a moment"}
                sent = await client.post(f"/bot{DEMO_TOKEN}/sendMessage", json=body)
                messages.append((person, sent.json()["result"]["message_id"]))
        yield Place(url, task, address, messages)
    finally:
        world.terminate()
        await world.wait()


@asynccontextmanager
async def _ours(place: Place) -> AsyncIterator[Calls]:
    settings = place.settings()
    async with make_client(settings) as client, make_bot(settings, cast(Any, OpenGates())) as bot:
        kie = KieProvider(settings, client)
        media = Media(bot, cast(Any, SimpleNamespace()), settings)
        say = Texts().translator("en")

        async def submit(n: int) -> object:
            return await kie.submit(GenRequest("job", f"a red fox in snow, no. {n}", "nano-banana-2-1"))

        ticket = await kie.submit(GenRequest("job", "a red fox", "nano-banana-2-1"))
        await asyncio.sleep(0.1)

        async def poll(n: int) -> object:
            found = await kie.poll(ticket)
            assert isinstance(found, Done)
            return found

        async def picture(n: int) -> object:
            async with kie.open(ImageRef(place.picture)) as found:
                return sum([len(piece) async for piece in found.pieces()])

        async def edit(n: int) -> object:
            job = cast(Any, SimpleNamespace(id=f"{n:032x}"))
            chat, message = place.messages[n % len(place.messages)]
            markup, caption = keyboards.picture(say, job.id), Text(f"a red fox in snow, no. {n}")
            async with kie.open(ImageRef(place.picture)) as found:
                sent = await media.show(
                    job, found, chat, message, caption=caption, markup=markup, album=False
                )
            assert sent is not None
            return sent

        yield {"submit": submit, "poll": poll, "picture": picture, "edit": edit}


@asynccontextmanager
async def _floor(place: Place) -> AsyncIterator[Calls]:
    session = AiohttpSession(api=TelegramAPIServer.from_base(place.url))
    async with make_client(place.settings()) as client, Bot(DEMO_TOKEN, session=session) as bot:

        async def submit(n: int) -> object:
            return (await client.post(place.create, json=wire.task(), headers=wire.HEADERS)).json()

        async def poll(n: int) -> object:
            return wire.picture_of((await client.get(place.record, headers=wire.HEADERS)).json())

        async def picture(n: int) -> bytes:
            return (await client.get(place.picture)).content

        async def edit(n: int) -> object:
            chat, message = place.messages[n % len(place.messages)]
            media = InputMediaPhoto(media=BufferedInputFile(await picture(n), "p.png"))
            return await bot.edit_message_media(media, chat_id=chat, message_id=message)

        yield {"submit": submit, "poll": poll, "picture": picture, "edit": edit}


@asynccontextmanager
async def _bare(place: Place) -> AsyncIterator[Calls]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def submit(n: int) -> object:
            async with session.post(place.create, json=wire.task(), headers=wire.HEADERS) as answer:
                return await answer.json()

        async def poll(n: int) -> object:
            async with session.get(place.record, headers=wire.HEADERS) as answer:
                return wire.picture_of(await answer.json())

        async def picture(n: int) -> bytes:
            async with session.get(place.picture) as answer:
                return await answer.read()

        async def edit(n: int) -> object:
            chat, message = place.messages[n % len(place.messages)]
            form = aiohttp.FormData()
            form.add_field("chat_id", str(chat))
            form.add_field("message_id", str(message))
            form.add_field("media", json.dumps({"type": "photo", "media": "attach://p"}))
            form.add_field("p", await picture(n), filename="p.png")
            address = f"{place.url}/bot{DEMO_TOKEN}/editMessageMedia"
            async with session.post(address, data=form) as answer:
                return await answer.read()

        yield {"submit": submit, "poll": poll, "picture": picture, "edit": edit}


_WAYS = {
    "ours": (_ours, uvloop.new_event_loop),
    "floor": (_floor, asyncio.new_event_loop),
    "floor-uvloop": (_floor, uvloop.new_event_loop),
    "bare": (_bare, asyncio.new_event_loop),
}


async def _cost(call: Callable[[int], Awaitable[object]], calls: int) -> float:
    """Microseconds of CPU of one call, with some at once."""
    numbers = iter(range(calls))

    async def some() -> None:
        for n in numbers:
            await call(n)

    await call(0)
    gc.collect()
    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    return (time.process_time() - began) / calls * 1e6


async def _measure(way: str, place: Place, calls: int, only: list[str]) -> dict[str, float]:
    async with _WAYS[way][0](place) as made:
        return {kind: await _cost(made[kind], calls) for kind in _KINDS if not only or kind in only}


async def _run(ways: list[str], calls: int, rounds: int, only: list[str]) -> dict[str, dict[str, float]]:
    least: dict[str, dict[str, float]] = {way: {} for way in ways}

    def in_its_loop(way: str) -> dict[str, float]:
        with asyncio.Runner(loop_factory=_WAYS[way][1]) as runner:
            return runner.run(_measure(way, place, calls, only))

    async with _world() as place:
        # As in the worker: its rounds would fall on whatever happens to allocate.
        gc.freeze()
        gc.set_threshold(50_000)
        for _ in range(rounds):
            for way in ways:
                for kind, cost in (await asyncio.to_thread(in_its_loop, way)).items():
                    least[way][kind] = min(cost, least[way].get(kind, cost))
    return least


def main(
    calls: Annotated[int, typer.Option(help="Of each kind in a round.")] = 600,
    rounds: Annotated[int, typer.Option()] = _ROUNDS,
    way: Annotated[list[str] | None, typer.Option(help="These alone, such as ours.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="These alone, such as poll.")] = None,
) -> None:
    """Measure."""
    found = asyncio.run(_run(way or list(_WAYS), calls, rounds, kind or []))
    print("| microseconds of CPU |" + "".join(f" {kind} |" for kind in _KINDS) + " a job |")
    print("|---|" + "---|" * (len(_KINDS) + 1))
    for name, costs in found.items():
        row = "".join(f" {costs[kind]:.0f} |" if kind in costs else " |" for kind in _KINDS)
        whole = costs.get("submit", 0) + 2.5 * costs.get("poll", 0) + costs.get("edit", 0)
        print(f"| {name} |{row} {whole:.0f} |")


if __name__ == "__main__":
    typer.run(main)
