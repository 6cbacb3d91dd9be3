"""The way to the network: bodies and limits, and what each trouble means for a picture that may have been paid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.providers.base import ErrorKind, ProviderError
from src.providers.http import exchange, make_client
from src.settings import load_settings


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(load_settings(_env_file=None, openai_api_key="k")) as made:
        yield made


@asynccontextmanager
async def speaking(*parts: bytes, pause: float | None = None) -> AsyncIterator[str]:
    """A server that answers the first bytes of a request with these, with pauses in between; it then hangs up
    or, where it pauses, says its last part again and again."""
    ended = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for part in parts:
            writer.write(part)
        while pause is not None and not ended.is_set():
            await asyncio.sleep(pause)
            writer.write(parts[-1])
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        ended.set()
        server.close()


async def test_what_a_server_sets_is_not_shown_to_the_next(client: httpx.AsyncClient) -> None:
    async def meet(request: web.Request) -> web.Response:
        answer = web.json_response(dict(request.cookies))
        answer.set_cookie("seen", "you")
        return answer

    app = web.Application()
    app.router.add_get("/", meet)
    async with TestServer(app) as server:
        for _ in range(2):
            answer = await exchange(
                client, "GET", str(server.make_url("/")), headers={}, seconds=10, limit=1000
            )
            assert answer.json() == {}


async def test_a_body_goes_and_comes_whole_and_the_connection_is_used_again(
    client: httpx.AsyncClient,
) -> None:
    peers = set()

    async def echo(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=await request.read(), headers={"X-Method": request.method})

    app = web.Application(client_max_size=10_000_000)
    app.router.add_route("*", "/", echo)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        for method, body in (("POST", b"x" * 3_000_000), ("GET", b""), ("PUT", b"{}")):
            answer = await client.request(method, url, content=body)
            assert (answer.content, answer.headers["x-method"]) == (body, method)
        form = await client.post(url, data={"a": "1"}, files={"f": ("n", b"data", "image/png")})
        assert b"data" in form.content
    assert len(peers) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("parts", [(HEAD, b"x"), (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")])
async def test_the_whole_exchange_has_a_limit_which_a_drip_does_not_stretch(
    client: httpx.AsyncClient, parts: tuple[bytes, ...]
) -> None:
    async with speaking(*parts, pause=0.02) as url:
        with pytest.raises(ProviderError) as caught:
            await exchange(client, "POST", url, headers={}, seconds=0.3, limit=10_000, creates=True)
    assert (caught.value.kind, caught.value.submitted) == (ErrorKind.TIMEOUT, True)


async def test_each_wait_has_a_limit(client: httpx.AsyncClient) -> None:
    async with speaking(HEAD, pause=60) as url:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, timeout=httpx.Timeout(5, read=0.1))


@pytest.mark.parametrize("parts", [(), (HEAD, b"half"), (b"SSH-2.0-OpenSSH\r\n",)])
async def test_what_breaks_after_the_request_went_out_may_have_been_taken(
    client: httpx.AsyncClient, parts: tuple[bytes, ...]
) -> None:
    async with speaking(*parts) as url:
        with pytest.raises(ProviderError) as caught:
            await exchange(
                client, "POST", url, headers={}, seconds=5, limit=10_000, json_body={}, creates=True
            )
    assert (caught.value.kind, caught.value.submitted) == (ErrorKind.NETWORK, True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/", "ftp://127.0.0.1/"])
async def test_what_was_never_sent_says_so(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await exchange(client, "POST", url, headers={}, seconds=5, limit=10_000, json_body={}, creates=True)
    assert (caught.value.kind, caught.value.submitted) == (ErrorKind.NETWORK, False)


async def test_a_body_that_nobody_reads_to_its_end_costs_its_connection_only(
    client: httpx.AsyncClient,
) -> None:
    async with speaking(HEAD, b"x", pause=0.02) as url:
        async with client.stream("GET", url) as answer:
            async for _ in answer.aiter_raw():
                break
        async with client.stream("GET", url) as answer:
            assert answer.status_code == 200
