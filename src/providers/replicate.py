"""Replicate's predictions: made, then asked about or waited for; it calls back as the Standard Webhooks say.

Wire: `POST {base}/v1/models/{owner}/{name}/predictions`, or `POST {base}/v1/predictions` for `owner/name:version`. A quick
model is waited for (`Prefer: wait`), so its picture is in the answer. What a prediction made is deleted an hour later.
There is no idempotency key. Source: replicate 1.0.7.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
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
    SourceImage,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client, Kept, is_recent, object_in, result_in
from src.providers.http import Answer, bearer, exchange
from src.providers.images import data_uri
from src.settings import Address, Settings

_SUBMIT_SECONDS = 60.0
_SECONDS = 15.0
_ANSWER_LIMIT = 4_000_000
_KNOWN_HOSTS = (".replicate.delivery",)
# A source up to this size may be in the request itself.
_INLINE_BYTES = 256_000
# A model that usually takes no longer is waited for, and so long.
_QUICK_SECONDS = 10.0
_WAIT_SECONDS = 30
_LEAST_DEADLINE = 5
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_PROGRESS = re.compile(r"^\s*(\d+)%\s*\|.+?\|\s*\d+/\d+", re.MULTILINE)
_MOST = Offer(
    provider="replicate", id="-", takes=Takes(shape="aspect_ratio", source="image_input"), prompt_max=4000
)

log = structlog.get_logger(__name__)


class ReplicateSettings(BaseModel):
    """What is set for Replicate."""

    replicate_api_key: SecretStr | None = Field(None, description="Key of Replicate (`r8_…`).")
    replicate_base_url: Address = Field(
        "https://api.replicate.com", description="Address of Replicate's API."
    )
    replicate_model: str = Field(
        "black-forest-labs/flux-2-pro",
        description="Model at Replicate: `owner/name` or `owner/name:version`.",
    )
    replicate_fast_model: str | None = Field(
        None, description="A faster model there, offered when the line is long."
    )
    replicate_concurrency: int = Field(50, ge=1, le=10_000, description="Generations in flight at Replicate.")
    replicate_rate: float = Field(5.0, gt=0, description="New predictions a second (it allows 600 a minute).")


class ReplicateProvider(Client):
    """Client of Replicate.

    Args:
        clock: seconds since the epoch, for the ages of callbacks.
    """

    name = "replicate"
    rank = 6
    settings = ReplicateSettings

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.time
    ) -> None:
        assert isinstance(settings, ReplicateSettings)
        super().__init__(settings, client, settings.replicate_base_url, known=_KNOWN_HOSTS)
        self._headers = bearer(settings.replicate_api_key)
        self._model = settings.replicate_model
        self._secret = Kept(self._ask_secret)
        self._clock = clock
        self._catalog = get_catalog(settings.models_file)
        known, model = self._offer(self._model), self._catalog.model(self.name, self._model.partition(":")[0])
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            # A quick model's call is held until its picture is there, any other's answers at once with its ticket.
            synchronous=True,
            callback=True,
            edit=known.edits,
            sources=known.takes.sources,
            cancel=True,
            max_prompt=known.prompt_max,
            result_ttl=3600,
        )

    async def submit(self, request: GenRequest) -> Ticket | Done:
        offer = self._offer(request.model)
        sources = [await self._source(source) for source in offer.pictures(request)]
        body: dict[str, Any] = {"input": offer.fields(request, sources)}
        model, _, version = request.model.partition(":")
        if version:
            body["version"] = request.model
        if request.callback_url:
            body |= {"webhook": request.callback_url, "webhook_events_filter": ["completed"]}
        wishes = {"Cancel-After": f"{max(int(request.deadline), _LEAST_DEADLINE)}s"}
        if _is_quick(offer):
            wishes["Prefer"] = f"wait={_WAIT_SECONDS}"
        path = "predictions" if version else f"models/{quote(model)}/predictions"
        answer = await self._ask(
            "POST", path, wishes, seconds=_SUBMIT_SECONDS + _WAIT_SECONDS, json_body=body, creates=True
        )
        if not answer.ok:
            raise await self.explained(_refusal(answer, request.prompt), lambda: self._ask("GET", "account"))
        try:
            found = _prediction(answer)
        except ProviderError as error:
            error.submitted = True
            raise
        # While it is waited for, an answer with the picture may still say that it is being made.
        if found["status"] == "succeeded" or (found["status"] == "processing" and found.get("output")):
            return self._done(answer, found)
        return Ticket(self.name, found["id"])

    async def poll(self, ticket: Ticket) -> Pending | Done:
        answer = await self._ask("GET", f"predictions/{ticket.external_id}")
        if answer.status == 404:
            raise ProviderError(ErrorKind.NOT_FOUND, "no_prediction", status=404, ended=True)
        if not answer.ok:
            raise refusals.refusal(answer)
        found = _prediction(answer)
        status = found["status"]
        if status == "succeeded":
            return self._done(answer, found)
        if status in ("failed", "canceled", "aborted"):
            raise _failed(status, found.get("error"))
        if status not in ("starting", "processing", "queued"):
            log.warning("replicate.unknown_status", status=refusals.safe_code(status) or "?")
        return Pending(_progress(found.get("logs")))

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        answer = await self._ask("POST", f"predictions/{ticket.external_id}/cancel")
        if answer.status in (404, 422):
            return "too_late"
        if not answer.ok:
            raise refusals.refusal(answer)
        # One that has ended is given back as it is.
        return "too_late" if _prediction(answer)["status"] in ("succeeded", "failed") else "cancelled"

    async def callback_hint(self, call: Callback) -> str | None:
        """The prediction a callback speaks of, if Replicate has signed it in the last five minutes."""
        id, stamp, given = (call.header(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
        if not id or not is_recent(stamp, self._clock()):
            return None
        try:
            task = json.loads(call.body)["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if not isinstance(task, str) or not _ID.fullmatch(task):
            return None
        message = f"{id}.{stamp}.".encode() + call.body
        found = [part.partition(",")[2].encode() for part in given.split() if part.startswith("v1,")]

        def signed(key: bytes) -> bool:
            right = base64.b64encode(hmac.digest(key, message, hashlib.sha256))
            return any(hmac.compare_digest(right, signature) for signature in found)

        return task if found and await self._secret.get(signed) else None

    async def check(self) -> Health:
        """Look the model up, which is free."""
        try:
            answer = await self._ask("GET", f"models/{quote(self._model.partition(':')[0])}")
        except ProviderError as error:
            return Health(False, f"{self._at} does not answer ({error.code}): check REPLICATE_BASE_URL")
        if answer.status in (401, 403):
            return Health(False, refusals.at_the_door(answer, self._at, "REPLICATE_API_KEY"))
        if answer.status == 404:
            return Health(False, f"{self._at} does not have the model {self._model}: set REPLICATE_MODEL")
        if not answer.ok or b'"owner"' not in answer.body:
            return Health(
                False, f"{self._at} does not answer as Replicate ({answer.status}): check REPLICATE_BASE_URL"
            )
        return Health(True, f"{self._at} has {self._model}")

    async def _source(self, source: SourceImage) -> str:
        if len(source.data) <= _INLINE_BYTES:
            return data_uri(source)
        name = f"source.{source.mime.rpartition('/')[2]}"
        answer = await self._ask(
            "POST", "files", seconds=_SUBMIT_SECONDS, files=[("content", (name, source.data, source.mime))]
        )
        if not answer.ok:
            raise _refusal(answer, "")
        urls = _object(answer).get("urls")
        return self.ours(urls.get("get") if isinstance(urls, dict) else None)

    def _done(self, answer: Answer, found: dict[str, Any]) -> Done:
        if found.get("data_removed"):
            raise ProviderError(ErrorKind.NOT_FOUND, "result_gone", status=answer.status, ended=True)
        metrics = found.get("metrics")
        took = metrics.get("predict_time") if isinstance(metrics, dict) else None
        image = result_in(answer)
        return Done(image, seconds=took if isinstance(took, float) and took > 0 else None)

    async def _ask_secret(self) -> bytes:
        """What the account's callbacks are signed with."""
        answer = await self._ask("GET", "webhooks/default/secret")
        key = _object(answer).get("key") if answer.ok else None
        try:
            secret = (
                base64.b64decode(key.removeprefix("whsec_"), validate=True) if isinstance(key, str) else b""
            )
        except (binascii.Error, ValueError):
            secret = b""
        if not secret:
            raise ProviderError(ErrorKind.UPSTREAM, "no_secret", status=answer.status)
        return secret

    async def _ask(
        self,
        method: str,
        path: str,
        wishes: dict[str, str] | None = None,
        *,
        seconds: float = _SECONDS,
        **more: Any,
    ) -> Answer:
        headers = {**self._headers, **(wishes or {})}
        return await exchange(
            self._client,
            method,
            f"{self._at}/v1/{path}",
            headers=headers,
            seconds=seconds,
            limit=_ANSWER_LIMIT,
            **more,
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model.partition(":")[0], _MOST)


def _is_quick(offer: Offer) -> bool:
    return offer.usual_seconds is not None and offer.usual_seconds <= _QUICK_SECONDS


def _refusal(answer: Answer, prompt: str) -> ProviderError:
    error = refusals.refusal(answer, prompt)
    if answer.status == 422 and "version" in refusals.read(answer).text.lower():
        error.kind = ErrorKind.MODEL_GONE
    return error


def _failed(status: str, said: object) -> ProviderError:
    """Why a prediction ended without its picture."""
    if status != "failed":
        return ProviderError(ErrorKind.TIMEOUT, status, ended=True)
    text = said if isinstance(said, str) else ""
    # What the model's own code raised, which may quote anything.
    return ProviderError(refusals.kind_of_words(text, otherwise=ErrorKind.UPSTREAM), status, ended=True)


def _progress(logs: object) -> float | None:
    """The last percentage in what the model printed."""
    found = _PROGRESS.findall(logs[-4000:].replace("\r", "\n")) if isinstance(logs, str) else []
    return min(int(found[-1]) / 100, 1.0) if found else None


def _object(answer: Answer) -> dict[str, Any]:
    return object_in(answer, "not_replicate")


def _prediction(answer: Answer) -> dict[str, Any]:
    found = _object(answer)
    if not isinstance(found.get("id"), str) or not _ID.fullmatch(found["id"]):
        raise ProviderError(ErrorKind.UPSTREAM, "no_prediction_id", status=answer.status)
    if not isinstance(found.get("status"), str):
        raise ProviderError(ErrorKind.UPSTREAM, "no_status", status=answer.status)
    return found


PROVIDER = ReplicateProvider
