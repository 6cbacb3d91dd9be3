"""/limits: what a person may still ask for, and when more comes back."""

from __future__ import annotations

from aiogram import Router
from aiogram.filters import Command
from aiogram.types import Message

from src.app import App
from src.bot.till import balance_lines
from src.jobs import Person, keys
from src.jobs.spending import DAY_MS, amount, day, millionths
from src.pipeline.admission import NO_LIMIT, TIERS, limits_for
from src.telegram.i18n import Translator


async def limits(message: Message, app: App, person: Person, say: Translator) -> None:
    lines = await lines_of(app, person, say)
    await message.reply("\n".join([say("limits-title"), *lines] if len(lines) > 1 else lines))


async def lines_of(app: App, person: Person, say: Translator) -> list[str]:
    """What a person may still ask for, line by line."""
    limit, lines = limits_for(person, app.settings), []
    if limit.rate < NO_LIMIT:
        ages = await app.ledger.asked_lately(person.id, app.settings.rate_window)
        more, window = max(0, limit.rate - len(ages)), app.settings.rate_window
        lines.append(say("limits-rate", left=more, limit=limit.rate, window=window))
        if ages:
            # The limit's oldest, whose place comes back first.
            first = ages[-limit.rate :][0]
            lines.append(say("limits-back", seconds=max(1, round(window - first))))
    if limit.active < NO_LIMIT:
        active = len(await app.ledger.active(person.id))
        lines.append(say("limits-active", number=active, limit=limit.active))
    cap = app.settings.spend_cap_person_day
    if cap is not None and not TIERS.get(person.tier, {}).get("uncapped"):
        now = await app.ledger.now()
        spent = await app.redis.hget(keys.SPENDER(day(now)), f"{person.id} {cap.unit}")
        left = amount(max(0, millionths(cap.amount) - int(spent or 0)))
        hours = -(-(DAY_MS - now % DAY_MS) // 3_600_000)
        lines.append(say("limits-day", left=f"{left:g}", limit=f"{cap.amount:g}", unit=cap.unit, hours=hours))
    return [*(lines or [say("limits-none")]), *await balance_lines(app, person, say)]


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="limits")
    router.message.register(limits, Command("limits"))
    return router
