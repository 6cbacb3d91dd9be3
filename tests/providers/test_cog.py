"""Our client of Replicate against cog, the server that runs the models there, which nobody here wrote.

Between them is what Replicate puts before it, as little as can be: it names predictions, keeps what cog tells of each,
and answers with that. Where tests/providers/cog.sh has not installed cog, this is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
from asyncio.subprocess import DEVNULL, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from src.providers.base import Done, ErrorKind, GenRequest, Pending, ProviderError, Ticket
from src.providers.http import make_client
from src.providers.replicate import ReplicateProvider
from src.settings import load_settings
from tests.servers import free_port

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180)]
_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
TOOLS = Path(os.environ.get("IMAGEBOT_TOOLS") or f"{_CACHE}/imagebot-tools").expanduser() / "cog"
MODEL = "black-forest-labs/flux-2-pro"
_SECONDS = 60.0


@asynccontextmanager
async def cog() -> AsyncIterator[str]:
    """The server of tests/providers/cog_model.py; its address."""
    if not (TOOLS / "whole").exists():
        pytest.skip("needs tests/providers/cog.sh")
    port = free_port()
    model = Path(__file__).with_name("cog_model.py")
    env = {"PATH": f"{TOOLS}/bin:{os.environ['PATH']}", "PORT": str(port), "HOME": str(Path.home())}
    env["COG_PREDICT_TYPE_STUB"] = f"{model.name}:Model"
    command = (TOOLS / "bin/python", "-m", "cog.server.http", "--host", "127.0.0.1")
    process = await create_subprocess_exec(
        *command, cwd=model.parent, env=env, stdout=DEVNULL, stderr=DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(_SECONDS), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{url}/health-check")).json()["status"] == "READY":
                        break
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


class Front:
    """What stands before cog at Replicate."""

    def __init__(self, cog: str, client: httpx.AsyncClient) -> None:
        self._cog, self._client = cog, client
        self._known: dict[str, dict[str, Any]] = {}
        self._names = (f"prediction{n}" for n in itertools.count())

    def serve(self) -> web.Application:
        app = web.Application()
        at = "/replicate/v1"
        app.router.add_post(f"{at}/models/{{owner}}/{{name}}/predictions", self._create)
        app.router.add_get(f"{at}/predictions/{{id}}", self._get)
        app.router.add_post(f"{at}/predictions/{{id}}/cancel", self._cancel)
        app.router.add_post("/told", self._told)
        return app

    async def _create(self, request: web.Request) -> web.Response:
        name = next(self._names)
        asked = {**await request.json(), "id": name, "webhook": f"{request.url.origin()}/told"}
        wait = {"Prefer": "respond-async"}
        self._known[name] = {"id": name, "status": "starting"}
        answer = await self._client.put(f"{self._cog}/predictions/{name}", json=asked, headers=wait)
        if answer.status_code >= 400:
            return web.json_response(answer.json(), status=answer.status_code)
        return web.json_response(self._known[name], status=201)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._known[request.match_info["id"]])

    async def _cancel(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        (await self._client.post(f"{self._cog}/predictions/{name}/cancel")).raise_for_status()
        return web.json_response(self._known[name])

    async def _told(self, request: web.Request) -> web.Response:
        news = await request.json()
        self._known[news["id"]] |= news
        return web.Response()


async def test_our_client_against_it() -> None:
    async with cog() as url, httpx.AsyncClient() as own, TestServer(Front(url, own).serve()) as server:
        settings = load_settings(
            _env_file=None, replicate_api_key="key", replicate_base_url=str(server.make_url("/replicate"))
        )
        async with make_client(settings) as client:
            provider = ReplicateProvider(settings, client)
            shares: list[float] = []

            async def ended(ticket: Ticket) -> Done:
                async with asyncio.timeout(_SECONDS):
                    while isinstance(found := await provider.poll(ticket), Pending):
                        shares.append(found.progress or 0.0)
                        await asyncio.sleep(0.05)
                return found

            async def asked(prompt: str, **more: Any) -> Ticket:
                async with asyncio.timeout(_SECONDS):
                    while True:
                        try:
                            ticket = await provider.submit(GenRequest("job", prompt, MODEL, **more))
                        except ProviderError as error:
                            # It makes one at a time, and may still be at the one that was cancelled.
                            if error.kind is not ErrorKind.OVERLOADED or error.submitted:
                                raise
                            await asyncio.sleep(0.1)
                        else:
                            assert isinstance(ticket, Ticket)
                            return ticket

            async def error_of(ticket: Ticket) -> tuple[ErrorKind, bool]:
                with pytest.raises(ProviderError) as caught:
                    await ended(ticket)
                return caught.value.kind, caught.value.ended

            done = await ended(await asked("a fox", aspect="16:9", seed=7))
            image = await provider.fetch(done.image)
            assert (image.mime, image.width, image.height) == ("image/png", 64, 36)
            assert Image.open(io.BytesIO(image.data)).getpixel((0, 0)) == (7, 99, 0)
            assert done.seconds

            assert await error_of(await asked("forbidden")) == (ErrorKind.MODERATED_OUTPUT, True)

            shares.clear()
            slow = await asked("slowly")
            async with asyncio.timeout(_SECONDS):
                while not (isinstance(found := await provider.poll(slow), Pending) and found.progress):
                    await asyncio.sleep(0.05)
            with pytest.raises(ProviderError) as busy:
                await provider.submit(GenRequest("job", "another", MODEL))
            assert busy.value.kind is ErrorKind.OVERLOADED
            assert await provider.cancel(slow) == "cancelled"
            assert await error_of(slow) == (ErrorKind.TIMEOUT, True)
            await ended(await asked("a fox"))
