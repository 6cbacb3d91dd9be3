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
from src.telegram import admin_keyboards
from src.telegram.client import is_unreachable
from src.telegram.i18n import Translator, get_texts, language_of
from src.telegram.throttle import GateClosed, priority, seconds_of

log = structlog.get_logger(__name__)

State = Literal["running", "stopped", "done"]

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
    """How far it is. `left`: people who have not been sent it yet."""

    state: State
    left: int
    sent: int
    blocked: int
    failed: int

    @property
    def total(self) -> int:
        return self.left + self.sent + self.blocked + self.failed


async def start(app: App, by: int, notice: Notice) -> bool:
    """Begin to send a notice to everybody; False: another is on its way."""
    if await app.redis.hget(keys.BROADCAST(), "state") == "running":
        return False
    async with app.redis.pipeline() as pipe:
        pipe.delete(keys.BROADCAST())
        pipe.zunionstore(keys.AUDIENCE(), {keys.PEOPLE(): 0})
        pipe.hset(keys.BROADCAST(), mapping={"state": "running", "by": by, "notice": notice.dumps()})
        for key in (keys.BROADCAST(), keys.AUDIENCE()):
            pipe.expire(key, _KEPT_SECONDS)
        await pipe.execute()
    return True


async def steer(app: App, *, go_on: bool) -> bool:
    """Stop the broadcast, or go on with one that was stopped; False: it is not at that point."""
    before, after = ("stopped", "running") if go_on else ("running", "stopped")
    if await app.redis.hget(keys.BROADCAST(), "state") != before:
        return False
    await app.redis.hset(keys.BROADCAST(), "state", after)
    return True


async def progress(app: App) -> Progress | None:
    """How far the last broadcast is; None: there is none."""
    async with app.redis.pipeline(transaction=False) as pipe:
        pipe.hget(keys.BROADCAST(), "state")
        pipe.zcount(keys.AUDIENCE(), Reached.WAITS, Reached.LATER)
        for score in (Reached.SENT, Reached.BLOCKED, Reached.FAILED):
            pipe.zcount(keys.AUDIENCE(), score, score)
        state, *numbers = await pipe.execute()
    return Progress(state, *map(int, numbers)) if state else None


def words(say: Translator, now: Progress) -> str:
    """How far it is, for an admin."""
    return say(
        "broadcast-progress",
        state=now.state,
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
        if (
            await self._app.redis.hget(keys.BROADCAST(), "state") != "running"
            or not await self._leader.held()
        ):
            return
        notice = Notice.loads(await self._app.redis.hget(keys.BROADCAST(), "notice"))
        while await self._leader.held():
            state, user, later = await self._next()
            if state != "running":
                return
            if user is None:
                await self._end()
                return
            began = time.monotonic()
            pause = await self._send_to(user, notice, later=later)
            await asyncio.sleep(max(pause, self._apart - (time.monotonic() - began)))

    async def _next(self) -> tuple[State, str | None, bool]:
        """The state of the broadcast, who is next, and whether they were passed over before."""
        async with self._app.redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.BROADCAST(), "state")
            pipe.zrangebyscore(keys.AUDIENCE(), Reached.WAITS, Reached.LATER, start=0, num=1, withscores=True)
            state, rows = await pipe.execute()
        user, score = rows[0] if rows else (None, 0)
        return state, user, int(score) == Reached.LATER

    async def _send_to(self, user: str, notice: Notice, *, later: bool) -> float:
        """Send it to a person; seconds to wait before the next call."""
        person = await self._app.ledger.person(user)
        if person.blocked:
            await self._tick(user, Reached.LEFT_OUT)
            return 0.0
        try:
            with priority("progress"):
                await show(self._bot, int(user), notice, language_of(person.lang, person.spoken))
        except TelegramRetryAfter as error:
            if isinstance(error, GateClosed) and error.gate.startswith("chat:") and not later:
                await self._tick(user, Reached.LATER)
                return 0.0
            return min(seconds_of(error), _LONGEST_PAUSE)
        except TelegramForbiddenError:
            await self._lost(user)
        except TelegramBadRequest as error:
            if is_unreachable(error):
                await self._lost(user)
            else:
                log.warning("broadcast refused", error=type(error).__name__)
                await self._tick(user, Reached.FAILED)
        except (TelegramNetworkError, TelegramServerError) as error:
            # Telegram is away for everybody, or its answer was lost; this person is next again.
            self._failures += 1
            log.warning("broadcast waits", error=type(error).__name__, tries=self._failures)
            if self._failures < _TRIES:
                return min(float(2**self._failures), _LONGEST_PAUSE)
            await self._tick(user, Reached.FAILED)
        except TelegramAPIError as error:
            log.warning("broadcast refused", error=type(error).__name__)
            await self._tick(user, Reached.FAILED)
        else:
            await self._tick(user, Reached.SENT)
        self._failures = 0
        return 0.0

    async def _lost(self, user: str) -> None:
        await self._tick(user, Reached.BLOCKED)
        await self._app.ledger.unreachable(user)

    async def _tick(self, user: str, reached: int) -> None:
        # Only who is still there: whoever asked to be forgotten meanwhile stays so. Said again it does no harm.
        for wait in (0.2, 1.0, 5.0, None):
            try:
                await self._app.redis.zadd(keys.AUDIENCE(), {user: reached}, xx=True)
                return
            except RedisError:
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _end(self) -> None:
        """Tell who began it, and be done."""
        by = await self._app.redis.hget(keys.BROADCAST(), "by")
        now = await progress(self._app)
        if by and now is not None:
            person = await self._app.ledger.person(by)
            say = get_texts().translator(language_of(person.lang, person.spoken))
            try:
                await self._bot.send_message(int(by), words(say, replace(now, state="done")))
            except TelegramAPIError as error:
                log.warning("admin not told", error=type(error).__name__)
        await self._app.redis.hset(keys.BROADCAST(), "state", "done")
        log.info("broadcast ended", sent=now.sent if now else 0)
