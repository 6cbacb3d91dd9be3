"""Google's Gemini API: `generateContent` answers with the picture; a blocked one comes inside HTTP 200.

Wire: `POST {base}/v1beta/models/{model}:generateContent`; `GET {base}/v1beta/models/{model}` looks a model up. There are
no tasks, no callbacks and no way to cancel. A bad key is a 400 here, and a spent day's quota a 429: their `details` say
which. Source: google-genai 3.6.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from src.providers import refusals
from src.providers.answers import decoded
from src.providers.base import (
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    ImageRef,
    ProviderError,
    SourceImage,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, exchange
from src.settings import Address, Settings

_CHECK_SECONDS = 10.0
_SMALL_ANSWER = 1_000_000
_MOST = Offer(
    provider="gemini",
    id="-",
    takes=Takes(shape="aspectRatio", source="inlineData", sources=14),
    prompt_max=4000,
)
# Why an answer may end without its picture and another try may bring one; every other reason is a refusal.
_MISHAPS = frozenset(
    {"OTHER", "IMAGE_OTHER", "MAX_TOKENS", "LANGUAGE", "MALFORMED_RESPONSE", "MALFORMED_FUNCTION_CALL"}
    | {"UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "CONTINUATION"}
    | {"FINISH_REASON_UNSPECIFIED"}
)
# Some gateways put the picture into the text.
_IN_TEXT = re.compile(r"data:image/[\w.+-]+;base64,([A-Za-z0-9+/=_-]+)")
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


class GeminiSettings(BaseModel):
    """What is set for Gemini."""

    gemini_api_key: SecretStr | None = Field(None, description="Key of Google's Gemini API.")
    gemini_base_url: Address = Field(
        "https://generativelanguage.googleapis.com", description="Address of the Gemini API."
    )
    gemini_model: str = Field("gemini-nano-banana-2.1", description="Model at Gemini.")
    gemini_fast_model: str | None = Field(
        None, description="A faster model there, offered when the line is long."
    )
    gemini_concurrency: int = Field(50, ge=1, le=10_000, description="Generations in flight there.")
    gemini_rate: float = Field(5.0, gt=0, description="Requests a second to Gemini.")


# How likely a picture is harmful that was not blocked for it; by some by its number.
_BORDERLINE = ("MEDIUM", "HIGH", 3, 4)


class _Read(BaseModel):
    """A part of an answer; null is taken for missing, and what is not looked at may be anything."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _no_nulls(cls, raw: Any) -> Any:
        return {k: v for k, v in raw.items() if v is not None} if isinstance(raw, dict) else raw


class _Inline(_Read):
    data: str = ""


class _Part(_Read):
    text: str = ""
    inlineData: _Inline | None = None
    thought: bool = False


class _Content(_Read):
    parts: list[_Part] = []


class _Candidate(_Read):
    content: _Content = _Content()
    finishReason: str = "STOP"
    # The picture is paid for, whatever stands beside it.
    safetyRatings: Any = None


class _Feedback(_Read):
    blockReason: str = ""


class _Response(_Read):
    candidates: list[_Candidate] = []
    promptFeedback: _Feedback = _Feedback()


class _Violation(_Read):
    quotaId: str = ""
    quotaValue: str = ""


class _Detail(_Read):
    retryDelay: str = ""
    violations: list[_Violation] = []


class _Error(_Read):
    status: str = ""
    details: list[_Detail] = []


class _Refused(_Read):
    error: _Error


class GeminiProvider(Client):
    """Client of Gemini."""

    name = "gemini"
    rank = 4
    settings = GeminiSettings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, GeminiSettings)
        super().__init__(settings, client, settings.gemini_base_url)
        key = settings.gemini_api_key
        self._headers = {"x-goog-api-key": key.get_secret_value().strip() if key else ""}
        self._model = settings.gemini_model
        self._catalog = get_catalog(settings.models_file)
        known, model = self._offer(self._model), self._catalog.model(self.name, self._model)
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            synchronous=True,
            edit=known.edits,
            sources=known.takes.sources,
            max_prompt=known.prompt_max,
        )

    async def submit(self, request: GenRequest) -> Done:
        offer = self._offer(request.model)
        picture = offer.fields(request)
        parts = [{"text": picture.pop("prompt")}, *map(_inline, request.sources)]
        config = {"responseModalities": ["IMAGE"], "imageConfig": picture}
        answer = await exchange(
            self._client,
            "POST",
            f"{self._address(request.model)}:generateContent",
            headers=self._headers,
            seconds=max(request.deadline, 0.1),
            limit=self._max_bytes * 4 // 3 + _SMALL_ANSWER,
            json_body={"contents": [{"role": "user", "parts": parts}], "generationConfig": config},
            creates=True,
            room=request.room,
        )
        if not answer.ok:
            raise await self.explained(_refusal(answer, request.prompt), self._look_up)
        return _picture(answer, request.prompt)

    async def check(self) -> Health:
        """Look the model up, which is free."""
        try:
            answer = await self._look_up()
        except ProviderError as error:
            return Health(False, f"{self._at} does not answer ({error.code}): check GEMINI_BASE_URL")
        if answer.ok and b'"name"' in answer.body:
            return Health(True, f"{self._at} has {self._model}")
        kind = _refusal(answer, "").kind
        if kind is ErrorKind.AUTH:
            return Health(False, refusals.at_the_door(answer, self._at, "GEMINI_API_KEY"))
        if kind is ErrorKind.MODEL_GONE:
            return Health(False, f"{self._at} does not have the model {self._model}: set GEMINI_MODEL")
        return Health(False, f"{self._at} does not answer as Gemini ({answer.status}): check GEMINI_BASE_URL")

    async def _look_up(self) -> Answer:
        return await exchange(
            self._client,
            "GET",
            self._address(self._model),
            headers=self._headers,
            seconds=_CHECK_SECONDS,
            limit=_SMALL_ANSWER,
        )

    def _address(self, model: str) -> str:
        return f"{self._at}/v1beta/models/{quote(model, safe='')}"

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _inline(image: SourceImage) -> dict[str, dict[str, str]]:
    return {"inlineData": {"mimeType": image.mime, "data": base64.b64encode(image.data).decode()}}


def _picture(answer: Answer, prompt: str) -> Done:
    """The picture in an answer of success.

    Raises:
        ProviderError: it was blocked, or is not there.
    """
    try:
        found = _Response.model_validate_json(answer.body)
    except ValidationError:
        raise _without(answer, ErrorKind.UPSTREAM, "not_gemini", submitted=True) from None
    parts = [part for candidate in found.candidates for part in candidate.content.parts if not part.thought]
    for part in parts:
        in_text = _IN_TEXT.search(part.text)
        text = part.inlineData.data if part.inlineData else in_text[1] if in_text else ""
        if text and (data := decoded(text)) is not None:
            borderline = any(_is_borderline(candidate.safetyRatings) for candidate in found.candidates)
            return Done(ImageRef(data=data, borderline=borderline))
    if found.promptFeedback.blockReason:
        raise _without(answer, ErrorKind.MODERATED_INPUT, found.promptFeedback.blockReason)
    reason = next((c.finishReason for c in found.candidates if c.finishReason != "STOP"), "")
    if reason == "PUP_LIMITED_DISABLED":
        raise _without(answer, ErrorKind.AUTH, reason)
    if reason in _MISHAPS:
        raise _without(answer, ErrorKind.UPSTREAM, reason)
    words = " ".join(part.text for part in parts).strip()
    if not reason and not words:
        raise _without(answer, ErrorKind.UPSTREAM, "no_picture", submitted=True)
    raise _without(answer, refusals.kind_of_words(words, prompt), reason or "text_for_picture")


def _is_borderline(ratings: Any) -> bool:
    listed = ratings if isinstance(ratings, list) else [ratings]
    return any(isinstance(rating, dict) and rating.get("probability") in _BORDERLINE for rating in listed)


def _refusal(answer: Answer, prompt: str) -> ProviderError:
    """What an answer that is no success means: by its `details`, where the general reading is too coarse."""
    error = refusals.refusal(answer, prompt)
    try:
        said = _Refused.model_validate_json(answer.body).error
    except ValidationError:
        return error
    if said.status == "FAILED_PRECONDITION":
        # The country has no free tier and the project no billing.
        error.kind = ErrorKind.AUTH
    if answer.status == 429:
        broken = [violation for detail in said.details for violation in detail.violations]
        spent = any("PerDay" in violation.quotaId or violation.quotaValue == "0" for violation in broken)
        error.kind = ErrorKind.QUOTA if spent else ErrorKind.RATE_LIMITED
    delays = [float(found[1]) for detail in said.details if (found := _DELAY.fullmatch(detail.retryDelay))]
    if error.retry_after is None and delays:
        error.retry_after = delays[0]
    return error


def _without(answer: Answer, kind: ErrorKind, code: str, *, submitted: bool = False) -> ProviderError:
    return ProviderError(
        kind,
        refusals.safe_code(code) or "blocked",
        status=answer.status,
        submitted=submitted,
        request_id=answer.request_id,
    )


PROVIDER = GeminiProvider
