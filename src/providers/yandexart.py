"""YandexART: a picture is an operation of Yandex Cloud, whose answer to a poll holds the picture.

Wire: `POST {base}/foundationModels/v1/imageGenerationAsync`, `GET {operations}/operations/{id}` and, to stop it,
`GET {operations}/operations/{id}:cancel`. Errors are codes of gRPC. It makes pictures from words only, 500 characters
of them, in any ratio.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, SecretStr

from src.providers import refusals
from src.providers.answers import decoded
from src.providers.base import (
    Capabilities,
    Done,
    ErrorKind,
    GenRequest,
    Health,
    ImageRef,
    Pending,
    ProviderError,
    Ticket,
)
from src.providers.catalog import Offer, Takes, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, exchange
from src.settings import Address, Settings, SettingsError

_SECONDS = 20.0
_LIMIT = 1_000_000
_OPERATION = re.compile(r"[\w-]{1,64}")
_MOST = Offer(provider="yandexart", id="-", takes=Takes(shape="aspect_ratio", seed="seed"), prompt_max=500)
# Of gRPC. What is not here is the server's trouble.
_CANCELLED = 1
_KINDS = {
    3: ErrorKind.INVALID_REQUEST,
    4: ErrorKind.TIMEOUT,
    5: ErrorKind.NOT_FOUND,
    7: ErrorKind.AUTH,
    8: ErrorKind.RATE_LIMITED,
    14: ErrorKind.OVERLOADED,
    16: ErrorKind.AUTH,
}


class YandexARTSettings(BaseModel):
    """What is set for YandexART."""

    yandexart_api_key: SecretStr | None = Field(
        None,
        description="API key of a service account of Yandex Cloud with the role `ai.imageGeneration.user`.",
    )
    yandexart_folder: str | None = Field(None, description="Id of its folder (`b1g…`), needed with the key.")
    yandexart_base_url: Address = Field(
        "https://llm.api.cloud.yandex.net", description="Address of YandexART's API."
    )
    yandexart_operations_url: Address = Field(
        "https://operation.api.cloud.yandex.net", description="Address of Yandex Cloud's operations."
    )
    yandexart_model: str = Field("yandex-art/latest", description="Model at YandexART.")
    yandexart_concurrency: int = Field(5, ge=1, le=1000, description="Generations in flight at YandexART.")
    yandexart_rate: float = Field(1.0, gt=0, description="Requests a second to YandexART.")


class YandexARTProvider(Client):
    """Client of YandexART."""

    name = "yandexart"
    rank = 10
    settings = YandexARTSettings

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        assert isinstance(settings, YandexARTSettings)
        if not settings.yandexart_folder:
            raise SettingsError(
                "YANDEXART_FOLDER: is needed with YANDEXART_API_KEY, the id of the key's folder"
            )
        super().__init__(settings, client, settings.yandexart_base_url)
        self._folder = settings.yandexart_folder
        self._base, self._operations = settings.yandexart_base_url, settings.yandexart_operations_url
        key = settings.yandexart_api_key.get_secret_value().strip() if settings.yandexart_api_key else ""
        self._headers = {
            "Authorization": f"Api-Key {key}",
            "x-folder-id": self._folder,
            "Accept": "application/json",
        }
        self._catalog = get_catalog(settings.models_file)
        known = self._offer(settings.yandexart_model)
        model = self._catalog.model(self.name, settings.yandexart_model)
        self.capabilities = Capabilities(
            aspects=known.aspects,
            counts=model.counts if model else 4,
            cancel=True,
            max_prompt=known.prompt_max,
        )

    async def submit(self, request: GenRequest) -> Ticket:
        said = self._offer(request.model).fields(request)
        wide, _, high = str(said.get("aspect_ratio", "1:1")).partition(":")
        options: dict[str, Any] = {"aspectRatio": {"widthRatio": wide, "heightRatio": high}}
        if "seed" in said:
            options["seed"] = str(said["seed"])
        body = {
            "modelUri": f"art://{self._folder}/{request.model}",
            "generationOptions": options,
            "messages": [{"weight": "1", "text": said["prompt"]}],
        }
        answer = await self._ask(
            "POST", f"{self._base}/foundationModels/v1/imageGenerationAsync", body, creates=True
        )
        if not answer.ok:
            raise await self.explained(refusals.refusal(answer, request.prompt), self._harmless)
        operation = _operation(answer, submitted=True)
        task = operation.get("id")
        if not isinstance(task, str) or not _OPERATION.fullmatch(task):
            raise ProviderError(ErrorKind.UPSTREAM, "no_operation", status=answer.status, submitted=True)
        kept = {"seed": options["seed"]} if "seed" in options else {}
        return Ticket(self.name, task, kept)

    async def poll(self, ticket: Ticket) -> Pending | Done:
        answer = await self._ask(
            "GET",
            f"{self._operations}/operations/{ticket.external_id}",
            limit=self._max_bytes * 4 // 3 + 1_000_000,
        )
        if answer.status == 404:
            raise ProviderError(ErrorKind.NOT_FOUND, "http_404", status=404, ended=True)
        if not answer.ok:
            kind = refusals.kind_of_status(answer.status)
            raise ProviderError(
                kind, f"http_{answer.status}", status=answer.status, retry_after=answer.retry_after
            )
        operation = _operation(answer)
        if operation.get("done") is not True:
            return Pending()
        if operation.get("error"):
            raise _failed(operation["error"])
        response = operation.get("response")
        image = response.get("image") if isinstance(response, dict) else None
        data = decoded(image) if isinstance(image, str) else None
        if not data:
            raise ProviderError(ErrorKind.MODERATED_OUTPUT, "no_picture", ended=True)
        seed = ticket.meta.get("seed")
        return Done(ImageRef(data=data), seed=int(seed) if seed else None)

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        answer = await self._ask("GET", f"{self._operations}/operations/{ticket.external_id}:cancel")
        if not answer.ok:
            return "too_late"
        operation = _operation(answer)
        error = operation.get("error")
        stopped = isinstance(error, dict) and error.get("code") == _CANCELLED
        return "cancelled" if stopped or operation.get("done") is not True else "too_late"

    async def check(self) -> Health:
        """Ask about an operation that there is not: a key that is refused is refused before that is seen."""
        try:
            answer = await self._harmless()
        except ProviderError as error:
            return Health(
                False, f"{self._operations} does not answer ({error.code}): check YANDEXART_OPERATIONS_URL"
            )
        if answer.status in (401, 403):
            return Health(False, refusals.at_the_door(answer, self._operations, "YANDEXART_API_KEY"))
        if answer.status not in (400, 404) or answer.json_object() is None:
            return Health(
                False,
                f"{self._operations} does not answer as YandexART ({answer.status}): check YANDEXART_OPERATIONS_URL",
            )
        return Health(True, f"{self._operations} accepts the key; the folder is tried by the first picture")

    async def _harmless(self) -> Answer:
        return await self._ask("GET", f"{self._operations}/operations/imagebot-doctor")

    async def _ask(self, method: str, url: str, body: Any = None, **how: Any) -> Answer:
        return await exchange(
            self._client,
            method,
            url,
            headers=self._headers,
            json_body=body,
            **{"seconds": _SECONDS, "limit": _LIMIT, **how},
        )

    def _offer(self, model: str) -> Offer:
        return self._catalog.offer(self.name, model, _MOST)


def _operation(answer: Answer, *, submitted: bool = False) -> dict[str, Any]:
    content = answer.json_object()
    if content is None or "id" not in content:
        raise ProviderError(ErrorKind.UPSTREAM, "no_operation", status=answer.status, submitted=submitted)
    return content


def _failed(error: Any) -> ProviderError:
    """What the error of an operation means: its code is gRPC's, and where its words say more they decide."""
    fields = error if isinstance(error, dict) else {}
    code, text = fields.get("code"), str(fields.get("message") or "")
    kind = refusals.kind_of(400, refusals.Said((), text, frozenset(), False))
    if kind not in (ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT, ErrorKind.QUOTA):
        kind = _KINDS.get(code, ErrorKind.UPSTREAM) if isinstance(code, int) else ErrorKind.UPSTREAM
    return ProviderError(kind, f"grpc_{refusals.safe_code(code)}", ended=True)


PROVIDER = YandexARTProvider
