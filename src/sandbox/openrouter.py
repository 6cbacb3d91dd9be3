"""A stand-in of OpenRouter's image API under `/openrouter/api/v1`. A parameter that a model lacks is refused, as there."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

from src.sandbox.faults import Fault, retry_after_headers
from src.sandbox.generations import (
    SIZES,
    StandIn,
    bad_picture,
    draw,
    send_huge,
)
from src.sandbox.openai import bad_address

_ALL = frozenset({"model", "prompt", "n", "aspect_ratio", "input_references"})
_MODELS = {"bytedance-seed/seedream-4.5": _ALL, "openai/gpt-image-2": _ALL}
_PRICE = 0.04


class OpenRouterSandbox(StandIn):
    """The stand-in."""

    name = "openrouter"

    def add_to(self, app: web.Application) -> None:
        """Serve `/openrouter/api/v1/images` and its list of models."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post("/openrouter/api/v1/images", around(self._make, _refuse))
        app.router.add_get("/openrouter/api/v1/images/models", around(self._models, _refuse))

    async def _make(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, "No auth credentials found")
        asked = json.loads(await request.read())
        model, prompt = asked.get("model"), asked.get("prompt")
        if model not in _MODELS:
            return _error(404, f"No endpoints found for {model}.")
        if not isinstance(prompt, str) or not prompt.strip():
            return _error(400, "prompt is required")
        for name in asked.keys() - _MODELS[model]:
            return _error(400, f"Unsupported parameter: '{name}'")
        if asked.get("aspect_ratio", "1:1") not in SIZES:
            return _error(400, "aspect_ratio is not supported by this model")
        try:
            sources = [_decoded(item) for item in asked.get("input_references", [])]
        except (KeyError, TypeError, ValueError):
            return _error(400, "input_references must be image_url objects")
        return await self._answer(request, prompt, SIZES[asked.get("aspect_ratio", "1:1")], sources)

    async def _answer(
        self, request: web.Request, prompt: str, size: tuple[int, int], sources: list[bytes]
    ) -> web.StreamResponse:
        self.audit.submits[prompt] += 1
        self.audit.sources[prompt] += len(sources)
        fault = self.faults.behaviour(request.path, prompt)
        kind = fault.kind if fault else ""
        if kind in ("moderated", "moderated_output"):
            return _error(403, "Your input was flagged.", reasons=["sexual"], flagged_input=prompt[:100])
        if kind == "never_ends":
            await self.faults.hang(request)
        await self.faults.pause(draw(self.durations, self._random))
        if kind == "fail":
            return _error(500, "Provider returned error")
        self.audit.charged[prompt] += 1
        if kind == "huge":
            return await send_huge(request, b'{"data":[{"b64_json":"', b"A" * 65_536)
        if kind == "blocked_200":
            return web.json_response({"data": [], "usage": {"cost": _PRICE}})
        if kind in ("foreign_host", "plain_http", "metadata_host"):
            return web.json_response({"data": [{"url": bad_address(kind)}]})
        source = sources[0] if sources else None
        made = await self._pictures.make(prompt, size, seed=next(self._count), form="png", source=source)
        text = (await asyncio.to_thread(base64.b64encode, bad_picture(kind, made))).decode()
        picture = {"b64_json": text, "media_type": "image/png"}
        return web.json_response({"created": 1, "data": [picture], "usage": {"cost": _PRICE}})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, "No auth credentials found")
        return web.json_response({"data": [{"id": name} for name in _MODELS]})

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and bool(key) and self._key in (None, key)


def _decoded(item: dict[str, Any]) -> bytes:
    return base64.b64decode(item["image_url"]["url"].partition(";base64,")[2], validate=True)


def _refuse(status: int, fault: Fault) -> web.Response:
    if fault.kind == "insufficient_quota":
        return _error(402, "Insufficient credits. Add more credits.")
    return _error(status, "The sandbox was asked to fail.", headers=retry_after_headers(fault))


def _error(
    status: int, message: str, *, headers: dict[str, str] | None = None, **metadata: Any
) -> web.Response:
    error: dict[str, Any] = {"code": status, "message": message}
    if metadata:
        error["metadata"] = metadata
    return web.json_response({"error": error}, status=status, headers=headers)
