"""The operator's commands of `imagebot`: what a person types, and what is printed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from src.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add the commands to `imagebot`."""
    app.command()(api)
    app.command()(status)


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 8000,
) -> None:
    """Webhook, callbacks, probes, the status page and REST, over HTTP."""
    from src.api import run_api
    from src.broker import start_telemetry

    settings = load_settings()
    telemetry = start_telemetry(settings, "imagebot-api")
    try:
        asyncio.run(run_api(settings, host, port))
    finally:
        telemetry.shutdown()


def status(
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    lang: Annotated[str, typer.Option(help="en or ru.")] = "en",
) -> None:
    """How the system does, and what to do next; exit code 1 while there is a problem."""
    from src.app import open_app
    from src.health import Level, look
    from src.report import report
    from src.texts import get_texts

    async def read() -> int:
        async with open_app(load_settings()) as app:
            snapshot = await look(app)
        print(json.dumps(asdict(snapshot)) if as_json else report(get_texts().voice(lang), snapshot))
        return int(snapshot.level is Level.PROBLEM)

    raise typer.Exit(asyncio.run(read()))
