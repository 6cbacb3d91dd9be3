"""kie.ai's market API: a task is created, then polled; errors hide in the `code` of an HTTP 200.

Wire: `POST {base}/api/v1/jobs/createTask`, `GET {base}/api/v1/jobs/recordInfo?taskId=`, and
`POST {upload}/api/file-stream-upload` for the picture to be edited. There is no idempotency key and
no way to cancel; an excess of new tasks (20 in 10 s) is refused, not queued.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Callable
from typing import Any
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
    ImageRef,
    Pending,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, bearer, exchange
from src.providers.refusals import may_have_run, safe_code
from src.settings import Address, Settings

_SUBMIT_SECONDS = 30.0
_UPLOAD_SECONDS = 60.0
_POLL_SECONDS = 15.0
_ANSWER_LIMIT = 2_000_000
# A new task is sometimes not found for some seconds after its creation.
_VISIBLE_AFTER = 30.0
_CALLBACK_TOLERANCE = 300.0
_KNOWN_HOSTS = (".aiquickdraw.com", ".redpandaai.co", ".kie.ai")
# As most of its models are asked, and those that the catalog need not have.
_MOST = Offer(
    provider="kie", family="", id="-", takes=Takes(shape="aspect_ratio", source="image_urls"), prompt_max=5000
)
_WORKING = frozenset({"waiting", "queuing", "generating"})
_TASK_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_KINDS = {
    401: ErrorKind.AUTH,
    402: ErrorKind.QUOTA,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    422: ErrorKind.INVALID_REQUEST,
    429: ErrorKind.RATE_LIMITED,
    # The key's own limit, which its owner set.
    433: ErrorKind.QUOTA,
    # It could not fetch the source, or may not make the picture.
    451: ErrorKind.MODERATED_INPUT,
    455: ErrorKind.OVERLOADED,
    500: ErrorKind.UPSTREAM,
    501: ErrorKind.UPSTREAM,
    505: ErrorKind.INVALID_REQUEST,
}

# What a code for "wrong" or "failed" may really be, by its words.
_SAID_IN_WORDS = frozenset(
    {ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT, ErrorKind.QUOTA, ErrorKind.MODEL_GONE}
)

log = structlog.get_logger(__name__)


class KieSettings(BaseModel):
    """What is set for kie.ai."""

    kie_api_key: SecretStr | None = Field(None, description="Key of kie.ai.")
    kie_base_url: Address = Field("https://api.kie.ai", description="Address of kie.ai's API.")
    kie_upload_url: Address = Field(
        "https://kieai.redpandaai.co", description="Address kie.ai takes source pictures at."
    )
    kie_model: str = Field("nano-banana-2-1", description="Model for text to image at kie.ai.")
    kie_edit_model: str = Field("nano-banana-2-1", description="Model for edits at kie.ai.")
    kie_fast_model: str | None = Field(
        None, description="A faster model for text to image there, offered when the line is long."
    )
    kie_concurrency: int = Field(100, ge=1, le=10_000, description="Generations in flight at kie.ai.")
    kie_rate: float = Field(2.0, gt=0, description="New tasks a second at kie.ai (it allows 20 in 10 s).")
    kie_webhook_key: SecretStr | None = Field(None, description="kie.ai's callback signing key.")


class KieProvider(Client):
    """Client of kie.ai.

    Args:
        settings: base addresses, key, callback key, result hosts.
        client: from `src.providers.http.make_client`.
        clock: seconds since the epoch, for the ages of tasks and callbacks.
    """

    name = "kie"
    rank = 2
    settings = KieSettings

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.time
    ) -> None:
        assert isinstance(settings, KieSettings)
        webhook_key = settings.kie_webhook_key
        own = (settings.kie_base_url, settings.kie_upload_url)
        super().__init__(settings, client, *own, known=_KNOWN_HOSTS)
        self._clock = clock
        self._jobs = f"{settings.kie_base_url.rstrip('/')}/api/v1/jobs"
        self._credit = f"{settings.kie_base_url.rstrip('/')}/api/v1/chat/credit"
        self._upload_url = f"{settings.kie_upload_url.rstrip('/')}/api/file-stream-upload"
        self._base = settings.kie_base_url
        self._headers = bearer(settings.kie_api_key)
        self._webhook_key = webhook_key.get_secret_value().encode() if webhook_key else b""
        self._catalog = get_catalog(settings.models_file)
        draws, edits = self._offer(settings.kie_model), self._offer(settings.kie_edit_model)
        model = self._catalog.model(self.name, settings.kie_model)
        self.capabilities = Capabilities(
            aspects=draws.aspects,
            counts=model.counts if model else 4,
            callback=bool(self._webhook_key),
            edit=edits.edits,
            sources=edits.takes.sources,
            max_prompt=min(draws.prompt_max, edits.prompt_max),
            result_ttl=14 * 86_400,
        )

    async def submit(self, request: GenRequest) -> Ticket:
        offer = self._offer(request.model)
        given = enumerate(offer.pictures(request))
        sources = [await self._upload(f"{request.job_id}.{n}", source) for n, source in given]
        body: dict[str, Any] = {
            "model": request.model,
            "input": offer.fields(request, sources),
        }
        if request.callback_url:
            body["callBackUrl"] = request.callback_url
        answer = await exchange(
            self._client,
            "POST",
            f"{self._jobs}/createTask",
            headers=self._headers,
            seconds=_SUBMIT_SECONDS,
            limit=_ANSWER_LIMIT,
            json_body=body,
            creates=True,
        )
        data = _data(answer, creates=True, prompt=request.prompt)
        task = data.get("taskId")
        if not isinstance(task, str) or not _TASK_ID.fullmatch(task):
            raise ProviderError(ErrorKind.UPSTREAM, "no_task_id", status=answer.status, submitted=True)
        return Ticket(self.name, task, {"submitted_at": f"{self._clock():.3f}"})

    async def poll(self, ticket: Ticket) -> Pending | Done:
        answer = await exchange(
            self._client,
            "GET",
            f"{self._jobs}/recordInfo?taskId={quote(ticket.external_id, safe='')}",
            headers=self._headers,
            seconds=_POLL_SECONDS,
            limit=_ANSWER_LIMIT,
        )
        try:
            record = _data(answer)
        except ProviderError as error:
            # Here 422 means "no such record", not a validation error.
            if error.kind is not ErrorKind.NOT_FOUND and error.code not in ("404", "422"):
                raise
            if self._is_new(ticket):
                return Pending()
            raise ProviderError(ErrorKind.NOT_FOUND, error.code, status=error.status, ended=True) from None
        return self._outcome(record)

    async def callback_hint(self, call: Callback) -> str | None:
        """The task a callback names, if its signature is ours and at most five minutes old.

        The signature covers the task id and the time, not the body: nothing else in it is believed.
        """
        if not self._webhook_key:
            return None
        stamp = call.header("x-webhook-timestamp")
        given = call.header("x-webhook-signature")
        if not self._is_recent(stamp):
            return None
        for task in _task_ids(call.body):
            expected = sign(self._webhook_key, task, stamp)
            if hmac.compare_digest(expected.encode(), given.encode()):
                return task
        return None

    async def check(self) -> Health:
        """Ask for the credits left, which is free."""
        try:
            answer = await exchange(
                self._client,
                "GET",
                self._credit,
                headers=self._headers,
                seconds=_POLL_SECONDS,
                limit=_ANSWER_LIMIT,
            )
            content = _envelope(answer)
        except ProviderError as error:
            if error.kind is ErrorKind.AUTH:
                return Health(False, f"{self._base} refuses the key: check KIE_API_KEY")
            return Health(False, f"{self._base} does not answer as kie.ai ({error.code}): check KIE_BASE_URL")
        credits_left = _number(content.get("data"))
        if credits_left is None:
            return Health(True, f"{self._base} accepts the key")
        if credits_left <= 0:
            return Health(False, f"{self._base} accepts the key, but no credits are left: top up at kie.ai")
        return Health(True, f"{self._base} accepts the key; {credits_left:g} credits left")

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)

    async def _upload(self, name: str, source: SourceImage) -> str:
        suffix = "png" if source.mime == "image/png" else "jpg"
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.{suffix}"
        answer = await exchange(
            self._client,
            "POST",
            self._upload_url,
            headers=self._headers,
            seconds=_UPLOAD_SECONDS,
            limit=_ANSWER_LIMIT,
            fields={"uploadPath": "sources", "fileName": name},
            files=[("file", (name, source.data, source.mime))],
        )
        data = _data(answer)
        url = data.get("downloadUrl") or data.get("fileUrl")
        if not isinstance(url, str) or not url:
            raise ProviderError(ErrorKind.UPSTREAM, "no_upload_url", status=answer.status)
        return url

    def _outcome(self, record: dict[str, Any]) -> Pending | Done:
        state = record.get("state")
        if state == "success":
            cost = _number(record.get("creditsConsumed"))
            return Done(
                ImageRef(url=_result_url(record.get("resultJson"))),
                cost=cost,
                unit="credits",
                seconds=_took(record),
            )
        if state == "fail":
            raise _failed(record)
        if not isinstance(state, str):
            raise ProviderError(ErrorKind.UPSTREAM, "no_state")
        if state not in _WORKING:
            log.warning("kie.unknown_state", state=safe_code(state) or "?")
        progress = _number(record.get("progress"))
        return Pending(None if progress is None else min(max(progress / 100, 0.0), 1.0))

    def _is_new(self, ticket: Ticket) -> bool:
        try:
            since = float(ticket.meta.get("submitted_at", ""))
        except ValueError:
            return False
        return abs(self._clock() - since) < _VISIBLE_AFTER

    def _is_recent(self, stamp: str) -> bool:
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 13:
            return False
        seconds = int(stamp) / (1000 if len(stamp) > 11 else 1)
        return abs(self._clock() - seconds) <= _CALLBACK_TOLERANCE


def sign(key: bytes, task: str, stamp: str) -> str:
    """kie's callback signature: base64 of HMAC-SHA256 over `task.stamp`."""
    return base64.b64encode(hmac.new(key, f"{task}.{stamp}".encode(), hashlib.sha256).digest()).decode()


def _envelope(answer: Answer, *, creates: bool = False, prompt: str = "") -> dict[str, Any]:
    """The whole JSON object of an answer that both HTTP and `code` call a success."""
    content = answer.json_object()
    code = content.get("code") if content is not None else None
    if answer.ok and content is not None and code in (200, "200"):
        return content
    # The body's code says more than the status, unless the body is a gateway's error page.
    business = int(code) if isinstance(code, int | str) and safe_code(code).isdigit() else None
    if business is None and answer.ok:
        raise ProviderError(ErrorKind.UPSTREAM, "not_kie", status=answer.status, submitted=creates)
    status = answer.status if business in (None, 200) else business
    assert status is not None
    kind = _kind(status, _message(content), prompt)
    if creates and kind is ErrorKind.NOT_FOUND:
        kind = ErrorKind.MODEL_GONE
    raise ProviderError(
        kind,
        str(status),
        retry_after=answer.retry_after,
        status=answer.status,
        submitted=creates and business is None and may_have_run(answer.status),
    )


def _kind(code: int, text: str, prompt: str = "") -> ErrorKind:
    """What one of kie's codes means, with the words that came along: where they say more, they decide."""
    known = _KINDS.get(code)
    if code == 451 and re.search(r"fetch|access", text, re.IGNORECASE):
        return ErrorKind.BAD_SOURCE
    if known not in (None, ErrorKind.INVALID_REQUEST, ErrorKind.UPSTREAM):
        return known
    meant = refusals.kind_of(max(code, 300), refusals.Said((), text, frozenset(), False), prompt)
    return meant if known is None or meant in _SAID_IN_WORDS else known


def _data(answer: Answer, *, creates: bool = False, prompt: str = "") -> dict[str, Any]:
    data = _envelope(answer, creates=creates, prompt=prompt).get("data")
    if not isinstance(data, dict):
        raise ProviderError(ErrorKind.UPSTREAM, "no_data", status=answer.status, submitted=creates)
    return data


def _message(content: object) -> str:
    if not isinstance(content, dict):
        return ""
    found = content.get("msg") or content.get("message")
    return found if isinstance(found, str) else ""


def _failed(record: dict[str, Any]) -> ProviderError:
    code = safe_code(record.get("failCode"))
    message = record.get("failMsg")
    number = int(code) if code.isdigit() else 500
    kind = _kind(number, message if isinstance(message, str) else "")
    if kind in (ErrorKind.QUOTA, ErrorKind.MODEL_GONE, ErrorKind.AUTH):
        # Its words may be the model's, which says what it is made to say: of these only kie's code speaks.
        kind = _KINDS.get(number, ErrorKind.UPSTREAM)
    return ProviderError(kind, code or "fail", ended=True)


def _took(record: dict[str, Any]) -> float | None:
    """Seconds a generation took: between two stamps in ms, since the unit of `costTime` is not always the same."""
    began, ended = _number(record.get("createTime")), _number(record.get("completeTime"))
    return (ended - began) / 1000 if began and ended and ended > began else None


def _result_url(raw: object) -> str:
    """The first picture's address in `resultJson`, which is JSON within a JSON string."""
    content = raw
    if isinstance(raw, str):
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            content = None
    found: object = content
    if isinstance(content, dict):
        found = content.get("resultUrls") or content.get("resultUrl") or content.get("resultImageUrl")
    if isinstance(found, list):
        found = found[0] if found else None
    if not isinstance(found, str) or not found:
        raise ProviderError(ErrorKind.BAD_RESULT, "no_result_url", ended=True)
    return found


def _task_ids(body: bytes) -> list[str]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(content, dict):
        return []
    data = content.get("data")
    found = [content.get("taskId"), content.get("task_id")]
    if isinstance(data, dict):
        found += [data.get("task_id"), data.get("taskId")]
    return [task for task in found if isinstance(task, str) and _TASK_ID.fullmatch(task)]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


PROVIDER = KieProvider
