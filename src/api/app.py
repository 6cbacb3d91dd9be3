"""The api's FastAPI application and how it starts and stops. One module a part: webhook, callbacks, probes, status, images,
mini.

    imagebot api --host 0.0.0.0 --port 8000

Every part is closed until it has its secret: the webhook its own, the status page a password, REST keys.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import dramatiq
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from src.api import callbacks, images, probes, status, webhook
from src.api.problems import add_problems
from src.app import App, cancel_all, open_app
from src.bot.inbox import Inbox
from src.ops.heartbeat import Heartbeat
from src.settings import Settings, UserError
from src.worker.broker import make_broker

_GRACE_SECONDS = 20
_BACKLOG = 2048


class CannotListen(UserError):
    """Another program has the port, or it is no address of this machine; the text says so."""

    exit_code = os.EX_OSERR


def make_api(app: App) -> FastAPI:
    """The application, without Telegram's webhook."""
    api = FastAPI(
        title="Image bot",
        version="1",
        description="The bot's queue for other software: the same line, limits and trace.",
        docs_url="/docs" if app.settings.api_docs else None,
        openapi_url="/openapi.json" if app.settings.api_docs else None,
        redoc_url=None,
    )
    api.state.app = app
    add_problems(api)
    api.include_router(probes.router)
    api.include_router(callbacks.router)
    api.include_router(status.make_router(app))
    api.include_router(images.router)
    # An update's and a job's spans begin elsewhere; what polls for health would only be noise.
    FastAPIInstrumentor.instrument_app(
        api, excluded_urls="livez,readyz,status,telegram,callbacks", exclude_spans=["receive", "send"]
    )
    return api


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with all it needs; with WEBHOOK_URL also Telegram's webhook."""
    broker = make_broker(settings)
    dramatiq.set_broker(broker)
    async with open_app(settings) as app:
        heartbeat = Heartbeat(app, "api")
        api = make_api(app)
        bot = None
        if settings.telegram_token is not None:
            # Here, as a client of Telegram costs seconds and 130 MB to load, and REST alone needs none.
            from src.api import mini
            from src.telegram.client import make_bot

            bot = make_bot(settings, app.limiter, priority="answer")
            api.include_router(mini.make_router(app, bot))
        if settings.webhook_url is not None:
            api.include_router(webhook.make_router(settings, Inbox(app)))
        reports = asyncio.create_task(heartbeat.run())
        try:
            yield api
        finally:
            await cancel_all([reports])
            await heartbeat.retire()
            if bot is not None:
                await bot.session.close()


class _Server(uvicorn.Server):
    """Ends in order when told to: uvicorn's own raises the signal again, and the process would die of it
    before what it has to say is sent."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Told twice: without waiting for requests under way.
        self.force_exit = self.should_exit
        self.should_exit = True


async def run_api(settings: Settings, host: str, port: int, fd: int | None = None) -> None:
    """Serve until SIGTERM; requests under way are finished.

    Args:
        fd: a socket that listens already, which whoever started this process has opened; None: one at that address.

    Raises:
        CannotListen: there is no listening at that address.
    """
    with _listening(host, port) if fd is None else _inherited(fd) as listener:
        await _serve(settings, listener)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise CannotListen(
            f"cannot listen at {host}:{port}: {getattr(error, 'strerror', error)}. Take another --port or --host, or stop what has it."
        ) from None


def _inherited(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise CannotListen(f"cannot listen at --fd {fd}: {error.strerror}.") from None


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with running_api(settings) as api:
        config = uvicorn.Config(
            api,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        await _Server(config).serve([listener])
