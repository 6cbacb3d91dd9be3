"""GigaChat: a model of words that draws when it is asked to; its answer names a file, and the file is the picture.

Wire: `POST {auth}` for a token of half an hour, `POST {base}/chat/completions` with `function_call: auto`, answered with
`<img src="FILE">`, and `GET {base}/files/FILE/content`. Its servers' certificates are vouched for by the Russian
Trusted Root CA, which machines do not have: GIGACHAT_CA_FILE. It has no formats, no seeds and no edits.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
from pydantic import BaseModel, Field, SecretStr

from src.providers import refusals
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
from src.providers.catalog import Offer, get_catalog
from src.providers.client import Client
from src.providers.http import Answer, exchange
from src.settings import Address, CaFile, Settings

_SECONDS = 20.0
_LIMIT = 1_000_000
# A token lives for half an hour. When that ends is told by the server's clock, which need not be ours.
_TOKEN_SECONDS = 1740.0
_MOST = Offer(provider="gigachat", id="-", prompt_max=1000)
_FILE = re.compile(r'<img\s[^>]*?src="([\w-]{1,64})"')
# It draws only what it takes for a request to draw.
_ASK = "Нарисуй: "


class GigaChatSettings(BaseModel):
    """What is set for GigaChat."""

    gigachat_api_key: SecretStr | None = Field(
        None, description="Authorization key of GigaChat (base64, as its cabinet shows it)."
    )
    gigachat_scope: str = Field(
        "GIGACHAT_API_PERS", description="Its scope: `GIGACHAT_API_PERS`, `…_B2B` or `…_CORP`."
    )
    gigachat_ca_file: CaFile | None = Field(
        None,
        description="Certificates (PEM) that vouch for GigaChat: the Russian Trusted Root CA from gosuslugi.ru/crt.",
    )
    gigachat_base_url: Address = Field(
        "https://gigachat.devices.sberbank.ru/api/v1", description="Address of GigaChat's API."
    )
    gigachat_auth_url: Address = Field(
        "https://ngw.devices.sberbank.ru:9443/api/v2/oauth", description="Where its tokens come from."
    )
    gigachat_model: str = Field("GigaChat-2-Max", description="Model of GigaChat that draws.")
    gigachat_concurrency: int = Field(
        1, ge=1, le=1000, description="Generations in flight there; a private key allows one."
    )
    gigachat_rate: float = Field(1.0, gt=0, description="Requests a second to GigaChat.")


class GigaChatProvider(Client):
    """Client of GigaChat.

    Args:
        clock: seconds, for the age of the token.
    """

    name = "gigachat"
    rank = 11
    settings = GigaChatSettings

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert isinstance(settings, GigaChatSettings)
        super().__init__(settings, client, settings.gigachat_base_url)
        self._base, self._auth = settings.gigachat_base_url, settings.gigachat_auth_url
        key = settings.gigachat_api_key
        self._key = key.get_secret_value().strip() if key else ""
        self._scope = settings.gigachat_scope
        self._model = settings.gigachat_model
        self._clock = clock
        self._token, self._until = "", 0.0
        self._renewing = asyncio.Lock()
        self._catalog = get_catalog(settings.models_file)
        model = self._catalog.model(self.name, self._model)
        self.capabilities = Capabilities(
            # It chooses the format itself.
            aspects=("1:1",),
            counts=model.counts if model else 4,
            synchronous=True,
            max_prompt=self._catalog.offer(self.name, self._model, _MOST).prompt_max,
        )

    async def submit(self, request: GenRequest) -> Ticket:
        """Have it draw. The ticket is the picture's file, so that it is not lost with this process."""
        _MOST.pictures(request)
        body = {
            "model": request.model,
            "messages": [{"role": "user", "content": f"{_ASK}{request.prompt}"}],
            "function_call": "auto",
        }
        answer = await self._ask(
            "POST",
            "chat/completions",
            json_body=body,
            seconds=max(request.deadline, 0.1),
            creates=True,
        )
        if not answer.ok:
            raise await self.explained(refusals.refusal(answer, request.prompt), self._models)
        text, reason = _said(answer)
        if reason == "blacklist":
            raise ProviderError(ErrorKind.MODERATED_INPUT, "blacklist", status=answer.status)
        drawn = _FILE.search(text)
        if drawn is None:
            raise _words(answer, text, request.prompt)
        return Ticket(self.name, drawn[1])

    async def poll(self, ticket: Ticket) -> Pending | Done:
        """Get the file, which takes the key: it is not to be had from an address."""
        answer = await self._ask("GET", f"files/{ticket.external_id}/content", limit=self._max_bytes)
        if answer.status in (400, 403, 404):
            raise ProviderError(ErrorKind.NOT_FOUND, "file_gone", status=answer.status, ended=True)
        if not answer.ok:
            kind = refusals.kind_of_status(answer.status)
            raise ProviderError(
                kind, f"http_{answer.status}", status=answer.status, retry_after=answer.retry_after
            )
        return Done(ImageRef(data=answer.body))

    async def check(self) -> Health:
        """Get a token and look the model up in the list, which is free."""
        try:
            answer = await self._models()
            listed = {str(item["id"]) for item in answer.json()["data"]} if answer.ok else set()
        except ProviderError as error:
            return Health(False, self._trouble(error))
        except (ValueError, KeyError, TypeError):
            return Health(False, f"{self._base} answers with no list of models: check GIGACHAT_BASE_URL")
        if not answer.ok:
            return Health(False, f"{self._base} answers with status {answer.status}")
        if self._model not in listed:
            return Health(False, f"{self._base} does not have the model {self._model}: set GIGACHAT_MODEL")
        return Health(True, f"{self._base} has {self._model}")

    def _trouble(self, error: ProviderError) -> str:
        if error.code == "tls":
            return f"{self._auth} has a certificate that nobody here vouches for: set GIGACHAT_CA_FILE"
        if error.kind is ErrorKind.AUTH:
            return f"{self._auth} refuses the key: check GIGACHAT_API_KEY and GIGACHAT_SCOPE"
        return f"{self._auth} does not answer ({error.code}): check GIGACHAT_AUTH_URL and GIGACHAT_BASE_URL"

    async def _models(self) -> Answer:
        return await self._ask("GET", "models")

    async def _ask(self, method: str, path: str, **how: Any) -> Answer:
        """A request under the token; under a new one, where that was taken back before its time."""
        for attempt in range(2):
            token = await self._fresh()
            answer = await exchange(
                self._client,
                method,
                f"{self._base}/{path}",
                headers={"Authorization": f"Bearer {token}"},
                **{"seconds": _SECONDS, "limit": _LIMIT, **how},
            )
            if answer.status != 401 or attempt:
                break
            if token == self._token:
                self._token = ""
        return answer

    async def _fresh(self) -> str:
        """A token that is good for a while; one is asked for by one caller at a time.

        Raises:
            ProviderError: there is none to be had; nothing was submitted.
        """
        async with self._renewing:
            if self._token and self._clock() < self._until:
                return self._token
            answer = await exchange(
                self._client,
                "POST",
                self._auth,
                headers={
                    "Authorization": f"Basic {self._key}",
                    "RqUID": str(uuid.uuid4()),
                    "Accept": "application/json",
                },
                seconds=_SECONDS,
                limit=_LIMIT,
                fields={"scope": self._scope},
            )
            if not answer.ok:
                # A wrong key or scope is a 400 here.
                refused = answer.status in (400, 401, 403)
                kind = ErrorKind.AUTH if refused else refusals.kind_of_status(answer.status)
                raise ProviderError(
                    kind, f"token_{answer.status}", status=answer.status, retry_after=answer.retry_after
                )
            try:
                content = answer.json()
                self._token, self._until = str(content["access_token"]), self._clock() + _TOKEN_SECONDS
            except (ValueError, KeyError, TypeError):
                raise ProviderError(ErrorKind.UPSTREAM, "no_token", status=answer.status) from None
            return self._token


def _said(answer: Answer) -> tuple[str, str]:
    """The text of an answer and why it ended."""
    try:
        choice = answer.json()["choices"][0]
        return str(choice["message"]["content"]), str(choice.get("finish_reason"))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise ProviderError(ErrorKind.UPSTREAM, "no_choice", status=answer.status, submitted=True) from None


def _words(answer: Answer, text: str, prompt: str) -> ProviderError:
    """It answered in words: a refusal, of the prompt where it says so."""
    kind = refusals.kind_of_words(text, prompt)
    return ProviderError(kind, "text_for_picture", status=answer.status, request_id=answer.request_id)


PROVIDER = GigaChatProvider
