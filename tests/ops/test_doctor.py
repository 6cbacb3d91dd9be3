"""What `imagebot doctor` says of where traces go."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.ops.doctor import examine


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "ok    OTLP: {url}/v1/traces takes traces"),
        (404, "WRONG OTLP: {url}/v1/traces takes no traces (404): check OTEL_EXPORTER_OTLP_ENDPOINT"),
        (401, "WRONG OTLP: {url}/v1/traces refuses us (401): check OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
async def test_a_collector_must_take_traces(status: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    got = []

    async def traces(request: web.Request) -> web.Response:
        got.append((request.headers["Authorization"], request.headers["Content-Type"], await request.read()))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/v1/traces", traces)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc")
        lines: list[str] = []
        await examine(lines.append)
    assert got == [("Basic abc", "application/x-protobuf", b"")]
    (said,) = (line for line in lines if " OTLP:" in line)
    assert said.startswith(words.format(url=url))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_nobody_there(unused_tcp_port: int, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    lines: list[str] = []
    assert not await examine(lines.append)
    assert any("OTLP" in line and "takes no connection" in line for line in lines)
