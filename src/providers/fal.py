"""fal.ai's queue: a request is put in it, asked about, and fetched; it calls back with an Ed25519 signature.

Wire: `POST {base}/{model}[?fal_webhook=]` answers with the addresses to ask at from then on, which are never put together
here: they lack the model's subpath. A request that has COMPLETED may still be an error, which its result's status tells.
There is no idempotency key; what is over the account's limit waits in the queue. A result says how many units it is billed
as, and `GET {api}/models/pricing` what one costs. Source: fal_client 1.0.3, fal.ai/docs/platform-apis.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import quote

import httpx
import structlog
from pydantic import BaseModel, Field, SecretStr

from src.providers import refusals
from src.providers.base import (
    Callback,
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    Pending,
    ProviderError,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client, Kept, is_recent, object_in, result_in
from src.providers.http import Answer, exchange
from src.providers.images import data_uri
from src.settings import Address, Settings

_SUBMIT_SECONDS = 60.0
_SECONDS = 15.0
_PRICE_SECONDS = 5.0
_ANSWER_LIMIT = 2_000_000
_KNOWN_HOSTS = (".fal.media",)
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_UNITS = re.compile(r"\d{1,9}(\.\d{1,9})?")
_MOST = Offer(provider="fal", id="-", takes=Takes(shape="aspect_ratio", source="image_urls"), prompt_max=4000)

log = structlog.get_logger(__name__)


class FalSettings(BaseModel):
    """What is set for fal."""

    fal_api_key: SecretStr | None = Field(None, description="Key of fal.ai.")
    fal_base_url: Address = Field("https://queue.fal.run", description="Address of fal.ai's queue.")
    fal_api_url: Address = Field("https://api.fal.ai/v1", description="Address of fal.ai's list of prices.")
    fal_keys_url: Address = Field(
        "https://rest.fal.ai/.well-known/jwks.json",
        description="Where the keys lie that fal.ai signs its callbacks with.",
    )
    fal_model: str = Field("google/nano-banana-2.1", description="Model at fal.ai.")
    fal_fast_model: str | None = Field(
        None, description="A faster model there, offered when the line is long."
    )
    fal_priority: Literal["normal", "low"] = Field(
        "normal", description="In fal.ai's queue: `low` comes after the account's other requests."
    )
    fal_concurrency: int = Field(10, ge=1, le=10_000, description="Generations in flight at fal.ai.")
    fal_rate: float = Field(5.0, gt=0, description="New requests a second to fal.ai.")


class FalProvider(Client):
    """Client of fal.

    Args:
        clock: seconds since the epoch, for the ages of callbacks.
    """

    name = "fal"
    rank = 5
    settings = FalSettings

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.time
    ) -> None:
        assert isinstance(settings, FalSettings)
        super().__init__(settings, client, settings.fal_base_url, known=_KNOWN_HOSTS)
        key = settings.fal_api_key
        self._headers = {"Authorization": f"Key {key.get_secret_value().strip() if key else ''}"}
        self._model = settings.fal_model
        self._priority = settings.fal_priority
        self._prices_url = f"{settings.fal_api_url}/models/pricing"
        self._prices: dict[str, Kept[tuple[float, str]]] = {}
        self._keys_url = settings.fal_keys_url
        self._keys = Kept(self._ask_keys)
        self._clock = clock
        self._catalog = get_catalog(settings.models_file)
        known, model = self._offer(self._model), self._catalog.model(self.name, self._model)
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            callback=True,
            edit=known.edits,
            sources=known.takes.sources,
            cancel=True,
            max_prompt=known.prompt_max,
            result_ttl=86_400,
        )

    async def submit(self, request: GenRequest) -> Ticket:
        offer = self._offer(request.model)
        model = (request.sources and offer.edit_id) or request.model
        url = f"{self._at}/{quote(model)}"
        if request.callback_url:
            url += f"?fal_webhook={quote(request.callback_url, safe='')}"
        wishes = {"X-Fal-Request-Timeout": f"{max(request.deadline, 1.1):.1f}"}
        if self._priority != "normal":
            wishes["X-Fal-Queue-Priority"] = self._priority
        said = offer.fields(request, [data_uri(image) for image in request.sources])
        answer = await self._ask("POST", url, wishes, seconds=_SUBMIT_SECONDS, json_body=said, creates=True)
        if not answer.ok:
            raise await self.explained(
                refusals.refusal(answer, request.prompt), lambda: self._ask_prices(model)
            )
        try:
            found = _object(answer)
            meta = {name: self.ours(found.get(f"{name}_url")) for name in ("status", "response", "cancel")}
        except ProviderError as error:
            error.submitted = True
            raise
        task = found.get("request_id")
        if not isinstance(task, str) or not _REQUEST_ID.fullmatch(task):
            raise ProviderError(ErrorKind.UPSTREAM, "no_request_id", status=answer.status, submitted=True)
        return Ticket(self.name, task, {**meta, "model": model})

    async def poll(self, ticket: Ticket) -> Pending | Done:
        answer = await self._ask("GET", f"{self.ours(ticket.meta.get('status'))}?logs=0")
        if answer.status == 404:
            raise ProviderError(ErrorKind.NOT_FOUND, "no_request", status=404, ended=True)
        if not answer.ok:
            raise refusals.refusal(answer)
        found = _object(answer)
        status, place = found.get("status"), found.get("queue_position")
        if status == "COMPLETED":
            return await self._result(ticket, _seconds(found))
        if status not in ("IN_QUEUE", "IN_PROGRESS"):
            log.warning("fal.unknown_status", status=refusals.safe_code(status) or "?")
        return Pending(queue_position=place if type(place) is int and status == "IN_QUEUE" else None)

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        answer = await self._ask("PUT", self.ours(ticket.meta.get("cancel")))
        if answer.ok:
            return "cancelled"
        if answer.status in (400, 404):
            return "too_late"
        raise refusals.refusal(answer)

    async def callback_hint(self, call: Callback) -> str | None:
        """The request a callback speaks of, if fal has signed it in the last five minutes."""
        id, user, stamp, given = (
            call.header(f"x-fal-webhook-{name}")
            for name in ("request-id", "user-id", "timestamp", "signature")
        )
        if not is_recent(stamp, self._clock()):
            return None
        try:
            signature = bytes.fromhex(given)
            task = json.loads(call.body)["request_id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        message = "\n".join((id, user, stamp, hashlib.sha256(call.body).hexdigest())).encode()
        if not isinstance(task, str) or not _REQUEST_ID.fullmatch(task):
            return None
        genuine = await self._keys.get(lambda keys: any(_signed(key, signature, message) for key in keys))
        return task if genuine else None

    async def check(self) -> Health:
        """Ask what the model costs, which is free."""
        try:
            answer = await self._ask_prices(self._model)
            price = _price(answer, self._model) if answer.ok else None
        except ProviderError as error:
            return Health(False, f"{self._prices_url} does not answer ({error.code}): check FAL_API_URL")
        if answer.status in (401, 403):
            return Health(False, refusals.at_the_door(answer, self._prices_url, "FAL_API_KEY"))
        if price is None and answer.status not in (200, 404):
            return Health(False, f"{self._prices_url} answers with status {answer.status}: check FAL_API_URL")
        if price is None:
            return Health(False, f"fal.ai does not have the model {self._model}: set FAL_MODEL")
        return Health(True, f"fal.ai has {self._model}; a unit of it costs {price[0]:g} {price[1]}")

    async def _result(self, ticket: Ticket, seconds: float | None) -> Done:
        answer = await self._ask("GET", self.ours(ticket.meta.get("response")))
        if not answer.ok and not _is_verdict(answer):
            raise refusals.refusal(answer)
        if answer.status in (404, 410):
            raise ProviderError(ErrorKind.NOT_FOUND, "result_gone", status=answer.status, ended=True)
        image, seed = result_in(answer), _object(answer).get("seed")
        cost = await self._cost(answer, ticket.meta.get("model", ""))
        return Done(image, seed=seed if type(seed) is int else None, seconds=seconds, **cost)

    async def _cost(self, answer: Answer, model: str) -> dict[str, Any]:
        """What a result costs, where it tells its units and their price is to be had."""
        units = answer.headers.get("x-fal-billable-units", "")
        if not model or not _UNITS.fullmatch(units):
            return {}

        async def ask() -> tuple[float, str]:
            answer = await self._ask_prices(model)
            if (price := _price(answer, model)) is None:
                raise ProviderError(ErrorKind.UPSTREAM, "no_price", status=answer.status)
            return price

        try:
            price = await self._prices.setdefault(model, Kept(ask)).get()
        except ProviderError:
            return {}
        return {"cost": float(units) * price[0], "unit": price[1]} if price else {}

    async def _ask_prices(self, model: str) -> Answer:
        return await self._ask(
            "GET", f"{self._prices_url}?endpoint_id={quote(model)}", seconds=_PRICE_SECONDS
        )

    async def _ask_keys(self) -> tuple[bytes, ...]:
        """The keys that callbacks are signed with, which are public."""
        answer = await exchange(
            self._client, "GET", self._keys_url, headers={}, seconds=_SECONDS, limit=_ANSWER_LIMIT
        )
        listed = _object(answer).get("keys") if answer.ok else None
        keys = tuple(key for found in listed if (key := _key(found))) if isinstance(listed, list) else ()
        if not keys:
            raise ProviderError(ErrorKind.UPSTREAM, "no_keys", status=answer.status)
        return keys

    async def _ask(
        self,
        method: str,
        url: str,
        wishes: dict[str, str] | None = None,
        *,
        seconds: float = _SECONDS,
        **more: Any,
    ) -> Answer:
        headers = {**self._headers, **(wishes or {})}
        return await exchange(
            self._client, method, url, headers=headers, seconds=seconds, limit=_ANSWER_LIMIT, **more
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _is_verdict(answer: Answer) -> bool:
    """Whether a refusal is about the generation, not about this question."""
    if answer.status in (401, 403, 408, 429):
        return False
    return answer.status < 500 or "x-fal-error-type" in answer.headers or b'"error_type"' in answer.body


def _object(answer: Answer) -> dict[str, Any]:
    return object_in(answer, "not_fal")


def _price(answer: Answer, model: str) -> tuple[float, str] | None:
    """What a unit of a model costs, and the currency."""
    listed = _object(answer).get("prices")
    for found in listed if isinstance(listed, list) else ():
        if isinstance(found, dict) and found.get("endpoint_id") == model:
            price, currency = _positive(found.get("unit_price")), found.get("currency")
            if price is not None and isinstance(currency, str) and len(currency) == 3:
                return price, currency
    return None


def _seconds(found: dict[str, Any]) -> float | None:
    metrics = found.get("metrics")
    return _positive(metrics.get("inference_time")) if isinstance(metrics, dict) else None


def _positive(found: Any) -> float | None:
    good = isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf
    return float(found) if good else None


def _key(found: Any) -> bytes | None:
    """An Ed25519 key of a JWK set; None for one of another kind."""
    try:
        if (found["kty"], found["crv"]) == ("OKP", "Ed25519"):
            return base64.urlsafe_b64decode(found["x"] + "=" * (-len(found["x"]) % 4))
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _signed(key: bytes, signature: bytes, message: bytes) -> bool:
    # Loading it takes 80 ms, and of all processes only `api` has a use for it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


PROVIDER = FalProvider
