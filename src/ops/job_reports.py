"""Jobs for the operator: lists, one job's story, and retrying a failed one.

Never shows a prompt: an operator needs none to find out what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from src.app import App
from src.jobs import Admission, Job, State, keys
from src.jobs.spending import worded
from src.ops.thresholds import TIME
from src.pipeline import admission as intake
from src.settings import Settings
from src.telemetry import job_spans


async def open_jobs(app: App, count: int) -> list[Job]:
    """Jobs that have not ended, the longest waiting first."""
    ids = await app.redis.zrange(keys.DUE(), 0, -1)
    return await app.ledger.jobs(sorted(job for job in ids if not job.startswith("r:"))[:count])


async def failed_jobs(app: App, count: int) -> list[Job]:
    """Failed jobs that are kept, the newest first."""
    return await app.ledger.jobs(await app.redis.zrevrange(keys.FAILED(), 0, count - 1))


async def slow_jobs(app: App, count: int) -> list[Job]:
    """Of the last thousand jobs those that took over a minute, the slowest first."""
    rows = [line.split(" ") for line in await app.redis.lrange(keys.ENDED(), 0, -1)]
    slow = sorted((row for row in rows if int(row[2]) > TIME.problem * 1000), key=lambda row: -int(row[2]))
    return await app.ledger.jobs([row[3] for row in slow[:count]])


async def retry(app: App, job: Job) -> Admission:
    """Retry a failed job for the same person, chat and message sent through us, as a new job with its own
    trace; it is no longer kept as failed. Asked twice it is still made once.

    Raises:
        NoProvider: nobody can make it.
        redis.RedisError: the ledger is away.
    """
    request = await app.ledger.request(job.request)
    wish = replace(intake.wish_of(app, job, f"retry:{job.id}"), unplaced=True)
    if request is not None:
        wish = replace(wish, reply_to=request.reply_to, inline=request.inline, covered=request.covered)
    admission = await intake.ask(app, wish)
    if admission.accepted:
        await drop(app, [job.id])
    return admission


async def drop(app: App, ids: Sequence[str]) -> int:
    """Drop jobs from the list of failed ones. Returns how many were on it."""
    return int(await app.redis.zrem(keys.FAILED(), *ids)) if ids else 0


def summary(job: Job) -> str:
    """A job in one line."""
    asked = _clock(job.created)
    return f"{job.id}  {asked}  {job.state:<10}  {job.provider:<8}  user {job.user}  {job.kind}".rstrip()


def story(job: Job, settings: Settings) -> Iterator[str]:
    """What happened to a job: its facts, then each change of state and each note with its time."""
    yield f"job       {job.id}, picture {job.spec.index + 1} of {job.spec.count} of request {job.request}"
    yield f"asked     {_clock(job.created)} by user {job.user}" + (
        f" in chat {job.spec.chat}" if job.spec.chat else ""
    )
    edit = " (edit)" if job.spec.source else ""
    other = f", instead of {job.spec.instead_of}" if job.spec.instead_of else ""
    yield f"made by   {job.provider}, {job.spec.model}, {job.spec.aspect}{edit}{other}"
    why = f": {job.kind}{f' ({job.code})' if job.code else ''}" if job.kind else ""
    yield f"state     {job.state}{why}"
    told = job.result or job.shown or {}
    if job.costs:
        yield f"charged   {worded(job.costs)}"
    if "cost" in told:
        yield f"cost      {told['cost']:g} {told.get('unit', '')}".rstrip()
    if "seed" in told:
        yield f"seed      {told['seed']}"
    if job.ticket:
        yield f"task      {job.ticket.get('external_id', '')}"
    if number := job_spans.trace_id(job):
        yield f"trace     {job_spans.jaeger_link(settings, number) or number}"
    if job.holder and job.state in (State.SUBMITTING, State.RUNNING, State.DELIVERING):
        yield f"held by   {job.holder}"
    attempts = limits = 0
    for name, at in job_spans.story(job):
        kind, _, detail = name.partition(":")
        limits += kind == "limited"
        attempts += kind in ("retry", "worker_lost", "submit_unknown")
        yield f"{at / 1000:>9.1f} s  {kind}{f' {detail}' if detail else ''}"
    yield f"          {attempts} repeated, {limits} limits met"


def _clock(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
