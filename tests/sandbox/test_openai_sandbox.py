"""The stand-in of OpenAI against OpenAI's own SDK: what the SDK takes for true is the wire."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from src.sandbox.openai import OpenAISandbox
from src.sandbox.pictures import PictureMaker
from tests.vendors import Vendor

openai = Vendor("openai")


@pytest.fixture
async def served() -> AsyncIterator[tuple[OpenAISandbox, str]]:
    sandbox = OpenAISandbox(pictures=PictureMaker(cached=True), durations=(0.0, 0.0), key="right")
    app = web.Application()
    sandbox.add_to(app)
    async with TestServer(app) as server:
        yield sandbox, str(server.make_url("/openai/v1"))


@pytest.fixture
async def sdk(served: tuple[OpenAISandbox, str]) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(api_key="right", base_url=served[1], max_retries=0) as made:
        yield made


def opened(encoded: str | None) -> Image.Image:
    assert encoded
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    image.load()
    return image


async def test_generates(sdk: Any, served: tuple[OpenAISandbox, str]) -> None:
    answer = await sdk.images.generate(
        model="gpt-image-2.5-flare",
        prompt="a fox",
        size="1536x1024",
        n=2,
        output_format="jpeg",
        quality="high",
    )
    assert answer.data is not None
    assert [opened(item.b64_json).size for item in answer.data] == [(1536, 1024)] * 2
    assert opened(answer.data[0].b64_json).format == "JPEG"
    assert answer.output_format == "jpeg"
    assert answer.size == "1536x1024"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert served[0].audit.submits == {"a fox": 1}


async def test_edits_one_and_several_pictures(sdk: Any) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    png = ("source.png", out.getvalue(), "image/png")
    for image in (png, [png, png]):
        answer = await sdk.images.edit(
            model="gpt-image-2.5-flare", image=image, prompt="make it snow", size="1024x1024"
        )
        assert answer.data is not None
        assert opened(answer.data[0].b64_json).size == (1024, 1024)


async def test_lists_models(sdk: Any) -> None:
    assert "gpt-image-2.5-flare" in [model.id async for model in sdk.models.list()]


async def test_refuses_a_wrong_key(served: tuple[OpenAISandbox, str]) -> None:
    async with openai.AsyncOpenAI(api_key="wrong", base_url=served[1], max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.images.generate(model="gpt-image-2.5-flare", prompt="a fox")
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("arguments", "code", "param"),
    [
        ({"prompt": ""}, "missing_required_parameter", "prompt"),
        ({"prompt": "x" * 32_001}, "string_above_max_length", "prompt"),
        ({"prompt": "x", "size": "7x7"}, "invalid_value", "size"),
        ({"prompt": "x", "n": 11}, "invalid_value", "n"),
        ({"prompt": "x", "stream": True, "partial_images": 4}, "invalid_value", "partial_images"),
        ({"prompt": "x", "extra_body": {"stream": "yes"}}, "invalid_type", "stream"),
        ({"prompt": "x", "response_format": "url"}, "unknown_parameter", "response_format"),
        ({"prompt": "nsfw"}, "moderation_blocked", None),
    ],
)
async def test_refuses_what_openai_refuses(
    sdk: Any, arguments: dict[str, object], code: str, param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.images.generate(model="gpt-image-2.5-flare", **arguments)  # type: ignore[call-overload]
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.request_id


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-3", "gpt-image-99"])
async def test_a_model_that_was_shut_down_is_not_found(sdk: Any, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.images.generate(model=model, prompt="a fox")
    assert caught.value.code == "model_not_found"


async def test_refuses_a_source_that_is_no_picture(sdk: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.images.edit(model="gpt-image-2.5-flare", image=("a.png", b"hello", "image/png"), prompt="x")
    assert caught.value.code == "invalid_image_file"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("429", "RateLimitError"),
        ("insufficient_quota", "RateLimitError"),
        ("500", "InternalServerError"),
        ("503", "InternalServerError"),
        ("403", "PermissionDeniedError"),
        ("reset", "APIConnectionError"),
    ],
)
async def test_faults_are_what_the_sdk_expects(
    sdk: Any, served: tuple[OpenAISandbox, str], kind: str, error: str
) -> None:
    served[0].faults.add(kind, path="/images/generations")
    with pytest.raises(getattr(openai, error)):
        await sdk.images.generate(model="gpt-image-2.5-flare", prompt="x")
    assert (await sdk.images.generate(model="gpt-image-2.5-flare", prompt="x")).data


async def test_sdk_retries_after_what_the_header_says(served: tuple[OpenAISandbox, str]) -> None:
    served[0].faults.add("429", retry_after="0.01", path="/images")
    async with openai.AsyncOpenAI(api_key="right", base_url=served[1], max_retries=1) as sdk:
        assert (await sdk.images.generate(model="gpt-image-2.5-flare", prompt="x")).data
    assert served[0].audit.submits == {"x": 1}


async def test_faults_are_set_over_http(served: tuple[OpenAISandbox, str]) -> None:
    url = served[1].replace("/openai/v1", "/sandbox/provider-faults")
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(url, json={"kind": "no such"})).status_code == 400
        assert (await http.post(url, json={"kind": "500", "times": 2})).status_code == 200
        assert (await http.get(url)).json()["active"] == [
            {"kind": "500", "times": 2, "chance": 1.0, "path": ""}
        ]
        await http.delete(url)
        assert (await http.get(url)).json()["active"] == []


async def test_the_same_seed_draws_the_same_picture() -> None:
    async def once(seed: int) -> str | None:
        sandbox = OpenAISandbox(durations=(0.0, 0.0), seed=seed)
        app = web.Application()
        sandbox.add_to(app)
        async with TestServer(app) as server:
            base = str(server.make_url("/openai/v1"))
            async with openai.AsyncOpenAI(api_key="any", base_url=base) as sdk:
                answer = await sdk.images.generate(model="gpt-image-2.5-flare", prompt="a fox in snow")
                assert answer.data
                return answer.data[0].b64_json

    first = await once(1)
    assert first == await once(1)
    assert first != await once(2)


async def test_streams_unfinished_pictures_and_then_the_whole(
    sdk: Any, served: tuple[OpenAISandbox, str]
) -> None:
    whole = await sdk.images.generate(model="gpt-image-2.5-flare", prompt="a fox")
    assert whole.data
    source = ("source.png", base64.b64decode(whole.data[0].b64_json or ""), "image/png")
    asked: dict[str, object] = {"model": "gpt-image-2.5-flare", "prompt": "a fox", "stream": True}
    streams = {
        "image_generation": await sdk.images.generate(**asked, partial_images=2),  # type: ignore[call-overload]
        "image_edit": await sdk.images.edit(**asked, image=source, partial_images=2),  # type: ignore[call-overload]
    }
    for name, stream in streams.items():
        events = [event async for event in stream]
        assert [event.type for event in events] == [
            f"{name}.{part}" for part in [*["partial_image"] * 2, "completed"]
        ]
        assert [opened(event.b64_json).size for event in events] == [(1024, 1024)] * 3
        assert [event.partial_image_index for event in events[:-1]] == [0, 1]
        assert len({event.b64_json for event in events}) == 3
        assert events[-1].b64_json == whole.data[0].b64_json
        assert events[-1].usage.output_tokens == 1056 + 2 * 100
    assert served[0].audit.previews == {"a fox": 4}


@pytest.mark.parametrize(
    ("kind", "error", "previews"),
    [
        ("moderated", "BadRequestError", 0),
        ("moderated_output", "APIError", 1),
        ("fail", "APIError", 1),
        ("reset_after_accept", "APIConnectionError", 1),
        ("429", "RateLimitError", 0),
    ],
)
async def test_a_stream_that_fails_says_so_where_it_has_come(
    sdk: Any,
    served: tuple[OpenAISandbox, str],
    kind: str,
    error: str,
    previews: int,
) -> None:
    served[0].faults.add(kind, path="/images/generations")

    async def streamed() -> list[str]:
        stream = await sdk.images.generate(
            model="gpt-image-2.5-flare", prompt="x", stream=True, partial_images=1
        )
        return [event.type async for event in stream]

    with pytest.raises(getattr(openai, error)) as caught:
        await streamed()
    assert served[0].audit.previews["x"] == previews
    if kind == "moderated_output":
        assert getattr(caught.value, "code", None) == "moderation_blocked"
    assert (await streamed())[-1] == "image_generation.completed"
