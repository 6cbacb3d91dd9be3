"""Whatever a provider answers, only `ProviderError` comes out: arbitrary JSON, statuses and bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.providers import make_providers
from src.providers.base import Callback, Done, GenRequest, ProviderError, SourceImage, Ticket
from src.settings import key_of, load_settings, provider_clients

NEEDED = [key_of(name).lower() for name in provider_clients()]
KEYS = {name: "https://gpu.example" if name.endswith("_url") else "k" for name in NEEDED}
SETTINGS = load_settings(_env_file=None, **KEYS, kie_webhook_key="w", yandexart_folder="b1g")
UNUSED = httpx.AsyncClient()

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "success",
            "succeeded",
            "COMPLETED",
            "fail",
            "200",
            "data:image/png;base64,AAAA",
            "https://x/y",
            '{"resultUrls":[1]}',
        ]
    )
)
names = st.sampled_from(
    [
        "t",
        "id",
        "prompt_id",
        "node_errors",
        "errors",
        "status_str",
        "messages",
        "outputs",
        "filename",
        "queue_running",
        "queue_pending",
        "done",
        "response",
        "choices",
        "image",
        "finish_reason",
        "access_token",
        "info",
        "code",
        "msg",
        "message",
        "data",
        "error",
        "taskId",
        "state",
        "resultJson",
        "resultUrls",
        "failCode",
        "failMsg",
        "progress",
        "creditsConsumed",
        "b64_json",
        "url",
        "content_filter_results",
        "prompt_filter_results",
        "finish_reason",
        "param",
        "type",
        "downloadUrl",
        "id",
        "status",
        "output",
        "urls",
        "request_id",
        "status_url",
        "candidates",
        "content",
        "parts",
        "inlineData",
        "images",
        "has_nsfw_concepts",
        "metrics",
        "logs",
    ]
)
shapes = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)
# Mostly right, so that the deeper parts are reached as well.
likely = st.builds(lambda data: {"code": 200, "data": data, "error": None}, shapes) | shapes
bodies = likely.map(lambda shape: json.dumps(shape).encode()) | st.binary(max_size=40)
statuses = st.sampled_from([200, 200, 200, 200, 201, 204, 301, 400, 404, 422, 429, 500, 502])


async def ask_everything(status: int, body: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"location": "https://x/"})

    request = GenRequest("j", "p", "m", sources=(SourceImage(b"x", "image/png"),))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        for name, provider in make_providers(SETTINGS, dict.fromkeys(SETTINGS.providers, client)).items():
            # fal's tickets hold where to ask.
            asked_at = dict.fromkeys(("status", "response", "cancel"), f"{SETTINGS.fal_base_url}/x")  # type: ignore[attr-defined]
            ticket = Ticket(name, "t", asked_at)
            request = replace(request, model=getattr(SETTINGS, f"{name}_model"))
            for call in (provider.submit(request), provider.poll(ticket), provider.cancel(ticket)):
                try:
                    found: Any = await call
                    if isinstance(found, Done):
                        await provider.fetch(found.image)
                except ProviderError:
                    continue
            assert (await provider.check()).detail


@pytest.fixture(scope="module", autouse=True)
def no_waiting() -> Iterator[None]:
    """ComfyUI's client looks again after a moment, and listens to a socket that there is not here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.providers.comfyui._HISTORY_PAUSE", 0.0)
        patch.setattr("src.providers.comfyui._LISTEN_SECONDS", 0.0)
        yield


@settings(max_examples=60, deadline=None)
@given(statuses, bodies)
def test_only_provider_errors_come_out(status: int, body: bytes) -> None:
    asyncio.run(ask_everything(status, body))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)), st.binary(max_size=60))
def test_a_callback_from_anyone_is_no_error(headers: dict[str, str], body: bytes) -> None:
    for provider in make_providers(SETTINGS, dict.fromkeys(SETTINGS.providers, UNUSED)).values():
        assert asyncio.run(provider.callback_hint(Callback(headers, body))) is None
