"""Alerts without a monitoring stack: admins get one Telegram message when figures stay bad, and one when they
are good again.

What was sent is kept in Redis, so a restart neither repeats nor forgets an alert; what concerns Redis itself, here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import structlog
from aiogram import Bot

from src.app import App
from src.jobs import keys
from src.jobs.spending import day
from src.ops import report
from src.ops.samples import EVERY
from src.ops.snapshot import Figure, Snapshot
from src.ops.thresholds import Level
from src.telegram.i18n import Translator, shorten
from src.telegram.owner import languages, tell_admins
from src.telegram.throttle import unpaced

log = structlog.get_logger(__name__)

_PATIENCE = {Level.ATTENTION: 30, Level.PROBLEM: 6}
"""How many samples in a row must be at a level or worse before it is sent; one comes every ten seconds."""
_CALM = 6
"""How many in a row must be normal before that is sent; each time within the hour after, twice as many."""
_HOUR = 360
_LONGEST = 4096
_MARKS = (50, 75, 100)
"""Percent of the day's cap."""


@dataclass(slots=True)
class _Watch:
    """The state of one figure: samples in a row at a level or worse, samples in a row that were normal,
    the level last sent to the admins, since when (ms) it has not been normal, and how often of late that was over."""

    attention: int = 0
    problem: int = 0
    calm: int = 0
    told: int = 0
    since: int = 0
    overs: int = 0


def _read(text: str) -> _Watch:
    """What was kept, without what only a newer version knows."""
    names = {field.name for field in fields(_Watch)}
    return _Watch(**{name: value for name, value in json.loads(text).items() if name in names})


class Alerts:
    """Sends alerts to `ADMIN_IDS`. Must see every sample, in order."""

    def __init__(self, app: App, bot: Bot) -> None:
        self._app = app
        self._bot = bot
        self._languages: dict[int, str] = {}
        self._away: float | None = None
        self._told_away = False

    async def consider(self, snapshot: Snapshot) -> None:
        """Send what has stayed bad, and what is good again."""
        await self._consider_spending(snapshot)
        key = keys.ALERTS()
        known = {name: _read(text) for name, text in (await self._app.redis.hgetall(key)).items()}
        due: list[tuple[Figure, _Watch, Level]] = []
        for figure in snapshot.figures:
            watch = known.setdefault(figure.name, _Watch())
            self._count(watch, figure.level, snapshot.at)
            if (level := self._due(watch)) is not None:
                due.append((figure, watch, level))
        if due and await self._tell(due, snapshot):
            for _, watch, level in due:
                watch.told = level
                if not level:
                    watch.since, watch.overs = 0, watch.overs + 1
        for name, watch in known.items():
            if watch == _Watch():
                await self._app.redis.hdel(key, name)
            else:
                # As few as can be: an older version, in an update or a rollback, may not know them all.
                kept = {field: value for field, value in asdict(watch).items() if value}
                await self._app.redis.hset(key, name, json.dumps(kept))
        self._languages = await languages(self._app)

    async def redis_away(self) -> None:
        """Send that Redis cannot be read or written, once that has lasted a minute."""
        self._away = self._away or time.monotonic()
        if self._told_away or time.monotonic() - self._away < EVERY * _PATIENCE[Level.PROBLEM]:
            return
        log.warning("alert", figure="redis", level=Level.PROBLEM.word)
        self._told_away = await self._say(lambda say: say("alert-redis-away"))

    async def redis_back(self) -> None:
        """Send that it can, if it was sent that it cannot."""
        if self._told_away and self._away is not None:
            log.warning("alert over", figure="redis")
            lasted = time.monotonic() - self._away
            self._told_away = not await self._say(
                lambda say: say("alert-redis-back", lasted=report.span(say, lasted))
            )
        if not self._told_away:
            self._away = None

    async def _say(self, words: Callable[[Translator], str]) -> bool:
        """Send without Redis: nobody can be asked for turns, and languages are those of the last sample."""
        with unpaced():
            return await tell_admins(self._app, self._bot, words, self._languages)

    @staticmethod
    def _count(watch: _Watch, level: Level, at: int) -> None:
        watch.attention = watch.attention + 1 if level >= Level.ATTENTION else 0
        watch.problem = watch.problem + 1 if level >= Level.PROBLEM else 0
        watch.calm = 0 if level else watch.calm + 1
        if level and not watch.since:
            watch.since = at
        if not level and not watch.told:
            watch.since = 0
            if not watch.overs or watch.calm >= _HOUR:
                watch.calm = watch.overs = 0

    @staticmethod
    def _due(watch: _Watch) -> Level | None:
        """The level to send now, or None. A worse level is sent again; a better one only when all is normal."""
        if watch.problem >= _PATIENCE[Level.PROBLEM] and watch.told < Level.PROBLEM:
            return Level.PROBLEM
        if watch.attention >= _PATIENCE[Level.ATTENTION] and watch.told < Level.ATTENTION:
            return Level.ATTENTION
        if watch.told and watch.calm >= min(_CALM * 2**watch.overs, _HOUR):
            return Level.NORMAL
        return None

    async def _tell(self, due: list[tuple[Figure, _Watch, Level]], snapshot: Snapshot) -> bool:
        """Send to every admin; whether anyone was reached, or there are no admins."""
        for figure, _, level in due:
            log.warning("alert" if level else "alert over", figure=figure.name, level=level.word)

        def line(say: Translator, figure: Figure, watch: _Watch, level: Level) -> str:
            name, value = say(f"ops-{figure.name}"), report.value_of(say, figure, snapshot)
            if level:
                scale = report.scale_of(say, figure)
                return say("alert-raised", mark=report.MARKS[level], name=name, value=value, scale=scale)
            lasted = report.span(say, (snapshot.at - watch.since) / 1000)
            return say("alert-over", name=name, value=value, lasted=lasted)

        def words(say: Translator) -> str:
            # The worst first; what to do once, for all of them.
            lines = [line(say, *one) for one in sorted(due, key=lambda one: -one[2])]
            raised = any(level for *_, level in due)
            return shorten("\n".join([*lines, *(report.steps(say, snapshot) if raised else ())]), _LONGEST)

        return await tell_admins(self._app, self._bot, words)

    async def _consider_spending(self, snapshot: Snapshot) -> None:
        """Tell of the day's cap at each of its marks once; the highest where several were passed together."""
        cap, spent = snapshot.spend_cap, snapshot.spent
        if cap is None or snapshot.spent_share is None:
            return
        passed = max((mark for mark in _MARKS if snapshot.spent_share >= mark), default=0)
        if passed <= spent.told:
            return
        log.warning("cap of the day", percent=passed)

        def words(say: Translator) -> str:
            return say(
                "owner-spent",
                percent=passed,
                cap=report.cost(say, cap.amount, cap.unit),
                costs=report.costs(say, spent.by.get("all", {})),
                then=self._app.settings.spend_cap_then,
            )

        if await tell_admins(self._app, self._bot, words):
            await self._app.redis.hset(keys.SPENT(day(snapshot.at)), "told", passed)
