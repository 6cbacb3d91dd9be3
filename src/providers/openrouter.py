"""OpenRouter's image API: one request form for the models of many makers, answered with the picture.

Wire: `POST {base}/images` with `input_references` for pictures to be changed; a parameter that a model does not support is
refused, so the catalog says what each takes. `GET {base}/images/models` lists the models.
"""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import BaseModel, Field, SecretStr

from src.providers import refusals
from src.providers.answers import picture_in, tokens_in
from src.providers.base import (
    Capabilities,
    Done,
    GenRequest,
    Health,
    ProviderError,
    SourceImage,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, bearer, exchange
from src.providers.images import data_uri
from src.settings import Address, Settings

_CHECK_SECONDS = 10.0
_CHECK_LIMIT = 4_000_000
_MOST = Offer(
    provider="openrouter",
    id="-",
    takes=Takes(shape="aspect_ratio", source="input_references"),
    prompt_max=4000,
)


class OpenRouterSettings(BaseModel):
    """What is set for OpenRouter."""

    openrouter_api_key: SecretStr | None = Field(None, description="Key of OpenRouter.")
    openrouter_base_url: Address = Field(
        "https://openrouter.ai/api/v1", description="Address of OpenRouter's API."
    )
    openrouter_model: str = Field("bytedance-seed/seedream-4.5", description="Model at OpenRouter.")
    openrouter_fast_model: str | None = Field(
        None, description="A faster model there, offered when the line is long."
    )
    openrouter_concurrency: int = Field(50, ge=1, le=10_000, description="Generations in flight there.")
    openrouter_rate: float = Field(5.0, gt=0, description="Requests a second to OpenRouter.")


class OpenRouterProvider(Client):
    """Client of OpenRouter."""

    name = "openrouter"
    rank = 3
    settings = OpenRouterSettings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, OpenRouterSettings)
        super().__init__(settings, client, settings.openrouter_base_url)
        self._base = settings.openrouter_base_url
        self._headers = bearer(settings.openrouter_api_key)
        self._model = settings.openrouter_model
        self._catalog = get_catalog(settings.models_file)
        known, model = self._offer(self._model), self._catalog.model(self.name, self._model)
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            synchronous=True,
            edit=known.edits,
            sources=known.takes.sources,
            max_prompt=known.prompt_max,
        )

    async def submit(self, request: GenRequest) -> Done:
        said = self._offer(request.model).fields(request, [_reference(image) for image in request.sources])
        answer = await exchange(
            self._client,
            "POST",
            f"{self._base}/images",
            headers=self._headers,
            seconds=max(request.deadline, 0.1),
            limit=self._max_bytes * 4 // 3 + 1_000_000,
            json_body={"model": request.model, **said},
            creates=True,
            room=request.room,
        )
        try:
            image = picture_in(answer, request.prompt)
        except ProviderError as error:
            raise await self.explained(error, self._models) from None
        if image.url is not None:
            self._hosts.check(httpx.URL(image.url))
        return Done(image, cost=_cost(answer), unit="USD", tokens=tokens_in(answer))

    async def check(self) -> Health:
        """Look the model up in the list, which is free."""
        try:
            answer = await self._models()
            listed = {str(item["id"]) for item in answer.json()["data"]} if answer.ok else set()
        except ProviderError as error:
            return Health(False, f"{self._base} does not answer ({error.code}): check OPENROUTER_BASE_URL")
        except (ValueError, KeyError, TypeError):
            return Health(False, f"{self._base} answers with no list of models: check OPENROUTER_BASE_URL")
        if answer.status in (401, 403):
            return Health(False, refusals.at_the_door(answer, self._base, "OPENROUTER_API_KEY"))
        if not answer.ok:
            return Health(
                False, f"{self._base} answers with status {answer.status}: check OPENROUTER_BASE_URL"
            )
        if self._model not in listed:
            return Health(False, f"{self._base} does not have the model {self._model}: set OPENROUTER_MODEL")
        return Health(True, f"{self._base} has {self._model}")

    async def _models(self) -> Answer:
        return await exchange(
            self._client,
            "GET",
            f"{self._base}/images/models",
            headers=self._headers,
            seconds=_CHECK_SECONDS,
            limit=_CHECK_LIMIT,
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _reference(image: SourceImage) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(image)}}


def _cost(answer: Answer) -> float | None:
    """What the picture cost, where the answer tells."""
    try:
        cost = answer.json()["usage"]["cost"]
    except (ValueError, KeyError, TypeError):
        return None
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None


PROVIDER = OpenRouterProvider
