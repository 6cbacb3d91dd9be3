"""A stand-in of YandexART under `/yandexart`, and of Yandex Cloud's operations under `/yandex-operations`.

Bodies are read by the messages of Yandex's own API (yandex-cloud/cloudapi, `image_generation_service.proto`): what they do
not have is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Unpack

from aiohttp import web
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)

from src.sandbox.faults import Fault, retry_after_headers
from src.sandbox.generations import (
    Common,
    StandIn,
    bad_picture,
    draw,
    send_huge,
)

FOLDER = "b1gsandboxfolder0000"
_PACKAGE = "yandex.cloud.ai.foundation_models.v1.image_generation"
_FIELDS = {
    "Message": "text:string weight:double",
    "AspectRatio": "width_ratio:int64 height_ratio:int64",
    "ImageGenerationOptions": "mime_type:string seed:int64 aspect_ratio:AspectRatio",
    "ImageGenerationRequest": "model_uri:string messages:*Message generation_options:ImageGenerationOptions",
    "ImageGenerationResponse": "image:bytes model_version:string",
}
_LONGEST = 500
_KEPT = 1000
_AREA = 1024 * 1024


def messages() -> dict[str, Any]:
    """Yandex's messages by name, as classes of protobuf."""
    file = descriptor_pb2.FileDescriptorProto(
        name="image_generation.proto", package=_PACKAGE, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, _, kind) in enumerate((part.partition(":") for part in fields.split()), 1):
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            own = kind in _FIELDS
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if own else kinds.Type.Value(f"TYPE_{kind.upper()}"),
                type_name=f".{_PACKAGE}.{kind}" if own else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: message_factory.GetMessageClass(found[name]) for name in _FIELDS}


@dataclass(slots=True)
class _Operation:
    id: str
    prompt: str
    size: tuple[int, int]
    seed: int
    ends: float
    fault: Fault | None
    error: dict[str, Any] | None = None
    charged: bool = False

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""


class YandexARTSandbox(StandIn):
    """The stand-in."""

    name = "yandexart"

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self._operations: OrderedDict[str, _Operation] = OrderedDict()
        self._messages = messages()

    def add_to(self, app: web.Application) -> None:
        """Serve both."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post(
            "/yandexart/foundationModels/v1/imageGenerationAsync", around(self._generate, _refuse)
        )
        app.router.add_get("/yandex-operations/operations/{id}:cancel", around(self._cancel, _refuse))
        app.router.add_get("/yandex-operations/operations/{id}", around(self._get, _refuse))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, 16, "Unknown api key")
        try:
            asked = json_format.Parse(await request.read(), self._messages["ImageGenerationRequest"]())
        except json_format.ParseError:
            return _error(400, 3, "Request payload has an unknown or wrong field")
        folder, _, model = asked.model_uri.removeprefix("art://").partition("/")
        if folder != FOLDER or request.headers.get("x-folder-id", FOLDER) != FOLDER:
            return _error(403, 7, "Permission denied")
        if model.partition("/")[0] != "yandex-art":
            return _error(400, 3, f"Failed to get model {model}: model not found")
        text = " ".join(message.text for message in asked.messages)
        if not text.strip() or any(len(message.text) > _LONGEST for message in asked.messages):
            return _error(400, 3, "Message text length must be in range [1, 500]")
        options = asked.generation_options
        if options.mime_type not in ("", "image/jpeg"):
            return _error(400, 3, "Unsupported mime type")
        fault = self.faults.behaviour(request.path, text)
        self.audit.submits[text] += 1
        seconds = draw(self.durations, self._random) * (5 if fault and fault.kind == "slow" else 1)
        ratio = (options.aspect_ratio.width_ratio or 1) / (options.aspect_ratio.height_ratio or 1)
        size = (round((_AREA * ratio) ** 0.5), round((_AREA / ratio) ** 0.5))
        number = next(self._count)
        made = _Operation(
            f"fbv{number:017}", text, size, options.seed or number, time.monotonic() + seconds, fault
        )
        self._operations[made.id] = made
        if len(self._operations) > _KEPT:
            self._operations.popitem(last=False)
        return web.json_response(self._told(made))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, 16, "Unknown api key")
        self.audit.polls += 1
        found = self._operations.get(request.match_info["id"])
        if found is None or found.kind == "vanish":
            return _error(404, 5, "Operation not found")
        told = self._told(found)
        if not self._ended(found) or told.get("error"):
            return web.json_response(told)
        if found.kind == "huge":
            return await send_huge(request, b'{"id":"x","done":true,"response":{"image":"', b"A" * 65_536)
        if not found.charged:
            found.charged = True
            self.audit.charged[found.prompt] += 1
        picture = await self._pictures.make(found.prompt, found.size, seed=found.seed % 2**31, form="jpeg")
        data = b"" if found.kind == "blocked_200" else bad_picture(found.kind, picture)
        response = self._messages["ImageGenerationResponse"](image=data, model_version="2.5")
        fields = await asyncio.to_thread(json_format.MessageToDict, response)
        kind = f"type.googleapis.com/{_PACKAGE}.ImageGenerationResponse"
        return web.json_response({**told, "response": {"@type": kind, **fields}})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, 16, "Unknown api key")
        found = self._operations.get(request.match_info["id"])
        if found is None:
            return _error(404, 5, "Operation not found")
        if not self._ended(found):
            found.error = {"code": 1, "message": "Operation cancelled", "details": []}
        return web.json_response(self._told(found))

    def _ended(self, found: _Operation) -> bool:
        if found.error is not None:
            return True
        return found.kind != "never_ends" and time.monotonic() >= found.ends

    def _told(self, found: _Operation) -> dict[str, Any]:
        told = {
            "id": found.id,
            "description": "",
            "createdAt": None,
            "createdBy": "",
            "modifiedAt": None,
            "done": self._ended(found),
            "metadata": None,
        }
        error = found.error or (_FAILURES.get(found.kind) if told["done"] else None)
        return {**told, "error": error} if error else told

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme in ("Api-Key", "Bearer") and bool(key) and self._key in (None, key)


_REFUSED = "it is not possible to generate an image from this request because it may violate the terms of use"
_FAILURES: dict[str, dict[str, Any]] = {
    "moderated": {"code": 3, "message": _REFUSED, "details": []},
    "moderated_output": {"code": 3, "message": f"generated image: {_REFUSED}", "details": []},
    "fail": {"code": 13, "message": "internal error", "details": []},
}


def _refuse(status: int, fault: Fault) -> web.Response:
    codes = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 503: 14, 504: 4}
    if fault.kind == "insufficient_quota":
        return _error(
            429, 8, "ai.imageGenerationAsyncRequestsPerDay.count gauge quota limit exceed: quota exceeded"
        )
    return _error(status, codes.get(status, 13), "The sandbox was asked to fail.", retry_after_headers(fault))


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": message, "code": code, "message": message, "details": []}
    return web.json_response(body, status=status, headers=headers)
