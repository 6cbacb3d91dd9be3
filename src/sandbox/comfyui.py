"""A stand-in of ComfyUI under `/comfyui`: graphs are checked as there, run one after another, and told of by websocket.

Of its nodes it knows those of a plain picture from words or from a picture. What the original does not mind (an input
that a node does not know) is not minded here either.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from src.sandbox.faults import Fault, Faults, retry_after_headers
from src.sandbox.generations import DEMO_DURATIONS, Audit, Durations, draw
from src.sandbox.openai import serve_picture
from src.sandbox.pictures import PictureMaker

_KEPT = 1000
_STEPS = 10
CHECKPOINT = "sd_xl_base_1.0.safetensors"


@dataclass(frozen=True, slots=True)
class _Node:
    """What a node takes and gives: an input is a type that comes by a link, a list of words, INT or FLOAT with its
    limits, or STRING."""

    takes: dict[str, Any]
    gives: tuple[str, ...] = ()
    output: bool = False


_SIDE = ("INT", 16, 16_384)
_NODES = {
    "CheckpointLoaderSimple": _Node({"ckpt_name": [CHECKPOINT]}, ("MODEL", "CLIP", "VAE")),
    "CLIPTextEncode": _Node({"text": ("STRING",), "clip": ("CLIP",)}, ("CONDITIONING",)),
    "EmptyLatentImage": _Node({"width": _SIDE, "height": _SIDE, "batch_size": ("INT", 1, 4096)}, ("LATENT",)),
    "LoadImage": _Node({"image": ("UPLOAD",)}, ("IMAGE", "MASK")),
    "VAEEncode": _Node({"pixels": ("IMAGE",), "vae": ("VAE",)}, ("LATENT",)),
    "KSampler": _Node(
        {
            "model": ("MODEL",),
            "seed": ("INT", 0, 2**64 - 1),
            "steps": ("INT", 1, 10_000),
            "cfg": ("FLOAT", 0.0, 100.0),
            "sampler_name": ["euler", "dpmpp_2m", "uni_pc"],
            "scheduler": ["normal", "karras", "simple"],
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "latent_image": ("LATENT",),
            "denoise": ("FLOAT", 0.0, 1.0),
        },
        ("LATENT",),
    ),
    "VAEDecode": _Node({"samples": ("LATENT",), "vae": ("VAE",)}, ("IMAGE",)),
    "SaveImage": _Node({"images": ("IMAGE",), "filename_prefix": ("STRING",)}, output=True),
    "PreviewImage": _Node({"images": ("IMAGE",)}, output=True),
}


@dataclass(slots=True)
class _Prompt:
    """A graph in the queue or behind it."""

    number: int
    id: str
    graph: dict[str, Any]
    listener: str | None
    fault: Fault | None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[list[Any]] = field(default_factory=list)
    entry: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""

    def of(self, kind: str) -> tuple[str, dict[str, Any]]:
        """The first node of a kind: its key and inputs."""
        return next((k, n["inputs"]) for k, n in self.graph.items() if n["class_type"] == kind)

    @property
    def words(self) -> str:
        link = self.of("KSampler")[1]["positive"]
        return str(self.graph[link[0]]["inputs"]["text"])

    def told(self) -> list[Any]:
        """As the queue shows it."""
        outputs = [k for k, n in self.graph.items() if _NODES[n["class_type"]].output]
        return [self.number, self.id, self.graph, {"client_id": self.listener}, outputs]


class ComfyUISandbox:
    """The stand-in.

    Args:
        pictures: what draws. faults: shared with the other stand-ins. durations: seconds a graph takes.
        lag: seconds from the end of a graph to when its history can be read. seed: makes it repeatable.
        exact: an interrupt that names a prompt leaves others alone, as since 2025.
    """

    def __init__(
        self,
        *,
        pictures: PictureMaker | None = None,
        faults: Faults | None = None,
        durations: Durations = DEMO_DURATIONS,
        lag: float = 0.05,
        seed: int = 0,
        exact: bool = True,
    ) -> None:
        self.faults = faults or Faults(seed)
        self.audit = Audit()
        self.durations = durations
        self.lag = lag
        self.exact = exact
        self.forget_uploads = False
        self.running: _Prompt | None = None
        self.waiting: list[_Prompt] = []
        self._ended: OrderedDict[str, _Prompt] = OrderedDict()
        self._uploads: OrderedDict[str, bytes] = OrderedDict()
        self._files: OrderedDict[str, _Prompt] = OrderedDict()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._pictures = pictures or PictureMaker()
        self._random = random.Random(f"comfyui:{seed}")
        self._count = itertools.count()
        self._more = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def add_to(self, app: web.Application) -> None:
        """Serve it, and run what is queued while the server lives."""
        self.faults.add_to(app)
        add, around = app.router.add_route, self.faults.around
        for method, path, handler in (
            ("POST", "/prompt", self._submit),
            ("GET", "/history/{id}", self._history),
            ("GET", "/queue", self._queue),
            ("POST", "/queue", self._delete),
            ("POST", "/interrupt", self._interrupt),
            ("GET", "/view", self._view),
            ("POST", "/upload/image", self._upload),
            ("GET", "/system_stats", self._stats),
            ("GET", "/object_info/{kind}", self._info),
            ("GET", "/ws", self._listen),
        ):
            add(method, f"/comfyui{path}", around(handler, _refuse))
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)

    def ended(self, task: str) -> dict[str, Any]:
        """The graph of a prompt that has ended."""
        return self._ended[task].graph

    async def _start(self, app: web.Application) -> None:
        self._worker = asyncio.create_task(self._work())

    async def _stop(self, app: web.Application) -> None:
        if self._worker is not None:
            self._worker.cancel()
        for socket in tuple(self._sockets.values()):
            await socket.close()

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if "prompt" not in asked:
            return web.json_response(_no_prompt, status=400)
        error, nodes = self._wrong(asked["prompt"])
        if error is not None:
            self.audit.refused[error["type"]] += 1
            return web.json_response({"error": error, "node_errors": nodes}, status=400)
        number = next(self._count)
        made = _Prompt(number, str(uuid.uuid4()), asked["prompt"], asked.get("client_id"), None)
        made.fault = self.faults.behaviour(request.path, made.words)
        self.audit.submits[made.words] += 1
        if any(n["class_type"] == "LoadImage" for n in made.graph.values()):
            self.audit.sources[made.words] += 1
        self.waiting.append(made)
        self._more.set()
        return web.json_response({"prompt_id": made.id, "number": number, "node_errors": {}})

    def _wrong(self, graph: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """What ComfyUI has against a graph: of the whole, and of its nodes."""
        for key, node in graph.items():
            if "class_type" not in node:
                return _reason(
                    "invalid_prompt", "Cannot execute because a node is missing the class_type property.", key
                ), {}
            if node["class_type"] not in _NODES:
                said = f"Cannot execute because node {node['class_type']} does not exist."
                return _reason("invalid_prompt", said, f"Node ID '#{key}'"), {}
        if not any(_NODES[n["class_type"]].output for n in graph.values()):
            return _reason("prompt_no_outputs", "Prompt has no outputs"), {}
        wrong = {}
        for key, node in graph.items():
            found = [
                {**reason, "extra_info": {"input_name": name}}
                for name, takes in _NODES[node["class_type"]].takes.items()
                if (reason := self._wrong_input(graph, node["inputs"], name, takes)) is not None
            ]
            if found:
                wrong[key] = {"errors": found, "dependent_outputs": [], "class_type": node["class_type"]}
        if wrong:
            return _reason("prompt_outputs_failed_validation", "Prompt outputs failed validation"), wrong
        return None, {}

    def _wrong_input(
        self, graph: dict[str, Any], inputs: dict[str, Any], name: str, takes: Any
    ) -> dict[str, Any] | None:
        if name not in inputs:
            return _reason("required_input_missing", "Required input is missing", name)
        value = inputs[name]
        if isinstance(value, list):
            if len(value) != 2 or value[0] not in graph:
                return _reason(
                    "bad_linked_input",
                    "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                    name,
                )
            gives = _NODES[graph[value[0]]["class_type"]].gives
            if value[1] >= len(gives) or gives[value[1]] != takes[0]:
                return _reason("return_type_mismatch", "Return type mismatch between linked nodes", name)
            return None
        if isinstance(takes, list):
            if value not in takes:
                return _reason("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {takes}")
            return None
        kind, *limits = takes
        if kind == "UPLOAD":
            if value not in self._uploads:
                said = "Custom validation failed for node"
                return _reason("custom_validation_failed", said, f"{name} - Invalid image file: {value}")
            return None
        if kind not in ("INT", "FLOAT", "STRING"):
            return _reason(
                "bad_linked_input", "Bad linked input, must be a length-2 list of [node_id, slot_index]", name
            )
        try:
            number = {"INT": int, "FLOAT": float, "STRING": str}[kind](value)
        except (TypeError, ValueError):
            return _reason("invalid_input_type", f"Failed to convert an input value to a {kind} value", name)
        if limits and number < limits[0]:
            return _reason("value_smaller_than_min", f"Value {value} smaller than min of {limits[0]}", name)
        if limits and number > limits[1]:
            return _reason("value_bigger_than_max", f"Value {value} bigger than max of {limits[1]}", name)
        return None

    async def _work(self) -> None:
        while True:
            while not self.waiting:
                self._more.clear()
                await self._more.wait()
            self.running = prompt = self.waiting.pop(0)
            status = await self._run(prompt)
            self.running = None
            await asyncio.sleep(self.lag)
            if prompt.kind != "vanish":
                prompt.entry = {
                    "prompt": prompt.told(),
                    "outputs": self._outputs(prompt, status),
                    "status": status,
                }
                self._ended[prompt.id] = prompt
                if len(self._ended) > _KEPT:
                    self._ended.popitem(last=False)

    async def _run(self, prompt: _Prompt) -> dict[str, Any]:
        """Run a graph and tell its listener; its status."""
        seconds = draw(self.durations, self._random) * (5 if prompt.kind == "slow" else 1)
        self.audit.seconds[prompt.words] = seconds
        await self._tell(prompt, "execution_start")
        await self._tell(prompt, "execution_cached", nodes=[])
        sampler, _ = prompt.of("KSampler")
        await self._tell(prompt, "executing", node=sampler)
        for step in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(prompt.stop.wait(), max(seconds / _STEPS, 0.001))
            if prompt.stop.is_set():
                await self._tell(prompt, "execution_interrupted", node_id=sampler)
                return self._status(prompt, "error")
            if prompt.kind == "fail":
                kind, said = "torch.OutOfMemoryError", "Allocation on device"
                await self._tell(
                    prompt, "execution_error", node_id=sampler, exception_type=kind, exception_message=said
                )
                return self._status(prompt, "error")
            value = min(step, _STEPS if prompt.kind != "never_ends" else _STEPS - 1)
            await self._tell(prompt, "progress", value=value, max=_STEPS, node=sampler)
            await self._preview(prompt)
            if value == _STEPS:
                break
        self.audit.charged[prompt.words] += 1
        await self._tell(prompt, "execution_success")
        await self._tell(prompt, "executing", node=None)
        return self._status(prompt, "success")

    def _status(self, prompt: _Prompt, word: str) -> dict[str, Any]:
        return {"status_str": word, "completed": word == "success", "messages": prompt.messages}

    def _outputs(self, prompt: _Prompt, status: dict[str, Any]) -> dict[str, Any]:
        if not status["completed"]:
            return {}
        outputs: dict[str, Any] = {}
        for key, node in prompt.graph.items():
            if _NODES[node["class_type"]].output:
                saved = node["class_type"] == "SaveImage"
                kept = {
                    "filename": f"{prompt.number:05}_{key}_.png",
                    "subfolder": "",
                    "type": "output" if saved else "temp",
                }
                self._files[kept["filename"]] = prompt
                outputs[key] = {"images": [kept]}
        return outputs

    async def _tell(self, prompt: _Prompt, kind: str, **data: Any) -> None:
        data["prompt_id"] = prompt.id
        if kind.startswith("execution_"):
            data["timestamp"] = int(time.time() * 1000)
            prompt.messages.append([kind, data])
        socket = self._sockets.get(prompt.listener or "")
        if socket is not None:
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": data})

    async def _preview(self, prompt: _Prompt) -> None:
        socket = self._sockets.get(prompt.listener or "")
        if socket is not None:
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(b"\0\0\0\1\0\0\0\1not a whole JPEG")

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[sid] = socket
        remaining = len(self.waiting) + (self.running is not None)
        await socket.send_json(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": remaining}}, "sid": sid}}
        )
        if self.running is not None and self.running.listener == sid:
            await socket.send_json({"type": "executing", "data": {"node": self.running.of("KSampler")[0]}})
        async for _ in socket:
            pass
        if self._sockets.get(sid) is socket:
            del self._sockets[sid]
        return socket

    async def _history(self, request: web.Request) -> web.StreamResponse:
        self.audit.polls += 1
        found = self._ended.get(request.match_info["id"])
        return web.json_response({found.id: found.entry} if found else {})

    async def _queue(self, request: web.Request) -> web.StreamResponse:
        running = [self.running.told()] if self.running else []
        # The original's is a heap, whose order is no order.
        return web.json_response(
            {"queue_running": running, "queue_pending": [p.told() for p in reversed(self.waiting)]}
        )

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        gone = json.loads(await request.read()).get("delete", [])
        self.waiting = [p for p in self.waiting if p.id not in gone]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        named = json.loads(raw).get("prompt_id") if raw and self.exact else None
        if self.running is not None and named in (None, self.running.id):
            self.running.stop.set()
        return web.Response()

    async def _view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename")
        if name is None or name not in self._files:
            return web.Response(status=404)
        prompt = self._files[name]
        self.audit.fetches[prompt.id] += 1
        sampler = prompt.of("KSampler")[1]
        latent = prompt.graph[sampler["latent_image"][0]]
        size, source = (1024, 1024), None
        if latent["class_type"] == "EmptyLatentImage":
            size = (int(latent["inputs"]["width"]), int(latent["inputs"]["height"]))
        else:
            source = self._uploads[prompt.of("LoadImage")[1]["image"]]
        data = await self._pictures.make(prompt.words, size, seed=int(sampler["seed"]) % 2**31, source=source)
        return await serve_picture(request, data, prompt.fault)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        image = form.get("image")
        if not isinstance(image, web.FileField) or not image.filename:
            return web.Response(status=400)
        kind, folder = str(form.get("type", "input")), str(form.get("subfolder", ""))
        name = image.filename
        stem, _, suffix = name.rpartition(".")
        for number in itertools.count(1):
            if (
                form.get("overwrite") in ("true", "1")
                or "/".join(filter(None, (folder, name))) not in self._uploads
            ):
                break
            name = f"{stem} ({number}).{suffix}"
        if not self.forget_uploads:
            self._uploads["/".join(filter(None, (folder, name)))] = image.file.read()
        self.audit.uploads += 1
        return web.json_response({"name": name, "subfolder": folder, "type": kind})

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        device = {
            "name": "cuda:0 sandbox",
            "type": "cuda",
            "index": 0,
            "vram_total": 24 * 2**30,
            "vram_free": 2**34,
        }
        return web.json_response(
            {"system": {"os": "posix", "comfyui_version": "0.3.75"}, "devices": [device]}
        )

    async def _info(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        node = _NODES.get(kind)
        if node is None:
            return web.json_response({})
        takes = {name: [t] if isinstance(t, list) else list(t) for name, t in node.takes.items()}
        return web.json_response(
            {kind: {"input": {"required": takes}, "output": list(node.gives), "name": kind}}
        )


def _reason(kind: str, message: str, details: str = "") -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


_no_prompt = {"error": _reason("no_prompt", "No prompt provided", "No prompt provided"), "node_errors": {}}


def _refuse(status: int, fault: Fault) -> web.Response:
    return web.Response(
        status=status, text=f"{status}: The sandbox was asked to fail.", headers=retry_after_headers(fault)
    )
