"""A stand-in of Stable Diffusion web UI (AUTOMATIC1111) under `/a1111`, started with `--api`.

As there: one picture at a time, the rest wait; progress and interrupt speak of the one that runs; an interrupted one is
answered with what there is of it; a field that it does not know is not minded, and neither is a checkpoint.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import time
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from src.sandbox.faults import Fault, Faults, retry_after_headers
from src.sandbox.generations import DEMO_DURATIONS, Audit, Durations, bad_picture, draw, send_huge
from src.sandbox.pictures import PictureMaker

_SAMPLERS = ("Euler a", "Euler", "DPM++ 2M", "DPM++ 2M SDE", "UniPC")
_CHECKPOINTS = ("sd_xl_base_1.0", "juggernautXL_v9")


class _Asked(BaseModel):
    """What a picture is asked for by, as far as it is looked at."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    steps: int = Field(50, ge=1, le=150)
    cfg_scale: float = 7.0
    width: int = Field(512, gt=0)
    height: int = Field(512, gt=0)
    batch_size: int = 1
    n_iter: int = 1
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    send_images: bool = True
    save_images: bool = False
    override_settings: dict[str, Any] | None = None
    alwayson_scripts: dict[str, Any] = {}
    init_images: list[str] | None = None
    mask: str | None = None
    denoising_strength: float | None = None


class A1111Sandbox:
    """The stand-in.

    Args:
        pictures: what draws. faults: shared with the other stand-ins. durations: seconds a picture takes.
        auth: `user:password` of `--api-auth`; None: it is open. api: started with `--api`. seed: makes it repeatable.
    """

    def __init__(
        self,
        *,
        pictures: PictureMaker | None = None,
        faults: Faults | None = None,
        durations: Durations = DEMO_DURATIONS,
        auth: str | None = None,
        api: bool = True,
        seed: int = 0,
    ) -> None:
        self.faults = faults or Faults(seed)
        self.audit = Audit()
        self.durations = durations
        self.auth = auth
        self.api = api
        self.running: str | None = None
        self.interrupted: list[str] = []
        self._progress = 0.0
        self._drawn: str | None = None
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pictures = pictures or PictureMaker()
        self._random = random.Random(f"a1111:{seed}")
        self._count = itertools.count(1)

    def add_to(self, app: web.Application) -> None:
        """Serve it."""
        self.faults.add_to(app)
        for method, path, handler in (
            ("POST", "txt2img", self._draw),
            ("POST", "img2img", self._draw),
            ("GET", "progress", self._tell),
            ("POST", "interrupt", self._interrupt),
            ("POST", "skip", self._interrupt),
            ("GET", "sd-models", self._models),
            ("GET", "options", self._options),
            ("GET", "samplers", self._samplers),
            ("GET", "scripts", self._scripts),
        ):
            app.router.add_route(
                method, f"/a1111/sdapi/v1/{path}", self.faults.around(self._guarded(handler), _refuse)
            )

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self.api:
                return web.json_response({"detail": "Not Found"}, status=404)
            expected = f"Basic {base64.b64encode((self.auth or '').encode()).decode()}"
            if self.auth is not None and request.headers.get("Authorization") != expected:
                return _error(401, "Incorrect username or password")
            found: web.StreamResponse = await handler(request)
            return found

        return guarded

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            asked = _Asked.model_validate_json(raw)
        except ValidationError as error:
            return web.json_response(
                {"detail": error.errors(include_url=False, include_context=False)}, status=422
            )
        if (asked.sampler_name or asked.sampler_index or "Euler") not in _SAMPLERS:
            return _error(404, "Sampler not found")
        sources: list[bytes] = []
        if request.path.endswith("img2img"):
            if not asked.init_images:
                return _error(404, "Init image not found")
            try:
                sources = [
                    base64.b64decode(image.rpartition(",")[2], validate=True) for image in asked.init_images
                ]
            except ValueError:
                return _error(500, "Invalid encoded image")
        self.audit.submits[asked.prompt] += 1
        self.audit.sources[asked.prompt] += len(sources)
        fault = self.faults.behaviour(request.path, asked.prompt)
        kind = fault.kind if fault else ""
        sketch = await self._pictures.make(asked.prompt, (asked.width // 8, asked.height // 8))
        # It goes on to its end also where nobody listens any more.
        work = asyncio.ensure_future(self._run(asked, kind, base64.b64encode(sketch).decode()))
        whole = await asyncio.shield(work)
        if kind == "fail":
            return _error(500, "", "OutOfMemoryError", "CUDA out of memory. Tried to allocate 4.00 GiB.")
        if kind == "huge":
            return await send_huge(request, b'{"images":["', b"A" * 65_536)
        number = next(self._count)
        seed = asked.seed if asked.seed >= 0 else number
        data = await self._pictures.make(
            asked.prompt, (asked.width, asked.height), seed=seed, source=sources[0] if sources else None
        )
        images = [base64.b64encode(bad_picture(kind, data)).decode()] * (asked.batch_size * asked.n_iter)
        if kind == "data_url":
            images = [f"data:image/png;base64,{image}" for image in images]
        info = {
            "prompt": asked.prompt,
            "seed": seed,
            "all_seeds": [seed],
            "sd_model_name": self._loaded(asked),
        }
        self.audit.charged[asked.prompt] += whole
        return web.json_response(
            {
                "images": images if asked.send_images and kind != "blocked_200" else [],
                "parameters": json.loads(raw),
                "info": json.dumps(info),
            }
        )

    async def _run(self, asked: _Asked, kind: str, sketch: str) -> bool:
        """Take a turn at the GPU; whether the picture was made to its end."""
        seconds = draw(self.durations, self._random)
        async with self._turn:
            self.running, began = asked.prompt, time.monotonic()
            self._stop.clear()
            try:
                while kind == "never_ends" or time.monotonic() - began < seconds:
                    share = (time.monotonic() - began) / max(seconds, 1e-9)
                    self._progress = min(share, 0.95)
                    # As often as it makes one unless it is told otherwise: each tenth step.
                    self._drawn = sketch if self._progress > 0.4 else None
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), 0.01)
                    if self._stop.is_set():
                        self.interrupted.append(asked.prompt)
                        return False
                return True
            finally:
                self.running, self._progress, self._drawn = None, 0.0, None

    def _loaded(self, asked: _Asked) -> str:
        """A checkpoint that is not there is passed over without a word."""
        wanted = (asked.override_settings or {}).get("sd_model_checkpoint")
        return str(wanted) if wanted in _CHECKPOINTS else _CHECKPOINTS[0]

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        self.audit.polls += 1
        job = "scripts_txt2img" if self.running is not None else ""
        state = {
            "job": job,
            "job_count": int(bool(job)),
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 20,
        }
        return web.json_response(
            {
                "progress": self._progress,
                "eta_relative": 0.0,
                "state": state,
                "current_image": None
                if request.query.get("skip_current_image", "false").lower() == "true"
                else self._drawn,
                "textinfo": None,
            }
        )

    async def _interrupt(self, request: web.Request) -> web.StreamResponse:
        self._stop.set()
        return web.json_response({})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            [
                {
                    "title": f"{name}.safetensors [31e35c80fc]",
                    "model_name": name,
                    "filename": f"/models/{name}",
                }
                for name in _CHECKPOINTS
            ]
        )

    async def _options(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"sd_model_checkpoint": f"{_CHECKPOINTS[0]}.safetensors [31e35c80fc]"})

    async def _samplers(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([{"name": name, "aliases": [], "options": {}} for name in _SAMPLERS])

    async def _scripts(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"txt2img": [], "img2img": []})


def _refuse(status: int, fault: Fault) -> web.Response:
    return _error(status, "The sandbox was asked to fail.", headers=retry_after_headers(fault))


def _error(
    status: int,
    detail: str,
    name: str = "HTTPException",
    errors: str = "",
    headers: dict[str, str] | None = None,
) -> web.Response:
    body = {"error": name, "detail": detail, "body": "", "errors": errors}
    return web.json_response(body, status=status, headers=headers)
