"""The chat page: what a person sees of the bot in a browser. Static files, no build step.

The page talks to the people's side of the Telegram sandbox (`/sandbox/`) and, where it is served,
shows the waterfall of a job's trace (`/traces/waterfall.js`).
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

_FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class ChatPage:
    """Serves the page at `/` and its files under `/page/`."""

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", self._index)
        app.router.add_static("/page/", _FOLDER, show_index=False)

    async def _index(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(
            _FOLDER / "index.html",
            headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"},
        )
