"""Every form of answer that gateways "with OpenAI's API" were seen to give, and what it is: a table of outcomes.

Each row is answered by a real server; `contracts.md` has who answers so.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from src.providers.base import ErrorKind, GenRequest, ImageBytes, ProviderError, SourceImage
from src.providers.gateways import gateway_at
from src.providers.http import make_client
from src.providers.openai import OpenAIProvider
from src.settings import SettingsError, load_settings

PROMPT = "a fox in the snow"
MODEL = "gpt-image-2.5-flare"
Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def _png(form: str = "PNG", side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side + 3), 90).convert("RGB").save(out, form)
    return out.getvalue()


# Of a length that leaves padding to lose.
PNG = (png := _png()) + b"\0" * (len(png) % 3 == 0)
B64 = base64.b64encode(PNG).decode()
URL_SAFE = base64.urlsafe_b64encode(PNG).decode()
LINES = base64.encodebytes(PNG).decode()


@dataclass
class Gateway:
    """A server with one way to answer, and a client of it."""

    provider: OpenAIProvider
    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def picture(self, model: str = MODEL, **more: Any) -> ImageBytes:
        more.setdefault("deadline", 20.0)
        request = GenRequest("job", PROMPT, model, user_hash="ab12", **more)
        return await self.provider.fetch((await self.provider.submit(request)).image)

    async def error(self, model: str = MODEL, **more: Any) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            await self.picture(model, **more)
        return caught.value


@asynccontextmanager
async def gateway(handler: Handler, models: int = 200, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway that answers both image calls by `handler`, and its list of models with that status."""

    async def post(request: web.Request) -> web.StreamResponse:
        form = request.content_type != "application/json"
        body = dict(await request.post()) if form else await request.json()
        made.asked.append(body)
        made.paths.append(request.path)
        return await handler(request, body)

    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL}]}, status=models)

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=PNG)

    app = web.Application()
    app.router.add_post("/v1/images/{kind}", post)
    app.router.add_get("/v1/models", listed)
    app.router.add_get("/files/{name}", file)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        chosen = load_settings(_env_file=None, openai_api_key="key", openai_base_url=url, **settings)
        async with make_client(chosen) as client:
            made = Gateway(OpenAIProvider(chosen, client), url)
            yield made


def says(body: Any, status: int = 200, **more: Any) -> Handler:
    """Always the same answer."""

    async def answer(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, **more)
        if isinstance(body, str):
            return web.Response(text=body, status=status, **more)
        return web.json_response(body, status=status, **more)

    return answer


def data(**item: Any) -> dict[str, Any]:
    return {"created": 1, "data": [item]}


def events(*parts: dict[str, Any]) -> str:
    return "".join(f"event: {part.get('type')}\ndata: {json.dumps(part)}\n\n" for part in parts)


JSON = {"content_type": "application/json"}
PICTURES: dict[str, Handler] = {
    "as OpenAI": says(data(b64_json=B64)),
    "status 201": says(data(b64_json=B64), 201),
    "status 202 with the picture": says(data(b64_json=B64), 202),
    "MIME line breaks": says(data(b64_json=LINES)),
    "carriage returns": says(data(b64_json=LINES.replace("\n", "\r\n"))),
    "no padding": says(data(b64_json=B64.rstrip("="))),
    "URL-safe alphabet": says(data(b64_json=URL_SAFE)),
    "URL-safe without padding": says(data(b64_json=URL_SAFE.rstrip("="))),
    "data address in b64_json": says(data(b64_json=f"data:image/png;base64,{B64}")),
    "data address in url": says(data(url=f"data:image/png;base64,{B64}")),
    "base64 in url": says(data(url=B64)),
    "null beside it": says(data(url=None, b64_json=B64, revised_prompt="A fox in deep snow.")),
    "images for data": says({"images": [{"b64_json": B64}]}),
    "images of texts": says({"images": [B64]}),
    "texts for objects": says({"data": [B64]}),
    "object for list": says({"data": {"b64_json": B64}}),
    "list in data": says({"data": {"images": [{"b64_json": B64}]}}),
    "list of all": says([{"b64_json": B64}]),
    "another name": says({"data": [{"image_base64": B64}]}),
    "output": says({"output": [B64]}),
    "an empty error beside it": says({**data(b64_json=B64), "error": None}),
    "the picture itself": says(PNG, content_type="image/png"),
    "a JPEG itself": says(_png("JPEG"), content_type="application/octet-stream"),
    "WebP": says(data(b64_json=base64.b64encode(_png("WEBP")).decode())),
    "JPEG": says(data(b64_json=base64.b64encode(_png("JPEG")).decode())),
    "byte order mark": says(b"\xef\xbb\xbf" + json.dumps(data(b64_json=B64)).encode(), **JSON),
    "text/plain": says(json.dumps(data(b64_json=B64)), content_type="text/plain"),
    "text/html": says(json.dumps(data(b64_json=B64)), content_type="text/html"),
    "gzip unasked": says(
        gzip.compress(json.dumps(data(b64_json=B64)).encode()), headers={"Content-Encoding": "gzip"}, **JSON
    ),
    "white space first": says("\n \r\n" * 5000 + json.dumps(data(b64_json=B64)), **JSON),
    "events unasked": says(
        events(
            {"type": "image_generation.partial_image", "b64_json": base64.b64encode(_png("JPEG")).decode()},
            {"type": "image_generation.completed", "b64_json": B64},
        ),
        content_type="text/event-stream",
    ),
    "one event of data": says(
        f": ping\n\ndata: {json.dumps(data(b64_json=B64))}\n\ndata: [DONE]\n\n",
        content_type="text/event-stream",
    ),
    "relative address": says(data(url="/files/a.png")),
    "relative address without a stroke": says(data(url="../../files/a.png")),
    "address as text": says({"data": ["/files/a.png"]}),
    "image_url object": says({"data": [{"image_url": {"url": "/files/a.png"}}]}),
}


@pytest.mark.parametrize("name", PICTURES)
async def test_a_picture_is_a_picture(name: str) -> None:
    seen: list[bytes] = []
    async with gateway(PICTURES[name]) as there:
        # Asked for it at once, and for a stream with previews.
        for preview in (None, seen.append):
            image = await there.picture(preview=preview)
            assert (image.width, image.height) == (64, 67)
            assert image.mime != "image/png" or image.data == PNG
        assert [asked.get("stream") for asked in there.asked] == [None, True]
    assert len(seen) == (name == "events unasked")


def streams(*pieces: bytes | asyncio.Event | None) -> Handler:
    """A stream of events that is sent so, and goes on when it is let; None: hung up."""

    async def answer(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                await response.write(piece)
        return response

    return answer


LARGE = base64.b64encode(_png(side=256)).decode()
PARTIAL = events({"type": "image_generation.partial_image", "b64_json": LARGE}).encode()
WHOLE = events({"type": "image_generation.completed", "b64_json": LARGE, "usage": {}}).encode()


async def test_room_for_an_unfinished_picture_is_left_when_it_is_shown() -> None:
    """Between two of them others read theirs; comments that keep the connection open are nothing."""
    go_on, rooms = asyncio.Event(), []

    class Counted:
        async def __call__(self) -> None:
            rooms.append("taken") if rooms[-1:] != ["taken"] else None

        def leave(self) -> None:
            rooms.append("left")

    seen: list[bytes] = []
    cut = len(PARTIAL) - 1
    handler = streams(b": ping\r\n\r\n", PARTIAL[:cut], PARTIAL[cut:], b": ping\n\n", go_on, WHOLE)
    async with gateway(handler) as there, asyncio.timeout(30):
        running = asyncio.create_task(there.picture(room=Counted(), preview=seen.append))
        while rooms != ["taken", "left"]:
            await asyncio.sleep(0)
        go_on.set()
        assert (await running).data == base64.b64decode(LARGE) == seen[0]
    assert rooms == ["taken", "left", "taken"]


async def test_a_pause_in_an_unfinished_picture_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers withhold the end of each event until there is more."""
    monkeypatch.setattr("src.providers.http._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("src.providers.http._PIECE_SECONDS", 0.0)
    go_on, rooms, seen, cut = asyncio.Event(), [], [], len(PARTIAL) - 2

    class Noted:
        async def __call__(self) -> None:
            rooms.append("taken")

        def leave(self) -> None:
            rooms.append("left")

    # More of them than were asked for, and more than a picture may be large.
    handler = streams(PARTIAL[:cut], go_on, PARTIAL[cut:], *[PARTIAL] * 20, WHOLE)
    async with gateway(handler, image_max_bytes=1_000_000) as there, asyncio.timeout(30):
        running = asyncio.create_task(there.picture(room=Noted(), preview=seen.append))
        while rooms[-1:] != ["left"]:
            await asyncio.sleep(0)
        go_on.set()
        assert (await running).data == base64.b64decode(LARGE) == seen[0]
    assert len(seen) == 1
    assert "taken" in rooms[rooms.index("left") :]


BARE = WHOLE.partition(b"\n")[2].replace(b"image_generation.completed", b"other")
NEVER = asyncio.Event()
ENDS: dict[str, list[bytes | asyncio.Event | None]] = {
    "hung up": [PARTIAL, WHOLE, None],
    "left open": [PARTIAL, WHOLE, NEVER],
    "left open at its end": [PARTIAL, BARE, b"data: [DONE]\n\n", NEVER],
    "of another name, hung up": [PARTIAL, BARE, None],
    "of another name, left open": [PARTIAL, BARE, NEVER],
    "hung up before the end of the event": [PARTIAL, WHOLE[:-2], None],
    "called by the event alone": [
        PARTIAL.replace(b'"type"', b'"sort"'),
        WHOLE.replace(b'"type"', b'"sort"'),
        NEVER,
    ],
    "with a preview's words in it": [
        PARTIAL,
        events(
            {
                "type": "image_generation.completed",
                "partial_images": 1,
                "revised_prompt": "a partial_image of a fox",
                "b64_json": LARGE,
            }
        ).encode(),
    ],
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_whole_picture_is_not_lost_over_how_its_stream_ends(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.providers.http._REST_SECONDS", 0.1)
    seen: list[bytes] = []
    over = asyncio.Event()
    pieces = [over if piece is NEVER else piece for piece in ENDS[end]]
    async with gateway(streams(*pieces), openai_previews=3) as there:
        assert (await there.picture(preview=seen.append)).data == base64.b64decode(LARGE)
        over.set()
    assert len(seen) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"content_filter_results": {"sexual": {"filtered": True, "severity": "high"}}},
        {"content_filter_results": {"sexual": {"filtered": False, "severity": "medium"}}},
        {"prompt_filter_results": [{"sexual": {"filtered": True}}]},
    ],
)
async def test_an_unfinished_picture_that_is_not_safe_is_not_shown(said: dict[str, Any]) -> None:
    seen: list[bytes] = []
    partial = {"type": "image_generation.partial_image", "b64_json": LARGE, **said}
    async with gateway(streams(events(partial).encode(), WHOLE)) as there:
        await there.picture(preview=seen.append)
    assert seen == []


async def test_a_server_that_breaks_its_streams_is_not_asked_for_them_again() -> None:
    """It would be paid twice for each; but the network may break one of a server that can."""
    turns = iter([streams(PARTIAL, None), streams(PARTIAL, WHOLE), *[streams(PARTIAL, None)] * 2])

    async def answer(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if not asked.get("stream"):
            return web.json_response(data(b64_json=B64))
        return await next(turns)(request, asked)

    def watched(data: bytes) -> None:
        pass

    async with gateway(answer) as there:
        found = await there.error(preview=watched)
        assert (found.code, found.submitted) == ("connection", True)
        await there.picture(preview=watched)
        assert ["stream" in asked for asked in there.asked] == [True, False]
        # Another model may be elsewhere.
        other = "gpt-image-2.6-flare"
        await there.picture(other, preview=watched)
        for _ in range(2):
            await there.error(other, preview=watched)
        await there.picture(other, preview=watched)
        assert ["stream" in asked for asked in there.asked[2:]] == [True, True, True, False]


async def test_a_stream_that_is_silent_to_the_deadline_is_not_asked_for_again() -> None:
    over = asyncio.Event()
    async with gateway(streams(over)) as there:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await there.picture(preview=lambda data: None, deadline=0.2)
        over.set()
        await there.error(preview=lambda data: None)
    assert ["stream" in asked for asked in there.asked] == [True, False]


@pytest.mark.parametrize("name", ["xai", "together", "localai"])
async def test_a_gateway_without_streams_is_asked_for_none(name: str) -> None:
    async with gateway(says(data(b64_json=B64)), openai_gateway=name) as there:
        assert not there.provider.capabilities.previews
        await there.picture(preview=lambda data: None)
    assert "stream" not in there.asked[0]


@pytest.mark.parametrize(
    ("pieces", "code", "submitted"),
    [
        ([b"data: ", b"x" * 3_000_000], "too_large", True),
        ([PARTIAL], "not_json", True),
        ([PARTIAL, WHOLE[:-400]], "no_picture", True),
        (
            [PARTIAL, events({"type": "error", "error": {"code": "moderation_blocked"}}).encode()],
            "moderation_blocked",
            False,
        ),
    ],
)
async def test_a_stream_without_its_end_is_no_picture(
    pieces: list[bytes], code: str, submitted: bool
) -> None:
    async with gateway(streams(*pieces), image_max_bytes=1_000_000) as there:
        error = await there.error(preview=lambda data: None)
        assert (error.code, error.submitted) == (code, submitted)


@pytest.mark.parametrize(("severity", "borderline"), [("safe", False), ("low", True), ("medium", True)])
@pytest.mark.parametrize("picture", [{"b64_json": B64}, {"url": "/files/a.png"}])
async def test_a_picture_that_azure_let_pass_may_be_borderline(
    picture: dict[str, str], severity: str, borderline: bool
) -> None:
    verdicts = {
        "violence": {"filtered": False, "severity": "safe"},
        "sexual": {"filtered": False, "severity": severity},
    }
    # What was asked for says nothing of what was drawn.
    asked = {"prompt_filter_results": {"violence": {"filtered": False, "severity": "low"}}}
    async with gateway(says(data(**picture, content_filter_results=verdicts, **asked))) as there:
        done = await there.provider.submit(GenRequest("job", PROMPT, MODEL, deadline=20.0))
        assert done.image.borderline is borderline
        assert (await there.provider.fetch(done.image)).data == PNG


async def test_an_address_at_the_gateways_own_origin() -> None:
    async def answer(request: web.Request, asked: dict[str, Any]) -> web.Response:
        return web.json_response(data(url=str(request.url.origin() / "files/a.png")))

    async with gateway(answer) as there:
        assert (await there.picture()).data == PNG


async def test_white_space_may_come_for_long_before_the_answer() -> None:
    """The head comes at once and the picture much later: nobody else's room is held meanwhile."""
    told = asyncio.Event()

    async def answer(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(20):
            await response.write(b" \n")
        await told.wait()
        await response.write(json.dumps(data(b64_json=B64 + "A" * 0, padding="x" * 200_000)).encode())
        return response

    rooms = []

    async def room() -> None:
        rooms.append(told.is_set())

    async with gateway(answer) as there:
        running = asyncio.create_task(there.picture(room=room))
        while not there.asked:
            await asyncio.sleep(0)
        assert rooms == []
        told.set()
        assert (await running).data == PNG
    assert rooms == [True]


def error(message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


SAFETY = "Your request was rejected as a result of our safety system."
INPUT, OUTPUT = ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT
QUOTA, AUTH, GONE = ErrorKind.QUOTA, ErrorKind.AUTH, ErrorKind.MODEL_GONE
HTML = "<html><title>403 Forbidden</title><body>Request blocked by our API key policy</body></html>"

REFUSALS: dict[str, tuple[ErrorKind, Handler]] = {
    # The prompt
    "OpenAI": (
        INPUT,
        says(error(SAFETY, code="moderation_blocked", type="image_generation_user_error"), 400),
    ),
    "OpenAI, older": (INPUT, says(error(SAFETY, code="content_policy_violation"), 400)),
    "OpenAI, the picture": (
        OUTPUT,
        says(error("The generated image was rejected by the safety system.", code="moderation_blocked"), 400),
    ),
    "OpenRouter": (
        INPUT,
        says({"error": {"code": 403, "message": "Input refused", "metadata": {"reasons": ["sexual"]}}}, 403),
    ),
    "OpenRouter, in words": (INPUT, says(error("Your input was flagged", code=403), 403)),
    "Polza": (INPUT, says(error("Запрос отклонён модерацией", code="MODERATION"), 403)),
    "Stability": (
        INPUT,
        says({"id": "a", "name": "content_moderation", "errors": ["Your request was flagged."]}, 403),
    ),
    "xAI": (
        OUTPUT,
        says({"code": "Bad argument", "error": "Generated image rejected by content moderation."}, 400),
    ),
    "xAI, a filter": (INPUT, says({"error": {"message": "no", "contentFilter": True}}, 400)),
    "Azure": (
        INPUT,
        says(
            error(
                "The response was filtered",
                code="contentFilter",
                inner_error={
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_results": {"sexual": {"filtered": True, "severity": "high"}},
                },
            ),
            400,
        ),
    ),
    "Azure, results only": (
        INPUT,
        says(error("no", content_filter_results={"jailbreak": {"filtered": True, "detected": True}}), 400),
    ),
    "Volcengine": (
        INPUT,
        says(error("The request failed.", code="InputTextSensitiveContentDetected"), 400),
    ),
    "Volcengine, the picture": (OUTPUT, says(error("x", code="OutputImageSensitiveContentDetected"), 400)),
    "DashScope": (
        INPUT,
        says({"code": "DataInspectionFailed", "message": "Input data may contain it."}, 400),
    ),
    "new-api": (INPUT, says(error("sensitive words detected", code="sensitive_words_detected"), 500)),
    "Recraft": (INPUT, says({"code": "prompt_flagged", "message": "Not allowed"}, 400)),
    "451": (INPUT, says("Unavailable for legal reasons", 451)),
    "a text for the error": (INPUT, says({"error": "Prompt violates our usage policies"}, 400)),
    "FastAPI's detail": (INPUT, says({"detail": "NSFW content detected in prompt"}, 400)),
    "a code for the error": (INPUT, says({"error": "content_policy_violation"}, 400)),
    "error inside 200": (INPUT, says(error(SAFETY, code="moderation_blocked"))),
    "a text for the error inside 200": (
        INPUT,
        says({"error": "The prompt was blocked by our safety filter"}),
    ),
    "LiteLLM": (INPUT, says(error(f"litellm.ContentPolicyViolationError: {SAFETY}", code="500"), 500)),
    "passed on in a 502": (INPUT, says(error(f"upstream: {SAFETY}"), 502)),
    "JSON in a text": (
        INPUT,
        says(
            error("provider error", metadata={"raw": '{"error": {"code": "moderation_blocked", "x": "y"}}'}),
            400,
        ),
    ),
    "a firewall's page": (INPUT, says(HTML, 403, content_type="text/html")),
    "403 without a word": (INPUT, says(error("Forbidden"), 403)),
    "no data": (OUTPUT, says({"created": 1, "data": []})),
    "no images": (OUTPUT, says({"images": []})),
    "a text for the picture": (OUTPUT, says("I'm sorry, but I can't draw that.", content_type="text/plain")),
    "a text in its place": (OUTPUT, says(data(b64_json=None, text="I can't help with that request."))),
    "a text for its address": (OUTPUT, says(data(url="Sorry, this image cannot be generated."))),
    "a text for base64": (
        OUTPUT,
        says(data(b64_json="Sorry, this image cannot be generated, try another one.")),
    ),
    "a text that names the filter": (INPUT, says("Blocked by our safety filter.", content_type="text/plain")),
    "a message with no data": (INPUT, says({"code": 0, "message": "Prompt was flagged", "data": None})),
    "a chat's answer": (
        OUTPUT,
        says({"choices": [{"message": {"content": "I cannot create that picture."}}]}),
    ),
    # Whoever asks a model that chats can have it say this.
    **{
        f"a model about {of}, {form}": (OUTPUT, says(body, **more))
        for of, words in {
            "money": "Insufficient balance, please top up",
            "keys": "Access denied: this API key is invalid, authentication failed",
            "models": "The model does not exist",
        }.items()
        for form, body, more in (
            ("plainly", words, {"content_type": "text/plain"}),
            ("in a chat", {"id": "a", "choices": [{"message": {"content": words}}], "error": None}, {}),
            ("as a response", {"status": "completed", "output": [{"content": [{"text": words}]}]}, {}),
            ("in a picture's place", data(b64_json=None, text=words), {}),
            ("as a message", {"message": words}, {}),
            (
                "in an event",
                events({"type": "message", "content": words}),
                {"content_type": "text/event-stream"},
            ),
        )
    },
    "a code for no money in 200": (
        QUOTA,
        says({"code": 402, "message": "Insufficient balance, please top up", "data": None}),
    ),
    "an error for no money in 200": (QUOTA, says({"error": {"message": "Insufficient balance"}})),
    "events that end in a refusal": (
        INPUT,
        says(events({"type": "error", "error": {"code": "moderation_blocked", "message": SAFETY}})),
    ),
    "filtered in 200": (
        OUTPUT,
        says(data(b64_json=B64, content_filter_results={"sexual": {"filtered": True}})),
    ),
    "xAI, a black picture": (OUTPUT, says(data(b64_json=B64, respect_moderation=False))),
    "a black picture": (OUTPUT, says({"images": [{"b64_json": B64}], "has_nsfw_concepts": [True]})),
    # Money
    "402": (QUOTA, says(error("Payment Required"), 402)),
    "OpenAI, no money": (
        QUOTA,
        says(
            error("You exceeded your current quota, please check your plan.", code="insufficient_quota"), 429
        ),
    ),
    "OpenAI, the limit": (QUOTA, says(error("Billing hard limit", code="billing_hard_limit_reached"), 400)),
    "new-api, no money": (QUOTA, says(error("用户额度不足", code="insufficient_user_quota"), 403)),
    "a key's own quota": (
        QUOTA,
        says(error("token quota is not enough", code="pre_consume_token_quota_failed"), 403),
    ),
    "OpenRouter, no money": (QUOTA, says(error("Insufficient credits. Add more at /credits", code=402), 402)),
    "in Russian": (QUOTA, says(error("Недостаточно средств на балансе"), 400)),
    "DashScope, no money": (QUOTA, says({"code": "Arrearage", "message": "Access denied"}, 400)),
    "Volcengine, no money": (QUOTA, says(error("The account is overdue", code="AccountOverdueError"), 403)),
    "xAI, no money": (QUOTA, says({"code": "no", "error": "Your team doesn't have any credits yet."}, 403)),
    "in 401": (QUOTA, says(error("Insufficient balance"), 401)),
    # The key
    "401": (AUTH, says(error("Incorrect API key provided", code="invalid_api_key"), 401)),
    # It looks a key that is not its own up in a database, which it does not have.
    "LiteLLM, another key": (
        AUTH,
        says(error("No connected db.", type="no_db_connection", code="400"), 400),
    ),
    "401 without a word": (AUTH, says("", 401)),
    "the country": (
        AUTH,
        says(
            error("Country, region, or territory not supported", code="unsupported_country_region_territory"),
            403,
        ),
    ),
    "the organisation": (AUTH, says(error("Your organization must be verified to use this model."), 403)),
    "the key in 403": (AUTH, says(error("This API key is disabled"), 403)),
    # The model
    "OpenAI, retired": (
        GONE,
        says(error(f"The model `{MODEL}` does not exist", code="model_not_found"), 404),
    ),
    "retired in 400": (GONE, says(error("The model has been deprecated", code="model_deprecated"), 400)),
    "LiteLLM, no model": (GONE, says(error(f"Invalid model name passed in model={MODEL}"), 400)),
    "OpenRouter, no model": (GONE, says(error(f"{MODEL} is not a valid model ID", code=400), 400)),
    "new-api, no model": (
        GONE,
        says(
            error(f"No available channel for model {MODEL} under group default", code="model_not_found"), 503
        ),
    ),
    "a wrong address": (GONE, says("404 page not found", 404)),
    # The rest
    "a rate": (
        ErrorKind.RATE_LIMITED,
        says(
            error(
                "Rate limit reached for images per minute. Add a payment method at https://x/account/billing.",
                type="requests",
                code="rate_limit_exceeded",
            ),
            429,
        ),
    ),
    "a rate in words": (
        ErrorKind.RATE_LIMITED,
        says(error("Quota exceeded for images per minute, top-up your plan for more"), 429),
    ),
    "a bare 429": (ErrorKind.RATE_LIMITED, says("", 429)),
    "a bad source": (
        ErrorKind.BAD_SOURCE,
        says(error("Invalid image", code="invalid_image_file", param="image"), 400),
    ),
    "too large a source": (ErrorKind.BAD_SOURCE, says(HTML, 413, content_type="text/html")),
    "its own fault": (ErrorKind.UPSTREAM, says(error("The server had an error"), 500)),
    "overloaded": (ErrorKind.OVERLOADED, says(HTML, 503, content_type="text/html")),
    "a wrong value": (ErrorKind.INVALID_REQUEST, says(error("Invalid prompt", param="prompt"), 400)),
    "a page for an answer": (ErrorKind.UPSTREAM, says(HTML, content_type="text/html")),
    "success with nothing in it": (
        ErrorKind.UPSTREAM,
        says({"code": 200, "message": "success, all done", "data": None}),
    ),
    "a task for a picture": (ErrorKind.BAD_RESULT, says({"id": "t1", "status": "processing"}, 202)),
    "Polza, a task": (ErrorKind.BAD_RESULT, says({"requestId": "gen_581761234567890123"}, 201)),
    "a foreign address": (ErrorKind.BAD_RESULT, says(data(url="https://cdn.gateway.example/x.png"))),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_what_it_is(name: str) -> None:
    kind, handler = REFUSALS[name]
    async with gateway(handler) as there:
        found = await there.error()
    assert found.kind is kind
    assert PROMPT not in str(found)
    if kind in (INPUT, OUTPUT, QUOTA, AUTH, GONE):
        assert not found.submitted, "known to be refused: not to be asked for again"
        assert not found.retryable


async def test_words_of_the_prompt_are_not_the_providers() -> None:
    for prompt in (
        "safety system flagged by moderation",
        "insufficient balance, out of credits",
        "billing limit",
    ):
        async with gateway(says(error(f"Could not draw '{prompt}': the server had an error"), 500)) as there:
            with pytest.raises(ProviderError) as caught:
                await there.provider.submit(GenRequest("job", prompt, MODEL))
        assert caught.value.kind is ErrorKind.UPSTREAM


async def test_a_prompt_quoted_in_part_is_not_the_providers_word_about_money_or_keys() -> None:
    for prompt in ("insufficient balance, out of credits, top up", "the API key is no longer a valid model"):
        async with gateway(says(error(f"Could not draw: {prompt[:-3]}…"), 403)) as there:
            with pytest.raises(ProviderError) as caught:
                await there.provider.submit(GenRequest("job", prompt, MODEL))
        assert caught.value.kind is INPUT


async def test_a_prompt_that_is_a_word_of_the_providers_own_hides_no_refusal() -> None:
    for prompt in ("safety", "moderation", "a"):
        async with gateway(says(error(SAFETY), 400)) as there:
            with pytest.raises(ProviderError) as caught:
                await there.provider.submit(GenRequest("job", prompt, MODEL))
        assert caught.value.kind is INPUT


@pytest.mark.parametrize(
    ("models", "kind"), [(403, AUTH), (401, AUTH), (200, INPUT), (404, INPUT), (500, INPUT)]
)
async def test_a_403_without_a_reason_is_the_keys_only_where_a_harmless_call_gets_one(
    models: int, kind: ErrorKind
) -> None:
    for body in (error("Forbidden"), HTML):
        async with gateway(says(body, 403), models=models) as there:
            assert (await there.error()).kind is kind


def refusing(*names: str, say: Callable[[str], Any] | None = None, status: int = 400) -> Handler:
    """A server that knows none of these parameters."""

    async def answer(request: web.Request, asked: dict[str, Any]) -> web.Response:
        for name in names:
            if name in asked:
                said = (
                    say(name)
                    if say
                    else error(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
                )
                return web.json_response(said, status=status)
        return web.json_response(data(b64_json=B64))

    return answer


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (MODEL, "stream"),
        (MODEL, "partial_images"),
        (MODEL, "safety_identifier"),
        (MODEL, "size"),
        (MODEL, "n"),
        ("flux-2-pro", "user"),
        ("flux-2-pro", "response_format"),
    ],
)
@pytest.mark.parametrize(
    ("status", "say"),
    [
        (400, None),
        (400, lambda name: error(f"Unrecognized request argument supplied: {name}")),
        (400, lambda name: error(f"{name} is not supported by this model")),
        (
            422,
            lambda name: {
                "detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"}]
            },
        ),
        (400, lambda name: {"error": f"UnsupportedParamsError: does not support parameters: ['{name}']"}),
    ],
)
async def test_a_parameter_that_is_not_known_is_left_out_and_stays_out(
    model: str, name: str, status: int, say: Callable[[str], Any] | None
) -> None:
    async with gateway(refusing(name, say=say, status=status)) as there:
        for _ in range(2):
            assert (await there.picture(model, preview=lambda data: None)).data == PNG
        assert [name in asked for asked in there.asked] == [True, False, False]
        assert all(("stream" in asked) == ("partial_images" in asked) for asked in there.asked)


async def test_several_are_left_out_one_after_another() -> None:
    async with gateway(refusing("size", "user", "response_format", "n")) as there:
        await there.picture("flux-2-pro")
        await there.picture("flux-2-pro", sources=(SourceImage(PNG, "image/png"),))
    assert len(there.asked) == 6
    assert there.paths[-1] == "/v1/images/edits"
    assert set(there.asked[-1]) == {"model", "prompt", "image"}


async def test_a_size_that_a_model_lacks_says_nothing_of_its_others() -> None:
    async def answer(request: web.Request, asked: dict[str, Any]) -> web.Response:
        if asked.get("size") == "1536x864":
            said = error(
                "Invalid value: '1536x864'. Supported values are: '1024x1024'.",
                param="size",
                code="invalid_value",
            )
            return web.json_response(said, status=400)
        return web.json_response(data(b64_json=B64))

    async with gateway(answer) as there:
        await there.picture(aspect="16:9")
        await there.picture(aspect="1:1")
        await there.picture(aspect="16:9")
    assert [asked.get("size") for asked in there.asked] == ["1536x864", None, "1024x1024", None]


async def test_what_did_not_help_is_said_again_the_next_time() -> None:
    said = error("The size of this image is not supported", param="image")
    async with gateway(says(said, 400)) as there:
        for _ in range(2):
            assert (await there.error()).kind is ErrorKind.BAD_SOURCE
    assert ["size" in asked for asked in there.asked] == [True, False] * 2


async def test_what_must_be_there_is_not_left_out() -> None:
    async with gateway(refusing("prompt")) as there:
        assert (await there.error()).kind is ErrorKind.INVALID_REQUEST
        assert len(there.asked) == 1


async def test_a_refused_prompt_is_asked_for_once() -> None:
    said = error("size of the sexual content is not supported", param="size", code="moderation_blocked")
    async with gateway(says(said, 400)) as there:
        assert (await there.error()).kind is INPUT
        assert len(there.asked) == 1


@pytest.mark.parametrize(
    ("model", "asks"),
    [
        (MODEL, False),
        (f"openai/{MODEL}", False),
        ("chatgpt-image-latest", False),
        ("flux-2-pro", True),
        ("dall-e-3", True),
    ],
)
async def test_bytes_are_asked_for_where_that_is_taken(model: str, asks: bool) -> None:
    async with gateway(says(data(b64_json=B64))) as there:
        await there.picture(model)
    assert (there.asked[0].get("response_format") == "b64_json") is asks


async def test_one_that_gave_an_address_is_asked_for_bytes_from_then_on() -> None:
    async def answer(request: web.Request, asked: dict[str, Any]) -> web.Response:
        item = (
            {"b64_json": B64}
            if asked.get("response_format")
            else {"url": "https://cdn.gateway.example/x.png"}
        )
        return web.json_response(data(**item))

    async with gateway(answer) as there:
        found = await there.error()
        assert (found.code, found.host) == ("foreign_host", "cdn.gateway.example")
        assert "PROVIDER_RESULT_HOSTS" in str(found)
        assert (await there.picture()).data == PNG


async def test_another_host_is_fetched_from_when_the_operator_names_it() -> None:
    async def file(_: web.Request) -> web.Response:
        return web.Response(body=PNG)

    app = web.Application()
    app.router.add_get("/x.png", file)
    async with TestServer(app) as cdn:
        origin = str(cdn.make_url("")).rstrip("/")
        async with gateway(says(data(url=f"{origin}/x.png"))) as there:
            # Another port is another server.
            assert (await there.error()).host == origin
        async with gateway(says(data(url=f"{origin}/x.png")), provider_result_hosts=origin) as there:
            assert (await there.picture()).data == PNG


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (MODEL, "1536x864"),
        (f"openai/{MODEL}", "1536x864"),
        ("gpt-image-2", "1536x864"),
        ("gpt-image-2.6-flare", "1536x1024"),
        ("gpt-image-1.5", "1536x1024"),
        ("openai/dall-e-3", "1792x1024"),
    ],
)
async def test_a_model_with_a_prefix_follows_its_own_rules(model: str, size: str) -> None:
    async with gateway(says(data(b64_json=B64))) as there:
        await there.picture(model, aspect="16:9")
    assert there.asked[0]["size"] == size


@asynccontextmanager
async def panel(
    *routes: tuple[str, str, Handler], at: str = "/v1", **settings: Any
) -> AsyncIterator[OpenAIProvider]:
    """A server with these routes only, and a client of it."""
    app = web.Application()
    for method, path, handler in routes:

        async def answer(request: web.Request, handler: Handler = handler) -> web.StreamResponse:
            return await handler(request, {})

        app.router.add_route(method, path, answer)
    async with TestServer(app) as server:
        url = str(server.make_url(at))
        chosen = load_settings(_env_file=None, openai_api_key="key", openai_base_url=url, **settings)
        async with make_client(chosen) as client:
            yield OpenAIProvider(chosen, client)


LIST = says({"data": [{"id": MODEL}, {"id": "flux-2-pro"}, {"id": "gpt-5"}]})
MISSING = says(error("Missing required parameter: 'prompt'.", param="prompt"), 400)
EVERYTHING = "/{any:.*}"
CHECKS: dict[str, tuple[bool, str, list[tuple[str, str, Handler]], dict[str, Any]]] = {
    "as it should be": (
        True,
        f"has {MODEL}",
        [("GET", "/v1/models", LIST), ("POST", EVERYTHING, MISSING)],
        {},
    ),
    "a model that it lacks": (
        False,
        "does not list the model gpt-image-1",
        [("GET", "/v1/models", LIST), ("POST", EVERYTHING, MISSING)],
        {"openai_model": "gpt-image-1"},
    ),
    "a faster model that it lacks": (
        False,
        "does not list the model no-such",
        [("GET", "/v1/models", LIST), ("POST", EVERYTHING, MISSING)],
        {"openai_fast_model": "no-such"},
    ),
    "a name with a prefix": (
        True,
        f"has openai/{MODEL}",
        [("GET", "/v1/models", LIST), ("POST", EVERYTHING, MISSING)],
        {"openai_model": f"openai/{MODEL}"},
    ),
    "a list of chat models": (
        True,
        "lists no picture models",
        [("GET", "/v1/models", says({"data": [{"id": "gpt-5"}]})), ("POST", EVERYTHING, MISSING)],
        {},
    ),
    "no edits": (
        True,
        "it has no edits (404 at /images/edits)",
        [("GET", "/v1/models", LIST), ("POST", "/v1/images/generations", MISSING)],
        {},
    ),
    "no list": (True, "lists no models", [("POST", EVERYTHING, MISSING)], {}),
    "no /v1": (False, "often ends in /v1", [], {}),
    "a panel": (
        False,
        "answers with a web page",
        [("*", EVERYTHING, says(HTML, content_type="text/html"))],
        {},
    ),
    "a panel without that page": (
        False,
        "often ends in /v1",
        [("POST", EVERYTHING, says(HTML, content_type="text/html"))],
        {},
    ),
    "something else": (False, "answers with something else", [("GET", EVERYTHING, says("hello"))], {}),
    "the key": (False, "check OPENAI_API_KEY", [("GET", EVERYTHING, says(error("no"), 401))], {}),
    "the key, at LiteLLM": (
        False,
        "check OPENAI_API_KEY",
        [("GET", EVERYTHING, says(error("No connected db.", type="no_db_connection"), 400))],
        {},
    ),
    "the key, at one without a list": (
        False,
        "check OPENAI_API_KEY",
        [("POST", EVERYTHING, says(error("no"), 401))],
        {},
    ),
    "the country": (
        False,
        "does not serve the country",
        [("GET", EVERYTHING, says(error("no", code="unsupported_country_region_territory"), 403))],
        {},
    ),
    "no money": (
        False,
        "balance is spent",
        [("GET", EVERYTHING, says(error("no", code="insufficient_user_quota"), 403))],
        {},
    ),
    "broken": (False, "status 500: check OPENAI_BASE_URL", [("GET", EVERYTHING, says("", 500))], {}),
}


@pytest.mark.parametrize("name", CHECKS)
async def test_the_doctor_says_what_it_saw(name: str) -> None:
    ok, words, routes, settings = CHECKS[name]
    async with panel(*routes, **settings) as provider:
        health = await provider.check()
    assert words in health.detail
    assert health.ok is ok


@pytest.mark.parametrize("root", [says(HTML, content_type="text/html"), says(error("no"), 404)])
async def test_the_doctor_finds_the_api_one_step_further(root: Handler) -> None:
    async with panel(("GET", "/v1/models", LIST), ("*", EVERYTHING, root), at="/") as provider:
        health = await provider.check()
    assert not health.ok
    assert re.search(r"is no API, but (\S+/v1) is: set OPENAI_BASE_URL=\1$", health.detail)


async def test_the_doctor_names_where_pictures_may_come_from() -> None:
    routes = [("GET", "/v1/models", LIST), ("POST", EVERYTHING, MISSING)]
    async with panel(*routes, provider_result_hosts="cdn.example.com,https://b.example:8443") as provider:
        detail = (await provider.check()).detail
    assert detail.endswith("pictures may come from 127.0.0.1, cdn.example.com, https://b.example:8443")


@dataclass(frozen=True)
class Known:
    """A gateway as it is: what it is asked for words and for a change of a picture, and how it answers. It takes
    nothing else."""

    model: str
    at: str
    path: str
    says: dict[str, str]
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    key: tuple[str, str] = ("Authorization", "Bearer key")
    edit: tuple[str, set[str]] | None = None
    costs: tuple[float, str] | None = None


def asked_for(model: str, **more: str) -> dict[str, str]:
    return {"model": model, "prompt": PROMPT, "n": "1", **more}


SAFE = {"sexual": {"filtered": False, "severity": "safe"}}
WORDS = {"model", "prompt", "n"}
KNOWN: dict[str, Known] = {
    "openai": Known(
        MODEL,
        "/v1",
        "/v1/images/generations",
        asked_for(MODEL, size="1536x864", safety_identifier="ab12"),
        {"usage": {"input_tokens": 9, "output_tokens": 272, "total_tokens": 281}, "size": "1536x864"},
        edit=("/v1/images/edits", {*WORDS, "size", "safety_identifier", "image[]"}),
    ),
    "azure": Known(
        "draw",
        "/openai/deployments/draw",
        "/openai/deployments/draw/images/generations?api-version=2025-04-01-preview",
        asked_for("draw", size="1536x1024", user="ab12", response_format="b64_json"),
        {"prompt_filter_results": SAFE, "content_filter_results": SAFE},
        key=("api-key", "key"),
        edit=(
            "/openai/deployments/draw/images/edits?api-version=2025-04-01-preview",
            {*WORDS, "size", "user", "response_format", "image"},
        ),
    ),
    "azure, a version of one's own": Known(
        MODEL,
        "/openai/v1?api-version=preview",
        "/openai/v1/images/generations?api-version=preview",
        asked_for(MODEL, size="1536x864", user="ab12"),
        key=("api-key", "key"),
        edit=("/openai/v1/images/edits?api-version=preview", {*WORDS, "size", "user", "image[]"}),
    ),
    "litellm": Known(
        MODEL,
        "/v1",
        "/v1/images/generations",
        asked_for(MODEL, size="1536x864", user="ab12"),
        headers={"x-litellm-response-cost": "0.0053"},
        edit=("/v1/images/edits", {*WORDS, "size", "user", "image[]"}),
        costs=(0.0053, "USD"),
    ),
    "proxyapi": Known(
        "dall-e-3",
        "/openai/v1",
        "/openai/v1/images/generations",
        asked_for("dall-e-3", size="1792x1024", user="ab12", response_format="b64_json"),
        edit=("/openai/v1/images/edits", {*WORDS, "size", "user", "response_format", "image"}),
    ),
    "polza": Known(
        "black-forest-labs/flux-schnell",
        "/api/v1",
        "/api/v1/images/generations",
        asked_for(
            "black-forest-labs/flux-schnell", size="1536x1024", user="ab12", response_format="b64_json"
        ),
    ),
    "aitunnel": Known(
        "flux.2-pro",
        "/v1",
        "/v1/images/generations",
        asked_for("flux.2-pro", size="1536x1024", user="ab12", response_format="b64_json"),
        {"usage": {"cost_rub": 3.4, "balance": 96.6}},
        edit=("/v1/images/edits", {*WORDS, "size", "user", "response_format", "image"}),
        costs=(3.4, "RUB"),
    ),
    "xai": Known(
        "grok-imagine-image-quality",
        "/v1",
        "/v1/images/generations",
        asked_for("grok-imagine-image-quality", aspect_ratio="16:9", user="ab12", response_format="b64_json"),
        {"usage": {"cost_in_usd_ticks": 700000000}},
        edit=("/v1/images/edits", {*WORDS, "aspect_ratio", "user", "response_format", "image"}),
        costs=(0.07, "USD"),
    ),
    "together": Known(
        "black-forest-labs/FLUX.1-schnell",
        "/v1",
        "/v1/images/generations",
        asked_for("black-forest-labs/FLUX.1-schnell", width="1536", height="1024", response_format="base64"),
        {"id": "o9", "object": "list"},
        edit=("/v1/images/generations", {*WORDS, "width", "height", "response_format", "image_url"}),
    ),
    "localai": Known(
        "flux.1-dev",
        "/v1",
        "/v1/images/generations",
        asked_for("flux.1-dev", size="1536x1024", response_format="b64_json"),
        {"id": "1d01c64f", "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    ),
}


@pytest.mark.parametrize("row", KNOWN)
async def test_a_known_gateway_is_asked_as_it_is(row: str) -> None:
    known, seen = KNOWN[row], []

    async def answer(request: web.Request) -> web.Response:
        form = request.content_type != "application/json"
        body = await request.post() if form else await request.json()
        assert request.headers.get(known.key[0]) == known.key[1]
        assert ("Authorization" in request.headers) == (known.key[0] == "Authorization")
        seen.append((request.path_qs, dict(body)))
        item = {"b64_json": B64, "revised_prompt": "A fox.", "index": 0}
        return web.json_response({"created": 1, "data": [item], **known.more}, headers=known.headers)

    app = web.Application()
    app.router.add_post(EVERYTHING, answer)
    async with TestServer(app) as server:
        chosen = load_settings(
            _env_file=None,
            openai_api_key="key",
            openai_base_url=str(server.make_url("")).rstrip("/") + known.at,
            openai_gateway=row.partition(",")[0],
            openai_model=known.model,
        )
        async with make_client(chosen) as client:
            there = OpenAIProvider(chosen, client)
            ask = GenRequest("job", PROMPT, known.model, aspect="16:9", user_hash="ab12", deadline=20.0)
            done = await there.submit(ask)
            assert (await there.fetch(done.image)).data == PNG
            ((path, said),) = seen
            numbers = {name: int(known.says[name]) for name in ("n", "width", "height") if name in known.says}
            assert (path, said) == (known.path, known.says | numbers)
            assert done.costs == known.costs
            assert there.capabilities.edit == (known.edit is not None)
            if known.edit is not None:
                source = SourceImage(PNG, "image/png")
                few = min(2, there.capabilities.sources)
                assert (await there.submit(replace(ask, sources=(source,) * few))).image.data == PNG
                path, said = seen[-1]
                assert (path, set(said)) == known.edit
                assert there.capabilities.sources in (1, 3, 16)
            # It would draw something else, and be paid for it.
            more = there.capabilities.sources + 1 if known.edit else 1
            with pytest.raises(ProviderError) as refused:
                await there.submit(replace(ask, sources=(SourceImage(PNG, "image/png"),) * more))
            assert refused.value.kind is ErrorKind.INVALID_REQUEST
            assert len(seen) == 1 + (known.edit is not None)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure"),
        ("https://mine.services.ai.azure.com/openai/v1", "azure"),
        ("https://openai.azure.com.example.com/v1", ""),
        ("https://api.proxyapi.ru/openai/v1", "proxyapi"),
        ("https://polza.ai/api/v1", "polza"),
        ("https://api.aitunnel.ru/v1", "aitunnel"),
        ("https://api.x.ai/v1", "xai"),
        ("https://api.together.xyz/v1", "together"),
        ("http://localhost:4000", ""),
    ],
)
def test_a_gateway_is_known_by_its_host(address: str, name: str) -> None:
    assert gateway_at(address)[0] == name
    assert gateway_at(address, "litellm")[0] == "litellm"


@pytest.mark.parametrize(
    ("known", "words", "pictures", "drawn", "cost"),
    [
        ("openai", 40, 1000, 1756, 0.06088),
        ("azure", 40, 0, 196, 0.00608),
        # It has a price of its own, which it does not tell.
        ("proxyapi", 40, 0, 196, None),
        # Nothing is not believed, nor is what nobody can have drawn.
        ("openai", 40, 0, 0, None),
        ("openai", 40, 0, 10**9, None),
        ("openai", "40", 0, 196, None),
    ],
)
async def test_tokens_tell_what_a_picture_cost(
    known: str, words: Any, pictures: int, drawn: int, cost: float | None
) -> None:
    details = {"text_tokens": words, "image_tokens": pictures}
    usage = {"total_tokens": 1, "input_tokens": 40, "input_tokens_details": details, "output_tokens": drawn}
    handler = says({"created": 1, "data": [{"b64_json": B64}], "usage": usage})
    async with gateway(handler, openai_gateway=known) as there:
        done = await there.provider.submit(GenRequest("job", PROMPT, "gpt-image-2.5-flare", deadline=20.0))
    assert done.costs == (None if cost is None else (pytest.approx(cost), "USD"))


async def test_a_picture_without_a_cost_is_not_free_for_that() -> None:
    for told in ("0.0", "None", "", "-1", "nan"):
        handler = says(data(b64_json=B64), headers={"x-litellm-response-cost": told})
        async with gateway(handler, openai_gateway="litellm") as there:
            done = await there.provider.submit(GenRequest("job", PROMPT, MODEL, deadline=20.0))
        assert done.costs is None


def test_a_gateway_that_nobody_knows_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=r"OPENAI_GATEWAY.*expected one of openai, azure"):
        load_settings(_env_file=None, openai_gateway="openia")
