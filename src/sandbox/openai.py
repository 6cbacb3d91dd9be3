"""A stand-in of OpenAI's images API under `/openai/v1`, checked against the official SDK.

It answers as the vendor does: key check, validation errors, moderation, headers; the picture comes
when it is done, or by `stream` as events, unfinished ones first. Several pictures' partial failure is not in it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

from aiohttp import web
from PIL import Image

from src.sandbox.faults import AFTER, Fault, abort, retry_after_headers
from src.sandbox.generations import (
    Common,
    StandIn,
    bad_picture,
    draw,
    send_huge,
)
from src.sandbox.pictures import Format, unfinished

_MAX_PROMPT = 32_000
_MAX_IMAGE = 50_000_000
_MAX_IMAGES = 16
_MAX_PARTIALS = 3
# What each unfinished picture is counted as, and how coarse the first is.
_PARTIAL_TOKENS = 100
_GRAIN = 64
# What only gateways answer, which do not stream.
_UNSTREAMED = frozenset(
    {
        "huge", "blocked_200", "url", "data_url", "redirect", "redirect_private", "redirect_loop", "expired_403",
        "foreign_host", "plain_http", "metadata_host",
    }
)  # fmt: skip
_KEPT = 256
_SIZES = {"1024x1024": (1024, 1024), "1536x1024": (1536, 1024), "1024x1536": (1024, 1536)}
_FREE_SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")
_FORMATS: dict[str, Format] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
_MODELS = (
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-flare-2026-09-08",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-sunburst-2026-09-08",
    "gpt-image-2.6-flare",
    "gpt-image-2.6-sunburst",
)
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
_KNOWN = frozenset(
    {
        "model", "prompt", "n", "size", "quality", "output_format", "output_compression", "background",
        "moderation", "safety_identifier", "user", "stream", "partial_images", "input_fidelity", "complexity",
    }
)  # fmt: skip


class _BadRequest(Exception):
    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class _Order:
    prompt: str
    count: int
    size: tuple[int, int]
    form: Format
    as_url: bool
    source: bytes | None
    mask: bytes | None
    event: str | None
    partials: int


class OpenAISandbox(StandIn):
    """The stand-in.

    Args:
        as_url: answer with addresses, as some gateways do, instead of base64.
    """

    name = "openai"

    def __init__(
        self,
        *,
        as_url: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self._as_url = as_url
        self._files: OrderedDict[str, tuple[bytes, Fault | None]] = OrderedDict()

    def add_to(self, app: web.Application) -> None:
        """Serve `/openai/v1/images/...`, `/openai/v1/models`, `/openai/audit` and the result files."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post("/openai/v1/images/generations", around(self._generate, _refuse))
        app.router.add_post("/openai/v1/images/edits", around(self._edit, _refuse))
        app.router.add_get("/openai/v1/models", around(self._models, _refuse))
        app.router.add_get("/openai/audit", self._audit)
        app.router.add_get("/files/openai/{name}", self._file)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        try:
            fields = json.loads(await request.read())
        except ValueError:
            return self._bad(_BadRequest("We could not parse the JSON body of your request."))
        try:
            order = self._order(fields)
        except _BadRequest as error:
            return self._bad(error)
        return await self._fulfil(request, order)

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        try:
            fields, images, mask = await _read_form(request)
            if not images:
                raise _BadRequest(
                    "Missing required parameter: 'image'.", param="image", code="missing_required_parameter"
                )
            for image in images:
                if not image.startswith(_MAGIC):
                    raise _BadRequest(
                        "Invalid image file or mode for image 1, please check your image file.",
                        param="image",
                        code="invalid_image_file",
                    )
            if mask is not None:
                _check_mask(mask, images[0])
            order = self._order(fields, images[0], mask)
            self.audit.sources[order.prompt] += len(images)
            self.audit.masks[order.prompt] += mask is not None
        except _BadRequest as error:
            return self._bad(error)
        return await self._fulfil(request, order)

    def _order(self, fields: Any, source: bytes | None = None, mask: bytes | None = None) -> _Order:
        if not isinstance(fields, dict):
            raise _BadRequest("Invalid type for request body: expected an object.", code="invalid_type")
        model = fields.get("model")
        if model is None:
            raise _BadRequest(
                "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
            )
        if model not in _MODELS:
            raise _BadRequest(
                f"The model `{model}` does not exist or you do not have access to it.",
                code="model_not_found",
                status=404,
            )
        for name in fields:
            if name not in _KNOWN:
                raise _BadRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        prompt = fields.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise _BadRequest(
                "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter"
            )
        if len(prompt) > _MAX_PROMPT:
            raise _BadRequest(
                f"Invalid 'prompt': string too long. Expected a string with maximum length {_MAX_PROMPT}.",
                param="prompt",
                code="string_above_max_length",
            )
        form = _FORMATS.get(str(fields.get("output_format") or "png"))
        if form is None:
            raise _BadRequest(
                "Invalid value for 'output_format'.", param="output_format", code="invalid_value"
            )
        count = _whole(fields.get("n", 1))
        if count is None or not 1 <= count <= 10:
            raise _BadRequest("Invalid 'n': expected 1 to 10.", param="n", code="invalid_value")
        partials = _whole(fields.get("partial_images") or 0)
        if partials is None or not 0 <= partials <= _MAX_PARTIALS:
            raise _BadRequest(
                f"Invalid 'partial_images': expected 0 to {_MAX_PARTIALS}.",
                param="partial_images",
                code="invalid_value",
            )
        event = "image_generation" if source is None else "image_edit"
        streams = _truth(fields.get("stream"))
        size = _size(fields.get("size"))
        return _Order(
            prompt, count, size, form, self._as_url, source, mask, event if streams else None, partials
        )

    async def _fulfil(self, request: web.Request, order: _Order) -> web.StreamResponse:
        number = next(self._count)
        self.audit.submits[order.prompt] += 1
        if job_id := request.headers.get("X-Client-Request-Id"):
            self.audit.job_ids[job_id] += 1
        fault = self.faults.behaviour(request.path, order.prompt)
        kind = fault.kind if fault else ""
        if kind == "moderated":
            await self.faults.pause(min(draw(self.durations, self._random), 1.5))
            return self._bad(
                _BadRequest(
                    "Your request was rejected by the safety system. If you believe this is an error, contact "
                    f"us and include the request ID req_{number:06d}. safety_violations=[sexual].",
                    code="moderation_blocked",
                ),
                "image_generation_user_error",
            )
        seconds = draw(self.durations, self._random) * (5 if kind == "slow" else 1)
        if order.event and not order.as_url and kind not in _UNSTREAMED:
            return await self._stream(request, order, number, fault, seconds)
        started = time.monotonic()
        if kind == "never_ends":
            await self.faults.hang(request)
        await self.faults.pause(seconds)
        if (refused := self._refused(kind)) is not None:
            return refused
        self.audit.charged[order.prompt] += 1
        if kind == "huge":
            return await send_huge(request, b'{"data":[{"b64_json":"', b"A" * 65_536)
        data = [] if kind == "blocked_200" else await self._data(request, order, number, fault)
        body = {"created": int(time.time()), "data": data, **_about(order), "usage": _usage(order)}
        return web.json_response(body, headers=_headers(number, time.monotonic() - started))

    def _refused(self, kind: str) -> web.Response | None:
        """How a generation ends that comes to nothing."""
        if kind == "fail":
            return _error(500, "The server had an error while processing your request.", "server_error")
        if kind == "moderated_output":
            return self._bad(
                _BadRequest(
                    "The generated image was rejected by the safety system. safety_violations=[sexual].",
                    code="moderation_blocked",
                ),
                "image_generation_user_error",
            )
        return None

    async def _stream(
        self, request: web.Request, order: _Order, number: int, fault: Fault | None, seconds: float
    ) -> web.StreamResponse:
        """Answer with events as the picture comes about. What spoils an answer spoils the last of them."""
        kind, after = fault.kind if fault else "", self.faults.take(request.path, AFTER)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", **_headers(number, 0.0)}
        )
        await response.prepare(request)

        async def send(data: bytes) -> None:
            # Nobody may listen any more: it is drawn to its end all the same, and charged.
            with contextlib.suppress(ConnectionError):
                await response.write(data)

        pictures = [item["b64_json"] for item in await self._data(request, order, number, fault)]
        for index in range(order.partials):
            await self.faults.pause(seconds / (order.partials + 1))
            picture, grain = base64.b64decode(pictures[0]), _GRAIN >> index
            with contextlib.suppress(OSError, ValueError, Image.DecompressionBombError):
                picture = await asyncio.to_thread(unfinished, picture, grain, order.form)
            partial = {"b64_json": base64.b64encode(picture).decode(), "partial_image_index": index}
            await send(_event(order, "partial_image", partial))
            self.audit.previews[order.prompt] += 1
        if kind == "never_ends":
            await self.faults.hang(request)
        await self.faults.pause(seconds / (order.partials + 1))
        if (refused := self._refused(kind)) is not None:
            # The answer has begun, so its status can no longer say so.
            error = {"type": "error", **json.loads(refused.text or "{}")}
            await send(f"event: error\ndata: {json.dumps(error)}\n\n".encode())
            return response
        self.audit.charged[order.prompt] += 1
        last = b"".join(
            _event(order, "completed", {"b64_json": picture, "usage": _usage(order)}) for picture in pictures
        )
        if after is None:
            await send(last)
        elif after.kind in ("truncated_json", "reset_after_accept"):
            await send(last[: len(last) // 2])
            abort(request)
        elif after.kind == "timeout_after_accept":
            await self.faults.hang(request)
        elif after.kind == "drip":
            await self.faults.drip(request, response, b": keep-alive\n\n")
        elif after.kind != "empty":
            await send(b"event: image_generation.completed\ndata: <html>502</html>\n\n")
        return response

    async def _data(
        self, request: web.Request, order: _Order, number: int, fault: Fault | None
    ) -> list[dict[str, str]]:
        kind = fault.kind if fault else ""
        data: list[dict[str, str]] = []
        for index in range(order.count):
            good = await self._pictures.make(
                order.prompt,
                order.size,
                seed=self._seed * 100_003 + number * 11 + index,
                form=order.form,
                source=order.source,
                mask=order.mask,
            )
            if kind in ("foreign_host", "plain_http", "metadata_host"):
                data.append({"url": bad_address(kind)})
            elif order.as_url or kind in (
                "url",
                "redirect",
                "redirect_private",
                "redirect_loop",
                "expired_403",
            ):
                name = f"{number:06d}-{index}.{order.form}"
                self._files[name] = (good, fault)
                if len(self._files) > _KEPT:
                    self._files.popitem(last=False)
                data.append({"url": str(request.url.origin() / "files" / "openai" / name)})
            else:
                encoded = await asyncio.to_thread(base64.b64encode, bad_picture(kind, good))
                text = encoded.decode()
                data.append(
                    {"url": f"data:image/png;base64,{text}"} if kind == "data_url" else {"b64_json": text}
                )
        return data

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        data, fault = self._files[name]
        self.audit.fetches[name] += 1
        return await serve_picture(request, data, fault)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorized(request)) is not None:
            return refused
        models = [
            {"id": name, "object": "model", "created": 1_745_000_000, "owned_by": "system"}
            for name in _MODELS
        ]
        return web.json_response({"object": "list", "data": models})

    async def _audit(self, request: web.Request) -> web.Response:
        return web.json_response(self.audit.to_json())

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and key and self._key in (None, key):
            return None
        self.audit.refused["invalid_api_key"] += 1
        return _error(401, "Incorrect API key provided.", "invalid_request_error", code="invalid_api_key")

    def _bad(self, error: _BadRequest, kind: str = "invalid_request_error") -> web.Response:
        self.audit.refused[error.code or "bad_request"] += 1
        return _error(error.status, str(error), kind, code=error.code, param=error.param)


def _about(order: _Order) -> dict[str, str]:
    size = f"{order.size[0]}x{order.size[1]}"
    return {"background": "opaque", "output_format": order.form, "quality": "high", "size": size}


def _usage(order: _Order) -> dict[str, Any]:
    asked = len(order.prompt) // 4 + 1
    answered = 1056 * order.count + (_PARTIAL_TOKENS * order.partials if order.event else 0)
    return {
        "input_tokens": asked,
        "output_tokens": answered,
        "total_tokens": asked + answered,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": asked},
    }


def _headers(number: int, seconds: float) -> dict[str, str]:
    return {
        "x-request-id": f"req_{number:06d}",
        "openai-version": "2020-10-01",
        "openai-processing-ms": str(int(seconds * 1000)),
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
    }


def _event(order: _Order, what: str, said: Mapping[str, Any]) -> bytes:
    name = f"{order.event}.{what}"
    data = {"type": name, "created_at": int(time.time()), **_about(order), **said}
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def serve_picture(request: web.Request, data: bytes, fault: Fault | None) -> web.StreamResponse:
    """A result file, or what a fault makes of it."""
    kind = fault.kind if fault else ""
    if kind == "huge":
        return await send_huge(request)
    if kind == "expired_403":
        return web.Response(
            status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="text/xml"
        )
    if kind == "redirect_private":
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
    if kind == "redirect_loop" or (kind == "redirect" and "moved" not in request.query):
        raise web.HTTPFound(str(request.rel_url.update_query(moved="1")))
    return web.Response(body=bad_picture(kind, data), content_type="application/octet-stream")


def bad_address(kind: str) -> str:
    """A result address that nobody should follow."""
    return {
        "foreign_host": "https://results.example.org/picture.png",
        "plain_http": "http://file.aiquickdraw.com/picture.png",
        "metadata_host": "https://169.254.169.254/latest/meta-data/",
    }[kind]


def _refuse(status: int, fault: Fault) -> web.Response:
    headers = retry_after_headers(fault)
    if fault.kind == "insufficient_quota":
        message = "You exceeded your current quota, please check your plan and billing details."
        return _error(429, message, "insufficient_quota", code="insufficient_quota", headers=headers)
    if status == 429:
        message = "Rate limit reached for images per minute."
        return _error(429, message, "requests", code="rate_limit_exceeded", headers=headers)
    code = {401: "invalid_api_key", 404: "model_not_found"}.get(status)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return _error(status, "The sandbox was asked to fail.", kind, code=code, headers=headers)


def _error(
    status: int,
    message: str,
    kind: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return web.json_response(body, status=status, headers={"x-request-id": "req_refused", **(headers or {})})


def _size(size: object) -> tuple[int, int]:
    if size in (None, "auto"):
        return _SIZES["1024x1024"]
    if isinstance(size, str) and size in _SIZES:
        return _SIZES[size]
    match = _FREE_SIZE.fullmatch(size) if isinstance(size, str) else None
    if match:
        width, height = int(match[1]), int(match[2])
        if width % 16 == height % 16 == 0 and 1 / 3 <= width / height <= 3:
            return width, height
    raise _BadRequest(
        f"Invalid value: '{size}'. Supported values are: '1024x1024', '1024x1536', '1536x1024', and 'auto'.",
        param="size",
        code="invalid_value",
    )


def _truth(value: object) -> bool:
    """JSON's own or a form's."""
    if value in (None, False, "false"):
        return False
    if value in (True, "true"):
        return True
    raise _BadRequest("Invalid type for 'stream': expected a boolean.", param="stream", code="invalid_type")


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdigit() else None


def _check_mask(mask: bytes, image: bytes) -> None:
    """As the guide has it: of the same format and size as the first image, a PNG with an alpha channel."""
    try:
        masking, masked = Image.open(io.BytesIO(mask)), Image.open(io.BytesIO(image))
    except OSError:
        raise _bad_mask("unreadable") from None
    if masking.format != "PNG" or masked.format != "PNG":
        raise _bad_mask("mask and image must both be PNG")
    if not masking.has_transparency_data:
        raise _bad_mask("mask image missing alpha channel")
    if masking.size != masked.size:
        raise _bad_mask("mask size does not match image size")


def _bad_mask(why: str) -> _BadRequest:
    return _BadRequest(f"Invalid mask image format - {why}.", param="mask", code="invalid_mask_image_format")


async def _read_form(request: web.Request) -> tuple[dict[str, str], list[bytes], bytes | None]:
    """The fields, the images and the mask of an edit; read part by part so that the server's body limit does not bind."""
    if not request.content_type.startswith("multipart/"):
        raise _BadRequest("Unsupported content type; expected multipart/form-data.", code="invalid_type")
    fields: dict[str, str] = {}
    images: list[bytes] = []
    mask: bytes | None = None
    async for part in await request.multipart():
        name = getattr(part, "name", None) or ""
        content = bytes(await part.read())  # type: ignore[union-attr]
        if name in ("image", "image[]", "mask"):
            if len(content) > _MAX_IMAGE or len(images) >= _MAX_IMAGES:
                raise _BadRequest("Too many or too large images.", param="image", code="image_too_large")
            if name == "mask":
                mask = content
            else:
                images.append(content)
        else:
            fields[name] = content.decode("utf-8", "replace")
    return fields, images, mask
