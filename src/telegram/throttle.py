"""How fast the bot and the workers call the Bot API: one call of the limiter before each call that counts, and what
Telegram says about waiting, obeyed by every process.

Not here: what the gates allow (`src.limits`), and the client itself (`src.telegram.client`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import structlog
from aiogram.client.session.middlewares.base import BaseRequestMiddleware
from aiogram.exceptions import ClientDecodeError, TelegramAPIError, TelegramNetworkError, TelegramRetryAfter
from aiogram.methods import Response, SendMediaGroup
from redis.exceptions import RedisError

from src.limits import OVERALL, Gate, Limiter, Refusal, telegram_gates
from src.settings import Settings
from src.telemetry import job_spans

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType

log = structlog.get_logger(__name__)

Priority = Literal["result", "answer", "progress"]

# Calls that count against Telegram's limits: those that put something into a chat or change it.
_PACED = frozenset(
    {
        "sendMessage",
        "sendPhoto",
        "sendDocument",
        "sendMediaGroup",
        "sendInvoice",
        "editMessageText",
        "editMessageMedia",
        "editMessageCaption",
        "editMessageReplyMarkup",
        "deleteMessage",
        "deleteMessages",
        "setMessageReaction",
    }
)
# Telegram's limit of a chat is one of messages.
_NO_MESSAGE = frozenset({"setMessageReaction"})

MANY_OPEN = 30
"""Requests under way beyond which Telegram's calls are needed for pictures."""

_BARE_429_SECONDS = 5
_ALL_CHATS_SECONDS = 5.0

# An answer takes a turn no further ahead than this; results take theirs up to their patience ahead, and so go first.
_NEAR_SECONDS = 0.2
# Answers of one process that ask at once; the others come after them, in their order.
_ASKING = 4


@dataclass(frozen=True, slots=True)
class _Pace:
    """How calls are paced; None: as the bot does by itself."""

    priority: Priority | None = None
    patience: float | None = None
    chat_patience: float | None = None
    comes_again: bool = False
    leaving: Callable[[], Awaitable[None]] | None = None
    useful: Callable[[], Awaitable[None]] | None = None
    turns: bool = True


_AS_THE_BOT_DOES = _Pace()
_pace: ContextVar[_Pace] = ContextVar("telegram_pace", default=_AS_THE_BOT_DOES)


class GateClosed(TelegramRetryAfter):
    """A gate of ours is closed, and nothing was sent.

    Attributes:
        seconds: until it is worth coming again; `retry_after` is whole ones, as Telegram's are.
        gate: its name.
    """

    def __init__(self, method: TelegramMethod[Any], refusal: Refusal) -> None:
        kind = refusal.gate.partition(":")[0]
        super().__init__(method, f"our own gate {kind} is closed", math.ceil(refusal.seconds))
        self.seconds, self.gate = refusal.seconds, refusal.gate


@contextmanager
def priority(
    name: Priority,
    *,
    patience: float | None = None,
    chat_patience: float | None = None,
    comes_again: bool = False,
) -> Iterator[None]:
    """How the calls inside wait for their turns.

    `result` takes the next free turn, however far it is within its patience. `answer` lets every result go first;
    answers of one process go in the order in which they were asked for. `progress` goes only when nobody else wants
    to, and is refused at once (it may be dropped).

    Args:
        patience: seconds to wait for a turn; None: the bot's own.
        chat_patience: seconds to wait where only that chat is too busy; None: half a second, so that one person's
            flood holds up nobody else, or for an answer the patience that is given.
        comes_again: who is refused (`GateClosed`) comes when it was told to; each is told another time.
    """
    with _set(priority=name, patience=patience, chat_patience=chat_patience, comes_again=comes_again):
        yield


@contextmanager
def before_leaving(
    note: Callable[[], Awaitable[None]], *, useful: Callable[[], Awaitable[None]] | None = None
) -> Iterator[None]:
    """Await `note` before each call inside goes out, when its turn has come.

    Args:
        useful: awaited where an answer has waited long behind others, before it takes a turn of all chats; raises
            where the answer is of no more use.
    """
    with _set(leaving=note, useful=useful):
        yield


@contextmanager
def unpaced() -> Iterator[None]:
    """Calls inside go at once, as they must while nobody can be asked for turns. For single ones only."""
    with _set(turns=False):
        yield


@contextmanager
def _set(**changes: Any) -> Iterator[None]:
    token = _pace.set(replace(_pace.get(), **changes))
    try:
        yield
    finally:
        _pace.reset(token)


class Throttle(BaseRequestMiddleware):
    """Keeps all processes together within Telegram's limits, and away while Telegram says so.

    A call sleeps here until its turn; one whose turn is too far raises `GateClosed`, as if Telegram had refused it.
    """

    def __init__(self, settings: Settings, limiter: Limiter, priority: Priority, patience: float) -> None:
        self._settings = settings
        self._limiter = limiter
        self._priority = priority
        self._patience = patience
        self._answers = asyncio.Semaphore(_ASKING)
        self._flooded: dict[int, float] = {}

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        chat = _chat_of(method)
        pace = _pace.get()
        if method.__api_method__ in _PACED and pace.turns:
            began = time.time_ns()
            refusal = await self._take(method, chat, pace)
            job_spans.waited("wait for Telegram", began, {"telegram.method": method.__api_method__})
            if refusal is not None:
                raise GateClosed(method, refusal)
        if pace.leaving is not None:
            await pace.leaving()
        try:
            return await make_request(bot, method)
        except ClientDecodeError:
            # A gateway's page instead of Telegram's answer. Without the cause: it quotes the answer, and so a
            # person's words.
            raise TelegramNetworkError(method, "the answer cannot be read") from None
        except TelegramRetryAfter as error:
            await self._stay_away(chat, error.retry_after)
            raise
        except TelegramAPIError as error:
            # Telegram's gateways answer 429 without its parameters; aiogram has no class for that.
            if type(error) is not TelegramAPIError or "too many requests" not in error.message.lower():
                raise
            await self._stay_away(chat, _BARE_429_SECONDS)
            raise TelegramRetryAfter(method, error.message, _BARE_429_SECONDS) from error

    async def _take(self, method: TelegramMethod[Any], chat: int | None, pace: _Pace) -> Refusal | None:
        """Wait for the call's turn; a refusal where that is too far."""
        name = pace.priority or self._priority
        patience = self._patience if pace.patience is None else pace.patience
        messages = len(method.media) if isinstance(method, SendMediaGroup) else 1
        of_messages = None if method.__api_method__ in _NO_MESSAGE else chat
        overall, *of_chat = telegram_gates(
            self._settings, of_messages, messages=messages, droppable=name == "progress"
        )
        for_chat = pace.patience if pace.chat_patience is None and name == "answer" else pace.chat_patience
        if for_chat is not None:
            of_chat = [replace(gate, patience=for_chat) for gate in of_chat]
        if name == "answer":
            return await self._take_after_results(overall, of_chat, pace, patience)
        wait = 0.0 if name == "progress" else patience
        return await self._limiter.take([overall, *of_chat], wait=wait, spread=pace.comes_again)

    async def _take_after_results(
        self, overall: Gate, of_chat: Sequence[Gate], pace: _Pace, patience: float
    ) -> Refusal | None:
        """Take the turns of an answer: both at once where they are near and nobody waits; else first its chat's, so
        that who waits for that holds up nobody, then one of all chats' that no result wants."""
        near = [replace(gate, patience=_NEAR_SECONDS) for gate in (overall, *of_chat)]
        wait = min(patience, _NEAR_SECONDS)
        if not self._answers.locked() and await self._limiter.take(near, wait=wait) is None:
            return None
        for_chat = max(patience, pace.chat_patience or 0.0)
        if of_chat and (refusal := await self._limiter.take(of_chat, wait=for_chat)) is not None:
            return refusal
        began = time.monotonic()
        # A few ask for all: the others' turns cannot be nearer.
        try:
            await asyncio.wait_for(self._answers.acquire(), patience)
        except TimeoutError:
            return Refusal(overall.name, max(patience, 1.0))
        try:
            while True:
                if pace.useful is not None and time.monotonic() - began > _NEAR_SECONDS:
                    await pace.useful()
                left = max(0.0, began + patience - time.monotonic())
                refusal = await self._limiter.take([overall], wait=min(left, _NEAR_SECONDS))
                if refusal is None:
                    break
                if refusal.seconds > left:
                    return refusal
                await asyncio.sleep(refusal.seconds - _NEAR_SECONDS / 2)
        finally:
            self._answers.release()
        # The chat's gate forgets a call that goes much later than it was counted.
        if of_chat and time.monotonic() - began > _NEAR_SECONDS:
            return await self._limiter.take(of_chat, wait=for_chat)
        return None

    async def _stay_away(self, chat: int | None, seconds: float) -> None:
        """Shut the chat's gate; Telegram does not say whose limit it was, so when a second chat meets
        one within seconds, shut all for a moment."""
        if chat is None:
            await self._close(OVERALL, min(seconds, _ALL_CHATS_SECONDS))
            return
        await self._close(f"chat:{chat}", seconds)
        now = time.monotonic()
        self._flooded = {c: at for c, at in self._flooded.items() if now - at < _ALL_CHATS_SECONDS}
        self._flooded[chat] = now
        if len(self._flooded) > 1:
            await self._close(OVERALL, min(seconds, _ALL_CHATS_SECONDS))

    async def _close(self, gate: str, seconds: float) -> None:
        try:
            await self._limiter.shut(gate, seconds)
        except RedisError as error:
            # What Telegram said still counts for this call; the others will hear it themselves.
            log.warning("gate not closed", gate=gate.partition(":")[0], error=type(error).__name__)


def seconds_of(error: TelegramRetryAfter) -> float:
    """Until it is worth coming again."""
    return error.seconds if isinstance(error, GateClosed) else float(error.retry_after)


def _chat_of(method: TelegramMethod[Any]) -> int | None:
    chat = getattr(method, "chat_id", None)
    return chat if isinstance(chat, int) else None
