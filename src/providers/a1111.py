"""Stable Diffusion web UI (AUTOMATIC1111, Forge) on a machine of one's own: one picture at a time, answered when it is done.

Wire: `POST {base}/sdapi/v1/txt2img` and `img2img`, `GET /progress` (with the picture as far as it is drawn, where its live
previews are on, as they are unless it is told otherwise) and `POST /interrupt`, which both speak of whatever runs there: so an instance is given one picture at a time. It goes on when nobody listens any more, unless it is interrupted.
Start it with `--api`, and `--api-auth user:password` where others can reach it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, SecretStr

from src.providers.answers import decoded, picture_in
from src.providers.base import (
    Capabilities,
    Done,
    GenRequest,
    Health,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, exchange
from src.settings import DIRECT, Address, ProxyAddress, Settings

_SECONDS = 10.0
_LIMIT = 4_000_000
_PROGRESS_SECONDS = 2.0
# Before that there is little to be seen.
_PREVIEW_FROM = 0.4
# The checkpoint that is loaded there.
LOADED = "loaded"
_MOST = Offer(
    provider="a1111",
    id="-",
    takes=Takes(
        shape="size",
        shapes={
            "1:1": "1024x1024",
            "3:2": "1216x832",
            "2:3": "832x1216",
            "16:9": "1344x768",
            "9:16": "768x1344",
            "4:3": "1152x896",
            "3:4": "896x1152",
            "4:5": "896x1088",
            "21:9": "1536x640",
        },
        source="init_images",
        seed="seed",
        negative_prompt="negative_prompt",
    ),
    prompt_max=4000,
)


class A1111Settings(BaseModel):
    """What is set for the web UI."""

    a1111_base_url: Address | None = Field(
        None, description="Address of your AUTOMATIC1111 or Forge, such as `http://gpu:7860`."
    )
    a1111_auth: SecretStr | None = Field(None, description="What its `--api-auth` says: `user:password`.")
    a1111_model: str = Field(LOADED, description="Checkpoint there; `loaded`: the one that is.")
    a1111_fast_model: str | None = Field(
        None, description="A faster checkpoint, offered when the line is long."
    )
    a1111_concurrency: Literal[1] = Field(
        1, description="Pictures at once there: its progress and interrupt know only one."
    )
    a1111_rate: float = Field(5.0, gt=0, description="Requests a second there.")
    a1111_proxy_url: ProxyAddress | None = Field(
        SecretStr(DIRECT), description="Proxy on the way there; `none`: `PROXY_URL` does not count."
    )


class A1111Provider(Client):
    """Client of the web UI."""

    name = "a1111"
    rank = 21
    needs = "a1111_base_url"
    settings = A1111Settings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, A1111Settings)
        self._base = settings.a1111_base_url or ""
        super().__init__(settings, client, self._base)
        self._headers = {"Accept": "application/json"}
        if settings.a1111_auth is not None:
            pair = settings.a1111_auth.get_secret_value().strip().encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._model = settings.a1111_model
        self._catalog = get_catalog(settings.models_file)
        known, model = self._offer(self._model), self._catalog.model(self.name, self._model)
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            synchronous=True,
            edit=known.edits,
            cancel=True,
            # A picture that is made twice costs electricity.
            idempotent_submit=True,
            max_prompt=known.prompt_max,
            previews="previews" in known.can,
        )

    async def submit(self, request: GenRequest) -> Done:
        body = self._body(request)
        told = asyncio.ensure_future(self._tell(request)) if request.told else None
        try:
            answer = await self._ask(
                "POST",
                "img2img" if request.sources else "txt2img",
                body,
                seconds=max(request.deadline, 0.1),
                limit=self._max_bytes * 4 // 3 + 1_000_000,
                creates=True,
                room=request.room,
            )
        except (ProviderError, asyncio.CancelledError):
            # The next picture would wait for one that nobody wants.
            with contextlib.suppress(ProviderError):
                await self._ask("POST", "interrupt")
            raise
        finally:
            if told is not None:
                told.cancel()
        image = picture_in(answer, request.prompt)
        return Done(image, seed=_seed(answer))

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        await self._ask("POST", "interrupt")
        return "cancelled"

    async def check(self) -> Health:
        """Look the checkpoint up in the list."""
        try:
            answer = await self._ask("GET", "sd-models")
            listed = (
                {str(item[k]) for item in answer.json() for k in ("title", "model_name")}
                if answer.ok
                else set()
            )
        except ProviderError as error:
            return Health(False, f"{self._base} does not answer ({error.code}): check A1111_BASE_URL")
        except (ValueError, KeyError, TypeError):
            return Health(False, f"{self._base} does not answer as the web UI: check A1111_BASE_URL")
        if answer.status == 404:
            return Health(False, f"{self._base} has no API: start it with --api")
        if answer.status in (401, 403):
            return Health(False, f"{self._base} wants user and password: check A1111_AUTH")
        if not answer.ok:
            return Health(False, f"{self._base} answers with status {answer.status}")
        if self._model != LOADED and self._model not in listed:
            # It would draw with the one that is loaded, without a word.
            return Health(False, f"{self._base} does not have the checkpoint {self._model}: set A1111_MODEL")
        return Health(True, f"{self._base} draws with {self._model} (checkpoints there: {len(listed) // 2})")

    def _body(self, request: GenRequest) -> dict[str, Any]:
        said = self._offer(request.model).fields(request, [_encoded(source) for source in request.sources])
        wide, _, high = str(said.pop("size", "")).partition("x")
        said |= {"width": int(wide or 1024), "height": int(high or 1024)}
        said |= {"batch_size": 1, "n_iter": 1, "send_images": True, "save_images": False}
        if request.model != LOADED:
            said["override_settings"] = {"sd_model_checkpoint": request.model}
        return said

    async def _tell(self, request: GenRequest) -> None:
        """Pass on how far it is, and what is to be seen of it, until the picture is there."""
        share, preview = 0.0, request.preview if "previews" in self._offer(request.model).can else None
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            with contextlib.suppress(ProviderError, ValueError, KeyError, TypeError):
                look = preview is not None and share >= _PREVIEW_FROM
                answer = await self._ask("GET", f"progress?skip_current_image={str(not look).lower()}")
                found = answer.json()
                # 0 also where nothing runs: before its turn, and when it is on its way here.
                if (share := float(found["progress"])) > 0 and request.told is not None:
                    request.told(min(share, 1.0))
                # It may show none, and not yet.
                if look and preview is not None and (data := decoded(found["current_image"] or "")):
                    preview(data)

    async def _ask(self, method: str, path: str, body: Any = None, **how: Any) -> Answer:
        return await exchange(
            self._client,
            method,
            f"{self._base}/sdapi/v1/{path}",
            headers=self._headers,
            json_body=body,
            **{"seconds": _SECONDS, "limit": _LIMIT, **how},
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _encoded(image: SourceImage) -> str:
    return base64.b64encode(image.data).decode()


def _seed(answer: Answer) -> int | None:
    """The seed it drew by, which `info` tells: JSON within a JSON string."""
    try:
        seed = json.loads(answer.json()["info"])["seed"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 else None


PROVIDER = A1111Provider
