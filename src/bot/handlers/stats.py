"""/stats: what happened today, this week, this month, in words and as a chart."""

from __future__ import annotations

import asyncio

from aiogram import Router
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command
from aiogram.types import BufferedInputFile, CallbackQuery, InputMediaPhoto, Message

from src.app import App
from src.bot.handlers.admin import ByAdmin
from src.jobs.spending import PICTURES
from src.ops import report, tally
from src.ops.chart import chart
from src.ops.tally import Span, Tally
from src.telegram import admin_keyboards
from src.telegram.admin_keyboards import OfStats
from src.telegram.client import is_unchanged
from src.telegram.i18n import Translator, shorten

_CAPTION = 1024
_KINDS = 3
_SPENDERS = 3


async def stats(message: Message, app: App, say: Translator) -> None:
    photo, words = await _drawn(app, "day", say)
    await message.answer_photo(photo, caption=words, reply_markup=admin_keyboards.stats(say, "day"))


async def turn(callback: CallbackQuery, callback_data: OfStats, app: App, say: Translator) -> None:
    await callback.answer()
    if isinstance(callback.message, Message):
        photo, words = await _drawn(app, callback_data.span, say)
        try:
            await callback.message.edit_media(
                InputMediaPhoto(media=photo, caption=words),
                reply_markup=admin_keyboards.stats(say, callback_data.span),
            )
        except TelegramBadRequest as error:
            if not is_unchanged(error):
                raise


async def _drawn(app: App, span: Span, say: Translator) -> tuple[BufferedInputFile, str]:
    found = await tally.look(app, span)
    data = await asyncio.to_thread(chart, found.bars)
    return BufferedInputFile(data, f"stats-{span}.png"), shorten(
        "\n".join(await _words(app, found, span, say)), _CAPTION
    )


async def _words(app: App, found: Tally, span: Span, say: Translator) -> list[str]:
    whole = found.whole
    lines = [
        say("stats-title", span=span),
        say("stats-people", people=found.people),
        say(
            "admin-counts",
            admitted=whole.admitted,
            delivered=whole.delivered,
            failed=whole.failed,
            cancelled=whole.cancelled,
        ),
    ]
    if whole.seconds is not None:
        lines.append(say("stats-time", seconds=round(whole.seconds)))
    if found.kinds:
        kinds = (f"{say('admin-kind', kind=kind)} × {n}" for kind, n in found.kinds.most_common(_KINDS))
        lines.append(say("stats-kinds", kinds=", ".join(kinds)))
    if app.settings.sells or found.stars or found.refunded:
        lines.append(say("stats-stars", stars=found.stars, refunded=found.refunded))
    lines += _money(found, say)
    waiting = sum([await app.ledger.waiting(provider) for provider in app.providers])
    running = sum([await app.ledger.running(provider) for provider in app.providers])
    lines += ["", say("stats-now", waiting=waiting, running=running), say("stats-legend")]
    return lines


def _money(found: Tally, say: Translator) -> list[str]:
    """What the pictures cost, by provider, and who had most of them."""
    if "all" not in found.costs:
        return []
    lines = [say("admin-spent", costs=report.costs(say, found.costs["all"]))]
    lines += [
        f"{whose}: {report.costs(say, sums)}" for whose, sums in sorted(found.costs.items()) if whose != "all"
    ]
    most = sorted(found.spenders.items(), key=lambda item: -item[1].get(PICTURES, 0))[:_SPENDERS]
    named = "; ".join(f"{person} ({report.costs(say, sums)})" for person, sums in most)
    return [*lines, say("admin-spenders", people=named)] if named else lines


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="stats")
    router.message.register(stats, Command("stats"), ByAdmin())
    router.callback_query.register(turn, OfStats.filter(), ByAdmin())
    return router
