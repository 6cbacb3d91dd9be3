"""A stand-in of Google's Gemini API under `/gemini`, checked against google-genai. A field that it does not know is
refused in Google's words; a blocked picture comes inside HTTP 200.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from typing import Any

from aiohttp import web

from src.sandbox.faults import Fault, retry_after_headers
from src.sandbox.generations import StandIn, bad_picture, draw, send_huge

_SIZES = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
# Google's own SDK asks v1 since 3.6, and v1beta before.
_MODEL = "/gemini/{version:v1|v1beta}/models/{model}"
# What `imageSize` each model takes.
_MODELS = {
    "gemini-nano-banana-2.1": ("1K", "2K", "4K"),
    "gemini-3-pro-image": ("1K", "2K", "4K"),
    "gemini-3.1-flash-lite-image": ("1K",),
}
_MOST_IMAGES = 14
_TOKENS = {"promptTokenCount": 9, "candidatesTokenCount": 1120, "totalTokenCount": 1129}
_BLOCKED: dict[str, dict[str, Any]] = {
    "moderated": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
    "moderated_output": {"candidates": [{"finishReason": "IMAGE_SAFETY", "index": 0}]},
    "blocked_200": {"candidates": [{"content": {"parts": []}, "finishReason": "NO_IMAGE", "index": 0}]},
    "fail": {"candidates": [{"finishReason": "IMAGE_OTHER", "index": 0}]},
}


class _BadRequest(Exception):
    pass


class GeminiSandbox(StandIn):
    """The stand-in."""

    name = "gemini"

    def add_to(self, app: web.Application) -> None:
        """Serve `generateContent` and the look-up of a model."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post(f"{_MODEL}:generateContent", around(self._make, _refuse))
        app.router.add_get(_MODEL, around(self._model, _refuse))

    async def _make(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorized(request)) or (refused := _unknown(request)):
            return refused
        try:
            prompt, sources, size = _read(await request.read(), _MODELS[request.match_info["model"]])
        except _BadRequest as error:
            return _error(400, "INVALID_ARGUMENT", str(error))
        self.audit.submits[prompt] += 1
        self.audit.sources[prompt] += len(sources)
        fault = self.faults.behaviour(request.path, prompt)
        kind = fault.kind if fault else ""
        if kind == "never_ends":
            await self.faults.hang(request)
        await self.faults.pause(draw(self.durations, self._random))
        if kind in _BLOCKED:
            return web.json_response({**_BLOCKED[kind], "usageMetadata": _TOKENS})
        self.audit.charged[prompt] += 1
        if kind == "huge":
            before = b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"'
            return await send_huge(request, before, b"A" * 65_536)
        source = sources[0] if sources else None
        made = await self._pictures.make(prompt, size, seed=next(self._count), form="png", source=source)
        text = (await asyncio.to_thread(base64.b64encode, bad_picture(kind, made))).decode()
        parts = [{"inlineData": {"mimeType": "image/png", "data": text}}]
        answer = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
        return web.json_response({"candidates": [answer], "usageMetadata": _TOKENS})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorized(request)) or (refused := _unknown(request)):
            return refused
        name = f"models/{request.match_info['model']}"
        return web.json_response({"name": name, "supportedGenerationMethods": ["generateContent"]})

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("x-goog-api-key")
        if not key:
            message = "Method doesn't allow unregistered callers (callers without established identity)."
            return _error(403, "PERMISSION_DENIED", message)
        if self._key in (None, key):
            return None
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info)


def _read(body: bytes, sizes: tuple[str, ...]) -> tuple[str, list[bytes], tuple[int, int]]:
    """The prompt, the pictures to be changed and the size that a request asks for."""
    try:
        asked = json.loads(body, object_pairs_hook=_camel)
    except ValueError:
        raise _BadRequest("Invalid JSON payload received.") from None
    _known(asked, "", {"contents", "generationConfig", "safetySettings"})
    contents = asked.get("contents")
    if not isinstance(contents, list) or not contents:
        raise _BadRequest("* GenerateContentRequest.contents: contents is not specified")
    prompt, sources = "", []
    for content in contents:
        _known(content, "contents[0]", {"parts", "role"})
        if content.get("role", "user") not in ("user", "model"):
            raise _BadRequest("Please use a valid role: user, model.")
        for part in content.get("parts", []):
            _known(part, "contents[0].parts[0]", {"text", "inlineData"})
            if "inlineData" in part:
                sources.append(_decoded(part["inlineData"]))
            prompt += part.get("text", "")
    if not prompt.strip():
        raise _BadRequest("* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.")
    if len(sources) > _MOST_IMAGES:
        raise _BadRequest(f"Please use at most {_MOST_IMAGES} images.")
    config = asked.get("generationConfig", {})
    _known(config, "generation_config", {"responseModalities", "imageConfig", "seed", "temperature"})
    if "IMAGE" not in config.get("responseModalities", ["TEXT", "IMAGE"]):
        raise _BadRequest("The requested combination of response modalities is not supported by the model.")
    image = config.get("imageConfig", {})
    _known(image, "generation_config.image_config", {"aspectRatio", "imageSize"})
    if image.get("aspectRatio", "1:1") not in _SIZES:
        known = ", ".join(f"'{name}'" for name in _SIZES)
        raise _BadRequest(f"aspect_ratio must be one of {known}.")
    if image.get("imageSize", "1K") not in sizes:
        raise _BadRequest(f"image_size must be one of {', '.join(sizes)}.")
    return prompt, sources, _SIZES[image.get("aspectRatio", "1:1")]


def _camel(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its names as the documentation has them; Google reads `snake_case` too."""
    return {re.sub(r"_(\w)", lambda found: found[1].upper(), name): value for name, value in pairs}


def _known(part: Any, where: str, names: set[str]) -> None:
    if not isinstance(part, dict):
        raise _BadRequest(f"Invalid value at '{where}'")
    for name in part.keys() - names:
        at = f" at '{where}'" if where else ""
        raise _BadRequest(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')


def _decoded(blob: Any) -> bytes:
    _known(blob, "contents[0].parts[0].inline_data", {"mimeType", "data"})
    if not str(blob.get("mimeType")).startswith("image/"):
        raise _BadRequest(f"Unsupported MIME type: {blob.get('mimeType')}")
    try:
        # Google reads both alphabets, and its own SDK writes the one for addresses.
        data = str(blob.get("data")).replace("-", "+").replace("_", "/")
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _BadRequest("Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES)") from None


def _unknown(request: web.Request) -> web.Response | None:
    model = request.match_info["model"]
    if model in _MODELS:
        return None
    return _error(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
        "ListModels to see the list of available models and their supported methods.",
    )


_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _refuse(status: int, fault: Fault) -> web.Response:
    if status == 429:
        day = fault.kind == "insufficient_quota"
        quota = (
            "GenerateRequestsPerDayPerProjectPerModel"
            if day
            else "GenerateRequestsPerMinutePerProjectPerModel"
        )
        failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}
        details = [failure]
        wait = fault.options.get("retry_after")
        if isinstance(wait, int | float):
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"})
        message = "You exceeded your current quota, please check your plan and billing details."
        # A date comes from what stands before Google, in the header.
        headers = retry_after_headers(fault) if isinstance(wait, str) else None
        return _error(429, "RESOURCE_EXHAUSTED", message, *details, headers=headers)
    return _error(status, _STATUS.get(status, "INTERNAL"), "The sandbox was asked to fail.")


def _error(
    status: int, name: str, message: str, *details: dict[str, Any], headers: dict[str, str] | None = None
) -> web.Response:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return web.json_response({"error": error}, status=status, headers=headers)
