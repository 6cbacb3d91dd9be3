"""A stand-in of fal.ai: its queue under `/fal`, the keys of its callbacks under `/fal-rest`, its prices under `/fal-api`,
pictures under `/files/fal`; checked against fal_client.

The queue takes whatever is for an app that exists; what the model has against it shows in the result, as there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from src.sandbox.faults import Fault, Faults, retry_after_headers
from src.sandbox.generations import DEMO_DURATIONS, SIZES, Durations
from src.sandbox.pictures import PictureMaker
from src.sandbox.tasks import SourceRefused, Task, Tasks, data_uri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NAMED = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
}


@dataclass(frozen=True, slots=True)
class _Model:
    """What a model takes beside its prompt, and the pictures it changes, where it does."""

    takes: frozenset[str]
    edits: bool = False


def _model(takes: str, *, edits: bool = False) -> _Model:
    return _Model(frozenset(takes.split()) | {"prompt", "seed", "num_images", "output_format"}, edits)


_BANANA = "aspect_ratio resolution"
_FLUX = "image_size safety_tolerance enable_safety_checker"
_MODELS = {
    "google/nano-banana-2.1": _model(_BANANA),
    "google/nano-banana-2.1/edit": _model(f"{_BANANA} image_urls", edits=True),
    "fal-ai/nano-banana-2": _model(_BANANA),
    "fal-ai/nano-banana-2/edit": _model(f"{_BANANA} image_urls", edits=True),
    "fal-ai/flux-2-pro": _model(_FLUX),
    "fal-ai/flux-2-pro/edit": _model(f"{_FLUX} image_urls", edits=True),
    "fal-ai/flux/schnell": _model("image_size num_inference_steps guidance_scale enable_safety_checker"),
}
_PRICE = 0.04
_WISHES = ("X-Fal-Request-Timeout", "X-Fal-Queue-Priority")
_APPS = frozenset("/".join(name.split("/")[:2]) for name in _MODELS)


class FalSandbox:
    """The stand-in.

    Args:
        pictures: what draws. faults: shared with the other stand-ins. durations: seconds a generation takes.
        key: the only key accepted; None: any that is not empty. seed: makes it repeatable. clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        pictures: PictureMaker | None = None,
        faults: Faults | None = None,
        durations: Durations = DEMO_DURATIONS,
        key: str | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = faults or Faults(seed)
        self.tasks = Tasks("fal", pictures or PictureMaker(), self.faults, durations, seed=seed, clock=clock)
        self.audit = self.tasks.audit
        self.wishes: list[dict[str, str]] = []
        self.asked_for_keys = 0
        self.asked_for_prices = 0
        self._key = key
        self._wrong: dict[str, list[dict[str, Any]]] = {}
        self.rotate()

    def rotate(self) -> None:
        """Sign callbacks with another key from now on."""
        self._secret = secrets.token_bytes(32)

    @property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret)

    def add_to(self, app: web.Application) -> None:
        """Serve the queue, the keys of the callbacks and the pictures."""
        self.tasks.add_to(app, _refuse)
        around = self.faults.around
        task = "/fal/{owner}/{alias}/requests/{id}"
        app.router.add_get(f"{task}/status", around(self._status, _refuse))
        app.router.add_put(f"{task}/cancel", around(self._cancel, _refuse))
        app.router.add_get(task, around(self._response, _refuse))
        app.router.add_post("/fal/{model:.+}", around(self._submit, _refuse))
        app.router.add_get("/fal-api/v1/models/pricing", around(self._pricing, _refuse))
        app.router.add_get("/fal-rest/.well-known/jwks.json", around(self._jwks, _refuse))

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        if refused := self._unauthorized(request):
            return refused
        name = request.match_info["model"]
        if "/".join(name.split("/")[:2]) not in _APPS:
            return _error(404, f"Application '{name.split('/')[-1]}' not found")
        if name not in _MODELS:
            return _error(404, f"Path /{'/'.join(name.split('/')[2:])} not found")
        if (wrong := _wrong_wish(request)) is not None:
            return _error(400, wrong, "bad_request")
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return _error(400, "Invalid JSON", "bad_request")
        wrong_input, size, sources = _read(asked if isinstance(asked, dict) else {}, _MODELS[name])
        prompt = asked.get("prompt") if isinstance(asked, dict) else ""
        task = self.tasks.begin(request, name, str(prompt), size, sources)
        if wrong_input:
            self._wrong[task.id] = wrong_input
        self.wishes.append({name: request.headers[name] for name in _WISHES if name in request.headers})
        if hook := request.query.get("fal_webhook"):
            self.tasks.call_back(task, hook, lambda: self._message(task))
        at = f"{task.origin}/fal/{'/'.join(name.split('/')[:2])}/requests/{task.id}"
        return web.json_response(
            {
                "status": "IN_QUEUE",
                "request_id": task.id,
                "response_url": at,
                "status_url": f"{at}/status",
                "cancel_url": f"{at}/cancel",
                "queue_position": 0,
                "logs": None,
                "metrics": {},
            }
        )

    async def _status(self, request: web.Request) -> web.StreamResponse:
        task = self._asked_about(request)
        if isinstance(task, web.Response):
            return task
        about = {
            "request_id": task.id,
            "response_url": str(request.url.with_query(None).parent),
            "logs": None,
        }
        if task.stopped is not None:
            error = {"error": "Request was cancelled", "error_type": "client_cancelled"}
            return web.json_response(about | {"status": "COMPLETED", "metrics": {}} | error)
        if self.tasks.ended(task):
            metrics = {"inference_time": round(task.seconds + 0.01, 3)}
            return web.json_response(about | {"status": "COMPLETED", "metrics": metrics})
        if self.tasks.waits(task):
            return web.json_response(about | {"status": "IN_QUEUE", "queue_position": 2}, status=202)
        status = "WARMING_UP" if task.kind == "unknown_state" else "IN_PROGRESS"
        return web.json_response(about | {"status": status}, status=202)

    async def _response(self, request: web.Request) -> web.StreamResponse:
        task = self._asked_about(request)
        if isinstance(task, web.Response):
            return task
        if task.stopped is not None:
            return _error(499, "Request was cancelled", "client_cancelled")
        if not self.tasks.ended(task):
            return _error(400, "Request is still in progress")
        status, body = self._outcome(task)
        kind = {"X-Fal-Error-Type": body["error_type"]} if "error_type" in body else {}
        # More than a megapixel is two units, at a model that is priced so.
        units = {"x-fal-billable-units": "2" if task.size[0] > 1024 else "1"} if status == 200 else {}
        return web.json_response(body, status=status, headers={"x-fal-request-id": task.id, **kind, **units})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self._asked_about(request)
        if isinstance(task, web.Response):
            return web.json_response({"status": "NOT_FOUND"}, status=404) if task.status == 404 else task
        if task.stopped is not None or self.tasks.ended(task):
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        waited = self.tasks.waits(task)
        self.tasks.stop(task)
        if waited:
            return web.json_response({"status": "OK"})
        return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

    async def _jwks(self, request: web.Request) -> web.StreamResponse:
        self.asked_for_keys += 1
        x = base64.urlsafe_b64encode(self._private.public_key().public_bytes_raw()).decode().rstrip("=")
        other = {"kty": "RSA", "use": "sig", "n": "AQAB", "e": "AQAB"}
        return web.json_response({"keys": [other, {"kty": "OKP", "crv": "Ed25519", "use": "sig", "x": x}]})

    async def _pricing(self, request: web.Request) -> web.StreamResponse:
        if refused := self._unauthorized(request):
            return refused
        self.asked_for_prices += 1
        name = request.query.get("endpoint_id", "")
        if name not in _MODELS:
            error = {"type": "not_found", "message": f"Endpoint id '{name}' not found"}
            return web.json_response({"error": error}, status=404)
        price = {"endpoint_id": name, "unit_price": _PRICE, "unit": "images", "currency": "USD"}
        return web.json_response({"prices": [price], "next_cursor": None, "has_more": False})

    def sign(self, task: str, stamp: str, body: bytes) -> dict[str, str]:
        """The headers of a callback."""
        message = "\n".join((task, "user", stamp, hashlib.sha256(body).hexdigest()))
        return {
            "X-Fal-Webhook-Request-Id": task,
            "X-Fal-Webhook-User-Id": "user",
            "X-Fal-Webhook-Timestamp": stamp,
            "X-Fal-Webhook-Signature": self._private.sign(message.encode()).hex(),
        }

    def _message(self, task: Task) -> tuple[bytes, dict[str, str]]:
        status, payload = self._outcome(task)
        body: dict[str, Any] = {"request_id": task.id, "gateway_request_id": task.id, "payload": payload}
        body |= (
            {"status": "OK"}
            if status == 200
            else {"status": "ERROR", "error": f"Unexpected status code: {status}"}
        )
        raw = json.dumps(body).encode()
        return raw, self.sign(task.id, str(int(time.time())), raw)

    def _outcome(self, task: Task) -> tuple[int, dict[str, Any]]:
        if wrong := self._wrong.get(task.id):
            return 422, {"detail": wrong}
        if task.kind == "moderated":
            message = "The content could not be processed because it contained material flagged by a content checker."
            return 422, {
                "detail": [_detail("prompt", message, "content_policy_violation", input=task.prompt)]
            }
        if task.kind == "fail":
            return 500, {"detail": "Runner disconnected", "error_type": "runner_disconnected"}
        hidden = task.kind == "moderated_output"
        made: dict[str, Any] = {
            "url": self.tasks.picture(task),
            "content_type": "image/png",
            "file_name": "a.png",
        }
        made |= {"width": task.size[0], "height": task.size[1]}
        return 200, {
            "images": [] if task.kind == "blocked_200" else [made],
            "seed": task.number,
            "has_nsfw_concepts": [hidden],
            "timings": {"inference": task.seconds},
            "prompt": task.prompt,
        }

    def _asked_about(self, request: web.Request) -> Task | web.Response:
        if refused := self._unauthorized(request):
            return refused
        return self.tasks.find(request.match_info["id"]) or _error(404, "Request not found")

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Key" and key and self._key in (None, key):
            return None
        return _error(
            401, "Cannot access application. Authentication is required to access this application."
        )


def _wrong_wish(request: web.Request) -> str | None:
    """What fal has against the headers, or None."""
    if request.headers.get("X-Fal-Queue-Priority", "normal") not in ("normal", "low"):
        return "Invalid queue priority"
    try:
        fine = float(request.headers.get("X-Fal-Request-Timeout", "2")) > 1
    except ValueError:
        fine = False
    return None if fine else "Invalid request timeout"


def _read(asked: dict[str, Any], model: _Model) -> tuple[list[dict[str, Any]], tuple[int, int], list[bytes]]:
    """What the model has against an input, the size it asks for, the pictures to be changed."""
    wrong = [
        _detail(name, "Extra inputs are not permitted", "extra_forbidden")
        for name in asked.keys() - model.takes
    ]
    needed = ("prompt", "image_urls") if model.edits else ("prompt",)
    wrong += [_detail(name, "Field required", "missing") for name in needed if not asked.get(name)]
    named = "image_size" in model.takes
    shapes = _NAMED if named else SIZES
    shape = asked.get("image_size" if named else "aspect_ratio", next(iter(shapes)))
    if shape not in shapes:
        field, first = ("image_size", "'square_hd'") if named else ("aspect_ratio", "'21:9'")
        wrong.append(_detail(field, f"Input should be {first} …", "literal_error"))
    try:
        sources = [data_uri(item) for item in asked.get("image_urls", ())]
    except (SourceRefused, TypeError):
        wrong.append(_detail("image_urls", "Failed to download the file.", "file_download_error"))
        sources = []
    return wrong, shapes.get(shape, (1024, 1024)), sources


def _detail(field: str, message: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "loc": ["body", field],
        "msg": message,
        "type": kind,
        "url": f"https://docs.fal.ai/errors#{kind}",
        **more,
    }


def _refuse(status: int, fault: Fault) -> web.Response:
    headers = retry_after_headers(fault)
    if fault.kind in ("insufficient_quota", "402"):
        return _error(
            403, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
        )
    return _error(status, "The sandbox was asked to fail.", headers=headers)


def _error(
    status: int, detail: str, kind: str | None = None, *, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"detail": detail, **({"error_type": kind} if kind else {})}
    more = {**(headers or {}), **({"X-Fal-Error-Type": kind} if kind else {})}
    return web.json_response(body, status=status, headers=more)
