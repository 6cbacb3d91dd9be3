"""/limits: what a person may still ask for, and when more comes back."""

from __future__ import annotations

from aiogram import Router
from aiogram.filters import Command
from aiogram.types import Message

from src.app import App
from src.bot.till import balance_lines
from src.jobs import Person, keys
from src.jobs.spending import DAY_MS, amount, day, millionths
from src.pipeline.admission import TIERS
from src.telegram.i18n import Translator


async def limits(message: Message, app: App, person: Person, say: Translator) -> None:
    lines = await lines_of(app, person, say)
    await message.reply("\n".join([say("limits-title"), *lines] if len(lines) > 1 else lines))


async def lines_of(app: App, person: Person, say: Translator) -> list[str]:
    """What a person may still ask for, line by line."""
    settings, tier = app.settings, TIERS.get(person.tier, {})
    limit = {
        "rate_limit": person.rate or tier.get("rate_limit", settings.rate_limit),
        "max_active": person.active or tier.get("max_active", settings.max_active_per_user),
    }
    if limit["rate_limit"] == TIERS["unlimited"]["rate_limit"]:
        return [say("limits-none")]
    window = settings.rate_window
    ages = await app.ledger.asked_lately(person.id, window)
    active = len(await app.ledger.active(person.id))
    lines = [
        say(
            "limits-rate",
            left=max(0, limit["rate_limit"] - len(ages)),
            limit=limit["rate_limit"],
            window=window,
        ),
    ]
    if ages:
        # The limit's oldest, whose place comes back first.
        first = ages[-limit["rate_limit"] :][0]
        lines.append(say("limits-back", seconds=max(1, round(window - first))))
    lines.append(say("limits-active", number=active, limit=limit["max_active"]))
    if (cap := settings.spend_cap_person_day) is not None:
        now = await app.ledger.now()
        spent = await app.redis.hget(keys.SPENDER(day(now)), f"{person.id} {cap.unit}")
        left = amount(max(0, millionths(cap.amount) - int(spent or 0)))
        hours = -(-(DAY_MS - now % DAY_MS) // 3_600_000)
        lines.append(say("limits-day", left=f"{left:g}", limit=f"{cap.amount:g}", unit=cap.unit, hours=hours))
    return [*lines, *await balance_lines(app, person, say)]


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="limits")
    router.message.register(limits, Command("limits"))
    return router
