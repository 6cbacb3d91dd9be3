"""The stand-in of kie.ai: its states by the clock, its limits, uploads and signed callbacks."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from src.providers.kie import sign
from src.sandbox.kie import KieSandbox
from src.sandbox.pictures import PictureMaker

HEADERS = {"Authorization": "Bearer any"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Kie:
    """The stand-in, a clock that is moved by hand, and calls to it."""

    def __init__(self, session: aiohttp.ClientSession, server: TestServer, sandbox: KieSandbox, clock: Clock):
        self.session, self.server, self.sandbox, self.clock = session, server, sandbox, clock

    async def create(self, prompt: str = "a fox", **more: Any) -> dict[str, Any]:
        body = {"model": "google/nano-banana", "input": {"prompt": prompt, "aspect_ratio": "16:9"}, **more}
        url = self.server.make_url("/kie/api/v1/jobs/createTask")
        async with self.session.post(url, json=body, headers=HEADERS) as response:
            return dict(await response.json())

    async def record(self, task: str) -> dict[str, Any]:
        url = self.server.make_url("/kie/api/v1/jobs/recordInfo").with_query(taskId=task)
        async with self.session.get(url, headers=HEADERS) as response:
            assert response.status == 200
            return dict(await response.json())


@pytest.fixture
async def kie() -> AsyncIterator[Kie]:
    clock = Clock()
    sandbox = KieSandbox(pictures=PictureMaker(cached=True), durations=(10.0, 10.0), clock=clock)
    app = web.Application()
    sandbox.add_to(app)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Kie(session, server, sandbox, clock)


async def test_a_task_goes_through_its_states(kie: Kie) -> None:
    task = (await kie.create())["data"]["taskId"]
    seen = []
    for now in (0.0, 0.6, 2.0, 6.0, 9.9, 10.1):
        kie.clock.now = now
        data = (await kie.record(task))["data"]
        seen.append((data["state"], data.get("progress")))
    assert seen == [
        ("waiting", None),
        ("queuing", None),
        ("generating", 9),
        ("generating", 54),
        ("generating", 98),
        ("success", None),
    ]
    url = json.loads(data["resultJson"])["resultUrls"][0]
    async with kie.session.get(url) as response:
        assert Image.open(io.BytesIO(await response.read())).size == (1344, 768)
    assert kie.sandbox.audit.charged == {"a fox": 1}
    assert kie.sandbox.audit.fetches == {task: 1}


async def test_errors_hide_in_http_200(kie: Kie) -> None:
    assert (await kie.create(prompt=" "))["code"] == 422
    assert (await kie.create(model=""))["code"] == 422
    assert (await kie.create(model="google/nano-banana-edit"))["code"] == 422
    assert (await kie.record("nobody"))["msg"] == "recordInfo is null"
    url = kie.server.make_url("/kie/api/v1/chat/credit")
    async with kie.session.get(url) as response:
        assert (response.status, (await response.json())["code"]) == (200, 401)


@pytest.mark.parametrize(
    ("model", "fields", "wrong"),
    [
        ("google/nano-banana", {"image_size": "1:1"}, "image_size is not allowed"),
        ("google/nano-banana", {"aspect_ratio": "7:1"}, "aspect_ratio is not within"),
        ("nano-banana-2-lite", {"resolution": "1K"}, "resolution is not allowed"),
        ("nano-banana-2-1", {"image_urls": ["https://x/y.png"]}, "image_urls is not allowed"),
        ("seedream/4.5-text-to-image", {"aspect_ratio": "1:1"}, "quality is required"),
        ("qwen/image-edit", {"image_url": ["https://x/y.png"]}, "image_url is not of the right type"),
        (
            "qwen/image-edit",
            {"image_url": "https://x/y.png", "image_size": "16:9"},
            "image_size is not within",
        ),
        ("no-such-model", {}, "The model name you specified is not supported"),
    ],
)
async def test_each_model_takes_its_own_fields_only(
    kie: Kie, model: str, fields: dict[str, Any], wrong: str
) -> None:
    answer = await kie.create(model=model, input={"prompt": "a fox", **fields})
    assert answer["code"] == 422
    assert answer["msg"].startswith(wrong)


async def test_refused_generations_fail_inside_http_200(kie: Kie) -> None:
    task = (await kie.create(prompt="nsfw"))["data"]["taskId"]
    kie.clock.now = 11
    data = (await kie.record(task))["data"]
    assert data["state"] == "fail"
    assert "content policies" in data["failMsg"]
    assert not kie.sandbox.audit.charged


async def test_too_many_new_tasks_are_refused_not_queued(kie: Kie) -> None:
    kie.sandbox.limit = (2, 10.0)
    assert [(await kie.create())["code"] for _ in range(3)] == [200, 200, 429]
    kie.clock.now = 10.0
    assert (await kie.create())["code"] == 200


async def test_an_uploaded_picture_is_the_source(kie: Kie) -> None:
    form = aiohttp.FormData({"uploadPath": "sources", "fileName": "a.png"})
    form.add_field("file", b"\x89PNG\r\n\x1a\n...", filename="a.png")
    url = kie.server.make_url("/kie-upload/api/file-stream-upload")
    async with kie.session.post(url, data=form, headers=HEADERS) as response:
        link = (await response.json())["data"]["downloadUrl"]
    async with kie.session.get(link) as response:
        assert await response.read() == b"\x89PNG\r\n\x1a\n..."
    made = await kie.create(
        model="google/nano-banana-edit", input={"prompt": "snow", "image_urls": [link], "aspect_ratio": "1:1"}
    )
    assert made["code"] == 200


async def test_callbacks_are_signed_and_tried_again(kie: Kie) -> None:
    calls: list[tuple[dict[str, Any], str, str]] = []
    done = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        stamp = request.headers["X-Webhook-Timestamp"]
        calls.append((await request.json(), stamp, request.headers["X-Webhook-Signature"]))
        if len(calls) == 1:
            return web.Response(status=500)
        done.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/callback", receive)
    kie.sandbox.durations = (0.0, 0.0)
    async with TestServer(app) as mine:
        task = (await kie.create(callBackUrl=str(mine.make_url("/callback"))))["data"]["taskId"]
        await asyncio.wait_for(done.wait(), 10)
    body, stamp, signature = calls[1]
    assert body["taskId"] == body["data"]["task_id"] == task
    assert signature == sign(b"sandbox-webhook-key", task, stamp)


async def test_thousands_in_flight_need_no_task_each(kie: Kie) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(300):
        await kie.create()
    assert len(asyncio.all_tasks()) - before <= 2
