"""The operator's commands of `imagebot`: what a person types, and what is printed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from src.local.redis_server import NoRedis, found
from src.settings import Settings, SettingsError, UserError, load_settings

if TYPE_CHECKING:
    from src.app import App
    from src.jobs import Job


jobs = typer.Typer(
    name="jobs", help="Which jobs there are, one job's story, again, cancel.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to `imagebot`."""
    app.command()(api)
    app.command()(status)
    app.command()(backup)
    app.command()(restore)
    app.add_typer(jobs)


def _settings() -> Settings:
    """The settings; the Redis that `imagebot run` started here serves where they name none.

    Raises:
        NoRedis: nor has that one been started: it may be yet, so whoever starts us again shall go on.
    """
    from src.store.clients import redis_url

    settings = found(load_settings())
    try:
        redis_url(settings)
    except SettingsError as error:
        raise NoRedis(str(error)) from None
    return settings


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Its port.")] = 8000,
    fd: Annotated[
        int | None, typer.Option(min=3, help="Listen on this socket that is open already, instead.")
    ] = None,
) -> None:
    """Webhook, callbacks, probes, the status page and REST, over HTTP."""
    from src.api.app import run_api
    from src.worker import loop
    from src.worker.broker import start_telemetry

    settings = _settings()
    telemetry = start_telemetry(settings, "imagebot-api")
    try:
        loop.run(run_api(settings, host, port, fd))
    finally:
        telemetry.shutdown()


def status(
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    lang: Annotated[Literal["en", "ru"], typer.Option(help="Of the words.")] = "en",
) -> None:
    """The system's state and what to do next; exit code 1 while there is a problem."""
    from src.app import open_app
    from src.ops.report import report
    from src.ops.snapshot import look
    from src.ops.thresholds import Level
    from src.telegram.i18n import get_texts

    async def read() -> int:
        async with open_app(_settings()) as app:
            snapshot = await look(app)
        print(json.dumps(asdict(snapshot)) if as_json else report(get_texts().translator(lang), snapshot))
        return int(snapshot.level is Level.PROBLEM)

    raise typer.Exit(asyncio.run(read()))


def backup(
    target: Annotated[Path, typer.Argument(help="The file; with --every a folder.")],
    every: Annotated[str, typer.Option(help="Make one every so often, for ever: 30m, 6h, 1d.")] = "",
    keep: Annotated[int, typer.Option(min=1, help="With --every: how many are kept.")] = 28,
) -> None:
    """Back up everything that must survive, while the system runs."""
    from src.ops import backup as backups
    from src.worker.broker import start_telemetry

    settings = _settings()
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
    """Restore a backup into an empty Redis; jobs in flight go on from there."""
    from src.ops import backup as backups

    restored = asyncio.run(backups.restore(_settings(), file, force=force))
    print(f"{restored.keys} keys restored, {restored.jobs} jobs go on")


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


@jobs.command("list")
def list_jobs(
    failed: Annotated[bool, typer.Option("--failed", help="Failed ones that are kept.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="The slowest of the last thousand.")] = False,
    count: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
) -> None:
    """Jobs that have not ended; or failed, or slow ones."""
    from src.ops import job_reports

    async def work(app: App) -> None:
        find = job_reports.failed_jobs if failed else job_reports.slow_jobs if slow else job_reports.open_jobs
        for job in await find(app, count):
            print(job_reports.summary(job))

    _with_app(work)


@jobs.command("show")
def show_job(job_id: str) -> None:
    """One job's story: changes of state with times, attempts, limits met, its trace."""
    from src.ops import job_reports

    async def work(app: App) -> None:
        for line in job_reports.story(await _job(app, job_id), app.settings):
            print(line)

    _with_app(work)


@jobs.command("retry")
def retry_job(job_id: str) -> None:
    """Retry a failed job, for the same person."""
    from src.jobs import State
    from src.ops import job_reports
    from src.pipeline.admission import NoProvider

    async def work(app: App) -> None:
        job = await _job(app, job_id)
        if job.state is not State.FAILED:
            raise UserError(f"job {job_id} is {job.state}: only failed ones are asked for again")
        try:
            admission = await job_reports.retry(app, job)
        except NoProvider:
            raise UserError("no provider can make it") from None
        if not admission.accepted:
            raise UserError(f"not admitted: {admission.verdict}")
        request = await app.ledger.request(admission.request)
        print(f"asked again as {request.jobs[0] if request else admission.request}")

    _with_app(work)


@jobs.command("cancel")
def cancel_job(job_id: str) -> None:
    """Cancel a job; its person is told."""
    from src.pipeline import admission as intake

    async def work(app: App) -> None:
        await _job(app, job_id)
        ending = await intake.cancel(app, job_id, None)
        if not ending.done:
            raise UserError(f"too late: job {job_id} is {ending.before}")
        print(f"cancelled; it was {ending.before}")

    _with_app(work)


@jobs.command("drop")
def drop_jobs(job_ids: list[str]) -> None:
    """Drop jobs from the list of failed ones; their history stays."""
    from src.ops import job_reports

    async def work(app: App) -> None:
        print(f"{await job_reports.drop(app, job_ids)} dropped")

    _with_app(work)


async def _job(app: App, job_id: str) -> Job:
    job = await app.ledger.job(job_id)
    if job is None:
        raise UserError(f"there is no job {job_id}")
    return job


def _with_app(work: Callable[[App], Awaitable[None]]) -> None:
    """Run something that may wake workers."""
    import dramatiq

    from src.app import open_app
    from src.worker.broker import make_broker

    settings = _settings()
    broker = make_broker(settings)
    dramatiq.set_broker(broker)

    async def run() -> None:
        async with open_app(settings) as app:
            await work(app)

    asyncio.run(run())
