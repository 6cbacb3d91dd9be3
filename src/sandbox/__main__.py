"""Runs the sandbox: Telegram with its chat page, the providers and the trace receiver, on one port.

    python -m src.sandbox --host 127.0.0.1 --port 0 --data DIR

Prints one JSON line with the address once it listens; SIGINT and SIGTERM end it cleanly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web

from src.sandbox.a1111 import A1111Sandbox
from src.sandbox.comfyui import ComfyUISandbox
from src.sandbox.fal import FalSandbox
from src.sandbox.faults import Faults
from src.sandbox.gemini import GeminiSandbox
from src.sandbox.gigachat import GigaChatSandbox
from src.sandbox.kie import KieSandbox
from src.sandbox.openai import OpenAISandbox
from src.sandbox.openrouter import OpenRouterSandbox
from src.sandbox.page import ChatPage
from src.sandbox.pictures import PictureMaker
from src.sandbox.replicate import ReplicateSandbox
from src.sandbox.telegram import DEMO_STORE, DEMO_TOKEN, TelegramSandbox
from src.sandbox.traces import TraceSandbox
from src.sandbox.web_apps import WebApps
from src.sandbox.yandexart import YandexARTSandbox

_SHUTDOWN = 2.0
"""Seconds open connections (the page's event stream, long polls) get at the end."""

_LARGEST_BODY = 64 * 1024 * 1024


def build(
    *, token: str = DEMO_TOKEN, data: Path | None = None, limits: bool = True, api: str | None = None
) -> web.Application:
    """The application with every part of the sandbox in it. `api`: where the bot's Mini App is."""
    app = web.Application(client_max_size=_LARGEST_BODY)
    pictures, faults = PictureMaker(), Faults()
    telegram = TelegramSandbox(token=token, data_dir=data / "telegram" if data else None, limits=limits)
    telegram.bot.inline.feedback = True
    if DEMO_STORE not in telegram.bot.chats:
        telegram.group("Pictures on their way", [], type="channel")
    telegram.add_to(app)
    OpenAISandbox(pictures=pictures, faults=faults).add_to(app)
    OpenRouterSandbox(pictures=pictures, faults=faults).add_to(app)
    KieSandbox(pictures=pictures, faults=faults).add_to(app)
    ComfyUISandbox(pictures=pictures, faults=faults).add_to(app)
    GeminiSandbox(pictures=pictures, faults=faults).add_to(app)
    FalSandbox(pictures=pictures, faults=faults).add_to(app)
    ReplicateSandbox(pictures=pictures, faults=faults).add_to(app)
    A1111Sandbox(pictures=pictures, faults=faults).add_to(app)
    YandexARTSandbox(pictures=pictures, faults=faults).add_to(app)
    GigaChatSandbox(pictures=pictures, faults=faults).add_to(app)
    TraceSandbox().add_to(app)
    ChatPage().add_to(app)
    if api is not None:
        WebApps(api).add_to(app)
    return app


async def serve(app: web.Application, host: str, port: int) -> None:
    """Serves until a signal comes; prints the address as one JSON line."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(json.dumps({"url": f"http://{bound_host}:{bound_port}"}), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder where chats survive a restart.")] = None,
    token: Annotated[str, typer.Option(help="The token the bot must use.")] = DEMO_TOKEN,
    limits: Annotated[bool, typer.Option(help="Answer 429 at Telegram's rates.")] = True,
    api: Annotated[str | None, typer.Option(help="Address of the api that has the bot's Mini App.")] = None,
) -> None:
    """Runs the sandbox."""
    asyncio.run(serve(build(token=token, data=data, limits=limits, api=api), host, port))


if __name__ == "__main__":
    typer.run(main)
