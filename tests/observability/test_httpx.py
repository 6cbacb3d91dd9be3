"""Spans of the providers' HTTP requests, against a real server: what they say, and what they must not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from observability.addresses import address_hook, safe_url
from observability.scrubbing import Scrubber
from src.providers.http import make_client
from src.settings import load_settings
from tests.observability.conftest import Recorded


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[web.Request]]]:
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        requests.append(request)
        status = request.query.get("status") or request.headers.get("x-status", "200")
        return web.Response(status=int(status))

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", requests
    await runner.cleanup()


def client(recorded: Recorded, *secrets: str) -> httpx.AsyncClient:
    made = make_client(load_settings(_env_file=None, openai_api_key="k"))
    HTTPXClientInstrumentor.instrument_client(
        made,
        tracer_provider=recorded.provider,
        meter_provider=recorded.meters,
        request_hook=address_hook(secrets),
    )
    return made


async def test_a_request_is_a_client_span_without_its_query(
    server: tuple[str, list[web.Request]], recorded: Recorded
) -> None:
    url, requests = server
    async with client(recorded) as http:
        with recorded.tracer.start_as_current_span("step"):
            await http.get(f"{url}/jobs/7?signature=topsecret")
    span = recorded.one("GET")
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == recorded.one("step").context.span_id
    assert span.attributes["url.full"] == f"{url}/jobs/7"
    assert span.attributes["http.request.method"] == "GET"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["server.address"] == "127.0.0.1"
    # The stable names only.
    assert not {"http.method", "http.url", "http.status_code"} & set(span.attributes)
    assert "topsecret" not in span.to_json()
    assert requests[0].query["signature"] == "topsecret"
    (point,) = recorded.points("http.client.request.duration")
    assert point.count == 1


async def test_our_context_is_not_told_to_others(
    server: tuple[str, list[web.Request]], recorded: Recorded
) -> None:
    url, requests = server
    async with client(recorded) as http:
        await http.get(url)
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in requests[0].headers}


async def test_a_failed_request_is_an_error(
    server: tuple[str, list[web.Request]], recorded: Recorded
) -> None:
    url, _ = server
    async with client(recorded) as http:
        await http.get(f"{url}/?status=503")
        with pytest.raises(httpx.TransportError):
            await http.get("http://127.0.0.1:1/")
    refused, unreachable = recorded.all("GET")
    assert refused.status.status_code is unreachable.status.status_code is StatusCode.ERROR
    assert refused.attributes["error.type"] == "503"
    assert unreachable.attributes["error.type"] == "ConnectError"


async def test_what_goes_wrong_is_told_without_its_address(recorded: Recorded) -> None:
    async with client(recorded) as http:
        for url, error in (
            ("http://127.0.0.1:1/a?signature=topsecret", "ConnectError"),
            ("gopher://127.0.0.1/a?signature=topsecret", "UnsupportedProtocol"),
            ("http://127.0.0.1:70000/a?signature=topsecret", "UnsupportedProtocol"),
        ):
            with pytest.raises(httpx.TransportError):
                await http.get(url)
            span = recorded.all("GET")[-1]
            assert span.attributes["error.type"] == error
            assert span.events
            assert "topsecret" not in span.to_json()


async def test_suppressed_or_excluded_a_request_passes_unseen(
    server: tuple[str, list[web.Request]], recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_HTTPX_EXCLUDED_URLS", "healthcheck")
    url, requests = server
    async with client(recorded) as http:
        await http.get(f"{url}/healthcheck")
        for suppress in (suppress_instrumentation, suppress_http_instrumentation):
            with suppress():
                await http.get(url)
    assert len(requests) == 3
    assert recorded.all() == recorded.points("http.client.request.duration") == []


async def test_a_named_secret_in_a_path_is_not_recorded(
    server: tuple[str, list[web.Request]], recorded: Recorded
) -> None:
    url, _ = server
    async with client(recorded, "hush-hush") as http:
        await http.get(f"{url}/keys/hush-hush/use")
    assert recorded.one("GET").attributes["url.full"] == f"{url}/keys/[redacted]/use"


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        (
            "https://api.telegram.org/bot123:AA-b_c/sendPhoto",
            "https://api.telegram.org/bot[redacted]/sendPhoto",
        ),
        (
            "https://api.telegram.org/file/bot123:AAbc/a.jpg",
            "https://api.telegram.org/file/bot[redacted]/a.jpg",
        ),
        ("https://me:pass@example.com/a?b=c#d", "https://example.com/a"),
        ("https://example.com?b=c", "https://example.com"),
        ("https://example.com/a@b", "https://example.com/a@b"),
    ],
)
def test_what_is_left_of_an_address(url: str, safe: str) -> None:
    assert safe_url(url) == safe


def test_a_secret_is_found_url_quoted_too() -> None:
    assert (
        safe_url("https://example.com/a%2Fbcdefg/x", Scrubber(["a/bcdefg"]))
        == "https://example.com/[redacted]/x"
    )
