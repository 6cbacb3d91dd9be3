"""OpenAI's images API, and every gateway that speaks it: one synchronous call a picture.

Where somebody looks on, the answer is asked for as a stream of events, with unfinished pictures before the whole one.
A gateway that knows no streams answers as ever.

Wire: `POST {base}/images/generations` (JSON) and `/images/edits` (multipart). The answer holds the picture in one of
many forms (`src.providers.answers`), or is a refusal in one of many words (`src.providers.refusals`). There is no
task to poll and nothing to cancel: closing the connection does not take the generation back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, Field, SecretStr, field_validator

from src.providers import refusals
from src.providers.answers import picture_in, read_event, tokens_in, usage_in
from src.providers.base import (
    ASPECTS,
    Aspect,
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    ImageRef,
    ProviderError,
    SourceImage,
)
from src.providers.catalog import Catalog, Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.gateways import catalog_at, gateway_at, gateways
from src.providers.http import Answer, File, Heard, bearer, exchange
from src.providers.images import data_uri
from src.settings import Address, Settings

log = structlog.get_logger(__name__)

_CUT_SHORT = 1.0
_CHECK_SECONDS = 10.0
_CHECK_LIMIT = 4_000_000

_FIXED_SIZES: dict[Aspect, str] = {"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536"}
_DALLE3_SIZES: dict[Aspect, str] = {"1:1": "1024x1024", "16:9": "1792x1024", "9:16": "1024x1792"}


def _offer(shapes: dict[Aspect, str], name: str) -> Offer:
    takes = Takes(shape="size", shapes=shapes, source="image", n="n")
    return Offer(provider="openai", id=name, takes=takes, prompt_max=32_000)


# How gateways are asked for what the catalog does not have.
_MOST = _offer(_FIXED_SIZES, "-")
_DALLE3 = _offer(_DALLE3_SIZES, "dall-e-3")
# They answer with the bytes themselves and refuse to be asked for them.
_ALWAYS_BYTES = ("gpt-image", "chatgpt-image")
# What a server may do without, should it not know it.
_STREAM, _PREVIEWS = "stream", "partial_images"
_OPTIONAL = (
    _STREAM,
    _PREVIEWS,
    "safety_identifier",
    "user",
    "response_format",
    "size",
    "aspect_ratio",
    "width",
    "height",
    "n",
    "quality",
    "seed",
    "negative_prompt",
)
_NOT_OF_PARAMETERS = frozenset({ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT, ErrorKind.QUOTA})
_NUMBERS = ("n", "width", "height", _PREVIEWS)
# Model, parameter and value; "" stands for any value.
_Parameter = tuple[str, str, str]
_NOT_KNOWN = r"(?:unknown|unsupported|unrecogni[sz]ed|unexpected|invalid|not support|not permit|not allow|extra|deprecated)"
_A_PICTURE_MODEL = re.compile(
    r"image|dall-e|flux|imagen|banana|seedream|diffusion|recraft|kandinsky|midjourney|ideogram|kolors|sdxl",
    re.I,
)


class OpenAISettings(BaseModel):
    """What is set for OpenAI or a gateway with its API."""

    openai_api_key: SecretStr | None = Field(None, description="Key of OpenAI or a compatible gateway.")
    openai_base_url: Address = Field(
        "https://api.openai.com/v1", description="Address of the OpenAI-compatible API."
    )
    openai_gateway: str | None = Field(
        None,
        description="Which gateway is at that address, where its host does not say: "
        + ", ".join(f"`{name}`" for name in gateways())
        + ".",
    )
    openai_model: str = Field("gpt-image-2.5-flare", description="Model for OpenAI.")
    openai_fast_model: str | None = Field(
        None, description="A faster model there, which people are offered when the line is long."
    )
    openai_concurrency: int = Field(50, ge=1, le=10_000, description="Generations in flight at OpenAI.")
    openai_rate: float = Field(5.0, gt=0, description="Requests a second to OpenAI.")
    openai_previews: int = Field(
        1,
        ge=0,
        le=3,
        description="Unfinished pictures that people are shown meanwhile, by models that can: each costs about a tenth of a "
        "picture, and a call of Telegram's.",
    )

    @field_validator("openai_gateway")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in gateways():
            raise ValueError(f"expected one of {', '.join(gateways())}")
        return value


class OpenAIProvider(Client):
    """Client of the images API at `settings.openai_base_url`."""

    name = "openai"
    rank = 1
    settings = OpenAISettings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, OpenAISettings)
        base = settings.openai_base_url
        self._gateway_name, self._gateway = gateway_at(base, settings.openai_gateway)
        super().__init__(settings, client, base, known=self._gateway.results)
        self._base, self._query = base.partition("?")[0].rstrip("/"), self._gateway.query(base)
        self._headers = bearer(settings.openai_api_key, self._gateway.key)
        self._previews = settings.openai_previews if self._gateway.previews else 0
        self._models = [m for m in (settings.openai_model, settings.openai_fast_model) if m]
        self._result_hosts = settings.provider_result_hosts
        self._catalog = get_catalog(settings.models_file)
        known = self._offer(settings.openai_model)
        model = self._catalog.model(self.name, settings.openai_model)
        self.capabilities = Capabilities(
            aspects=known.aspects if model else ASPECTS,
            counts=model.counts if model else 4,
            synchronous=True,
            edit=known.edits,
            sources=known.takes.sources,
            mask=known.takes.mask is not None,
            max_prompt=known.prompt_max,
            previews=self._previews > 0,
        )
        # What this address refused, and then did without.
        self._left_out: set[_Parameter] = set()
        # Models whose last picture came well by a stream.
        self._streamed: set[str] = set()
        # Models that answered with an address, and so are asked for the bytes.
        self._gives_addresses: set[str] = set()

    @staticmethod
    def offered(settings: Settings, catalog: Catalog) -> Catalog:
        """The catalog as far as the gateway goes: it may have no edits, or take fewer pictures."""
        assert isinstance(settings, OpenAISettings)
        return catalog_at(settings.openai_base_url, settings.openai_gateway, catalog)

    async def submit(self, request: GenRequest) -> Done:
        """Ask for one picture and wait for it, as long as its deadline allows.

        The job id goes along as `X-Client-Request-Id`, so that a doubtful submit can be traced with
        OpenAI's support; it is no idempotency key. An optional parameter that the server refuses by name is left out
        and the request said again, which costs nothing; where that helps it stays out. So does the stream where a
        picture was lost in it: a server that breaks each would be paid twice for each.
        """
        offer = self._offer(request.model)
        offer.pictures(request)
        loop = asyncio.get_running_loop()
        until = loop.time() + max(request.deadline, 0.1)
        without: set[_Parameter] = set()
        try:
            answer = await self._answer(request, without, until)
            try:
                image = _picture(answer, request.prompt, self._url("images/generations"))
            except ProviderError as error:
                raise await self.explained(error, partial(self._get, "models")) from None
        except ProviderError as error:
            if error.submitted and (error.status or 200) < 300:
                self._broke(request, without)
            raise
        except asyncio.CancelledError:
            # Whoever waits gives up at the deadline too, and may be the first.
            if loop.time() > until - _CUT_SHORT:
                self._broke(request, without)
            raise
        if _STREAM in self._body(request, without):
            self._streamed.add(request.model)
        if image.url is not None:
            url = httpx.URL(image.url)
            if request.model not in self._gives_addresses:
                self._gives_addresses.add(request.model)
                log.info("pictures come as addresses", model=request.model, host=url.host, server=self._base)
            self._hosts.check(url)
        cost, unit = self._gateway.costs(answer) or (None, "")
        if cost is None and offer.tokens is not None:
            cost, unit = offer.tokens.cost(usage_in(answer)), offer.tokens.currency
        return Done(image, cost=cost, unit=unit, tokens=tokens_in(answer))

    async def _answer(self, request: GenRequest, without: set[_Parameter], until: float) -> Answer:
        """What is answered in the end; `without` becomes what had to be left out for it."""
        loop = asyncio.get_running_loop()
        while True:
            body = self._body(request, without)
            answer = await self._ask(request, body, until - loop.time())
            named = _refused(answer, body)
            if named is None:
                break
            without.add(named)
        if answer.ok and without:
            self._leave_out(request.model, without)
        return answer

    def _leave_out(self, model: str, parameters: set[_Parameter]) -> None:
        self._left_out |= parameters
        names = sorted(name for _, name, _ in parameters)
        log.warning("left out from now on", parameters=names, model=model, server=self._base)

    def _broke(self, request: GenRequest, without: set[_Parameter]) -> None:
        """A submit went wrong whose picture may be paid for: by its stream, if it had one. Where the last came well,
        that is forgiven once."""
        model = request.model
        if _STREAM not in self._body(request, without):
            return
        if model in self._streamed:
            self._streamed.discard(model)
        else:
            self._leave_out(model, {(model, _STREAM, "")})

    def _url(self, path: str) -> str:
        return f"{self._base}/{path}{self._query}"

    def _body(self, request: GenRequest, without: set[_Parameter]) -> dict[str, str]:
        """What is said of the picture, without what this address refuses."""
        model = request.model
        # Pictures and masks go beside it, as files.
        said = self._offer(model).fields(replace(request, mask=None))
        body = {"model": model, "n": "1", **{name: str(value) for name, value in said.items()}}
        body = self._gateway.shaped(body)
        bare = model.rpartition("/")[2]
        if not bare.startswith(_ALWAYS_BYTES) or model in self._gives_addresses:
            body["response_format"] = self._gateway.bytes
        if request.user_hash and self._gateway.person != "none":
            own = self._gateway.person == "model" and bare.startswith("gpt-image")
            body["safety_identifier" if own else "user"] = request.user_hash
        if request.preview is not None and self._previews and "previews" in self._offer(model).can:
            body |= {_STREAM: "true", _PREVIEWS: str(self._previews)}
        for name in _OPTIONAL:
            if (self._left_out | without) & {(model, name, ""), (model, name, body.get(name, ""))}:
                body.pop(name, None)
        if not {_STREAM, _PREVIEWS} <= body.keys():
            # One is of no use without the other.
            body = {name: value for name, value in body.items() if name not in (_STREAM, _PREVIEWS)}
        return body

    def _offer(self, model: str) -> Offer:
        bare = model.rpartition("/")[2]
        known = self._catalog.offer(self.name, model, _DALLE3 if bare.startswith("dall-e-3") else _MOST)
        return self._gateway.offer(known, self._gateway_name)

    async def _ask(self, request: GenRequest, body: dict[str, str], seconds: float) -> Answer:
        sent: dict[str, Any]
        typed: dict[str, Any] = {name: int(body[name]) for name in _NUMBERS if name in body}
        if _STREAM in body:
            typed[_STREAM] = True
        if not request.sources:
            path, sent = "generations", {"json_body": body | typed}
        elif self._gateway.edits == "multipart":
            path, sent = "edits", {"fields": body, "files": self._files(request)}
        elif self._gateway.edits == "json":
            path, sent = "edits", {"json_body": body | typed | _referred(request.sources)}
        else:
            source = {"image_url": data_uri(request.sources[0])}
            path, sent = "generations", {"json_body": body | typed | source}
        return await exchange(
            self._client,
            "POST",
            self._url(f"images/{path}"),
            headers={**self._headers, "X-Client-Request-Id": request.job_id},
            seconds=max(seconds, 0.1),
            limit=self._max_bytes * 4 // 3 + 1_000_000,
            creates=True,
            room=request.room,
            event=_watched(request.preview, self._previews),
            **sent,
        )

    def _files(self, request: GenRequest) -> list[File]:
        """The pictures to be changed: several have another field than one."""
        takes = self._offer(request.model).takes
        sources = request.sources
        field = f"{takes.source}{'[]' if len(sources) > 1 else ''}"
        files = [(field, source) for source in sources]
        if takes.mask and request.mask:
            files.append((takes.mask, request.mask))
        return [
            (name, (f"{n}.{image.mime.rpartition('/')[2]}", image.data, image.mime))
            for n, (name, image) in enumerate(files)
        ]

    async def _get(self, path: str) -> Answer:
        return await exchange(
            self._client,
            "GET",
            self._url(path),
            headers=self._headers,
            seconds=_CHECK_SECONDS,
            limit=_CHECK_LIMIT,
        )

    async def check(self) -> Health:
        """List the models and look for ours, and see whether edits are taken; all free."""
        try:
            answer = await self._get("models")
            found = self._judged(answer) if answer.status not in (404, 405) else await self._without_list()
            if not found.ok:
                elsewhere = None if answer.status in (401, 403) else await self._elsewhere()
                return elsewhere or found
            edits = await self._empty("edits") if self._gateway.edits in ("multipart", "json") else answer
        except ProviderError as error:
            return Health(False, f"{self._base} does not answer ({error.code}): check OPENAI_BASE_URL")
        detail = found.detail + (f"; it is asked as {name} is" if (name := self._gateway_name) else "")
        if self._gateway.edits == "none":
            detail += "; it has no edits"
        elif edits is not answer and edits.status in (404, 405):
            return Health(True, f"{detail}; it has no edits ({edits.status} at /images/edits)")
        known = self._gateway.results if self._gateway_name else ()
        hosts = ", ".join((httpx.URL(self._base).host, *known, *self._result_hosts))
        return Health(True, f"{detail}; pictures may come from {hosts}")

    async def _elsewhere(self) -> Health | None:
        """Whether the API is one step further, which is what most forget."""
        if self._base.endswith("/v1"):
            return None
        address = f"{self._base}/v1"
        try:
            answer = await self._get("v1/models")
        except ProviderError:
            return None
        if _ids(answer) is None and not (answer.status in (401, 403) and _seen(answer) == "JSON"):
            return None
        return Health(False, f"{self._base} is no API, but {address} is: set OPENAI_BASE_URL={address}")

    def _judged(self, answer: Answer) -> Health:
        """What the answer to a list of the models says."""
        at, status = self._base, answer.status
        kind = None if answer.ok else refusals.kind_of(status, refusals.read(answer))
        if kind is ErrorKind.AUTH or (kind is ErrorKind.INVALID_REQUEST and status in (401, 403)):
            return Health(False, refusals.at_the_door(answer, at, "OPENAI_API_KEY"))
        if kind is ErrorKind.QUOTA:
            return Health(False, f"{at} accepts the key, but its balance is spent ({status}): top up")
        if not answer.ok:
            return Health(False, f"{at} answers with status {status}: check OPENAI_BASE_URL")
        listed = _ids(answer)
        if listed is None:
            return Health(
                False,
                f"{at} answers with {_seen(answer)}, not with an API's list of models: check OPENAI_BASE_URL",
            )
        pictures = sorted(name for name in listed if _A_PICTURE_MODEL.search(name))
        missing = [m for m in self._models if not {m, m.rpartition("/")[2]} & listed]
        if missing and pictures:
            return Health(
                False,
                f"{at} accepts the key but does not list the model {' nor '.join(missing)}: set OPENAI_MODEL to one "
                f"it has, such as {', '.join(pictures[:5])}",
            )
        if missing:
            return Health(
                True, f"{at} accepts the key; it lists no picture models, so {missing[0]} is not checked"
            )
        return Health(True, f"{at} accepts the key and has {' and '.join(self._models)}")

    async def _without_list(self) -> Health:
        """A server that lists no models must at least know where pictures are asked for."""
        answer = await self._empty("generations")
        if answer.status in (404, 405) or (answer.ok and _seen(answer) != "JSON"):
            return Health(
                False,
                f"{self._base} has neither /models nor /images/generations ({answer.status}): check OPENAI_BASE_URL, "
                "which often ends in /v1",
            )
        if answer.status in (401, 403):
            return Health(False, refusals.at_the_door(answer, self._base, "OPENAI_API_KEY"))
        return Health(True, f"{self._base} answers; it lists no models, so key and model are not checked")

    async def _empty(self, path: str) -> Answer:
        """The answer to a request that lacks what it must have: it shows the way without making anything."""
        body = {"model": self._models[0]}
        return await exchange(
            self._client,
            "POST",
            self._url(f"images/{path}"),
            headers=self._headers,
            seconds=_CHECK_SECONDS,
            limit=_CHECK_LIMIT,
            **({"json_body": body} if path == "generations" else {"fields": body, "files": []}),
        )


def _watched(preview: Callable[[bytes], None] | None, most: int) -> Callable[[bytes], Heard]:
    """Hears a stream of events, and shows the unfinished pictures among them, at most so many. Of one that is not safe for
    everybody none is shown."""
    left = most

    def hear(block: bytes) -> Heard:
        nonlocal left
        event = read_event(block)
        heard = event.heard
        if heard is Heard.ASIDE and event.data and preview is not None and left > 0:
            left -= 1
            image, content = event.picture, event.content
            safe = not (refusals.withheld(content) or refusals.borderline(content))
            if safe and isinstance(image, ImageRef) and image.data is not None:
                preview(image.data)
        return heard

    return hear


def _referred(sources: tuple[SourceImage, ...]) -> dict[str, Any]:
    """Pictures to be changed, in JSON."""
    said = [{"type": "image_url", "url": data_uri(source)} for source in sources]
    return {"image": said[0]} if len(said) == 1 else {"images": said}


def _refused(answer: Answer, body: dict[str, str]) -> _Parameter | None:
    """The optional parameter that an answer refuses by its name."""
    if answer.status not in (400, 422):
        return None
    said = refusals.read(answer)
    if refusals.kind_of(answer.status, said, body["prompt"]) in _NOT_OF_PARAMETERS:
        return None
    text = refusals.without(said.text, body["prompt"])
    for name in _OPTIONAL:
        if name in body and (name in said.params or _refuses(text, name)):
            # A size that the model does not have says nothing about others.
            of_value = name == "size" and not re.search(
                r"unknown|unsupported param|extra|unrecogni", text, re.I
            )
            return body["model"], name, body[name] if of_value else ""
    return None


def _picture(answer: Answer, prompt: str = "", asked: str = "") -> ImageRef:
    """The picture in the answer of an address that was asked; where it lies elsewhere, that address is whole."""
    image = picture_in(answer, prompt)
    if image.url is None or not asked:
        return image
    try:
        return replace(image, url=str(httpx.URL(asked).join(image.url)))
    except (httpx.InvalidURL, ValueError):
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url", status=answer.status) from None


def _refuses(text: str, name: str) -> bool:
    """Whether a sentence says that it does not know or take this parameter."""
    quoted = rf"(?<![\w-]){name}{'(?:ing)?' if name == _STREAM else ''}(?![\w-])"
    return bool(re.search(rf"{_NOT_KNOWN}.{{0,80}}{quoted}|{quoted}.{{0,80}}{_NOT_KNOWN}", text, re.I | re.S))


def _ids(answer: Answer) -> set[str] | None:
    """Names of the models in a list of them; None: this is no such list."""
    try:
        content = answer.json()
    except ValueError:
        return None
    items = content.get("data", content.get("models")) if isinstance(content, dict) else content
    if not isinstance(items, list):
        return None
    names = {
        str(item.get("id") or item.get("name")) if isinstance(item, dict) else str(item) for item in items
    }
    return names | {name.rpartition("/")[2] for name in names}


def _seen(answer: Answer) -> str:
    """What an answer is, in a word."""
    start = answer.body[:200].lstrip().lower()
    if start.startswith(b"<"):
        return "a web page"
    return "JSON" if start[:1] in (b"{", b"[") else "something else"


PROVIDER = OpenAIProvider
