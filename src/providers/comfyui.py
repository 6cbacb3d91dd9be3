"""ComfyUI on a machine of one's own: a model is a graph in a folder, filled in and queued.

A graph is what ComfyUI's *Export (API)* writes. In its texts `{prompt}`, `{negative_prompt}`, `{seed}`, `{width}`,
`{height}` and `{source}` (an uploaded picture) are filled in; a value that is nothing else becomes the number or text
itself: `"seed": "{seed}"`.

Wire: `POST /prompt`, `GET /history/{id}`, `GET /queue`, `GET /view`, `POST /upload/image`, `POST /queue` and
`POST /interrupt` to stop, and the websocket for progress. It has no keys: whoever reaches it may use it. Its previews come over
the websocket too and are not shown: any process may follow its tickets, and none listens for longer than a look.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import structlog
from pydantic import BaseModel, Field, SecretStr

from src.providers.base import (
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    ImageRef,
    Pending,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, exchange
from src.providers.refusals import kind_of_status, may_have_run, safe_code
from src.settings import DIRECT, Address, ProxyAddress, Settings, SettingsError

SHIPPED = Path(__file__).parent / "graphs"
_SECONDS = 15.0
_UPLOAD_SECONDS = 60.0
_LIMIT = 8_000_000
# So long a poll listens for progress: a step of sampling seldom takes longer.
_LISTEN_SECONDS = 1.0
# The queue lets a prompt go, and the websocket says that it is done, a moment before its history can be read.
_HISTORY_TRIES = 5
_HISTORY_PAUSE = 0.1
_VISIBLE_AFTER = 30.0
_LONGEST_SEED = 2**53
_PLACEHOLDER = re.compile(r"\{(prompt|negative_prompt|seed|width|height|source)\}")
_SIZES = {
    "1:1": "1024x1024",
    "3:2": "1216x832",
    "2:3": "832x1216",
    "16:9": "1344x768",
    "9:16": "768x1344",
    "4:3": "1152x896",
    "3:4": "896x1152",
    "4:5": "896x1088",
    "21:9": "1536x640",
}
_MOST = Offer(
    provider="comfyui",
    id="-",
    takes=Takes.model_validate(
        {
            "shape": "size",
            "shapes": _SIZES,
            "source": "source",
            "one": True,
            "seed": "seed",
            "negative_prompt": "negative_prompt",
        }
    ),
    prompt_max=4000,
)
_ENDS = frozenset({"execution_success", "execution_error", "execution_interrupted"})

log = structlog.get_logger(__name__)


class ComfyUISettings(BaseModel):
    """What is set for ComfyUI."""

    comfyui_base_url: Address | None = Field(
        None, description="Address of your ComfyUI, such as `http://gpu:8188`; nobody else should reach it."
    )
    comfyui_graphs: Path | None = Field(
        None,
        description="Folder of its graphs, a file `NAME.json` a model, as in `src/providers/graphs`, which is used where it is unset.",
    )
    comfyui_model: str = Field("text-to-image", description="Graph for text to image.")
    comfyui_edit_model: str = Field("edit", description="Graph for edits.")
    comfyui_fast_model: str | None = Field(None, description="A faster graph, offered when the line is long.")
    comfyui_concurrency: int = Field(2, ge=1, le=1000, description="Pictures in ComfyUI's queue at once.")
    comfyui_rate: float = Field(5.0, gt=0, description="Requests a second to ComfyUI.")
    comfyui_proxy_url: ProxyAddress | None = Field(
        SecretStr(DIRECT), description="Proxy on the way to ComfyUI; `none`: `PROXY_URL` does not count."
    )


class ComfyUIProvider(Client):
    """Client of ComfyUI."""

    name = "comfyui"
    rank = 20
    needs = "comfyui_base_url"
    settings = ComfyUISettings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, ComfyUISettings)
        self._base = settings.comfyui_base_url or ""
        super().__init__(settings, client, self._base)
        self._settings = settings
        self._catalog = get_catalog(settings.models_file)
        names = (settings.comfyui_model, settings.comfyui_edit_model, settings.comfyui_fast_model)
        folder = settings.comfyui_graphs or SHIPPED
        self._graphs = {name: _graph(folder, name) for name in names if name}
        if "source" not in _asked(self._graphs[settings.comfyui_edit_model]):
            raise SettingsError("COMFYUI_EDIT_MODEL: its graph has no {source}, the picture to be changed")
        known, model = (
            self._offer(settings.comfyui_model),
            self._catalog.model(self.name, settings.comfyui_model),
        )
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            edit=True,
            cancel=True,
            max_prompt=known.prompt_max,
            result_ttl=86_400,
        )

    async def submit(self, request: GenRequest) -> Ticket:
        graph = self._graphs.get(request.model)
        if graph is None:
            raise ProviderError(ErrorKind.MODEL_GONE, "no_graph")
        offer = self._offer(request.model)
        sources = [await self._upload(request.job_id, source) for source in offer.pictures(request)]
        said = offer.fields(request, sources)
        wide, _, high = str(said.pop("size", "")).partition("x")
        said |= {"width": int(wide or 1024), "height": int(high or 1024)}
        said.setdefault("seed", random.randrange(_LONGEST_SEED))
        listener = uuid.uuid4().hex
        answer = await self._ask(
            "POST", "/prompt", {"prompt": _filled(graph, said), "client_id": listener}, creates=True
        )
        content = _object(answer)
        task = content.get("prompt_id")
        if not answer.ok:
            raise _refused(answer, content, edit=bool(sources))
        if not isinstance(task, str) or not re.fullmatch(r"[\w-]{1,64}", task):
            raise ProviderError(ErrorKind.UPSTREAM, "no_prompt_id", status=answer.status, submitted=True)
        kept = {"listener": listener, "submitted_at": f"{time.time():.0f}", "seed": str(said["seed"])}
        return Ticket(self.name, task, kept)

    async def poll(self, ticket: Ticket) -> Pending | Done:
        """The history, where the prompt has ended; else its place in the queue, or how far it is."""
        found = await self._history(ticket)
        if found is not None:
            return found
        place = await self._place(ticket)
        if place:
            return Pending(queue_position=place)
        if place == 0:
            progress = await self._progress(ticket)
            if progress is not None:
                return Pending(progress)
        # It has ended since the first look.
        for _ in range(_HISTORY_TRIES):
            if (found := await self._history(ticket)) is not None:
                return found
            await asyncio.sleep(_HISTORY_PAUSE)
        if place == 0 or abs(time.time() - float(ticket.meta.get("submitted_at", 0))) < _VISIBLE_AFTER:
            return Pending()
        # It was taken out by hand or has saved nothing, or ComfyUI was started anew, which forgets.
        raise ProviderError(ErrorKind.NOT_FOUND, "no_result", ended=True)

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        """Take it out of the queue; if it runs, interrupt it, which older versions can only say of whatever runs."""
        stopped = False
        # It may begin between two looks.
        for _ in range(2):
            place = await self._place(ticket)
            if place is None:
                break
            stopped = True
            if place:
                await self._ask("POST", "/queue", {"delete": [ticket.external_id]})
            else:
                await self._ask("POST", "/interrupt", {"prompt_id": ticket.external_id})
                break
        return "cancelled" if stopped else "too_late"

    async def check(self) -> Health:
        """Ask whether it has the nodes and files that the graphs need."""
        try:
            stats = await self._ask("GET", "/system_stats")
            if not isinstance(_object(stats).get("system"), dict):
                return Health(False, f"{self._base} does not answer as ComfyUI: check COMFYUI_BASE_URL")
            for name, graph in self._graphs.items():
                for node in graph.values():
                    if lacks := await self._lacks(node):
                        return Health(False, f"{self._base} lacks {lacks}, which the graph {name} needs")
        except ProviderError as error:
            return Health(False, f"{self._base} does not answer ({error.code}): check COMFYUI_BASE_URL")
        return Health(True, f"{self._base} has what the graphs {', '.join(self._graphs)} need")

    async def _lacks(self, node: dict[str, Any]) -> str:
        kind = str(node["class_type"])
        known = _object(await self._ask("GET", f"/object_info/{kind}")).get(kind)
        if not isinstance(known, dict):
            return f"the node {kind}"
        inputs = known.get("input")
        takes = inputs.get("required") if isinstance(inputs, dict) else None
        for name, value in node["inputs"].items():
            options = takes.get(name) if isinstance(takes, dict) else None
            choice = options[0] if isinstance(options, list) and options else None
            given = isinstance(value, str) and not _PLACEHOLDER.search(value)
            if isinstance(choice, list) and given and value not in choice:
                return f"{value} as {name} of {kind}"
        return ""

    async def _history(self, ticket: Ticket) -> Done | None:
        """The picture, where its prompt has ended with one; None: it has not ended, or that cannot be read yet."""
        answer = await self._ask("GET", f"/history/{ticket.external_id}")
        entry = _object(_checked(answer)).get(ticket.external_id)
        if not isinstance(entry, dict):
            return None
        status = entry.get("status")
        status = status if isinstance(status, dict) else {}
        if status.get("status_str") == "error":
            raise _failed(status)
        images = list(_images(entry.get("outputs")))
        # What is saved goes before what is only shown.
        images.sort(key=lambda image: image["type"] != "output")
        if not images:
            return None
        seed = int(ticket.meta["seed"]) if "seed" in ticket.meta else None
        return Done(ImageRef(url=f"{self._base}/view?{urlencode(images[0])}"), seed=seed)

    async def _place(self, ticket: Ticket) -> int | None:
        """How many go before it, itself included; 0: it runs; None: it is not there."""
        queue = _object(_checked(await self._ask("GET", "/queue")))
        running, pending = queue.get("queue_running"), queue.get("queue_pending")
        if not isinstance(running, list) or not isinstance(pending, list):
            raise ProviderError(ErrorKind.UPSTREAM, "no_queue")
        if ticket.external_id in _ids(running):
            return 0
        # A heap: in no order but for its first.
        waiting = _ids(sorted((item for item in pending if _numbered(item)), key=lambda item: item[0]))
        return waiting.index(ticket.external_id) + 1 if ticket.external_id in waiting else None

    async def _progress(self, ticket: Ticket) -> float | None:
        """How far a running prompt is, as the websocket tells; None: it has ended. 0 where nothing is heard."""
        from aiohttp import WSMsgType

        from src.providers.network.transport import OF_THE_NETWORK, make_session

        url = f"{self._base.replace('http', 'ws', 1)}/ws?clientId={ticket.meta.get('listener', '')}"
        with contextlib.suppress(TimeoutError, *OF_THE_NETWORK):
            async with (
                asyncio.timeout(_LISTEN_SECONDS),
                make_session(self._settings, self._settings.way(self.name)) as session,
                session.ws_connect(url, max_msg_size=_LIMIT) as socket,
            ):
                async for message in socket:
                    # The others are previews.
                    if message.type is WSMsgType.TEXT:
                        heard = _heard(message.data, ticket.external_id)
                        if heard != 0.0:
                            return heard
        return 0.0

    async def _upload(self, job_id: str, source: SourceImage) -> str:
        suffix = "png" if source.mime == "image/png" else "jpg"
        name = f"{hashlib.sha256(job_id.encode()).hexdigest()[:24]}.{suffix}"
        answer = await exchange(
            self._client,
            "POST",
            f"{self._base}/upload/image",
            headers={},
            seconds=_UPLOAD_SECONDS,
            limit=_LIMIT,
            fields={"overwrite": "true", "type": "input"},
            files=[("image", (name, source.data, source.mime))],
        )
        kept = _object(_checked(answer))
        if not isinstance(kept.get("name"), str):
            raise ProviderError(ErrorKind.UPSTREAM, "no_upload_name", status=answer.status)
        return "/".join(part for part in (str(kept.get("subfolder") or ""), kept["name"]) if part)

    async def _ask(self, method: str, path: str, body: Any = None, *, creates: bool = False) -> Answer:
        return await exchange(
            self._client,
            method,
            f"{self._base}{path}",
            headers={"Accept": "application/json"},
            seconds=_SECONDS,
            limit=_LIMIT,
            json_body=body,
            creates=creates,
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _graph(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json"
    try:
        graph = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        raise SettingsError(f"COMFYUI_GRAPHS: {file} is not there or no JSON") from None
    nodes = graph.values() if isinstance(graph, dict) else [None]
    if not all(
        isinstance(n, dict) and "class_type" in n and isinstance(n.get("inputs"), dict) for n in nodes
    ):
        raise SettingsError(f"COMFYUI_GRAPHS: {file} is no graph as Export (API) writes it")
    if "prompt" not in _asked(graph):
        raise SettingsError(f"COMFYUI_GRAPHS: {file} has no {{prompt}}")
    return dict(graph)


def _asked(graph: dict[str, Any]) -> set[str]:
    """The placeholders in a graph."""
    texts = (v for node in graph.values() for v in node["inputs"].values() if isinstance(v, str))
    return {name for text in texts for name in _PLACEHOLDER.findall(text)}


def _filled(graph: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A graph with its placeholders filled in; what was not said is empty."""

    def fill(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return said.get(whole[1], "")
        return _PLACEHOLDER.sub(lambda found: str(said.get(found[1], "")), value)

    return {
        key: {**node, "inputs": {name: fill(value) for name, value in node["inputs"].items()}}
        for key, node in graph.items()
    }


def _object(answer: Answer) -> dict[str, Any]:
    return answer.json_object() or {}


def _checked(answer: Answer) -> Answer:
    if answer.ok:
        return answer
    kind = kind_of_status(answer.status)
    raise ProviderError(kind, f"http_{answer.status}", status=answer.status, retry_after=answer.retry_after)


def _refused(answer: Answer, content: dict[str, Any], *, edit: bool) -> ProviderError:
    """A graph that ComfyUI does not take is the owner's to mend, like a model that is gone."""
    error = content.get("error")
    code = safe_code(error.get("type")) if isinstance(error, dict) else ""
    if answer.status != 400 or not code:
        kind = kind_of_status(answer.status)
        return ProviderError(
            kind,
            code or f"http_{answer.status}",
            status=answer.status,
            retry_after=answer.retry_after,
            submitted=may_have_run(answer.status),
        )
    nodes = content.get("node_errors")
    listed = (
        [n.get("errors") for n in nodes.values() if isinstance(n, dict)] if isinstance(nodes, dict) else []
    )
    reasons = [
        safe_code(reason.get("type"))
        for errors in listed
        for reason in (errors if isinstance(errors, list) else ())
        if isinstance(reason, dict)
    ]
    kind = ErrorKind.BAD_SOURCE if edit and reasons == ["custom_validation_failed"] else ErrorKind.MODEL_GONE
    return ProviderError(kind, (reasons or [code])[0] or code, status=answer.status)


def _failed(status: dict[str, Any]) -> ProviderError:
    said = {name: data for name, data, *_ in _messages(status)}
    if "execution_interrupted" in said:
        return ProviderError(ErrorKind.UPSTREAM, "interrupted", ended=True)
    error = said.get("execution_error", {})
    code = safe_code(error.get("exception_type")) or "execution_error"
    kind = ErrorKind.OVERLOADED if "OutOfMemory" in code else ErrorKind.UPSTREAM
    return ProviderError(kind, code, ended=True)


def _messages(status: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    found = status.get("messages")
    for message in found if isinstance(found, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            yield str(message[0]), message[1]


def _images(outputs: object) -> Iterator[dict[str, str]]:
    for output in outputs.values() if isinstance(outputs, dict) else ():
        images = output.get("images") if isinstance(output, dict) else None
        for image in images if isinstance(images, list) else ():
            if isinstance(image, dict) and image.get("filename"):
                fields = {"subfolder": "", "type": "output", **image}
                yield {name: str(fields[name]) for name in ("filename", "subfolder", "type")}


def _numbered(item: object) -> bool:
    return isinstance(item, list) and len(item) > 1 and isinstance(item[0], int | float)


def _ids(items: list[Any]) -> list[str]:
    return [str(item[1]) for item in items if _numbered(item)]


def _heard(text: str, task: str) -> float | None:
    """What a message says of a prompt's progress: 0 where it says nothing, None where the prompt has ended."""
    try:
        message = json.loads(text)
        kind, data = message["type"], message["data"]
        if data.get("prompt_id", task) != task:
            return 0.0
        if kind in _ENDS or (kind == "executing" and data["node"] is None):
            return None
        return min(max(data["value"] / data["max"], 0.0), 1.0) if kind == "progress" else 0.0
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return 0.0


PROVIDER = ComfyUIProvider
