"""Updates by webhook: put into the inbox and answered with 200 only then, so Telegram gives again what was not taken.

They are handled by the bot process (`src.bot.handling`). The other way to receive is `src.bot.polling`.
"""

from __future__ import annotations

import hmac
import json
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Request, Response

from src.api import bodies
from src.api.problems import Problem
from src.bot.inbox import WEBHOOK_PATH, Inbox, InboxFull
from src.settings import Settings

log = structlog.get_logger(__name__)


def make_router(settings: Settings, inbox: Inbox) -> APIRouter:
    """The route that Telegram calls."""
    router = APIRouter(include_in_schema=False)
    secret = settings.webhook_secret.get_secret_value().encode() if settings.webhook_secret else b""

    @router.post(WEBHOOK_PATH)
    async def receive(
        request: Request, x_telegram_bot_api_secret_token: Annotated[str, Header()] = ""
    ) -> Response:
        given = x_telegram_bot_api_secret_token.encode("utf-8", "replace")
        if not secret or not hmac.compare_digest(given, secret):
            raise Problem(401, "not_telegram", "the secret is not ours")
        body = await bodies.read(request)
        try:
            update = json.loads(body)
            number = update["update_id"]
        except (ValueError, TypeError, KeyError):
            number = None
        if not isinstance(number, int):
            # It would come again for a day.
            log.error("update not understood", size=len(body))
            return Response(status_code=200)
        try:
            await inbox.put([update])
        except InboxFull:
            raise Problem(503, "busy", "more updates wait than may") from None
        return Response(status_code=200)

    return router
