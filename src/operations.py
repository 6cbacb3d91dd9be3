"""The operator's commands of `imagebot`: what a person types, and what is printed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from src.settings import load_settings


def add_to(app: typer.Typer) -> None:
    """Add the commands to `imagebot`."""
    app.command()(api)
    app.command()(status)
    app.command()(backup)
    app.command()(restore)


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


def backup(
    target: Annotated[Path, typer.Argument(help="The file; with --every a folder.")],
    every: Annotated[str, typer.Option(help="Make one every so often, for ever: 30m, 6h, 1d.")] = "",
    keep: Annotated[int, typer.Option(min=1, help="With --every: how many are kept.")] = 28,
) -> None:
    """Write down everything that must survive, while the system runs."""
    from src import backup as backups
    from src.broker import start_telemetry

    settings = load_settings()
    if every:
        start_telemetry(settings, "imagebot-backup")
        _until_sigterm(backups.every(settings, target, _seconds(every), keep))
        return
    made = asyncio.run(backups.backup(settings, target))
    print(f"{target}: {made.keys} keys, {target.stat().st_size / 1e6:.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    force: Annotated[bool, typer.Option("--force", help="Drop what this Redis holds.")] = False,
) -> None:
    """Put a backup into an empty Redis; jobs in flight go on from there."""
    from src import backup as backups

    found = asyncio.run(backups.restore(load_settings(), file, force=force))
    print(f"{found.keys} keys restored, {found.jobs} jobs go on")


def _until_sigterm(work: Coroutine[Any, Any, None]) -> None:
    """Run something endless until the container or the terminal says stop, which is no error."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or not int(match[1]):
        raise typer.BadParameter("expected a number and s, m, h or d, such as 6h", param_hint="--every")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
