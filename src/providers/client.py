"""What clients have in common: getting results from where they may lie, keys of callbacks that are kept, and no for an
answer to what few can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Literal, TypeVar

import httpx

from src.providers import refusals
from src.providers.answers import picture_in
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

_KEPT_SECONDS = 86_400.0
_ASKED_EVERY = 60.0
_CALLBACK_TOLERANCE = 300.0

T = TypeVar("T")


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
        self._own = ResultHosts(own, ())
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

    def ours(self, address: object) -> str:
        """An address that the provider named for what comes next, where it is its own: the key goes there.

        Raises:
            ProviderError: it is none, or another's.
        """
        if not isinstance(address, str):
            raise ProviderError(ErrorKind.UPSTREAM, "no_address")
        try:
            self._own.check(httpx.URL(address))
        except httpx.InvalidURL:
            raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None
        return address

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


def result_in(answer: Answer) -> ImageRef:
    """The picture in the answer about a generation that has ended.

    Raises:
        ProviderError: there is none; it will not come any more.
    """
    try:
        return picture_in(answer)
    except ProviderError as error:
        kind = ErrorKind.BAD_RESULT if answer.ok and error.kind is ErrorKind.UPSTREAM else error.kind
        raise ended(error, kind) from None


def object_in(answer: Answer, code: str) -> dict[str, Any]:
    """The JSON object that an answer is.

    Raises:
        ProviderError: it is none, for which `code` stands.
    """
    found = answer.json_object()
    if found is None:
        raise ProviderError(ErrorKind.UPSTREAM, code, status=answer.status)
    return found


def is_recent(stamp: str, now: float) -> bool:
    """Whether a callback's time stamp, in seconds since the epoch, is of the last five minutes."""
    known = stamp.isascii() and stamp.isdigit() and len(stamp) < 12
    return known and abs(now - int(stamp)) <= _CALLBACK_TOLERANCE


def ended(error: ProviderError, kind: ErrorKind | None = None) -> ProviderError:
    """An error as the end of a generation, of which nothing is left open."""
    return ProviderError(
        kind or error.kind, error.code, status=error.status, ended=True, request_id=error.request_id
    )


class Kept(Generic[T]):
    """What a provider tells and seldom changes, such as the keys its callbacks are signed with.

    It is asked for once a day, and at once where what is kept does not fit; but not more often than once a minute, since
    everybody can send what does not fit.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: tuple[float, T] | None = None
        self._asked = -_ASKED_EVERY

    async def get(self, fits: Callable[[T], bool] = lambda known: True) -> T | None:
        """It, if it fits.

        Raises:
            ProviderError: nothing is known, and it cannot be had now.
        """
        async with self._lock:
            now = self._clock()
            if self._known and now - self._known[0] < _KEPT_SECONDS and fits(self._known[1]):
                return self._known[1]
            if now - self._asked >= _ASKED_EVERY:
                self._asked = now
                self._known = (now, await self._ask())
            if self._known is None:
                raise ProviderError(ErrorKind.OVERLOADED, "not_known_yet")
            known_at, known = self._known
            return known if now - known_at < _KEPT_SECONDS and fits(known) else None
