"""Alerts without a monitoring stack: admins get one Telegram message when a figure stays bad, and one when it
is good again.

What was sent is kept in Redis, so a restart neither repeats nor forgets an alert.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import structlog
from aiogram import Bot

from src.app import App
from src.jobs import keys
from src.jobs.spending import day
from src.ops import report
from src.ops.snapshot import Figure, Snapshot
from src.ops.thresholds import Level
from src.telegram.i18n import Translator
from src.telegram.owner import tell_admins

log = structlog.get_logger(__name__)

_PATIENCE = {Level.ATTENTION: 30, Level.PROBLEM: 6}
"""How many samples in a row must be at a level or worse before it is sent; one comes every ten seconds."""
_CALM = 6
_MARKS = (50, 75, 100)
"""Percent of the day's cap."""


@dataclass(slots=True)
class _Watch:
    """The state of one figure: samples in a row at a level or worse, samples in a row that were normal,
    the level last sent to the admins, and since when (ms) it has not been normal."""

    attention: int = 0
    problem: int = 0
    calm: int = 0
    told: int = 0
    since: int = 0


class Alerts:
    """Sends alerts to `ADMIN_IDS`. Must see every sample, in order."""

    def __init__(self, app: App, bot: Bot) -> None:
        self._app = app
        self._bot = bot

    async def consider(self, snapshot: Snapshot) -> None:
        """Send what has stayed bad, and what is good again."""
        await self._consider_spending(snapshot)
        key = keys.ALERTS()
        known = {
            name: _Watch(**json.loads(text)) for name, text in (await self._app.redis.hgetall(key)).items()
        }
        for figure in snapshot.figures:
            watch = known.get(figure.name, _Watch())
            self._count(watch, figure.level, snapshot.at)
            due = self._due(watch)
            if due is not None and await self._tell(figure, watch, due, snapshot):
                watch.told = due
            if watch == _Watch():
                await self._app.redis.hdel(key, figure.name)
            else:
                await self._app.redis.hset(key, figure.name, json.dumps(asdict(watch)))

    @staticmethod
    def _count(watch: _Watch, level: Level, at: int) -> None:
        watch.attention = watch.attention + 1 if level >= Level.ATTENTION else 0
        watch.problem = watch.problem + 1 if level >= Level.PROBLEM else 0
        watch.calm = 0 if level else watch.calm + 1
        if level and not watch.since:
            watch.since = at
        if not level and not watch.told:
            watch.since = watch.calm = 0

    @staticmethod
    def _due(watch: _Watch) -> Level | None:
        """The level to send now, or None. A worse level is sent again; a better one only when all is normal."""
        if watch.problem >= _PATIENCE[Level.PROBLEM] and watch.told < Level.PROBLEM:
            return Level.PROBLEM
        if watch.attention >= _PATIENCE[Level.ATTENTION] and watch.told < Level.ATTENTION:
            return Level.ATTENTION
        if watch.told and watch.calm >= _CALM:
            return Level.NORMAL
        return None

    async def _tell(self, figure: Figure, watch: _Watch, level: Level, snapshot: Snapshot) -> bool:
        """Send to every admin; whether anyone was reached, or there are no admins."""
        log.warning("alert" if level else "alert over", figure=figure.name, level=level.word)

        def words(say: Translator) -> str:
            name, value = say(f"ops-{figure.name}"), report.value_of(say, figure, snapshot)
            if level:
                scale = report.scale_of(say, figure)
                head = say("alert-raised", mark=report.MARKS[level], name=name, value=value, scale=scale)
                return "\n".join([head, *report.steps(say, snapshot)])
            lasted = report.span(say, (snapshot.at - watch.since) / 1000)
            return say("alert-over", name=name, value=value, lasted=lasted)

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
