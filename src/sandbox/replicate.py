"""A stand-in of Replicate's predictions under `/replicate/v1`, their pictures under `/files/replicate`; checked against
the `replicate` package. An input that the model does not know is refused; what was made is deleted an hour later.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from src.sandbox.faults import Fault, Faults, retry_after_headers
from src.sandbox.generations import DEMO_DURATIONS, SIZES, Durations
from src.sandbox.pictures import PictureMaker
from src.sandbox.tasks import SourceRefused, Task, Tasks, data_uri

_HOUR = 3600.0
_MOST_INLINE = 350_000
_FILES = 200
_EVENTS = frozenset({"start", "output", "logs", "completed"})
_CANCEL_AFTER = re.compile(r"(\d+)([smh]?)")
_WAIT = re.compile(r"wait(?:=(\d+))?")


@dataclass(frozen=True, slots=True)
class _Model:
    """What a model takes beside its prompt. `source`: field of the pictures to be changed; `many`: it gives a list."""

    takes: frozenset[str]
    source: str = ""
    many: bool = False


def _model(takes: str, source: str = "", *, many: bool = False) -> _Model:
    return _Model(frozenset(f"prompt {takes} {source}".split()), source, many)


_MODELS = {
    "black-forest-labs/flux-2-pro": _model(
        "aspect_ratio resolution width height safety_tolerance seed output_format output_quality",
        "input_images",
    ),
    "google/nano-banana-pro": _model(
        "aspect_ratio resolution output_format safety_filter_level", "image_input"
    ),
    "black-forest-labs/flux-schnell": _model(
        "aspect_ratio num_outputs num_inference_steps seed output_format output_quality disable_safety_checker "
        "go_fast megapixels",
        many=True,
    ),
}
_WISHES = ("Prefer", "Cancel-After")
_VERSION = "a" * 64
_NO_MODEL = "The requested resource could not be found."


class ReplicateSandbox:
    """The stand-in.

    Args:
        pictures: what draws. faults: shared with the other stand-ins. durations: seconds a generation takes.
        key: the only key accepted; None: any that is not empty. seed: makes it repeatable. clock: monotonic seconds.
    """

    secret = "whsec_" + base64.b64encode(b"a secret of the sandbox").decode()

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
        self.tasks = Tasks(
            "replicate",
            pictures or PictureMaker(),
            self.faults,
            durations,
            seed=seed,
            kept=_HOUR,
            clock=clock,
        )
        self.audit = self.tasks.audit
        self.wishes: list[dict[str, str]] = []
        self.asked_for_secret = 0
        self._key = key
        self._inputs: dict[str, dict[str, Any]] = {}
        self._deadlines: dict[str, float] = {}
        self._files: dict[str, bytes] = {}
        self._messages = itertools.count(1)

    def add_to(self, app: web.Application) -> None:
        """Serve the predictions, models, files and the secret of the callbacks."""
        self.tasks.add_to(app, _refuse)

        def serve(method: str, path: str, handler: Callable[[web.Request], Any]) -> None:
            async def keyed(request: web.Request) -> web.StreamResponse:
                scheme, _, key = request.headers.get("Authorization", "").partition(" ")
                if scheme != "Bearer" or not key or self._key not in (None, key):
                    return _error(401, "You did not pass a valid authentication token", "Unauthenticated")
                found: web.StreamResponse = await handler(request)
                return found

            app.router.add_route(method, f"/replicate/v1/{path}", self.faults.around(keyed, _refuse))

        serve("POST", "models/{owner}/{name}/predictions", self._create)
        serve("POST", "predictions", self._create)
        serve("GET", "predictions/{id}", self._get)
        serve("POST", "predictions/{id}/cancel", self._cancel)
        serve("GET", "models/{owner}/{name}", self._look_up)
        serve("GET", "account", self._account)
        serve("POST", "files", self._upload)
        serve("GET", "webhooks/default/secret", self._tell_secret)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return _error(400, "The request body is not valid JSON")
        name = "/".join(request.match_info.values()) or str(asked.get("version")).partition(":")[0]
        model = _MODELS.get(name)
        if not request.match_info and asked.get("version") != f"{name}:{_VERSION}":
            detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            return _error(422, detail, "Invalid version or not permitted")
        if model is None:
            return _error(404, _NO_MODEL)
        given = asked.get("input")
        wrong = _wrong_call(request, asked) or _wrong_input(given, model)
        if wrong:
            return _error(422, wrong, "Input validation failed")
        assert isinstance(given, dict)
        try:
            sources = [self._source(item) for item in given.get(model.source) or ()]
        except SourceRefused:
            return _error(
                422, f"- input.{model.source}: Does not match format 'uri'\n", "Input validation failed"
            )
        size = SIZES[given.get("aspect_ratio", "1:1")]
        task = self.tasks.begin(request, name, given["prompt"], size, sources)
        self._inputs[task.id] = given
        self.wishes.append({name: request.headers[name] for name in _WISHES if name in request.headers})
        self._deadlines[task.id] = _seconds(request.headers.get("Cancel-After", "30m")) or 0.0
        if hook := asked.get("webhook"):
            self.tasks.call_back(task, hook, lambda: self._message(task))
        if waited := _WAIT.fullmatch(request.headers.get("Prefer", "")):
            await self.tasks.wait(task, float(waited[1] or 60))
            state = self._state(task)
            # As its client knows: what was waited for says that it goes on, and has its output.
            if state["status"] == "succeeded":
                state["status"] = "processing"
            return web.json_response(state, status=201)
        return web.json_response(self._state(task) | {"status": "starting", "output": None}, status=201)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.find(request.match_info["id"])
        return _error(404, "Prediction not found") if task is None else web.json_response(self._state(task))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.find(request.match_info["id"])
        if task is None:
            return _error(404, "Prediction not found")
        if task.stopped is None and not self.tasks.ended(task):
            self.tasks.stop(task)
        return web.json_response(self._state(task))

    async def _look_up(self, request: web.Request) -> web.StreamResponse:
        owner, name = request.match_info.values()
        if f"{owner}/{name}" not in _MODELS:
            return _error(404, _NO_MODEL)
        url = f"https://replicate.com/{owner}/{name}"
        return web.json_response(
            {"url": url, "owner": owner, "name": name, "visibility": "public", "run_count": 1}
        )

    async def _account(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"type": "user", "username": "sandbox", "name": "Sandbox"})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if not request.content_type.startswith("multipart/"):
            return _error(400, "Missing content")
        async for part in await request.multipart():
            if getattr(part, "name", "") == "content":
                data = bytes(await part.read())  # type: ignore[union-attr]
                break
        else:
            return _error(400, "Missing content")
        id = f"file{self.audit.uploads:06d}"
        self.audit.uploads += 1
        self._files[id] = data
        if len(self._files) > _FILES:
            del self._files[next(iter(self._files))]
        sums = {"sha256": hashlib.sha256(data).hexdigest()}
        about = {
            "id": id,
            "name": "content",
            "content_type": "image/png",
            "size": len(data),
            "etag": id,
            "checksums": sums,
        }
        about |= {
            "metadata": {},
            "created_at": _stamp(time.time()),
            "expires_at": _stamp(time.time() + 86_400),
        }
        url = f"{request.url.origin()}/replicate/v1/files/{id}"
        return web.json_response(about | {"urls": {"get": url}}, status=201)

    async def _tell_secret(self, request: web.Request) -> web.StreamResponse:
        self.asked_for_secret += 1
        return web.json_response({"key": self.secret})

    def sign(self, id: str, stamp: str, body: bytes) -> dict[str, str]:
        """The headers of a callback."""
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.digest(key, f"{id}.{stamp}.".encode() + body, "sha256")).decode()
        return {
            "webhook-id": id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,bm9uZQ== v1,{signature}",
        }

    def _message(self, task: Task) -> tuple[bytes, dict[str, str]]:
        body = json.dumps(self._state(task)).encode()
        return body, self.sign(f"msg_{next(self._messages)}", str(int(time.time())), body)

    def _state(self, task: Task) -> dict[str, Any]:
        share = self.tasks.share(task)
        at = f"{task.origin}/replicate/v1/predictions/{task.id}"
        state: dict[str, Any] = {
            "id": task.id,
            "model": task.model,
            "version": "hidden",
            "input": self._inputs.get(task.id, {}),
            "logs": "",
            "output": None,
            "data_removed": False,
            "error": None,
            "metrics": None,
            "created_at": _stamp(task.wall),
            "started_at": None,
            "completed_at": None,
            "urls": {"get": at, "cancel": f"{at}/cancel", "web": f"https://replicate.com/p/{task.id}"},
        }
        if task.stopped is not None:
            return state | {"status": "canceled"}
        if not self.tasks.ended(task) and self.tasks.age(task) > self._deadlines.get(task.id, _HOUR):
            # One that had not begun is not billed, which has a word of its own.
            return state | {"status": "aborted" if self.tasks.waits(task) else "canceled"}
        if self.tasks.waits(task):
            return state | {"status": "starting"}
        state |= {"started_at": _stamp(task.wall), "logs": f"Using seed: {task.number}\n"}
        if not self.tasks.ended(task):
            state["logs"] += (
                f"  0%|          | 0/28 [00:00<?, ?it/s]\n {int(share * 100)}%|###   | 1/28 [00:01, 1it/s]"
            )
            return state | {"status": "warming" if task.kind == "unknown_state" else "processing"}
        state |= {
            "completed_at": _stamp(task.wall + task.seconds),
            "metrics": {"predict_time": task.seconds + 0.01, "image_count": 1},
        }
        if task.kind in _FAILURES:
            return state | {"status": "failed", "error": _FAILURES[task.kind]}
        if self.tasks.gone(task):
            return state | {"status": "succeeded", "data_removed": True, "input": {}, "logs": ""}
        url = self.tasks.picture(task)
        if task.kind == "blocked_200":
            return state | {"status": "succeeded", "output": []}
        return state | {"status": "succeeded", "output": [url] if _MODELS[task.model].many else url}

    def _source(self, given: object) -> bytes:
        kept = self._files.get(urlsplit(given).path.rpartition("/")[2]) if isinstance(given, str) else None
        if kept is not None:
            return kept
        if len(str(given)) > _MOST_INLINE:
            raise SourceRefused
        return data_uri(given)


def _wrong_call(request: web.Request, asked: dict[str, Any]) -> str | None:
    """What Replicate has against a call beside its input, or None."""
    for name in asked.keys() - {"input", "version", "webhook", "webhook_events_filter", "stream"}:
        return f"- {name}: Additional property {name} is not allowed\n"
    hook = urlsplit(str(asked.get("webhook", "https://example.com")))
    if hook.scheme != "https" and hook.hostname not in ("127.0.0.1", "localhost"):
        return "- webhook: Does not match format 'https'\n"
    if not set(asked.get("webhook_events_filter", ())) <= _EVENTS:
        return "- webhook_events_filter.0: must be one of start, output, logs, completed\n"
    after = _seconds(request.headers.get("Cancel-After", "5s"))
    if after is None or after < 5:
        return "Cancel-After must be a duration of at least 5 seconds"
    waits = _WAIT.fullmatch(request.headers.get("Prefer", "wait"))
    return (
        None if waits and 1 <= int(waits[1] or 1) <= 60 else "Prefer must be wait or wait=n, n from 1 to 60"
    )


def _seconds(duration: str) -> float | None:
    found = _CANCEL_AFTER.fullmatch(duration)
    return int(found[1]) * {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}[found[2]] if found else None


def _wrong_input(given: object, model: _Model) -> str | None:
    """What a model has against its input, or None."""
    if not isinstance(given, dict):
        return "- input: Invalid type. Expected: object\n"
    for name in given.keys() - model.takes:
        return f"- input: Additional property {name} is not allowed\n"
    if not isinstance(given.get("prompt"), str) or not given["prompt"].strip():
        return "- input: prompt is required\n"
    if given.get("aspect_ratio", "1:1") not in SIZES:
        return '- input.aspect_ratio: must be one of the following: "1:1", "16:9", …\n'
    return None


_FAILURES = {
    "moderated": "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
    "moderated_output": "NSFW content detected in the generated image. Try running it again, or try a different prompt.",
    "fail": "Prediction interrupted; please retry (code: PA)",
}


def _refuse(status: int, fault: Fault) -> web.Response:
    if fault.kind in ("insufficient_quota", "402"):
        detail = "You have insufficient credit to run this model. Go to https://replicate.com/account/billing to top up."
        return _error(402, detail, "Insufficient credit")
    if status == 429:
        return _error(
            429, "Request was throttled. Expected available in 1 second.", headers=retry_after_headers(fault)
        )
    return _error(status, "The sandbox was asked to fail.", headers=retry_after_headers(fault))


def _error(
    status: int, detail: str, title: str | None = None, *, headers: dict[str, str] | None = None
) -> web.Response:
    body = {"detail": detail, "status": status, **({"title": title} if title else {})}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")


def _stamp(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")
