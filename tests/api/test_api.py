"""Webhook, callbacks, probes, status page and REST, as the world meets them."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import Request
from PIL import Image
from starlette.exceptions import HTTPException

from src.api import bodies
from src.jobs import keys
from src.providers.kie import sign
from src.sandbox.otlp import SpanRecord
from src.sandbox.traces import TraceSandbox, orphans
from tests.api.conftest import KEY, PASSWORD, SECRET
from tests.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALICE = {"Authorization": f"Bearer {KEY}"}
BOB = {"Authorization": f"Bearer {KEY}-of-another"}


async def _ended(system: System, api: httpx.AsyncClient, image: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        answer = (await api.get(f"/v1/images/{image}", headers=ALICE)).json()
        return answer if answer["status"] in ("done", "failed", "cancelled") else None

    found: dict[str, Any] = await system.until(look)
    return found


async def test_an_update_by_webhook_becomes_a_picture_that_a_callback_hurried(
    system: System, api: httpx.AsyncClient
) -> None:
    await system.until(lambda: system.telegram.bot.updates.webhook)
    # A machine that is busy takes half a minute to start it.
    await system.until(lambda: system.is_up("worker"))
    ann = system.person()
    await ann.send_text("a red fox in snow")
    # Polled only every 60 s: in time only because the provider called back.
    await system.picture(ann, within=50)
    assert system.kie.audit.callbacks > 0


@pytest.mark.parametrize("headers", [{}, {"X-Telegram-Bot-Api-Secret-Token": SECRET + "x"}])
async def test_a_webhook_call_without_the_secret_is_refused(
    api: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await api.post("/telegram/webhook", json={"update_id": 1}, headers=headers)
    assert answer.status_code == 401


async def test_an_update_that_cannot_be_read_does_not_come_again(api: httpx.AsyncClient) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert (await api.post("/telegram/webhook", content=b"{", headers=headers)).status_code == 200


@pytest.mark.parametrize(("age", "tampered", "status"), [(0, False, 200), (0, True, 401), (900, False, 401)])
async def test_callbacks_are_believed_only_when_genuine_and_fresh(
    api: httpx.AsyncClient, age: int, tampered: bool, status: int
) -> None:
    stamp = str(int(time.time()) - age)
    headers = {
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Signature": sign(b"sandbox-webhook-key", "nobodys-task", stamp),
    }
    body = {"taskId": "nobodys-task" + "x" * tampered}
    assert (await api.post("/callbacks/kie", json=body, headers=headers)).status_code == status


async def test_a_provider_that_is_not_there_calls_back_in_vain(api: httpx.AsyncClient) -> None:
    assert (await api.post("/callbacks/nobody", content=b"{}")).status_code == 404
    assert (await api.post("/callbacks/kie", content=b"x" * 2_000_000)).status_code == 413


async def test_ready_only_with_a_worker_and_redis(system: System, api: httpx.AsyncClient) -> None:
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    await system.redis.delete("imagebot:heartbeats")
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["workers"]) == (503, "no heartbeat within 15 s")

    async def ready() -> bool:
        return (await api.get("/readyz")).status_code == 200

    await system.until(ready)
    await system.redis.execute_command("ACL", "SETUSER", "default", "-eval")
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["redis"].startswith("its user may not do what is needed")
    system.redis_process.kill()
    assert (await api.get("/livez")).status_code == 200
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["checks"]) == ["redis"]
    # Nor has the page any figures: it says why and what to do, and goes on by itself when Redis is back.
    page = await api.get("/status", params={"lang": "ru"}, auth=("", PASSWORD))
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "Redis не читается или не пишется: " in page.text
    assert "docker compose logs --tail 50 redis" in page.text
    system.redis_process.start()
    await system.until(ready)


async def test_the_status_page_asks_for_its_password_and_locks_out_guessers(
    system: System, api: httpx.AsyncClient
) -> None:
    assert (await api.get("/status")).status_code == 401
    page = await api.get("/status", auth=("anyone", PASSWORD))
    assert page.status_code == 200
    assert "Jobs waiting" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    russian = await api.get("/status", params={"lang": "ru"}, auth=("", PASSWORD))
    assert "Ждут в очереди" in russian.text

    # An admin's pause is shown there, and told to software.
    await system.redis.set(keys.PAUSE(), "new colours")
    page = await api.get("/status", auth=("", PASSWORD))
    assert "Paused by an admin, nothing new is taken: new colours" in page.text
    refused = await api.post("/v1/images", json={"prompt": "a boat"}, headers=ALICE)
    assert (refused.status_code, refused.json()["code"], refused.json()["detail"]) == (
        503,
        "paused",
        "new colours",
    )
    await system.redis.delete(keys.PAUSE())

    async def all_seen() -> bool:
        figures = (await api.get("/status.json", auth=("", PASSWORD))).json()
        kinds = {process["kind"] for process in figures["processes"]}
        return figures["workers"] == 1 and kinds == {"api", "bot", "worker"}

    await system.until(all_seen)
    for _ in range(5):
        assert (await api.get("/status", auth=("", "guess"))).status_code == 401
    locked = await api.get("/status", auth=("", PASSWORD))
    assert locked.status_code == 429
    assert int(locked.headers["retry-after"]) > 0


async def test_software_asks_for_a_picture_in_its_own_trace(system: System, api: httpx.AsyncClient) -> None:
    parent = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {**ALICE, "traceparent": f"00-{parent}-00f067aa0ba902b7-01"}
    answer = await api.post("/v1/images", json={"prompt": "a boat", "aspect": "3:2"}, headers=headers)
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    assert answer.headers["location"] == f"/v1/images/{asked['id']}"
    assert asked["trace_id"] == parent
    done = await _ended(system, api, asked["id"])
    assert done["status"] == "done"
    picture = await api.get(done["content"], headers=ALICE)
    assert picture.headers["content-type"] == done["mime"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert done["width"] > done["height"]

    steps = {"POST /v1/images", "send submit", "process submit", "send deliver", "process deliver", "job"}

    def whole(traces: TraceSandbox) -> list[SpanRecord]:
        found = traces.trace(parent)
        return found if steps <= {span.name for span in found} else []

    trace = await system.traces.wait_for(whole, 20)
    # The caller's own span is the only one that is not ours to have.
    assert [span.name for span in orphans(trace)] == ["POST /v1/images"]


async def test_what_the_provider_refuses_fails_with_its_kind(system: System, api: httpx.AsyncClient) -> None:
    asked = (await api.post("/v1/images", json={"prompt": "nsfw"}, headers=ALICE)).json()
    failed = await _ended(system, api, asked["id"])
    assert failed["status"] == "failed"
    assert failed["error"]["kind"].startswith("moderated")
    assert (await api.get(f"/v1/images/{asked['id']}/content", headers=ALICE)).status_code == 409


async def test_an_idempotency_key_asks_once(api: httpx.AsyncClient) -> None:
    headers = {**ALICE, "Idempotency-Key": "order 17"}
    first = await api.post("/v1/images", json={"prompt": "a tree"}, headers=headers)
    again = await api.post("/v1/images", json={"prompt": "a tree"}, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    other = await api.post("/v1/images", json={"prompt": "a house"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    theirs = await api.post("/v1/images", json={"prompt": "a house"}, headers={**headers, **BOB})
    assert theirs.status_code == 202


def form(prompt: str = "add a hat", image: bytes | None = None, **more: str) -> dict[str, Any]:
    """A form for an edit, as httpx sends it."""
    picture = drawn() if image is None else image
    return {"data": {"prompt": prompt, **more}, "files": {"image": ("cat.png", picture, "image/png")}}


def drawn(size: tuple[int, int] = (320, 200)) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 120, 40)).save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_picture_is_changed(system: System, api: httpx.AsyncClient) -> None:
    parent = "5bf92f3577b34da6a3ce929d0e0e4737"
    headers = {**ALICE, "traceparent": f"00-{parent}-00f067aa0ba902b7-01"}
    uploads = system.kie.audit.uploads
    answer = await api.post("/v1/images/edits", **form(aspect="3:2"), headers=headers)
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    assert (asked["trace_id"], asked["aspect"]) == (parent, "3:2")
    assert (await _ended(system, api, asked["id"]))["status"] == "done"
    assert system.kie.audit.uploads == uploads + 1
    # Nothing of it is kept.
    await system.until(lambda: _no_uploads(system))


async def _no_uploads(system: System) -> bool:
    return not list(system.folder.glob("blobs/uploads/*"))


async def test_an_edit_with_an_idempotency_key_asks_once(system: System, api: httpx.AsyncClient) -> None:
    headers = {**ALICE, "Idempotency-Key": "edit 17"}
    first = await api.post("/v1/images/edits", **form("#slow a hat"), headers=headers)
    again = await api.post("/v1/images/edits", **form("#slow a hat"), headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = await api.post("/v1/images/edits", **form("#slow a hat", drawn((64, 64))), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    plain = await api.post("/v1/images", json={"prompt": "#slow a hat"}, headers=headers)
    assert (plain.status_code, plain.json()["code"]) == (422, "key_reused")
    assert (await api.delete(f"/v1/images/{first.json()['id']}", headers=ALICE)).status_code == 202
    await system.until(lambda: _no_uploads(system))


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        (form(image=b"no picture"), 422, "image: not_an_image"),
        (form(image=drawn((8, 8))), 422, "image: too_small"),
        (form(image=b"x" * 20_200_000), 413, "at most 20000000 bytes"),
        (form(prompt=" "), 422, "prompt: has no words"),
        (form(prompt="x" * 4001), 422, "prompt: a text of at most 4000"),
        (form(aspect="9:1"), 422, "aspect: one of"),
        ({"data": {"prompt": "a hat"}}, 422, "image: a file is needed"),
        ({"files": {"image": ("a.png", b"x")}}, 422, "prompt: a text"),
        ({"content": b"--", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
async def test_a_form_that_is_wrong(
    system: System, api: httpx.AsyncClient, wrong: dict[str, Any], status: int, words: str
) -> None:
    headers = {**ALICE, **wrong.get("headers", {})}
    answer = await api.post("/v1/images/edits", **{**wrong, "headers": headers})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert await _no_uploads(system)


async def test_a_form_is_not_read_without_a_key(api: httpx.AsyncClient) -> None:
    assert (await api.post("/v1/images/edits", **form())).status_code == 401


async def test_a_picture_can_be_taken_back_by_its_client_only(system: System, api: httpx.AsyncClient) -> None:
    asked = (await api.post("/v1/images", json={"prompt": "#never"}, headers=ALICE)).json()
    path = f"/v1/images/{asked['id']}"
    assert (await api.get(path, headers=BOB)).status_code == 404
    assert (await api.delete(path, headers=BOB)).status_code == 404
    assert (await api.delete(path, headers=ALICE)).status_code == 202
    assert (await _ended(system, api, asked["id"]))["status"] == "cancelled"


async def test_only_keys_that_are_known_open_it(api: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic eDp5"}):
        answer = await api.post("/v1/images", json={"prompt": "a tree"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_whatever_is_sent_is_answered_as_described(system: System, api: httpx.AsyncClient) -> None:
    """Schemathesis over the real server: no 5xx, no answer that the description does not know."""
    import asyncio
    import sys

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.api_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {KEY}", "--max-examples", "8", "--no-color"),
        *("--checks", "not_a_server_error,status_code_conformance,response_schema_conformance"),
        *("--include-path-regex", "^/v1/", "--phases", "fuzzing", "--generation-deterministic"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-4000:]


async def test_no_secret_is_in_a_log(system: System) -> None:
    for part in ("api", "bot", "worker"):
        text = system.log_of(part)
        assert json.dumps(text) != ""
        for secret in (KEY, SECRET, PASSWORD, "sandbox-webhook-key", "a red fox in snow"):
            assert secret not in text, part


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/v1/images", {}, 401),
        ("/v1/images", ALICE, 413),
        ("/telegram/webhook", {}, 401),
        ("/telegram/webhook", {"X-Telegram-Bot-Api-Secret-Token": SECRET}, 413),
        ("/callbacks/kie", {}, 413),
        ("/app/settings", {}, 413),
        ("/app/pictures/1/again", {}, 413),
        ("/app/pictures/1/star", {}, 413),
    ],
)
async def test_a_body_is_read_only_as_far_as_it_may_be(
    api: httpx.AsyncClient, path: str, headers: dict[str, str], code: int
) -> None:
    """The answer is there though the body has no end."""
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    lines = [f"POST {path} HTTP/1.1", "Host: bot", "Content-Type: application/json"]
    lines += ["Transfer-Encoding: chunked", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for _ in range(20 if code == 413 else 1):
        writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
    async with asyncio.timeout(30):
        assert str(code).encode() in await reader.readline()
    writer.close()


async def test_a_body_that_does_not_go_on_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is gone says nothing more, and its connection stays open."""
    monkeypatch.setattr(bodies, "_SECONDS", 0.01)
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Any:
        return next(pieces, None) or await asyncio.get_running_loop().create_future()

    with pytest.raises(HTTPException) as ended:
        await bodies.read(Request({"type": "http", "headers": []}, receive))
    assert (ended.value.status_code, ended.value.headers) == (408, {"Connection": "close"})
