"""OpenAI's images API, and every gateway that speaks it: one synchronous call a picture.

Wire: `POST {base}/images/generations` (JSON) and `/images/edits` (multipart). The answer holds the
picture as base64; some gateways give an address instead. There is no task to poll and nothing to
cancel: closing the connection does not take the generation back.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import httpx

from src.providers.base import (
    Aspect,
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    ImageBytes,
    ImageRef,
    Pending,
    Picture,
    ProviderError,
    Ticket,
)
from src.providers.http import Answer, bearer, exchange, kind_of_status, may_have_run, safe_code
from src.providers.results import ResultHosts, fetch_ref, open_ref
from src.settings import Settings

SUBMIT_SECONDS = 190.0
_CHECK_SECONDS = 10.0
_CHECK_LIMIT = 4_000_000
# DALL-E's results; GPT-image models answer with the bytes themselves.
_KNOWN_HOSTS = ("oaidalleapiprodscus.blob.core.windows.net",)

_FIXED_SIZES: dict[Aspect, str] = {
    "1:1": "1024x1024",
    "3:2": "1536x1024",
    "2:3": "1024x1536",
    "16:9": "1536x1024",
    "9:16": "1024x1536",
}
# From gpt-image-2 on any size whose sides are multiples of 16 is taken.
_FREE_SIZES: dict[Aspect, str] = {**_FIXED_SIZES, "16:9": "1536x864", "9:16": "864x1536"}
_DALLE3_SIZES: dict[Aspect, str] = {
    "1:1": "1024x1024",
    "3:2": "1792x1024",
    "2:3": "1024x1792",
    "16:9": "1792x1024",
    "9:16": "1024x1792",
}
_FREE_SIZE_MODEL = re.compile(r"gpt-image-(?:[2-9]|\d\d)")

_MODERATION_CODES = frozenset(
    {
        "moderation_blocked",
        "content_policy_violation",
        "image_content_policy_violation",
        "content_filter",
        "responsible_ai_policy_violation",
        "content_moderation",
    }
)
_QUOTA_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
)
_SOURCE_CODES = frozenset({"invalid_image", "invalid_image_file", "invalid_image_format", "image_too_large"})
_OUTPUT_STAGE = re.compile(r"generated image|output", re.IGNORECASE)


class OpenAIProvider:
    """Client of the images API at `settings.openai_base_url`."""

    name = "openai"
    capabilities = Capabilities(synchronous=True, edit=True, max_prompt=32_000)

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self._client = client
        self._base = settings.openai_base_url.rstrip("/")
        self._headers = bearer(settings.openai_api_key)
        self._max_bytes = settings.image_max_bytes
        self._hosts = ResultHosts(
            (self._base,),
            (*_KNOWN_HOSTS, *settings.provider_result_hosts),
            private=settings.allow_private_hosts,
        )

    async def submit(self, request: GenRequest) -> Done:
        """Ask for one picture and wait for it, 190 s at most.

        The job id goes along as `X-Client-Request-Id`, so that a doubtful submit can be traced with
        OpenAI's support; it is no idempotency key.
        """
        body: dict[str, str] = {
            "model": request.model,
            "prompt": request.prompt,
            "size": _size(request.model, request.aspect),
        }
        if request.model.startswith("dall-e"):
            body["response_format"] = "b64_json"
        if request.user_hash:
            body["safety_identifier" if request.model.startswith("gpt-image") else "user"] = request.user_hash
        headers = {**self._headers, "X-Client-Request-Id": request.job_id}
        seconds = min(SUBMIT_SECONDS, max(request.deadline, 0.1))
        limit = self._max_bytes * 4 // 3 + 1_000_000
        source = request.source
        if source is None:
            answer = await exchange(
                self._client,
                "POST",
                f"{self._base}/images/generations",
                headers=headers,
                seconds=seconds,
                limit=limit,
                json_body={**body, "n": 1},
                creates=True,
                room=request.room,
            )
        else:
            name = f"source.{source.mime.rpartition('/')[2]}"
            answer = await exchange(
                self._client,
                "POST",
                f"{self._base}/images/edits",
                headers=headers,
                seconds=seconds,
                limit=limit,
                fields={**body, "n": "1"},
                files={"image": (name, source.data, source.mime)},
                creates=True,
                room=request.room,
            )
        return Done(_picture(answer))

    async def poll(self, ticket: Ticket) -> Pending | Done:
        """Nothing can be polled here: a submit has answered or its picture is lost."""
        raise ProviderError(ErrorKind.NOT_FOUND, "no_tasks", ended=True)

    def open(self, ref: ImageRef) -> AbstractAsyncContextManager[Picture]:
        return open_ref(self._client, self._hosts, ref, limit=self._max_bytes)

    async def fetch(self, ref: ImageRef) -> ImageBytes:
        return await fetch_ref(self._client, self._hosts, ref, limit=self._max_bytes)

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        return "unsupported"

    def callback_hint(self, headers: Mapping[str, str], body: bytes) -> str | None:
        return None

    async def check(self) -> Health:
        """List the models, which is free; gateways without that list are taken as reachable."""
        try:
            answer = await exchange(
                self._client,
                "GET",
                f"{self._base}/models",
                headers=self._headers,
                seconds=_CHECK_SECONDS,
                limit=_CHECK_LIMIT,
            )
        except ProviderError as error:
            return Health(False, f"{self._base} does not answer ({error.code}): check OPENAI_BASE_URL")
        if answer.status == 200:
            return Health(True, f"{self._base} accepts the key")
        if answer.status in (401, 403):
            return Health(False, f"{self._base} refuses the key ({answer.status}): check OPENAI_API_KEY")
        if answer.status in (404, 405):
            return Health(True, f"{self._base} answers; it lists no models, so the key is not checked")
        return Health(False, f"{self._base} answers with status {answer.status}: check OPENAI_BASE_URL")


def _size(model: str, aspect: Aspect) -> str:
    if model.startswith("dall-e-3"):
        return _DALLE3_SIZES[aspect]
    return (_FREE_SIZES if _FREE_SIZE_MODEL.match(model) else _FIXED_SIZES)[aspect]


def _picture(answer: Answer) -> ImageRef:
    """The picture in an answer to a submit.

    Raises:
        ProviderError: for everything else that can be in it.
    """
    if answer.status != 200:
        raise _refusal(answer)
    try:
        content = answer.json()
    except ValueError:
        raise _broken(answer, "not_json") from None
    if not isinstance(content, dict):
        raise _broken(answer, "wrong_type")
    if isinstance(content.get("error"), dict):
        raise _refusal(answer)
    items = content.get("data")
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        if _filtered(content):
            raise _blocked(answer)
        raise _broken(answer, "no_picture")
    item = items[0]
    # Gateways blank or darken a blocked picture and still send it: their flag goes before the bytes.
    if _filtered(content) or _filtered(item):
        raise _blocked(answer)
    encoded, url = item.get("b64_json"), item.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        encoded = url.partition(",")[2]
    if isinstance(encoded, str) and encoded:
        try:
            return ImageRef(data=base64.b64decode(encoded.partition("base64,")[2] or encoded, validate=True))
        except (binascii.Error, ValueError):
            raise _broken(answer, "not_base64") from None
    if isinstance(url, str) and url:
        return ImageRef(url=url)
    raise _broken(answer, "no_picture")


def _filtered(part: dict[str, Any]) -> bool:
    """Does a 200 answer say that the picture was withheld? (Azure and several gateways.)"""
    if str(part.get("finish_reason")).lower() in ("content_filter", "content_filtered", "safety"):
        return True
    for name in ("content_filter_results", "prompt_filter_results"):
        found = part.get(name)
        verdicts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        if any(isinstance(verdict, dict) and verdict.get("filtered") is True for verdict in verdicts):
            return True
    return False


def _blocked(answer: Answer) -> ProviderError:
    return ProviderError(
        ErrorKind.MODERATED_OUTPUT, "content_filter", status=answer.status, request_id=answer.request_id
    )


def _broken(answer: Answer, code: str) -> ProviderError:
    return ProviderError(
        ErrorKind.UPSTREAM, code, status=answer.status, submitted=True, request_id=answer.request_id
    )


def _refusal(answer: Answer) -> ProviderError:
    error = _error_of(answer)
    code, kind_word = safe_code(error.get("code")), safe_code(error.get("type"))
    message = error.get("message")
    text = message if isinstance(message, str) else ""
    status = answer.status
    kind = _kind(status, {code, kind_word}, text, error.get("param"))
    return ProviderError(
        kind,
        code or kind_word or f"http_{status}",
        retry_after=answer.retry_after,
        status=status,
        submitted=may_have_run(status),
        request_id=answer.request_id,
    )


def _kind(status: int, words: set[str], text: str, param: object) -> ErrorKind:
    if words & _MODERATION_CODES or "safety_violations" in text:
        return ErrorKind.MODERATED_OUTPUT if _OUTPUT_STAGE.search(text) else ErrorKind.MODERATED_INPUT
    if words & _QUOTA_CODES:
        return ErrorKind.QUOTA
    if words & _SOURCE_CODES or (status in (400, 413, 415) and param == "image"):
        return ErrorKind.BAD_SOURCE
    if status == 404:
        # No task was asked for: it is the model or the address that does not exist.
        return ErrorKind.INVALID_REQUEST
    if status < 300:
        return ErrorKind.UPSTREAM
    return kind_of_status(status)


def _error_of(answer: Answer) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else {}
