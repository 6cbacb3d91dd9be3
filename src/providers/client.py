"""What clients have in common: getting results from where they may lie, and no for an answer to what few can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

import httpx

from src.providers import refusals
from src.providers.base import (
    Callback,
    Done,
    ErrorKind,
    Health,
    ImageBytes,
    ImageRef,
    Pending,
    Picture,
    ProviderError,
    Ticket,
)
from src.providers.http import Answer
from src.providers.results import ResultHosts, fetch_ref, open_ref
from src.settings import Settings


class Client:
    """A provider's client to begin with: it has no tasks, no callbacks and no way to cancel.

    Args:
        client: from `src.providers.http.make_client`.
        own: the provider's addresses. known: other hosts where its results lie.
    """

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, *own: str, known: tuple[str, ...] = ()
    ) -> None:
        self._at = own[0]
        self._client = client
        self._max_bytes = settings.image_max_bytes
        self._hosts = ResultHosts(
            own, (*known, *settings.provider_result_hosts), private=settings.allow_private_hosts
        )

    async def explained(
        self, error: ProviderError, harmless: Callable[[], Awaitable[Answer]]
    ) -> ProviderError:
        """What a refusal means. A 403 without a reason is the key's, where a harmless call gets one too, else the
        prompt's; any other error is what it is."""
        if not refusals.unclear(error):
            return error
        try:
            refused = (await harmless()).status in (401, 403)
        except ProviderError:
            refused = False
        kind = ErrorKind.AUTH if refused else ErrorKind.MODERATED_INPUT
        return ProviderError(kind, error.code, status=error.status, request_id=error.request_id)

    async def poll(self, ticket: Ticket) -> Pending | Done:
        """Nothing can be polled: a submit has answered or its picture is lost."""
        raise ProviderError(ErrorKind.NOT_FOUND, "no_tasks", ended=True)

    def open(self, ref: ImageRef) -> AbstractAsyncContextManager[Picture]:
        return open_ref(self._client, self._hosts, ref, limit=self._max_bytes)

    async def fetch(self, ref: ImageRef) -> ImageBytes:
        return await fetch_ref(self._client, self._hosts, ref, limit=self._max_bytes)

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        return "unsupported"

    async def check(self) -> Health:
        return Health(True, f"there is no free way to ask {self._at}")

    async def callback_hint(self, call: Callback) -> str | None:
        return None
