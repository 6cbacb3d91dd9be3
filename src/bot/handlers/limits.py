"""/limits: what a person may still ask for, and when more comes back."""

from __future__ import annotations

from aiogram import Router
from aiogram.filters import Command
from aiogram.types import Message

from src.app import App
from src.jobs import Person
from src.pipeline.admission import TIERS
from src.telegram.i18n import Translator


async def limits(message: Message, app: App, person: Person, say: Translator) -> None:
    settings = app.settings
    limit = {"rate_limit": settings.rate_limit, "max_active": settings.max_active_per_user}
    if "rate_limit" in TIERS.get(person.tier, {}):
        await message.reply(say("limits-none"))
        return
    window = settings.rate_window
    ages = await app.ledger.asked_lately(person.id, window)
    active = len(await app.ledger.active(person.id))
    left = max(0, limit["rate_limit"] - len(ages))
    lines = [
        say("limits-title"),
        say("limits-rate", left=left, limit=limit["rate_limit"], window=window),
    ]
    if ages:
        # The limit's oldest, whose place comes back first.
        first = ages[-limit["rate_limit"] :][0]
        lines.append(say("limits-back", seconds=max(1, round(window - first))))
    lines.append(say("limits-active", number=active, limit=limit["max_active"]))
    await message.reply("\n".join(lines))


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="limits")
    router.message.register(limits, Command("limits"))
    return router
