"""A stand-in of GigaChat under `/gigachat/api/v1`, and of the server of its tokens at `/gigachat-auth/api/v2/oauth`.

It draws when it is let call its functions and is asked to draw; else it answers in words, as there.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, Unpack

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from src.sandbox.faults import Fault, retry_after_headers
from src.sandbox.generations import Common, StandIn, draw
from src.sandbox.openai import serve_picture

_SCOPES = ("GIGACHAT_API_PERS", "GIGACHAT_API_B2B", "GIGACHAT_API_CORP")
_MODELS = ("GigaChat-2", "GigaChat-2-Pro", "GigaChat-2-Max")
_TOKEN_SECONDS = 1800.0
_TO_DRAW = re.compile(r"^\s*(?:нарисуй|изобрази|draw)\b[:\s]*", re.IGNORECASE)
_KEPT = 1000
# What it says to a prompt that its filter stops, and to one that it will not draw.
_STOPPED = "Не люблю менять тему разговора, но вот сейчас тот самый случай."
_WILL_NOT = "К сожалению, я не могу нарисовать такое изображение."


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant", "function"]
    content: str
    attachments: list[str] = []
    functions_state_id: str | None = None


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    messages: list[_Message] = Field(min_length=1)
    function_call: Literal["auto", "none"] | dict[str, Any] = "none"
    temperature: float | None = Field(None, gt=0)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    repetition_penalty: float | None = None
    profanity_check: bool | None = None
    stream: Literal[False] = False
    update_interval: float | None = None


class GigaChatSandbox(StandIn):
    """The stand-in.

    Args:
        clock: seconds since the epoch. common: see there; a `key` of None is any that is base64.
    """

    name = "gigachat"

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.tokens: dict[str, float] = {}
        self._clock = clock
        self._files: OrderedDict[str, tuple[str, Fault | None]] = OrderedDict()

    def add_to(self, app: web.Application) -> None:
        """Serve both."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post("/gigachat-auth/api/v2/oauth", around(self._token, _refuse))
        app.router.add_get("/gigachat/api/v1/models", around(self._models, _refuse))
        app.router.add_post("/gigachat/api/v1/chat/completions", around(self._chat, _refuse))
        app.router.add_get("/gigachat/api/v1/files/{id}/content", around(self._file, _refuse))

    async def _token(self, request: web.Request) -> web.StreamResponse:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        try:
            base64.b64decode(key, validate=True)
            uuid.UUID(request.headers.get("RqUID", ""))
        except (ValueError, binascii.Error):
            return web.json_response(
                {"code": 4, "message": "Can't decode 'Authorization' header"}, status=400
            )
        if scheme != "Basic" or not key or self._key not in (None, key):
            return web.json_response({"code": 6, "message": "credentials doesn't match db data"}, status=401)
        if (await request.post()).get("scope") not in _SCOPES:
            said = "scope from db not fully includes consumed scope"
            return web.json_response({"code": 7, "message": said}, status=400)
        token = f"eyJ{uuid.uuid4().hex}"
        self.tokens[token] = self._clock() + _TOKEN_SECONDS
        return web.json_response({"access_token": token, "expires_at": int(self.tokens[token] * 1000)})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, "Token has expired")
        try:
            asked = _Asked.model_validate_json(await request.read())
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            return _error(422, f"Invalid params: {where}")
        if asked.model not in _MODELS:
            return _error(404, "No such model")
        said = asked.messages[-1].content
        prompt = _TO_DRAW.sub("", said)
        if asked.function_call != "auto" or prompt == said:
            return self._answer(asked.model, "Готов помочь словами.", "stop")
        fault = self.faults.behaviour(request.path, prompt)
        kind = fault.kind if fault else ""
        self.audit.submits[prompt] += 1
        if kind == "moderated":
            return self._answer(asked.model, _STOPPED, "blacklist")
        if kind == "never_ends":
            await self.faults.hang(request)
        await self.faults.pause(draw(self.durations, self._random))
        if kind == "fail":
            return _error(500, "Internal Server Error")
        self.audit.charged[prompt] += 1
        if kind in ("moderated_output", "blocked_200"):
            return self._answer(asked.model, _WILL_NOT, "stop")
        file = str(uuid.uuid4())
        self._files[file] = (prompt, fault)
        if len(self._files) > _KEPT:
            self._files.popitem(last=False)
        return self._answer(asked.model, f'<img src="{file}" fuse="true"/> Вот что получилось.', "stop")

    def _answer(self, model: str, text: str, reason: str) -> web.Response:
        usage = {
            "prompt_tokens": 20,
            "completion_tokens": 40,
            "total_tokens": 60,
            "precached_prompt_tokens": 0,
        }
        message = {"role": "assistant", "content": text, "functions_state_id": str(uuid.uuid4())}
        return web.json_response(
            {
                "choices": [{"message": message, "index": 0, "finish_reason": reason}],
                "created": int(self._clock()),
                "model": f"{model}:2.0.28.2",
                "object": "chat.completion",
                "usage": usage,
            }
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, "Token has expired")
        prompt, fault = self._files.get(request.match_info["id"], (None, None))
        if prompt is None or (fault is not None and fault.kind == "vanish"):
            return _error(404, "No such file")
        self.audit.fetches[request.match_info["id"]] += 1
        data = await self._pictures.make(prompt, (1024, 1024), seed=next(self._count), form="jpeg")
        return await serve_picture(request, data, fault)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _error(401, "Token has expired")
        listed = [
            {"id": name, "object": "model", "owned_by": "salutedevices", "type": "chat"} for name in _MODELS
        ]
        return web.json_response({"data": listed, "object": "list"})

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and self.tokens.get(token, 0.0) > self._clock()


def _refuse(status: int, fault: Fault) -> web.Response:
    if fault.kind == "insufficient_quota":
        return _error(402, "Payment Required")
    return _error(status, "The sandbox was asked to fail.", headers=retry_after_headers(fault))


def _error(status: int, message: str, *, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"status": status, "message": message}, status=status, headers=headers)
