"""The status page: the guide's table live, the last hour, slow and failed jobs, the next step.

Rendered here, refreshed by a few lines of script that exchange its contents; no build, nothing from
elsewhere. Closed until STATUS_PASSWORD is set. The figures are `src.ops.snapshot`'s.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import itertools
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from redis.exceptions import RedisError

from src.api.problems import Problem
from src.app import App
from src.ops import report, thresholds
from src.ops.advice import advise
from src.ops.heartbeat import Beat
from src.ops.samples import Sample, last_hour
from src.ops.snapshot import Ended, Snapshot, look
from src.ops.thresholds import TIME, Level
from src.store.clients import trouble
from src.telegram.i18n import Translator, get_texts, language_of
from src.telemetry import job_spans

_LISTED = 8
_TEN_MINUTES_MS = 600_000
_WRONG = 5
_LOCKED_SECONDS = 60.0
_ADDRESSES = 1000

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""The pages of this room."""


def make_router(app: App) -> APIRouter:
    """The page and its figures as JSON."""
    router = APIRouter(include_in_schema=False)
    door = Door(app.settings.status_password.get_secret_value() if app.settings.status_password else None)

    @router.get("/status")
    async def page(request: Request) -> Response:
        door.pass_through(request)
        accepted = request.headers.get("accept-language", "")
        lang = language_of(request.query_params.get("lang"), accepted.split(",")[0].strip()[:8])
        nonce = secrets.token_urlsafe(16)
        say = get_texts().translator(lang)
        try:
            html, status = await render(app, say, nonce), 200
        except RedisError as error:
            html, status = without_redis(say, nonce, error), 503
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:"
        return HTMLResponse(
            html,
            status,
            headers={
                "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            },
        )

    @router.get("/status.json")
    async def figures(request: Request) -> Response:
        door.pass_through(request)
        snapshot = await look(app)
        found = {figure.name: figure.level.word for figure in snapshot.figures}
        return JSONResponse({"level": snapshot.level.word, "figures": found, **asdict(snapshot)})

    return router


class Door:
    """Asks for the password by HTTP Basic, any user name; after five wrong ones an address waits a minute."""

    def __init__(self, password: str | None) -> None:
        self._password = password.encode() if password else None
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def pass_through(self, request: Request) -> None:
        """Let a request in.

        Raises:
            Problem: 403 while there is no password, 401 without the right one, 429 after too many.
        """
        if self._password is None:
            raise Problem(403, "closed", "the status page is closed: set STATUS_PASSWORD and start again")
        address = request.client.host if request.client else ""
        wrong, at = self._wrong.get(address, (0, 0.0))
        left = at + _LOCKED_SECONDS - time.monotonic()
        if left <= 0:
            wrong = 0
        if wrong >= _WRONG:
            raise Problem(429, "locked", "too many wrong passwords", {"Retry-After": str(int(left) + 1)})
        given = _password_in(request.headers.get("authorization", ""))
        if given is not None and hmac.compare_digest(given, self._password):
            return
        if given is not None:
            self._wrong[address] = wrong + 1, time.monotonic()
            self._wrong.move_to_end(address)
            if len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)
        ask = {"WWW-Authenticate": 'Basic realm="status", charset="UTF-8"'}
        raise Problem(401, "unauthorized", "the password of the status page, please", ask)


def _password_in(header: str) -> bytes | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def without_redis(say: Translator, nonce: str, error: RedisError) -> str:
    """The page while there are no figures: why, and what to do."""
    return templates.get_template("away.html").render(say=say, nonce=nonce, why=trouble(error))


async def render(app: App, say: Translator, nonce: str) -> str:
    """The page.

    Raises:
        redis.RedisError: Redis is away.
    """
    snapshot = await look(app)
    slow = [job for job in snapshot.ended if job.outcome == "delivered" and job.seconds > TIME.problem]
    failed = [job for job in snapshot.ended if job.outcome == "failed"]
    return templates.get_template("status.html").render(
        say=say,
        nonce=nonce,
        snapshot=snapshot,
        levels={level: level.word for level in Level},
        rows=[
            (figure, report.value_of(say, figure, snapshot), report.scale_of(say, figure))
            for figure in snapshot.figures
        ],
        steps=[(report.words(say, step), step.command) for step in advise(snapshot)],
        hour=_hour(say, await last_hour(app.ledger)),
        processes=[_process(say, beat) for beat in snapshot.processes],
        slow=await _listed(app, say, slow[:_LISTED], snapshot),
        failed=await _listed(app, say, failed[:_LISTED], snapshot),
        redis_uptime=report.span(say, snapshot.store.uptime),
        paused=report.pause(say, snapshot),
        lately=report.lately(say, snapshot),
        counts=report.counts(say, snapshot),
        spending=report.spending(say, snapshot),
        spent=[
            (whose, report.costs(say, sums))
            for whose, sums in sorted(snapshot.spent.by.items())
            if whose != "all"
        ],
        time=time.strftime("%H:%M:%S UTC", time.gmtime(snapshot.at / 1000)),
    )


def _hour(say: Translator, samples: list[Sample]) -> list[tuple[str, list[tuple[str, Level]]]]:
    """One row for every ten minutes, newest first: when they began, and the highest value of each figure."""
    rows = []
    for minutes, group in itertools.groupby(samples, lambda sample: sample.at // _TEN_MINUTES_MS):
        parts = list(group)
        waiting, cpu, memory = (max(getattr(s, name) for s in parts) for name in ("waiting", "cpu", "memory"))
        took = max((s.time for s in parts if s.time is not None), default=None)
        cells = [
            (str(waiting), thresholds.WAITING.level(waiting)),
            ("–" if took is None else say("ops-seconds", seconds=round(took)), TIME.level(took)),
            (say("ops-percent", percent=round(100 * cpu)), thresholds.CPU.level(cpu)),
            (say("ops-percent", percent=round(100 * memory)), thresholds.MEMORY.level(memory)),
        ]
        rows.append((time.strftime("%H:%M", time.gmtime(minutes * _TEN_MINUTES_MS // 1000)), cells))
    return rows


def _process(say: Translator, beat: Beat) -> dict[str, Any]:
    return {
        "kind": beat.kind,
        "holder": beat.holder,
        "cpu": round(beat.cpu * 100),
        "memory": round(beat.memory / 1e6),
        "machine_cpu": round(beat.machine_cpu * 100),
        "machine_memory": round(beat.machine_memory * 100),
        "up": report.span(say, max(0.0, time.time() - beat.started)),
    }


async def _listed(app: App, say: Translator, ended: list[Ended], snapshot: Snapshot) -> list[dict[str, Any]]:
    jobs = {job.id: job for job in await app.ledger.jobs([job.id for job in ended])}
    return [
        {
            "id": one.id,
            "took": round(one.seconds, 1),
            "ago": report.span(say, (snapshot.at - one.at) / 1000),
            "kind": jobs[one.id].kind if one.id in jobs else "",
            "trace": job_spans.jaeger_link(app.settings, job_spans.trace_id(jobs[one.id]))
            if one.id in jobs
            else None,
        }
        for one in ended
    ]
