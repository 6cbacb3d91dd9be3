"""Alertmanager with its configuration, against a Bot API that listens: what an admin reads in Telegram."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from contract import OBSERVABILITY

CONFIG = OBSERVABILITY / "alertmanager" / "alertmanager.yml"


@pytest.fixture
async def telegram() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[str, dict]]]]:
    """A Bot API's address, and the calls it received: path and body."""
    calls: asyncio.Queue[tuple[str, dict]] = asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        calls.put_nowait((request.path, body | {"text": body["text"].strip()}))  # as Telegram does
        return web.json_response({"ok": True, "result": {"message_id": 1, "date": 0, "chat": {"id": 42}}})

    app = web.Application()
    app.router.add_post("/{call:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", calls
    await runner.cleanup()


@pytest.fixture
async def alertmanager(
    tool: Callable[[str], str], telegram: tuple[str, asyncio.Queue], tmp_path: Path
) -> AsyncIterator[str]:
    """Its address. Its configuration as it is, but for files, waits and the Bot API's address."""
    (tmp_path / "token").write_text("123:abc")
    (tmp_path / "chat").write_text("42")
    config = CONFIG.read_text()
    config = config.replace(
        "/etc/alertmanager/telegram_token", f"{tmp_path}/token\n        api_url: {telegram[0]}"
    )
    config = config.replace("/etc/alertmanager/telegram_chat", f"{tmp_path}/chat")
    config = re.sub(r"group_(wait|interval): \w+", r"group_\1: 200ms", config)
    (tmp_path / "alertmanager.yml").write_text(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        tool("alertmanager"),
        f"--config.file={tmp_path}/alertmanager.yml",
        f"--storage.path={tmp_path}/data",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(40), httpx.AsyncClient() as client:
            while True:
                try:
                    (await client.get(f"http://{address}/-/ready")).raise_for_status()
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


async def test_an_admin_reads_problem_and_recovery(
    alertmanager: str, telegram: tuple[str, asyncio.Queue[tuple[str, dict]]]
) -> None:
    summary = "12 jobs waiting (problem: over 10). Add a worker: docker compose up -d --scale worker-image=2. A <b> & _so_."
    alert = {
        "labels": {"alertname": "JobsWaitingProblem", "severity": "critical"},
        "annotations": {"summary": summary},
    }
    # Its consequence, which the cause silences.
    cause = {
        "labels": {"alertname": "RedisDown", "severity": "critical"},
        "annotations": {"summary": "Redis is down."},
    }
    _, calls = telegram
    async with asyncio.timeout(40), httpx.AsyncClient(base_url=alertmanager) as client:
        (await client.post("/api/v2/alerts", json=[alert])).raise_for_status()
        path, body = await calls.get()
        assert path == "/bot123:abc/sendMessage"
        assert (body["chat_id"], body["text"]) == ("42", f"🔴 {summary}")
        assert not body.get("parse_mode")

        ended = json.loads(json.dumps(alert)) | {
            "endsAt": "2001-01-01T00:00:00Z",
            "startsAt": "2000-01-01T00:00:00Z",
        }
        (await client.post("/api/v2/alerts", json=[ended])).raise_for_status()
        _, body = await calls.get()
        assert body["text"] == "🟢 JobsWaitingProblem is over."

        (await client.post("/api/v2/alerts", json=[cause])).raise_for_status()
        _, body = await calls.get()
        assert body["text"] == "🔴 Redis is down."
        (await client.post("/api/v2/alerts", json=[alert])).raise_for_status()
        inhibited = {"inhibited": "true", "active": "false", "filter": 'alertname="JobsWaitingProblem"'}
        while not (await client.get("/api/v2/alerts", params=inhibited)).json():
            await asyncio.sleep(0.05)
    assert calls.empty()


def test_amtool_accepts_it(check) -> None:
    assert "SUCCESS" in check("amtool", "check-config", CONFIG)
