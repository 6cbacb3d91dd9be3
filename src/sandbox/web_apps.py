"""What a Mini App's https address stands for: a server of this machine, shown as Telegram's own apps show a page, in a
window of its own.

In such a window nothing frames the page, and Telegram's bridge is there before its scripts. On the chat page a frame is the
window, so that this much is changed of what the server says.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

_ASKED = ("Accept", "Authorization", "Content-Type")
_TOLD = (
    "Cache-Control",
    "Content-Security-Policy",
    "Content-Type",
    "Referrer-Policy",
    "X-Content-Type-Options",
)
# Longer than that server may take to come up.
_SECONDS = 60.0
_BRIDGE = '<head><script nonce="{}">window.TelegramWebviewProxy = parent.telegram;</script>'


class WebApps:
    """Serves under `/web/` what is at `address`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: aiohttp.ClientSession | None = None

    def add_to(self, app: web.Application) -> None:
        app.router.add_route("*", "/web/{path:.*}", self._pass_on)
        app.cleanup_ctx.append(self._open)

    async def _open(self, _: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(self._address, timeout=timeout) as self._client:
            yield

    async def _pass_on(self, request: web.Request) -> web.Response:
        assert self._client is not None
        headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
        path, asked = request.rel_url.raw_path.removeprefix("/web"), await request.read()
        try:
            async with self._client.request(
                request.method, path, params=request.query, data=asked or None, headers=headers
            ) as answer:
                told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
                body = await answer.read()
                if policy := told.get("Content-Security-Policy"):
                    told["Content-Security-Policy"] = re.sub(
                        "frame-ancestors [^;]*", "frame-ancestors 'self'", policy
                    )
                if answer.content_type == "text/html":
                    nonce = re.search("'nonce-([^']+)'", policy or "")
                    bridge = _BRIDGE.format(nonce[1] if nonce else "")
                    body = body.replace(b"<head>", bridge.encode(), 1)
                return web.Response(status=answer.status, body=body, headers=told)
        except (aiohttp.ClientError, TimeoutError):
            raise web.HTTPBadGateway(text="the page's server does not answer") from None
