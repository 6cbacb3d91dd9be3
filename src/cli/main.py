"""The `imagebot` command."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import io
import os
import platform
import shutil
import signal
import sys
import traceback
from collections.abc import Coroutine
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from src.cli import ops
from src.load import Mix
from src.local.folders import make_folder
from src.local.supervisor import THREADS
from src.settings import (
    Settings,
    SettingsError,
    UserError,
    key_of,
    load_redis_url,
    load_settings,
    provider_clients,
    table,
)

# As in a worker.
_YOUNG_OBJECTS = 50_000

app = typer.Typer(
    help="A Telegram bot that makes images, and the system behind it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


ops.add_to(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"imagebot {metadata.version('imagebot')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def anywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Which one this is.")
    ] = False,
) -> None:
    """What stands before every command."""


def main() -> None:
    """Entry point: errors that a person can fix are one line, without a traceback."""
    # What is being loaded stays: going through it again and again is a tenth of a short command.
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no such letters, and half a letter in a name, are no reason to say nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        print(f"imagebot: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        print(f"imagebot: {error.filename or 'the disk'}: {error.strerror}", file=sys.stderr)
        sys.exit(os.EX_IOERR)
    except Exception as error:
        if isinstance(error, UnicodeEncodeError) and error.object[error.start] in "".join(sys.argv):
            print("imagebot: a word of the command line is not UTF-8: write it again", file=sys.stderr)
            sys.exit(3)
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if isinstance(error, ValueError) and frame.f_globals["__name__"].startswith("opentelemetry."):
            # Some of its variables are read as it is loaded.
            print(f"imagebot: a variable OTEL_*: {error}", file=sys.stderr)
            sys.exit(os.EX_CONFIG)
        # Commands load Redis's client themselves: `--help` does without.
        if (redis := sys.modules.get("redis")) is None or not isinstance(error, redis.RedisError):
            raise
        from src.store.clients import trouble

        print(f"imagebot: Redis: {trouble(error)}", file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)


@app.command()
def demo(
    prompt: Annotated[str | None, typer.Option(help="Make this one picture and exit.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the chat page.")] = 8090,
    data: Annotated[Path | None, typer.Option(help="Folder to keep everything in.")] = None,
) -> None:
    """Everything on this machine: no token, no key, no service. Opens a chat page."""
    folder = data or load_data_dir() / "demo"
    if not _run(_demo(folder, port, prompt, json)):
        raise typer.Exit(1)


@app.command()
def run(
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = THREADS,
) -> None:
    """The bot, a worker and (without REDIS_URL) Redis, on this machine."""
    settings = load_settings()
    missing = []
    if settings.telegram_token is None:
        missing.append("TELEGRAM_TOKEN: the bot's token from @BotFather")
    if not settings.providers:
        missing.append(f"{' or '.join(map(key_of, provider_clients()))}: the key of an image provider")
    from src.providers import open_catalog

    open_catalog(settings)
    if missing:
        raise SettingsError("Settings that are needed here:\n  " + "\n  ".join(missing))
    _run(_production(settings, processes, threads))


@app.command()
def bot() -> None:
    """The bot alone: handles updates and shows progress."""
    from src.bot.process import run_bot
    from src.worker import loop
    from src.worker.broker import start_telemetry

    settings = load_settings()
    telemetry = start_telemetry(settings, "imagebot-bot")
    try:
        loop.run(run_bot(settings))
    finally:
        telemetry.shutdown()


@app.command()
def load(
    users: Annotated[int, typer.Option(min=1, max=10_000, help="People who play.")] = 30,
    minutes: Annotated[float, typer.Option(min=0.05, max=1440, help="How long they ask for pictures.")] = 5.0,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = THREADS,
    heavy: Annotated[int, typer.Option(min=0, help="How many of them keep hundreds of jobs open.")] = 1,
    think: Annotated[
        float, typer.Option(min=0.5, max=3600, help="Mean seconds from a picture to the next wish.")
    ] = 45.0,
    slots: Annotated[int | None, typer.Option(min=1, help="Generations the provider takes at once.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    png: Annotated[Path | None, typer.Option(help="Draw the run into this file.")] = None,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="Runs of 20 to 1,000 people instead, and the table they make.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Repeats what people do.")] = 0,
    mix: Annotated[
        Mix,
        typer.Option(
            help="What they use: `words` and photos, or `all`: also parameters, models, history, buttons, albums, inline mode, groups, Stars."
        ),
    ] = "words",
    time_scale: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Below 1: people and provider hurry.")
    ] = 1.0,
    data: Annotated[
        Path | None, typer.Option(help="Folder for logs and Redis; else one that goes away.")
    ] = None,
) -> None:
    """Play people against this system on the sandbox, and say what it carries."""
    from src.load.run import Plan

    if data is not None:
        make_folder(data, "--data")
    if png is not None:
        png.touch()
    plan = Plan(
        users=users,
        seconds=minutes * 60,
        processes=processes,
        threads=threads,
        heavy=min(heavy, users - 1),
        think=think,
        slots=slots,
        seed=seed,
        scale=time_scale,
        mix=mix,
    )
    if not _run(_capacity(plan, data) if capacity else _load(plan, data, json, png)):
        raise typer.Exit(1)


@app.command()
def doctor(
    provider: Annotated[str | None, typer.Option(help="Look at this provider alone.")] = None,
    try_: Annotated[
        bool, typer.Option("--try", help="Have it make one small picture, which is paid for.")
    ] = False,
) -> None:
    """Check every setting and everything outside, and say what to do about what is wrong."""
    import logging

    from src.ops.doctor import examine

    # What a library would say here is said by us, without the headers and addresses that it quotes.
    logging.disable()
    if try_ and provider is None:
        raise typer.BadParameter("is needed with --try", param_hint="--provider")
    if not asyncio.run(examine(print, provider, pay=try_)):
        raise typer.Exit(1)


@app.command()
def settings() -> None:
    """The table of all settings, in Markdown."""
    print(table())


@app.command()
def models() -> None:
    """The catalog of models: who makes each, what it takes and what it costs."""
    from src.providers import open_catalog
    from src.providers.catalog import listing

    print(listing(open_catalog(load_settings()), min(shutil.get_terminal_size().columns, 120)))


def load_data_dir() -> Path:
    """DATA_DIR alone: the demo needs no other setting to be right."""
    return Path(os.environ.get("DATA_DIR") or Settings.model_fields["data_dir"].default)


def _run(work: Coroutine[Any, Any, bool]) -> bool:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        return True


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _demo(folder: Path, port: int, prompt: str | None, as_json: bool) -> bool:
    from src.local.demo import one_job, system

    redis_url = load_redis_url()
    if prompt is None:
        _say("Starting Redis, the sandbox, a worker and the bot …")
    async with system(folder, _say, port=port, redis_url=redis_url) as (url, parts, redis):
        if prompt is None:
            print(f"\n  The chat is at {url}\n", flush=True)
            _say(f"Its data and logs are in {folder.resolve()}. Ctrl-C stops everything.")
            await parts.during(_told_to_stop())
            _say("Stopping …")
            return True
        outcome = await parts.during(one_job(url, redis, prompt, folder))
    if as_json:
        print(outcome.dumps(), flush=True)
    elif outcome.image:
        spans = "" if outcome.spans is None else f"{outcome.spans} spans in "
        print(f"{outcome.image}\n{outcome.seconds} s, {spans}trace {outcome.trace_id}")
    else:
        _say(f"imagebot: {outcome.reason}")
    return outcome.image is not None


async def _load(plan: Any, folder: Path | None, as_json: bool, png: Path | None) -> bool:
    from json import dumps
    from tempfile import TemporaryDirectory

    from src.load import report
    from src.load.figures import figures
    from src.load.run import run

    if png is not None:
        report.pyplot()
    if folder is not None and (folder / "redis").exists():
        raise SettingsError(f"--data: {folder} has been used: a load run needs an empty one")
    with TemporaryDirectory(prefix="imagebot-load-") as temporary:
        record = await run(plan, folder or Path(temporary), _say)
    found = figures(record)
    print(dumps(found.to_json(), ensure_ascii=False) if as_json else report.text(found), flush=True)
    if png is not None:
        report.chart(record, found, png)
    if not found.is_good:
        _say(report.verdict(found))
    return found.is_good


async def _capacity(plan: Any, folder: Path | None) -> bool:
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from src.load import capacity, report
    from src.load.figures import figures
    from src.load.run import run

    found = []
    with TemporaryDirectory(prefix="imagebot-load-") as temporary:
        for users, _, _ in capacity.LINES:
            crowd = replace(plan, users=users)
            found.append(figures(await run(crowd, (folder or Path(temporary)) / str(users), _say)))
            _say(report.text(found[-1]))
    print(capacity.table(found), flush=True)
    return all(one.is_good for one in found)


async def _production(settings: Settings, processes: int, threads: int) -> bool:
    from src.local.demo import start_redis
    from src.local.supervisor import Supervisor

    supervisor = Supervisor(logs=None, say=_say)
    address = settings.redis_url
    try:
        if address is None:
            address = await start_redis(supervisor, settings.data_dir.resolve())
        elif wrong := await _trouble(settings):
            # It may be on its way up, as this machine is.
            _say(f"imagebot: Redis: {wrong}. Until it is well nothing is done.")
        await supervisor.start_bot({"REDIS_URL": address}, processes=processes, threads=threads)
        await supervisor.during(_told_to_stop())
    finally:
        await supervisor.stop()
    return True


async def _trouble(settings: Settings) -> str:
    """What is wrong with the Redis of the settings; empty: nothing."""
    from redis.exceptions import RedisError

    from src.jobs import Ledger
    from src.store.clients import make_redis, trouble

    async with make_redis(settings) as client:
        try:
            await Ledger(client).try_writing()
        except (RedisError, OSError) as error:
            return trouble(error)
    return ""


async def _told_to_stop() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
