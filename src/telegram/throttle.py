"""How fast the bot and the workers call the Bot API: lanes, turns at gates that all processes share, and flood
control obeyed.

Not here: what the gates allow (`src.limits`), and the client itself (`src.telegram.client`).
"""

from __future__ import annotations

import asyncio
import math
import secrets
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

from src.limits import OVERALL, Gate, Limiter, Refusal, telegram_gates, ticket_of
from src.settings import Settings

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType

log = structlog.get_logger(__name__)

Lane = Literal["result", "answer", "progress", "paid"]

# Calls that count against Telegram's limits: those that put something into a chat or change it.
_PACED = frozenset(
    {
        "sendMessage",
        "sendPhoto",
        "sendDocument",
        "sendMediaGroup",
        "editMessageText",
        "editMessageMedia",
        "editMessageCaption",
        "editMessageReplyMarkup",
        "deleteMessage",
        "deleteMessages",
    }
)

_BARE_429_SECONDS = 5
_ALL_CHATS_SECONDS = 5.0

# What a call that has paid elsewhere waits here at most: less than fetching its picture again would cost.
_PAID_WAIT_SECONDS = 1.0
_TURNS_KEPT = 1000

# How near an answer's turn must be to be taken: results come in between until then.
_NEAR_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Pacing:
    """How calls are paced; None: as the bot does by itself."""

    lane: Lane | None = None
    patience: float | None = None
    chat_patience: float | None = None
    ticket: str = ""
    ahead: int = 0
    taken: int = 0


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


_pacing: ContextVar[_Pacing | None] = ContextVar("telegram_pacing", default=None)


@contextmanager
def lane(
    name: Lane, *, patience: float | None = None, chat_patience: float | None = None, ticket: str = ""
) -> Iterator[None]:
    """How the calls inside are paced.

    `result` takes the next free turn, however far it is within its patience. `answer` lets every result
    go first; answers of one process go in the order in which they were asked for. `progress` goes only
    when nobody else wants to, and is refused at once (it may be dropped). `paid` has taken its gates
    elsewhere, as the rate-limit middleware does for an actor; it is refused where this process knows
    that its turn is no longer good.

    Args:
        patience: seconds to wait for a turn; None: the bot's own, and less where one chat is too busy.
        chat_patience: for `answer`: seconds to wait where only that chat is too busy; None: as above.
        ticket: for `result`: a refused turn is reserved under this name, for when the call comes again.
    """
    token = _pacing.set(_Pacing(name, patience, chat_patience, ticket))
    try:
        yield
    finally:
        _pacing.reset(token)


@contextmanager
def paying(*, ahead: int = 0, taken: int = 0) -> Iterator[None]:
    """What the turn is for that the one call inside takes, in the lane it is in.

    Args:
        ahead: also for so many messages to the same chat, which follow in lane `paid`.
        taken: for so many of all these there is a turn already; it becomes part of this one.
    """
    token = _pacing.set(replace(_pacing.get() or _Pacing(), ahead=ahead, taken=taken))
    try:
        yield
    finally:
        _pacing.reset(token)


_leaving: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("telegram_leaving", default=None)


_useful: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("telegram_useful", default=None)


@contextmanager
def before_leaving(
    note: Callable[[], Awaitable[None]], *, useful: Callable[[], Awaitable[None]] | None = None
) -> Iterator[None]:
    """Await `note` before each call inside goes out, when its turn has come.

    Args:
        useful: awaited where an answer has waited long behind others, before it takes a turn of all chats; raises
            where the answer is of no more use.
    """
    token, other = _leaving.set(note), _useful.set(useful)
    try:
        yield
    finally:
        _leaving.reset(token)
        _useful.reset(other)


class Pace(BaseRequestMiddleware):
    """Keeps all processes together within Telegram's limits, and away while Telegram says so.

    A gate that stays closed raises `GateClosed`, as if Telegram had refused the call itself.
    """

    def __init__(self, settings: Settings, limiter: Limiter, lane: Lane, patience: float) -> None:
        self._settings = settings
        self._limiter = limiter
        self._lane = lane
        self._patience = patience
        self._answers = asyncio.Lock()
        self._asking = 0
        self._paid = _PaidTurns()
        self._flooded: dict[int, float] = {}

    async def __call__(
        self,
        make_request: NextRequestMiddlewareType[TelegramType],
        bot: Bot,
        method: TelegramMethod[TelegramType],
    ) -> Response[TelegramType]:
        chat = _chat_of(method)
        if method.__api_method__ in _PACED:
            await self._take(method, chat)
        if (note := _leaving.get()) is not None:
            await note()
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

    async def _take(self, method: TelegramMethod[Any], chat: int | None) -> None:
        pacing = _pacing.get() or _Pacing()
        name = pacing.lane or self._lane
        group = chat is not None and chat < 0
        messages = (len(method.media) if isinstance(method, SendMediaGroup) else 1) + pacing.ahead
        pace: Literal["result", "progress"] = "progress" if name == "progress" else "result"
        gates = telegram_gates(
            self._settings, chat, group=group, lane=pace, messages=messages, taken=pacing.taken
        )
        if name == "paid":
            refusal = await self._paid.use(gates)
        elif name == "answer":
            refusal = await self._take_after_results(gates, pacing)
        else:
            wait = self._patience if pacing.patience is None else pacing.patience
            ticket = f"{pacing.ticket}:{method.__api_method__}" if pacing.ticket else ""
            refusal = await self._limiter.take(gates, wait=wait if name == "result" else 0.0, ticket=ticket)
        if refusal is not None:
            raise GateClosed(method, refusal)

    async def _take_after_results(self, gates: Sequence[Gate], pacing: _Pacing) -> Refusal | None:
        """Take the turns of an answer: first its chat's, then one of all chats' that no result wants."""
        overall, *of_chat = gates
        patience = self._patience if pacing.patience is None else pacing.patience
        chat_patience = pacing.patience if pacing.chat_patience is None else pacing.chat_patience
        if of_chat:
            if chat_patience is not None:
                of_chat = [replace(gate, patience=chat_patience) for gate in of_chat]
            refusal = await self._limiter.take(of_chat, wait=max(patience, chat_patience or 0.0))
            if refusal is not None:
                return refusal
        self._asking += 1
        try:
            ticket = await self._put_off(of_chat) if self._asking > 1 else ""
            refusal, ticket = await self._take_last(overall, of_chat, patience, ticket)
        finally:
            self._asking -= 1
        if refusal is not None or not ticket or not of_chat:
            return refusal
        return await self._limiter.take(of_chat, wait=patience, ticket=ticket)

    async def _take_last(
        self, overall: Gate, of_chat: Sequence[Gate], patience: float, ticket: str
    ) -> tuple[Refusal | None, str]:
        """Take a turn of all chats that no result wants; the refusal, and the ticket of the chat's turn if that
        was put off.

        Args:
            ticket: the chat's turn has been put off, because others ask.
        """
        began = time.monotonic()
        until = began + patience
        # Whoever holds the lock asks for all: the others' turns cannot be nearer.
        try:
            await asyncio.wait_for(self._answers.acquire(), patience)
        except TimeoutError:
            return Refusal(overall.name, max(patience, 1.0)), ticket
        try:
            useful = _useful.get()
            if useful is not None and time.monotonic() - began > _NEAR_SECONDS:
                await useful()
            while True:
                left = max(0.0, until - time.monotonic())
                # Results reserve their turns further ahead than this, and so go first.
                refusal = await self._limiter.take([overall], wait=min(left, _NEAR_SECONDS))
                if refusal is None or refusal.seconds > left:
                    return refusal, ticket
                ticket = ticket or await self._put_off(of_chat)
                await asyncio.sleep(refusal.seconds - _NEAR_SECONDS / 2)
        finally:
            self._answers.release()

    async def _put_off(self, of_chat: Sequence[Gate]) -> str:
        """Give a chat's turn, just taken, back until all chats' has come: its gate forgets a call that goes much
        later than it was counted. The ticket under which it is kept."""
        ticket = ticket_of("answer", secrets.token_hex(8))
        if of_chat:
            await self._limiter.keep(of_chat, ticket, 0.0)
        return ticket

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
        self._paid.shut(gate, seconds)
        try:
            await self._limiter.close(gate, seconds)
        except RedisError as error:
            # What Telegram said still counts for this call; the others will hear it themselves.
            log.warning("gate not closed", gate=gate.partition(":")[0], error=type(error).__name__)


class _PaidTurns:
    """Turns paid for elsewhere, as this process uses them: after a while in which it was slow or hung, or was
    told to stay away, those that were good one by one are no longer good all at once."""

    def __init__(self) -> None:
        self._shut: dict[str, float] = {}
        self._empty: dict[str, float] = {}

    async def use(self, gates: Sequence[Gate]) -> Refusal | None:
        """Use the turn, after a short wait where it needs one; a refusal where that would be long."""
        now = time.monotonic()
        for gate in gates:
            if (closed := self._shut.get(gate.name, now) - now) > 0:
                return Refusal(gate.name, closed)
        # All chats' last: it is of no use where the chat refuses.
        for gate in reversed(gates):
            empty = max(now, self._empty.get(gate.name, now)) + 1 / gate.rate
            wait = empty - max(1.0, gate.burst) / gate.rate - now
            if wait > _PAID_WAIT_SECONDS:
                return Refusal(gate.name, wait)
            self._empty[gate.name] = empty
            if len(self._empty) > _TURNS_KEPT:
                self._empty = {name: at for name, at in self._empty.items() if at > now}
            if wait > 0:
                await asyncio.sleep(wait)
        return None

    def shut(self, gate: str, seconds: float) -> None:
        """Somebody told us to stay away from there."""
        now = time.monotonic()
        self._shut = {name: until for name, until in self._shut.items() if until > now}
        self._shut[gate] = max(self._shut.get(gate, now), now + seconds)


def _chat_of(method: TelegramMethod[Any]) -> int | None:
    chat = getattr(method, "chat_id", None)
    return chat if isinstance(chat, int) else None
