"""A broadcast: one notice of an admin's to everybody who talks to the bot in private, one after another.

The bot process that leads sends it, in the lane of what may wait: every result and answer goes first, and it takes half
of Telegram's rate at most. Whom it has reached stands in Redis, so another process goes on where one was killed. A
person is ticked off as soon as Telegram has answered: whoever's answer a killed process did not live to hear is sent it
again, one person a kill; everybody else gets it once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import structlog
from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import MessageEntity
from redis.exceptions import RedisError

from src.app import App
from src.jobs import keys
from src.ops.leader import Leader
from src.store.scripts import script_text
from src.telegram import admin_keyboards
from src.telegram.client import is_unreachable
from src.telegram.i18n import Translator, get_texts, language_of
from src.telegram.throttle import GateClosed, priority, seconds_of

log = structlog.get_logger(__name__)

State = Literal["running", "stopped", "done"]
Turn = Literal["stop", "go on", "drop"]

_TURNS: dict[Turn, tuple[State, State]] = {
    "stop": ("running", "stopped"),
    "go on": ("stopped", "running"),
    "drop": ("stopped", "done"),
}
_SCRIPT = script_text("src.bot", "broadcast")
_KEPT_SECONDS = 30 * 86_400
_LEADER_SECONDS = 30.0
_LOOK_SECONDS = 2.0
_LONGEST_PAUSE = 10.0
_TRIES = 5


class Reached:
    """What became of it for one person: their score in the audience. Lower ones are still to be sent it; `LATER`:
    their own chat was too busy."""

    WAITS = 0
    LATER = 1
    SENT = 2
    BLOCKED = 3
    FAILED = 4
    LEFT_OUT = 5


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent.

    Attributes:
        texts: by language the `text` and its `entities`, as the Bot API has them; one or both.
        photo: Telegram's id of one, or None. buttons: each with its label by language and its `url`.
    """

    texts: Mapping[str, Mapping[str, Any]]
    photo: str | None = None
    buttons: tuple[Mapping[str, str], ...] = ()

    def dumps(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def loads(cls, text: str) -> Notice:
        raw = json.loads(text)
        return cls(raw["texts"], raw["photo"], tuple(raw["buttons"]))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `number`: which broadcast it is. `left`: people who have not been sent it yet; for its first
    seconds not all of them."""

    number: str
    state: State
    left: int
    sent: int
    blocked: int
    failed: int

    @property
    def total(self) -> int:
        return self.left + self.sent + self.blocked + self.failed


async def start(app: App, number: str, by: int, notice: Notice) -> bool:
    """Begin to send a notice to everybody, once for a number; False: another has not ended."""
    return await _act(app, number, "start", by, notice.dumps(), _KEPT_SECONDS)


async def steer(app: App, number: str, turn: Turn) -> bool:
    """Stop that broadcast, or go on with it where it was stopped, or let it be; False: it is not at that point."""
    return await _act(app, number, "turn", *_TURNS[turn])


async def _act(app: App, number: str, act: str, *args: str | int) -> bool:
    return bool(await _run(app, number, act, *args))


async def _run(app: App, number: str, act: str, *args: str | int) -> Any:
    return await app.redis.register_script(_SCRIPT)(keys=[keys.PREFIX], args=[number, act, *args])


async def progress(app: App) -> Progress | None:
    """How far the last broadcast is; None: there is none."""
    async with app.redis.pipeline() as pipe:
        pipe.hmget(keys.BROADCAST(), "number", "state")
        pipe.zcount(keys.AUDIENCE(), Reached.WAITS, Reached.LATER)
        for score in (Reached.SENT, Reached.BLOCKED, Reached.FAILED):
            pipe.zcount(keys.AUDIENCE(), score, score)
        (number, state), *people = await pipe.execute()
    return Progress(number or "", state, *map(int, people)) if state else None


def words(say: Translator, now: Progress) -> str:
    """How far it is, for an admin."""
    return say(
        "broadcast-progress",
        state="dropped" if now.state == "done" and now.left else now.state,
        sent=now.sent,
        total=now.total,
        left=now.left,
        blocked=now.blocked,
        failed=now.failed,
    )


async def show(bot: Bot, chat: int, notice: Notice, lang: str) -> None:
    """Send a notice to one chat, in that language or the one that it has."""
    said = notice.texts.get(lang) or next(iter(notice.texts.values()))
    text, entities = said["text"], [MessageEntity.model_validate(raw) for raw in said["entities"]]
    markup = admin_keyboards.notice(notice.buttons, lang)
    if notice.photo is None:
        await bot.send_message(chat, text, entities=entities, reply_markup=markup)
    else:
        await bot.send_photo(chat, notice.photo, caption=text, caption_entities=entities, reply_markup=markup)


class Broadcasting:
    """Sends the broadcast while this process leads."""

    def __init__(self, app: App, bot: Bot) -> None:
        self._app = app
        self._bot = bot
        self._leader = Leader(app, "broadcast", _LEADER_SECONDS)
        self._apart = 2.0 / app.settings.telegram_rate
        self._failures = 0

    async def run(self) -> None:
        """Look for one every two seconds, and send it; until cancelled."""
        while True:
            try:
                await self.send()
            except RedisError as error:
                log.warning("broadcast waits", error=type(error).__name__)
            except Exception:
                log.exception("broadcast broke off")
            await asyncio.sleep(_LOOK_SECONDS)

    async def resign(self) -> None:
        """Let another process go on at once."""
        await self._leader.resign()

    async def send(self) -> None:
        """Send what there is to be sent, to its end, until it is stopped or another process leads."""
        number, state, notice, gathering = await self._app.redis.hmget(
            keys.BROADCAST(), "number", "state", "notice", "gathering"
        )
        if state != "running" or not await self._leader.held():
            return
        number, notice = number or "", Notice.loads(notice)
        if gathering:
            await self._gather(number)
        while await self._leader.held():
            goes_on, user, later = await self._next(number)
            if not goes_on:
                return
            if user is None:
                await self._end(number)
                return
            began = time.monotonic()
            pause = await self._send_to(number, user, notice, later=later)
            await asyncio.sleep(max(pause, self._apart - (time.monotonic() - began)))

    async def _gather(self, number: str) -> None:
        """Note all whom it goes to, page by page; begun again it is from the beginning, as Redis may be another."""
        place = "0"
        while (place := str(await _run(self._app, number, "gather", place, _KEPT_SECONDS))) != "0":
            pass

    async def _next(self, number: str) -> tuple[bool, str | None, bool]:
        """Whether that broadcast goes on, who is next, and whether they were passed over before."""
        async with self._app.redis.pipeline() as pipe:
            pipe.hmget(keys.BROADCAST(), "number", "state")
            pipe.zrangebyscore(keys.AUDIENCE(), Reached.WAITS, Reached.LATER, start=0, num=1, withscores=True)
            (now, state), rows = await pipe.execute()
        user, score = rows[0] if rows else (None, 0)
        return state == "running" and (now or "") == number, user, int(score) == Reached.LATER

    async def _send_to(self, number: str, user: str, notice: Notice, *, later: bool) -> float:
        """Send it to a person; seconds to wait before the next call."""
        person = await self._app.ledger.person(user)
        if person.blocked:
            await self._tick(number, user, Reached.LEFT_OUT)
            return 0.0
        try:
            with priority("progress"):
                await show(self._bot, int(user), notice, language_of(person.lang, person.spoken))
        except TelegramRetryAfter as error:
            if isinstance(error, GateClosed) and error.gate.startswith("chat:") and not later:
                await self._tick(number, user, Reached.LATER)
                return 0.0
            return min(seconds_of(error), _LONGEST_PAUSE)
        except TelegramForbiddenError:
            await self._lost(number, user)
        except TelegramBadRequest as error:
            if is_unreachable(error):
                await self._lost(number, user)
            else:
                log.warning("broadcast refused", error=type(error).__name__)
                await self._tick(number, user, Reached.FAILED)
        except (TelegramNetworkError, TelegramServerError) as error:
            # Telegram is away for everybody, or its answer was lost; this person is next again.
            self._failures += 1
            log.warning("broadcast waits", error=type(error).__name__, tries=self._failures)
            if self._failures < _TRIES:
                return min(float(2**self._failures), _LONGEST_PAUSE)
            await self._tick(number, user, Reached.FAILED)
        except TelegramAPIError as error:
            log.warning("broadcast refused", error=type(error).__name__)
            await self._tick(number, user, Reached.FAILED)
        else:
            await self._tick(number, user, Reached.SENT)
        self._failures = 0
        return 0.0

    async def _lost(self, number: str, user: str) -> None:
        await self._tick(number, user, Reached.BLOCKED)
        await self._app.ledger.unreachable(user)

    async def _tick(self, number: str, user: str, reached: int) -> None:
        # Only who is still there: whoever asked to be forgotten meanwhile stays so. Said again it does no harm.
        for wait in (0.2, 1.0, 5.0, None):
            try:
                await _act(self._app, number, "tick", user, reached)
                return
            except RedisError:
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _end(self, number: str) -> None:
        """Tell who began it, and be done."""
        by = await self._app.redis.hget(keys.BROADCAST(), "by")
        now = await progress(self._app)
        if now is None or now.number != number:
            return
        if by:
            person = await self._app.ledger.person(by)
            say = get_texts().translator(language_of(person.lang, person.spoken))
            try:
                await self._bot.send_message(int(by), words(say, replace(now, state="done")))
            except TelegramAPIError as error:
                log.warning("admin not told", error=type(error).__name__)
        await _act(self._app, number, "turn", "", "done")
        log.info("broadcast ended", sent=now.sent)
