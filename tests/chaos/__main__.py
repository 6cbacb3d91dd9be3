"""`python -m tests.chaos --minutes 30 --seed 7`: the soak. Exits 1 when the audit finds anything."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.driver import run


def main(
    minutes: Annotated[float, typer.Option(help="How long things break.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of the schedule; a failing one can be run again.")] = 7,
    jobs: Annotated[int | None, typer.Option(help="Jobs in that time; two a second unless given.")] = None,
    every: Annotated[float, typer.Option(help="Mean seconds between two faults.")] = 2.0,
    rabbitmq: Annotated[bool, typer.Option(help="It carries the messages.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where logs and Redis's file are kept.")] = None,
) -> None:
    """Breaks a running system for a while and audits what came of every job."""
    # The sandbox breaks its own connections on purpose.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    where = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    where.mkdir(parents=True, exist_ok=True)
    seconds = minutes * 60
    jobs = jobs or round(seconds * 2)
    report = asyncio.run(run(where, seed=seed, seconds=seconds, jobs=jobs, every=every, rabbitmq=rabbitmq))
    print(report)
    print(f"logs in {where}")
    if report.verdict.complaints:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
