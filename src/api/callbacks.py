"""Providers' callbacks: a hint that a generation has ended, after which it is polled at once.

Nothing in a callback is believed but which task it speaks of, and that only when its signature is good.
"""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request, Response

from src.api import bodies
from src.api.problems import Problem
from src.app import App
from src.jobs import transitions
from src.providers.base import Callback, ProviderError

log = structlog.get_logger(__name__)

router = APIRouter(include_in_schema=False)

_EARLY_SECONDS = 60


@router.post("/callbacks/{provider}")
async def callback(provider: str, request: Request) -> Response:
    """200 once it is noted, also for a task that nobody knows; 401 when it is forged or stale; 503 where that
    cannot be told now."""
    app: App = request.app.state.app
    body = await bodies.read(request)
    known = app.providers.get(provider)
    if known is None or not known.capabilities.callback:
        raise Problem(404, "unknown_provider", "no such provider calls back here")
    try:
        call = Callback(request.headers, body, request.url.path, request.query_params)
        task = await known.callback_hint(call)
    except ProviderError:
        raise Problem(503, "not_known_yet", "the keys to check this with cannot be had; call again") from None
    if task is None:
        raise Problem(401, "not_genuine", "the signature is not ours, or too old")
    found = await app.ledger.run(transitions.hurry(provider, task, remember=_EARLY_SECONDS))
    log.debug("called back", provider=provider, found=found)
    return Response(status_code=200)
