"""The Gemini client against the stand-in, and the stand-in against Google's own SDK."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from src.providers.base import Done, ErrorKind, GenRequest, ImageBytes, ProviderError, SourceImage, Ticket
from src.providers.gemini import GeminiProvider
from tests.providers.conftest import KEY
from tests.vendors import Vendor

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

genai, types = Vendor("google.genai"), Vendor("google.genai.types")

MODEL = "gemini-nano-banana-2.1"
PNG = b"\x89PNG\r\n\x1a\nrest"


@pytest.fixture
def gemini(edge: Edge, client: httpx.AsyncClient) -> GeminiProvider:
    return GeminiProvider(edge.settings(), client)


def ask(prompt: str = "a fox", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(gemini: GeminiProvider, request: GenRequest) -> ImageBytes:
    return await gemini.fetch((await gemini.submit(request)).image)


async def refused(gemini: GeminiProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(gemini, request)
    return caught.value


def sdk(edge: Edge, key: str = KEY) -> Any:
    retry = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=f"{edge.base}/gemini", retry_options=retry)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_googles_sdk_makes_and_edits_a_picture(edge: Edge) -> None:
    async with sdk(edge).aio as google:
        config = types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(aspect_ratio="16:9", image_size="1K"),
        )
        first = await google.models.generate_content(model=MODEL, contents="a fox", config=config)
        blob = first.candidates[0].content.parts[0].inline_data  # type: ignore[index, union-attr]
        assert blob is not None
        source = types.Part.from_bytes(data=blob.data, mime_type="image/png")  # type: ignore[arg-type]
        await google.models.generate_content(model=MODEL, contents=["in snow", source], config=config)
        model = await google.models.get(model=MODEL)
        edge.faults.add("moderated")
        blocked = await google.models.generate_content(model=MODEL, contents="a fox", config=config)
        edge.faults.add("moderated_output")
        hidden = await google.models.generate_content(model=MODEL, contents="a fox", config=config)
    assert (model.name, edge.gemini.audit.sources["in snow"]) == (f"models/{MODEL}", 1)
    assert blocked.prompt_feedback is not None
    assert blocked.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT
    assert hidden.candidates
    assert hidden.candidates[0].finish_reason is types.FinishReason.IMAGE_SAFETY


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
@pytest.mark.parametrize(
    ("key", "model", "fault", "code", "status"),
    [
        ("other", MODEL, None, 400, "INVALID_ARGUMENT"),
        (KEY, "gemini-3.1-flash-image", None, 404, "NOT_FOUND"),
        (KEY, MODEL, "429", 429, "RESOURCE_EXHAUSTED"),
        (KEY, MODEL, "503", 503, "UNAVAILABLE"),
    ],
)
async def test_googles_sdk_understands_the_refusals(
    edge: Edge, key: str, model: str, fault: str | None, code: int, status: str
) -> None:
    if fault:
        edge.faults.add(fault)
    async with sdk(edge, key).aio as google:
        with pytest.raises(genai.errors.APIError) as caught:
            await google.models.generate_content(model=model, contents="a fox")
    assert (caught.value.code, caught.value.status) == (code, status)


async def test_gets_the_picture(gemini: GeminiProvider, edge: Edge) -> None:
    image = await made(gemini, ask(aspect="16:9", seed=5, quality="high", negative_prompt="fog"))
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert edge.gemini.audit.charged == {"a fox": 1}
    sources = (SourceImage(image.data, image.mime),) * 2
    await made(gemini, ask("in snow", sources=sources))
    assert edge.gemini.audit.sources["in snow"] == 2


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, False),
        ("moderated_output", ErrorKind.MODERATED_OUTPUT, False),
        ("blocked_200", ErrorKind.MODERATED_OUTPUT, False),
        ("fail", ErrorKind.UPSTREAM, False),
        ("400", ErrorKind.INVALID_REQUEST, False),
        ("402", ErrorKind.QUOTA, False),
        ("403", ErrorKind.AUTH, False),
        ("insufficient_quota", ErrorKind.QUOTA, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("502", ErrorKind.UPSTREAM, True),
        ("503", ErrorKind.OVERLOADED, False),
        ("504", ErrorKind.TIMEOUT, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, True),
    ],
)
async def test_trouble_has_a_kind(
    gemini: GeminiProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(gemini, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(gemini, ask())).width == 1024, "the next one works again"


async def test_a_wrong_key_is_a_400_here(edge: Edge, client: httpx.AsyncClient) -> None:
    for key in ("other", " "):
        error = await refused(GeminiProvider(edge.settings(gemini_api_key=key), client), ask())
        assert (error.kind, error.submitted) == (ErrorKind.AUTH, False)


async def test_a_limit_tells_when_to_come_back(gemini: GeminiProvider, edge: Edge) -> None:
    edge.faults.add("429", retry_after=34.5)
    error = await refused(gemini, ask())
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, 34.5)


async def test_silence_is_a_timeout_of_unknown_fate(gemini: GeminiProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    error = await refused(gemini, ask(deadline=0.3))
    assert (error.kind, error.submitted) == (ErrorKind.TIMEOUT, True)


async def test_a_model_that_is_gone(gemini: GeminiProvider) -> None:
    assert (await refused(gemini, ask(model="gemini-3.1-flash-image"))).kind is ErrorKind.MODEL_GONE


async def answered(edge: Edge, status: int, body: Any) -> Done:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await GeminiProvider(edge.settings(), client).submit(ask())


def holding(*parts: dict[str, Any], reason: str | None = "STOP") -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]}


DATA = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "body",
    [
        holding({"inlineData": {"mimeType": "image/png", "data": DATA}}),
        holding({"text": "Here it is"}, {"inlineData": {"data": DATA}}, reason=None),
        holding({"inlineData": {"data": base64.b64encode(b"draft").decode()}, "thought": True})
        | holding({"text": None, "inlineData": {"data": base64.urlsafe_b64encode(PNG).decode()}}),
        holding({"text": f"![image](data:image/png;base64,{DATA})"}),
        {**holding({"inlineData": {"data": DATA}}), "promptFeedback": {"safetyRatings": []}},
    ],
)
async def test_a_picture_in_every_form_it_comes_in(edge: Edge, body: Any) -> None:
    assert (await answered(edge, 200, body)).image.data == PNG


@pytest.mark.parametrize(
    ("status", "body", "kind", "submitted"),
    [
        (200, {"promptFeedback": {"blockReason": "OTHER"}}, ErrorKind.MODERATED_INPUT, False),
        (200, holding(reason="IMAGE_PROHIBITED_CONTENT"), ErrorKind.MODERATED_OUTPUT, False),
        (200, holding(reason="IMAGE_RECITATION"), ErrorKind.MODERATED_OUTPUT, False),
        (200, holding(reason="A_REASON_OF_TOMORROW"), ErrorKind.MODERATED_OUTPUT, False),
        (200, holding(reason="PUP_LIMITED_DISABLED"), ErrorKind.AUTH, False),
        (200, holding(reason="MALFORMED_RESPONSE"), ErrorKind.UPSTREAM, False),
        (200, holding({"text": "I cannot draw that person."}), ErrorKind.MODERATED_OUTPUT, False),
        (200, holding({"text": "This prompt violates our policies."}), ErrorKind.MODERATED_INPUT, False),
        (200, holding(), ErrorKind.UPSTREAM, True),
        (200, {}, ErrorKind.UPSTREAM, True),
        (200, {"candidates": {"0": 1}}, ErrorKind.UPSTREAM, True),
        (200, holding({"inlineData": {"data": "?"}}), ErrorKind.UPSTREAM, True),
        (400, {"error": {"status": "FAILED_PRECONDITION"}}, ErrorKind.AUTH, False),
        (400, {"error": [1]}, ErrorKind.INVALID_REQUEST, False),
        (429, {"error": {"details": [{"violations": [{"quotaValue": "0"}]}]}}, ErrorKind.QUOTA, False),
    ],
)
async def test_answers_without_a_picture(
    edge: Edge, status: int, body: Any, kind: ErrorKind, submitted: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        await answered(edge, status, body)
    assert (caught.value.kind, caught.value.submitted) == (kind, submitted)


@pytest.mark.parametrize(
    ("ratings", "borderline"),
    [
        ([None], False),
        ({"probability": "HIGH"}, True),
        ([{"probability": 3}], True),
        ([{"probability": ["LOW"]}, 7], False),
        ("none", False),
    ],
)
async def test_a_paid_picture_is_not_lost_over_an_odd_rating(
    edge: Edge, ratings: Any, borderline: bool
) -> None:
    body = holding({"inlineData": {"data": DATA}})
    body["candidates"][0] |= {"safetyRatings": ratings, "finishReason": 1}
    done = await answered(edge, 200, body)
    assert isinstance(done, Done)
    assert (done.image.data, done.image.borderline) == (PNG, borderline)


@pytest.mark.parametrize(("told", "borderline"), [("NEGLIGIBLE", False), ("LOW", False), ("MEDIUM", True)])
async def test_a_picture_that_passed_and_may_be_harmful_is_borderline(
    edge: Edge, told: str, borderline: bool
) -> None:
    body = holding({"inlineData": {"data": DATA}})
    body["candidates"][0]["safetyRatings"] = [
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
        {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "probability": told},
    ]
    done = await answered(edge, 200, body)
    assert done.image.borderline is borderline
    assert ("borderline" in done.told()) is borderline


async def test_an_unknown_field_is_refused_as_google_does(edge: Edge, client: httpx.AsyncClient) -> None:
    url = f"{edge.base}/gemini/v1beta/models/{MODEL}:generateContent"
    good = {"contents": [{"parts": [{"text": "a fox"}]}]}
    for body, told in (
        ({**good, "prompt": "a fox"}, 'Unknown name "prompt"'),
        ({**good, "generationConfig": {"imageConfig": {"size": "1K"}}}, 'Unknown name "size"'),
        (
            {**good, "generationConfig": {"imageConfig": {"aspectRatio": "7:1"}}},
            "aspect_ratio must be one of",
        ),
        ({**good, "generationConfig": {"responseModalities": ["TEXT"]}}, "response modalities"),
        ({}, "contents is not specified"),
    ):
        answer = await client.post(url, headers={"x-goog-api-key": KEY}, content=json.dumps(body))
        assert (answer.status_code, told in answer.json()["error"]["message"]) == (400, True)


async def test_check(edge: Edge, client: httpx.AsyncClient, gemini: GeminiProvider) -> None:
    assert (await gemini.check()).ok
    for change, told in (
        ({"gemini_model": "gemini-3.1-flash-image"}, "set GEMINI_MODEL"),
        ({"gemini_api_key": "other"}, "check GEMINI_API_KEY"),
        ({"gemini_base_url": "http://127.0.0.1:9"}, "does not answer (connection)"),
        ({"gemini_base_url": f"{edge.base}/nowhere"}, "set GEMINI_MODEL"),
    ):
        health = await GeminiProvider(edge.settings(**change), client).check()
        assert (health.ok, told in health.detail) == (False, True), health
    edge.faults.add("html")
    assert "does not answer as Gemini" in (await gemini.check()).detail


async def test_has_no_tasks(gemini: GeminiProvider) -> None:
    with pytest.raises(ProviderError):
        await gemini.poll(Ticket("gemini", "x"))
    assert await gemini.cancel(Ticket("gemini", "x")) == "unsupported"
