"""A stand-in of kie.ai: tasks under `/kie`, uploads under `/kie-upload`, results under `/files/kie`.

A task's state is computed from the clock when it is asked for, so three thousand in flight cost
nothing; only a task with a callback address has a timer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Unpack
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from src.providers.kie import sign
from src.sandbox.faults import Fault, retry_after_headers
from src.sandbox.generations import SIZES, Common, StandIn, draw
from src.sandbox.openai import bad_address, serve_picture
from src.sandbox.pictures import Format, worked_on

_MAX_PROMPT = 5000
_KEPT_TASKS = 50_000
_KEPT_UPLOADS = 200
_CREDITS = 100_000
_PRICE = 4
# What of these the models of a family do not take.
_LACKING = {
    "gpt-image": ("4:5", "21:9"),
    "flux-2/": ("4:5", "21:9"),
    "seedream/": ("4:5",),
    "qwen/": ("landscape_3_2", "portrait_3_2", "landscape_21_9"),
}
_NAMED_SIZES = {
    "square_hd": SIZES["1:1"],
    "landscape_4_3": (1152, 864),
    "landscape_3_2": SIZES["3:2"],
    "landscape_16_9": SIZES["16:9"],
    "landscape_21_9": SIZES["21:9"],
    "portrait_4_3": (864, 1152),
    "portrait_3_2": SIZES["2:3"],
    "portrait_16_9": SIZES["9:16"],
}
_CALLBACK_TRIES = 3
_WEBHOOK_KEY = "sandbox-webhook-key"


@dataclass(frozen=True, slots=True)
class _Model:
    """What a model takes beside its prompt, by kie's OpenAPI: a field that is not among it, or lacks, is refused.

    Attributes:
        takes: optional fields. needs: required ones. source: field of the pictures to be changed, `most` at once;
            `one`: it holds one address, not a list. words: it takes a prompt.
    """

    takes: frozenset[str]
    needs: frozenset[str] = frozenset()
    source: str = ""
    one: bool = False
    most: int = 10
    words: bool = True


def _model(takes: str, needs: str = "", source: str = "", *, one: bool = False, most: int = 10) -> _Model:
    return _Model(frozenset(takes.split()), frozenset(needs.split()), source, one, most)


_BANANA = _model(
    "aspect_ratio resolution output_format image_input nsfw_checker", source="image_input", most=14
)
_GPT = _model("aspect_ratio resolution nsfw_checker")
_GPT_EDIT = _model("aspect_ratio resolution nsfw_checker", "input_urls", "input_urls", most=16)
_SEEDREAM = _model("output_format nsfw_checker", "aspect_ratio quality")
_SEEDREAM_EDIT = _model(
    "output_format nsfw_checker", "aspect_ratio quality image_urls", "image_urls", most=14
)
_V4 = "image_size image_resolution max_images seed nsfw_checker"
_QWEN = "image_size output_format seed negative_prompt acceleration nsfw_checker"
_UPSCALE = "recraft/crisp-upscale"
_TOOL = _Model(frozenset(), frozenset({"image"}), "image", one=True, words=False)
_MODELS = {
    "google/nano-banana": _model("aspect_ratio output_format nsfw_checker"),
    "google/nano-banana-edit": _model("aspect_ratio output_format nsfw_checker", "image_urls", "image_urls"),
    "nano-banana-2": _BANANA,
    "nano-banana-2-1": _BANANA,
    "nano-banana-pro": replace(_BANANA, most=8),
    "nano-banana-2-lite": _model("aspect_ratio image_urls", source="image_urls"),
    "gpt-image-2-text-to-image": _GPT,
    "gpt-image-2-image-to-image": _GPT_EDIT,
    "gpt-image-2-5-flare-text-to-image": _GPT,
    "gpt-image-2-5-flare-image-to-image": _GPT_EDIT,
    "flux-2/pro-text-to-image": _model("nsfw_checker", "aspect_ratio resolution"),
    "flux-2/pro-image-to-image": _model(
        "nsfw_checker", "aspect_ratio resolution input_urls", "input_urls", most=8
    ),
    "seedream/4.5-text-to-image": _SEEDREAM,
    "seedream/4.5-edit": _SEEDREAM_EDIT,
    "seedream/5-pro-text-to-image": _SEEDREAM,
    "seedream/5-pro-image-to-image": _SEEDREAM_EDIT,
    "bytedance/seedream-v4-text-to-image": _model(_V4),
    "bytedance/seedream-v4-edit": _model(_V4, "image_urls", "image_urls"),
    "qwen/text-to-image": _model(_QWEN),
    "qwen/image-edit": _model(_QWEN, "image_url", "image_url", one=True),
    _UPSCALE: _TOOL,
    "recraft/remove-background": _TOOL,
}


@dataclass(slots=True)
class _Task:
    number: int
    model: str
    fields: dict[str, Any]
    created: float
    created_wall: float
    seconds: float
    origin: str
    fault: Fault | None
    source: bytes | None
    charged: bool = False

    @property
    def id(self) -> str:
        return f"task_{self.number:08d}"

    @property
    def prompt(self) -> str:
        return str(self.fields.get("prompt", self.model))

    @property
    def form(self) -> Format:
        return "jpeg" if self.fields.get("output_format") in ("jpeg", "jpg") else "png"

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""


class KieSandbox(StandIn):
    """The stand-in.

    Args:
        webhook_key: signs callbacks.
        limit: new tasks allowed and in how many seconds, such as kie's own `(20, 10.0)`; None: no limit.
        clock: monotonic seconds.
    """

    name = "kie"

    def __init__(
        self,
        *,
        webhook_key: str = _WEBHOOK_KEY,
        limit: tuple[int, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.limit = limit
        self._webhook_key = webhook_key.encode()
        self._clock = clock
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._uploads: OrderedDict[str, bytes] = OrderedDict()
        self._recent: deque[float] = deque()
        self._spent = 0
        self._callbacks: set[asyncio.Task[None]] = set()

    def add_to(self, app: web.Application) -> None:
        """Serve the API, the uploads, the results and `/kie/audit`."""
        self.faults.add_to(app)
        around = self.faults.around
        app.router.add_post("/kie/api/v1/jobs/createTask", around(self._create, _refuse))
        app.router.add_get("/kie/api/v1/jobs/recordInfo", around(self._record, _refuse))
        app.router.add_get("/kie/api/v1/chat/credit", around(self._credit, _refuse))
        app.router.add_post("/kie-upload/api/file-stream-upload", around(self._upload, _refuse))
        app.router.add_get("/files/kie-upload/{name}", self._uploaded)
        app.router.add_get("/files/kie/{name}", around(self._file, _refuse))
        app.router.add_get("/kie/audit", self._audit)
        app.on_cleanup.append(self._stop)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return self._say(401, "You do not have access permissions")
        if not self._within_limit():
            return self._say(429, "Your call frequency is too high. Please try again later.", status=429)
        try:
            wanted = json.loads(await request.read())
        except ValueError:
            return self._say(400, "Invalid JSON")
        model = wanted.get("model") if isinstance(wanted, dict) else None
        if not isinstance(model, str) or not model:
            return self._say(422, "model is required")
        fields = wanted.get("input")
        if not isinstance(fields, dict):
            return self._say(422, "input is required")
        prompt = fields.get("prompt")
        if model not in _MODELS or _MODELS[model].words:
            if not isinstance(prompt, str) or not prompt.strip():
                return self._say(422, "prompt is required")
            if len(prompt) > _MAX_PROMPT:
                return self._say(422, f"prompt must be at most {_MAX_PROMPT} characters")
        if (wrong := _wrong_input(model, fields)) is not None:
            return self._say(422, wrong)
        task = self._new_task(request, model, fields, self._source(fields.get(_MODELS[model].source)))
        callback = wanted.get("callBackUrl")
        if isinstance(callback, str) and callback:
            self._call_back_later(task, callback)
        return web.json_response({"code": 200, "msg": "success", "data": {"taskId": task.id}})

    def _new_task(
        self, request: web.Request, model: str, fields: dict[str, Any], source: bytes | None
    ) -> _Task:
        fault = self.faults.behaviour(request.path, fields.get("prompt", model))
        seconds = draw(self.durations, self._random)
        if fault and fault.kind == "slow":
            seconds *= 5
        task = _Task(
            next(self._count),
            model,
            fields,
            self._clock(),
            time.time(),
            seconds,
            str(request.url.origin()),
            fault,
            source,
        )
        self._tasks[task.id] = task
        if len(self._tasks) > _KEPT_TASKS:
            self._tasks.popitem(last=False)
        self.audit.submits[task.prompt] += 1
        self.audit.sources[task.prompt] += source is not None
        self.audit.seconds[task.prompt] = seconds
        return task

    async def _record(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return self._say(401, "You do not have access permissions")
        self.audit.polls += 1
        task = self._tasks.get(request.query.get("taskId", ""))
        if task is None or self._is_hidden(task):
            return self._say(422, "recordInfo is null")
        return web.json_response({"code": 200, "msg": "success", "data": self._state(task)})

    def _is_hidden(self, task: _Task) -> bool:
        age = self._clock() - task.created
        if task.kind == "late" and task.fault:
            return age < float(task.fault.options.get("seconds", 1.0))
        return task.kind == "vanish" and age > task.seconds / 2

    def _state(self, task: _Task) -> dict[str, Any]:
        share = (self._clock() - task.created) / max(task.seconds, 1e-9)
        if task.kind == "never_ends":
            share = min(share, 0.95)
        state: dict[str, Any] = {
            "taskId": task.id,
            "model": task.model,
            "state": "generating",
            "param": json.dumps({"model": task.model, "input": task.fields}),
            "resultJson": "",
            "failCode": "",
            "failMsg": "",
            "costTime": 0,
            "completeTime": 0,
            "createTime": int(task.created_wall * 1000),
        }
        if share < 0.04:
            return state | {"state": "waiting"}
        if share < 0.12:
            return state | {"state": "queuing"}
        if task.kind == "unknown_state" and share < 0.6:
            return state | {"state": "warming_up"}
        if share < 1:
            return state | {"progress": int((share - 0.12) / 0.88 * 100)}
        ended = {
            "costTime": round(task.seconds),
            "completeTime": int((task.created_wall + task.seconds) * 1000),
        }
        if task.kind in _FAILURES:
            code, message = _FAILURES[task.kind]
            return state | ended | {"state": "fail", "failCode": code, "failMsg": message}
        if not task.charged:
            self._charge(task)
            self.audit.noticed.append(self._clock() - task.created - task.seconds)
        urls = [] if task.kind == "blocked_200" else [self._result_url(task)]
        result = json.dumps({"resultUrls": urls})
        return state | ended | {"state": "success", "resultJson": result, "creditsConsumed": _PRICE}

    def bill(self) -> None:
        """Charge every generation that has ended with a picture by now, also those nobody asked about."""
        for task in self._tasks.values():
            ended = task.kind != "never_ends" and self._clock() - task.created >= task.seconds
            if ended and not task.charged and task.kind not in _FAILURES and not self._is_hidden(task):
                self._charge(task)

    def unended(self) -> list[str]:
        """Ids of the generations under way, oldest first."""
        return [t.id for t in self._tasks.values() if self._clock() - t.created < t.seconds]

    def _charge(self, task: _Task) -> None:
        task.charged = True
        self._spent += _PRICE
        self.audit.charged[task.prompt] += 1

    def _result_url(self, task: _Task) -> str:
        if task.kind in ("foreign_host", "plain_http", "metadata_host"):
            return bad_address(task.kind)
        return f"{task.origin}/files/kie/{task.id}.{task.form}"

    async def _file(self, request: web.Request) -> web.StreamResponse:
        task = self._tasks.get(request.match_info["name"].partition(".")[0])
        if task is None:
            raise web.HTTPNotFound
        self.audit.fetches[task.id] += 1
        if not _MODELS[task.model].words and task.source is not None:
            data = await asyncio.to_thread(worked_on, task.source, larger=task.model == _UPSCALE)
            return await serve_picture(request, data, task.fault)
        data = await self._pictures.make(
            task.prompt,
            _size(task.fields),
            seed=self._seed * 100_003 + task.number,
            form=task.form,
            source=task.source,
        )
        return await serve_picture(request, data, task.fault)

    async def _credit(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return self._say(401, "You do not have access permissions")
        return web.json_response({"code": 200, "msg": "success", "data": _CREDITS - self._spent})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return self._say(401, "You do not have access permissions")
        if not request.content_type.startswith("multipart/"):
            return self._say(400, "Invalid form data")
        fields: dict[str, str] = {}
        content = b""
        async for part in await request.multipart():
            raw = bytes(await part.read())  # type: ignore[union-attr]
            if getattr(part, "name", "") == "file":
                content = raw
                fields.setdefault("fileName", getattr(part, "filename", None) or "file")
            else:
                fields[str(getattr(part, "name", ""))] = raw.decode("utf-8", "replace")
        if not content or "uploadPath" not in fields:
            return self._say(400, "file and uploadPath are required")
        name = f"{self.audit.uploads:06d}-{fields['fileName']}".replace("/", "_")
        self._uploads[name] = content
        if len(self._uploads) > _KEPT_UPLOADS:
            self._uploads.popitem(last=False)
        self.audit.uploads += 1
        url = str(request.url.origin() / "files" / "kie-upload" / name)
        data = {
            "fileName": fields["fileName"],
            "filePath": f"{fields['uploadPath']}/{fields['fileName']}",
            "downloadUrl": url,
            "fileSize": len(content),
            "mimeType": "application/octet-stream",
        }
        return web.json_response(
            {"success": True, "code": 200, "msg": "File uploaded successfully", "data": data}
        )

    async def _uploaded(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._uploads:
            raise web.HTTPNotFound
        return web.Response(body=self._uploads[name], content_type="application/octet-stream")

    def _source(self, given: object) -> bytes | None:
        first = given[0] if isinstance(given, list) and given else given
        if not isinstance(first, str):
            return None
        return self._uploads.get(urlsplit(first).path.rpartition("/")[2])

    def _call_back_later(self, task: _Task, url: str) -> None:
        if task.kind == "never_ends":
            return

        def start() -> None:
            running = asyncio.ensure_future(self._call_back(task, url))
            self._callbacks.add(running)
            running.add_done_callback(self._callbacks.discard)

        asyncio.get_running_loop().call_later(task.seconds, start)

    async def _call_back(self, task: _Task, url: str) -> None:
        stamp = str(int(time.time()))
        headers = {
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Signature": sign(self._webhook_key, task.id, stamp),
        }
        state = self._state(task)
        failed = state["state"] == "fail"
        body = {
            "code": 501 if failed else 200,
            "msg": state["failMsg"] if failed else "success",
            "taskId": task.id,
            "data": {**state, "task_id": task.id},
        }
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
            for attempt in range(_CALLBACK_TRIES):
                try:
                    async with session.post(url, json=body, headers=headers) as response:
                        if response.status < 300:
                            self.audit.callbacks += 1
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await self.faults.pause(0.5 * 2**attempt)

    async def _stop(self, app: web.Application) -> None:
        for running in tuple(self._callbacks):
            running.cancel()

    async def _audit(self, request: web.Request) -> web.Response:
        return web.json_response({**self.audit.to_json(), "tasks": len(self._tasks), "spent": self._spent})

    def _within_limit(self) -> bool:
        if self.limit is None:
            return True
        most, window = self.limit
        now = self._clock()
        while self._recent and now - self._recent[0] >= window:
            self._recent.popleft()
        if len(self._recent) >= most:
            return False
        self._recent.append(now)
        return True

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and bool(key) and self._key in (None, key)

    def _say(self, code: int, message: str, *, status: int = 200) -> web.Response:
        self.audit.refused[str(code)] += 1
        return web.json_response({"code": code, "msg": message, "data": None}, status=status)


def _wrong_input(name: str, fields: dict[str, Any]) -> str | None:
    """What kie has against an input, or None."""
    model = _MODELS.get(name)
    if model is None:
        return (
            "The model name you specified is not supported. Please verify that it is correct and try again."
        )
    known = model.takes | model.needs | ({"prompt"} if model.words else set())
    for field in fields:
        if field not in known:
            return f"{field} is not allowed"
    for field in model.needs:
        if not fields.get(field):
            return f"{field} is required"
    shape, shapes = ("image_size", _NAMED_SIZES) if "image_size" in known else ("aspect_ratio", SIZES)
    lacking = next((values for prefix, values in _LACKING.items() if name.startswith(prefix)), ())
    asked = fields.get(shape, next(iter(shapes)))
    if model.words and (asked not in shapes or asked in lacking):
        return f"{shape} is not within the range of allowed options"
    given = fields.get(model.source)
    if given is not None and isinstance(given, list) is model.one:
        return f"{model.source} is not of the right type"
    if isinstance(given, list) and len(given) > model.most:
        return f"{model.source} must have at most {model.most} items"
    return None


def _size(fields: dict[str, Any]) -> tuple[int, int]:
    shape = fields.get("image_size") or fields.get("aspect_ratio") or "1:1"
    return {**SIZES, **_NAMED_SIZES}[shape]


_FAILURES = {
    "moderated": ("400", "Your prompt was flagged by the website as violating content policies."),
    "moderated_output": ("400", "The generated image was flagged as sensitive. Please try again."),
    "fail": ("501", "Internal error, please try again later."),
}


def _refuse(status: int, fault: Fault) -> web.Response:
    if fault.kind == "business":
        code = fault.options.get("code", 500)
        message = fault.options.get("message", "The sandbox was asked to fail.")
        field = fault.options.get("message_field", "msg")
        return web.json_response(
            {"code": code, field: message, "data": None}, headers=retry_after_headers(fault)
        )
    if fault.kind == "insufficient_quota":
        return web.json_response({"code": 402, "msg": "Credits insufficient", "data": None})
    body = {"code": status, "msg": "The sandbox was asked to fail.", "data": None}
    return web.json_response(body, status=status, headers=retry_after_headers(fault))
