"""Is the process alive (`/livez`), and does the system work (`/readyz`)? The truth, with reasons.

Readiness asks what a person would notice: can a wish be accepted, and will a picture come of it?
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from src.app import App
from src.ops.report import deaf_in_english
from src.ops.snapshot import Snapshot, look
from src.ops.thresholds import ALIVE_SECONDS, TELEGRAM
from src.store.clients import trouble

router = APIRouter(include_in_schema=False)

_PATIENCE = 3.0


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; whether what it needs is there is `/readyz`."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """200 with every check `ok`, else 503 with the reasons."""
    checks = await check(request.app.state.app)
    ready = all(reason == "ok" for reason in checks.values())
    return JSONResponse({"status": "ok" if ready else "failing", "checks": checks}, 200 if ready else 503)


async def check(app: App) -> dict[str, str]:
    """Each check: `ok`, or why not."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await app.ledger.try_writing()
            snapshot = await look(app)
    except TimeoutError:
        return {"redis": f"no answer within {_PATIENCE:.0f} s"}
    except RedisError as error:
        return {"redis": trouble(error)}
    return {
        "redis": "ok" if snapshot.store.saved else "its last write to disk failed",
        "providers": "ok" if snapshot.providers else "none has a key",
        "workers": "ok" if snapshot.workers else f"no heartbeat within {ALIVE_SECONDS:.0f} s",
        "telegram": _deaf(snapshot),
        "line": "ok" if snapshot.moving else _stuck(snapshot),
    }


def _deaf(snapshot: Snapshot) -> str:
    if not TELEGRAM.level(snapshot.deaf):
        return "ok"
    return f"gives no updates for {snapshot.deaf:.0f} s: {deaf_in_english(snapshot.deaf_why)}"


def _stuck(snapshot: Snapshot) -> str:
    if snapshot.messages is None:
        return "RabbitMQ does not answer: check that it runs and BROKER_URL"
    if snapshot.overdue:
        return f"{snapshot.overdue} steps are overdue by half a minute"
    return f"{snapshot.messages} messages wait in the broker"
