"""What `imagebot doctor` says of what people get wrong."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
import redis
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI

from src.api import mini
from src.app import open_app
from src.jobs import keys
from src.limits import Limiter
from src.ops import doctor
from src.ops.doctor import examine
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import SettingsError, load_settings, provider_clients
from src.store import blobs
from src.telegram.client import make_bot
from tests.conftest import RedisProcess

TOKEN = "1234567:" + "A" * 30
ME = {
    "id": 1234567,
    "is_bot": True,
    "first_name": "B",
    "username": "b_bot",
    "can_join_groups": False,
    "can_read_all_group_messages": True,
}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


async def said(subject: str) -> list[str]:
    """Its lines on a subject."""
    lines: list[str] = []
    await examine(lines.append)
    return [line for line in lines if line[6:].startswith(f"{subject}:")]


def serving(answer: Callable[[web.Request], Any]) -> TestServer:
    """A server that gives everybody the same answer."""
    app = web.Application()

    async def handle(request: web.Request) -> web.Response:
        found: web.Response = answer(request)
        return found

    app.router.add_route("*", "/{path:.*}", handle)
    return TestServer(app)


def a_page(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")


async def test_a_replica_takes_no_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RedisProcess(tmp_path, "--replicaof", "127.0.0.1", "1", "--appendonly", "yes")
    server.start()
    try:
        monkeypatch.setenv("REDIS_URL", server.url)
        (*_, last) = await said("Redis")
        assert last.startswith(
            "WRONG Redis: is a replica, which takes no writes: set REDIS_URL to the master"
        )
    finally:
        server.kill()


@pytest.mark.parametrize("rights", ["+info +time", "+info +time +set", "+info +time +eval"])
async def test_a_user_needs_its_rights(
    rights: str, redis_process: RedisProcess, sync_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_redis.execute_command("ACL", "SETUSER", "weak", "reset", "on", ">pw", "~*", *rights.split())
    try:
        monkeypatch.setenv("REDIS_URL", redis_process.url.replace("unix://", "unix://weak:pw@"))
        (*_, last) = await said("Redis")
        assert last.startswith("WRONG Redis: its user may not do what is needed: give it the rights")
    finally:
        sync_redis.execute_command("ACL", "DELUSER", "weak")


async def test_settings_that_do_not_go_together_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a cap in money at a model without a price: whatever comes after is looked at all the same."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    monkeypatch.setenv("OPENAI_MODEL", "nobody-s-model")
    monkeypatch.setenv("SPEND_CAP_DAY", "20 USD")
    lines: list[str] = []
    assert not await examine(lines.append)
    (wrong,) = [line for line in lines if line.startswith("WRONG settings: ")]
    assert "no price in USD" in wrong
    assert lines[-1].startswith("ok    OTLP: ")


async def test_all_is_well_with_a_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert await said("Redis writes") == ["ok    Redis writes: takes a write and a script"]
    assert await said("clock") == ["ok    clock: as Redis's"]


async def test_a_page_is_not_telegram(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(a_page) as server:
        url = str(server.make_url("")).rstrip("/")
        monkeypatch.setenv("TELEGRAM_API_URL", url)
        monkeypatch.setenv("TELEGRAM_TOKEN", TOKEN)
        (line,) = await said("Telegram")
    assert line.startswith(f"WRONG Telegram: {url} answers, but not as the Bot API does: check")


@pytest.mark.parametrize(
    ("path", "well"), [("http://127.0.0.1:1/ping/secret", False), ("{}ping/secret", True)]
)
async def test_the_dead_mans_switch_is_not_called(
    path: str, well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[web.Request] = []
    async with serving(lambda request: called.append(request)) as server:
        monkeypatch.setenv("HEARTBEAT_URL", path.format(server.make_url("/")))
        (line,) = await said("dead man's switch")
    assert line.startswith("ok" if well else "WRONG")
    assert "secret" not in line
    assert not called


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "WRONG Telegram: the token is refused: check TELEGRAM_TOKEN"),
        (404, "WRONG Telegram: knows no such bot (404): check TELEGRAM_TOKEN and TELEGRAM_API_URL"),
    ],
)
async def test_a_token_that_is_none(status: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"ok": False, "error_code": status, "description": "No"}
    async with serving(lambda _: web.json_response(refused, status=status)) as server:
        monkeypatch.setenv("TELEGRAM_API_URL", str(server.make_url("")))
        monkeypatch.setenv("TELEGRAM_TOKEN", TOKEN)
        (line,) = await said("Telegram")
    assert line.startswith(words)


async def test_switches_clock_and_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = {
        "url": "https://bot.example/telegram/webhook",
        "has_custom_certificate": False,
        "pending_update_count": 3,
        "last_error_date": int(time.time()) - 900,
        "last_error_message": "Connection timed out",
    }

    def answer(request: web.Request) -> web.Response:
        found = hook if request.path.endswith("getWebhookInfo") else ME
        return web.json_response(
            {"ok": True, "result": found}, headers={"Date": formatdate(1e9, usegmt=True)}
        )

    async with serving(answer) as server:
        for name, value in {
            "TELEGRAM_API_URL": str(server.make_url("")),
            "TELEGRAM_TOKEN": TOKEN,
            "WEBHOOK_URL": "https://bot.example",
            "WEBHOOK_SECRET": "s",
        }.items():
            monkeypatch.setenv(name, value)
        lines: list[str] = []
        await examine(lines.append)
    (switches,) = (line for line in lines if "switches:" in line)
    assert "no group can add it" in switches
    assert "Group Privacy" in switches
    assert "inline mode is off" in switches
    (clock,) = (line for line in lines if " clock:" in line)
    assert clock.startswith("WRONG clock: ")
    assert "timedatectl" in clock
    (webhook,) = (line for line in lines if "webhook:" in line)
    assert webhook.endswith("3 updates wait; the last call failed: Connection timed out")


async def test_inline_mode_is_switched_on_in_three_places(
    redis_url: str, sync_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def line(about: str = "inline mode") -> str:
        return next(iter(await said(about)), "")

    async with TelegramSandbox() as sandbox:
        anna = sandbox.person("Anna")
        channel = sandbox.group("Store", [anna], type="channel")
        monkeypatch.setenv("TELEGRAM_API_URL", sandbox.url)
        monkeypatch.setenv("TELEGRAM_TOKEN", DEMO_TOKEN)
        monkeypatch.setenv("REDIS_URL", redis_url)
        assert "once INLINE_STORAGE_CHAT is set" in await line()
        monkeypatch.setenv("INLINE_STORAGE_CHAT", "-1009")
        assert (await line()).startswith("WRONG inline mode: INLINE_STORAGE_CHAT cannot be reached")
        monkeypatch.setenv("INLINE_STORAGE_CHAT", str(channel.id))
        assert "make it an admin" in await line()
        sandbox.set_role(channel, None, "administrator", by=anna)
        assert (await line()).startswith("ok    inline mode: makes pictures")
        assert await line("inline feedback") == ""
        sync_redis.hset(keys.FEEDBACK(), "tapped", 1_796_000_000_000)
        assert "/setinlinefeedback" in await line("inline feedback")
        sync_redis.hset(keys.FEEDBACK(), "told", 1_796_000_000_000)
        assert await line("inline feedback") == ""
        sandbox.bot.inline.enabled = False
        assert "/setinline" in await line()


def test_telegram_calls_few_ports() -> None:
    settings = {"webhook_secret": "s", "_env_file": None}
    assert "443, 80, 88, 8443 only" in doctor._unreachable(
        load_settings(webhook_url="https://b.example:9443", **settings)
    )
    assert doctor._unreachable(load_settings(webhook_url="https://b.example:8443", **settings)) == ""


async def test_a_machine_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=10**10, used=0, free=2 * 10**8))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=5 * 10**8, percent=10.0))
    assert "0.2 GB free in " in (await said("disk"))[0]
    assert "make room" in (await said("disk"))[0]
    assert "need 1 GB together" in (await said("memory"))[0]


@pytest.mark.parametrize(
    ("endpoint", "protocol", "words"),
    [
        ("{url}/v1/traces", "http/protobuf", "ends in /v1/traces, which is added to it: take it off"),
        ("{host}", "http/protobuf", "needs http:// or https:// before it"),
        ("{url}", "http/protobuf", "takes no traces (200): check OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("{url}", "grpc", "takes no traces by gRPC: its port is usually 4317"),
    ],
)
async def test_otlp_at_the_wrong_door(
    endpoint: str, protocol: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(a_page) as server:
        url = str(server.make_url("")).rstrip("/")
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.format(url=url, host=url.removeprefix("http://"))
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        (line,) = await said("OTLP")
    assert line.startswith("WRONG OTLP: ")
    assert words in line


async def test_http_at_the_port_of_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\x06\4\0\0\0\0\0\0\5\0\0@\0")  # SETTINGS, HTTP/2's first frame
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        (line,) = await said("OTLP")
    assert "gRPC's port is 4317, HTTP's 4318" in line


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


def point_at(monkeypatch: pytest.MonkeyPatch, provider: str, url: str) -> None:
    """Has a provider, with a key, at an address."""
    for name, field in provider_clients()[provider].settings.model_fields.items():
        if name.endswith("_url") and "proxy" not in name:
            monkeypatch.setenv(name.upper(), url)
        elif field.is_required() or name.endswith(("_api_key", "_folder")):
            monkeypatch.setenv(name.upper(), "a2V5")
    monkeypatch.setenv("ALLOW_PRIVATE_HOSTS", "true")


@pytest.mark.parametrize("provider", sorted(provider_clients()))
async def test_a_page_is_no_provider(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(a_page) as server:
        point_at(monkeypatch, provider, str(server.make_url("")))
        lines: list[str] = []
        assert not await examine(lines.append, provider)
    assert re.search(rf"^WRONG {provider}: .*: check {provider.upper()}_\w*URL", lines[-1]), lines


COUNTRY = {"code": "unsupported_country_region_territory", "message": "Country not supported"}
LOCATION = {
    "code": 400,
    "message": "User location is not supported for the API use.",
    "status": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize(
    ("provider", "status", "error"),
    [
        *((name, 403, COUNTRY) for name in ("openai", "openrouter", "replicate", "fal", "yandexart")),
        ("gemini", 400, LOCATION),
    ],
)
async def test_a_country_that_is_not_served(
    provider: str, status: int, error: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(lambda _: web.json_response({"error": error}, status=status)) as server:
        point_at(monkeypatch, provider, str(server.make_url("")))
        lines: list[str] = []
        assert not await examine(lines.append, provider)
    assert f"does not serve the country this runs in ({status})" in lines[-1]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/models", 200, "ok    words: {url}/v1 accepts the key and has gpt-words"),
        (
            "/models",
            200,
            "WRONG words: {url}/v1 has no list of models (404): check TEXT_BASE_URL, which often",
        ),
        ("/v1/models", 401, "WRONG words: {url}/v1 refuses the key (401): check TEXT_API_KEY"),
    ],
)
async def test_the_server_for_words(
    path: str, status: int, words: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "gpt-words"}]}, status=status)

    app = web.Application()
    app.router.add_get(path, models)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        point_at(monkeypatch, "openai", url)
        for name, value in {"BASE_URL": f"{url}/v1", "API_KEY": "k", "MODEL": "gpt-words"}.items():
            monkeypatch.setenv(f"TEXT_{name}", value)
        (line,) = await said("words")
    assert line.startswith(words.format(url=url))


async def test_a_disk_too_full_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await said("originals"))[0].startswith("ok ")
    monkeypatch.setattr(blobs, "SPARE_BYTES", 10**15)
    (line,) = await said("originals")
    assert line.startswith("WRONG originals: ")
    assert line.endswith("pictures that come in answers are refused: make room")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x:99999", "OTEL_EXPORTER_OTLP_ENDPOINT is no address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_ENDPOINT is no address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x..y:4318", "x..y:4318 takes no connection"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer \x7fабв",
            "OTEL_EXPORTER_OTLP_HEADERS cannot be read",
        ),
    ],
)
async def test_otlp_that_cannot_be_read(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(a_page) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(server.make_url("")))
        monkeypatch.setenv(name, value)
        (line,) = await said("OTLP")
    assert line.startswith(f"WRONG OTLP: {words}")
    assert "Bearer" not in line


async def test_admins_who_never_spoke_hear_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TelegramSandbox() as sandbox:
        anna = sandbox.person("Anna")
        await anna.send_text("/start")
        monkeypatch.setenv("TELEGRAM_API_URL", sandbox.url)
        monkeypatch.setenv("TELEGRAM_TOKEN", DEMO_TOKEN)
        assert "nobody is written to" in (await said("admins"))[0]
        monkeypatch.setenv("ADMIN_IDS", str(anna.id))
        assert await said("admins") == ["ok    admins: can be written to when something fails"]
        monkeypatch.setenv("ADMIN_IDS", f"{anna.id},123")
        assert (await said("admins"))[0].startswith("WRONG admins: 123 cannot be written to: check ADMIN_IDS")


async def test_a_proxy_that_is_not_there_is_named(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELEGRAM_TOKEN", TOKEN)
    monkeypatch.setenv("KIE_API_KEY", "key")
    monkeypatch.setenv("PROXY_URL", f"socks5://me:hidden@127.0.0.1:{unused_tcp_port}")
    for subject in ("Telegram", "kie"):
        (line,) = await said(subject)
        assert line.endswith(f"and first the proxy 127.0.0.1:{unused_tcp_port} of PROXY_URL"), line
        assert "hidden" not in line


async def test_the_mini_app_is_looked_at(
    redis_url: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is https, which a test has no certificate for: the page is asked for there all the same."""
    monkeypatch.setenv("MINI_APP_URL", f"https://127.0.0.1:{unused_tcp_port}/app")
    (line,) = await said("Mini App")
    assert "does not answer from here (ConnectError)" in line
    assert "check MINI_APP_URL" in line
    async with (
        open_app(load_settings(redis_url=redis_url)) as app,
        make_bot(load_settings(telegram_token=TOKEN), Limiter()).context() as bot,
    ):
        ours = FastAPI()
        ours.include_router(mini.make_router(app, bot))
        for api, words in ((ours, "ok    Mini App: "), (FastAPI(), "shows something else (404)")):
            client = functools.partial(httpx.AsyncClient, transport=httpx.ASGITransport(api))
            monkeypatch.setattr(doctor.httpx, "AsyncClient", client)
            (line,) = await said("Mini App")
            assert words in line


@pytest.mark.parametrize("name", ["TELEGRAM_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY", "TEXT_API_KEY"])
def test_a_key_is_taken_without_the_line_break_that_was_copied_with_it(name: str) -> None:
    settings = load_settings(**{name.lower(): f" {TOKEN}\n"})
    assert getattr(settings, name.lower()).get_secret_value() == TOKEN
    for wrong in (f"{TOKEN[:9]}\n{TOKEN[9:]}", TOKEN.replace("A", "А")):
        with pytest.raises(SettingsError, match=f"{name}: (has a line break|expected the token)"):
            load_settings(**{name.lower(): wrong})
