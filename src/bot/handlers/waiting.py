"""What a person chooses when the line is long: to wait, to take a faster model, or to be told later.

Their place is kept whatever they press, and if they press nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from aiogram import Router
from aiogram.exceptions import TelegramAPIError
from aiogram.types import CallbackQuery

from src.app import App
from src.bot.chats import Chats
from src.bot.estimates import Outlook
from src.jobs import PENDING, Job, Standing, State, transitions
from src.pipeline import admission
from src.telegram.client import Undeliverable
from src.telegram.i18n import Translator
from src.telegram.keyboards import OfWaiting
from src.telegram.messages import Messages
from src.telemetry import metrics

log = structlog.get_logger(__name__)


async def choose(
    callback: CallbackQuery,
    callback_data: OfWaiting,
    app: App,
    chats: Chats,
    messages: Messages,
    outlook: Outlook,
    say: Translator,
) -> None:
    standing = await app.ledger.standing(callback_data.id)
    if standing is None:
        await callback.answer(say("toast-old"))
        return
    request = standing.request
    if not await chats.may_act(callback, request.user):
        await callback.answer(say("toast-foreign"))
        return
    if callback_data.what == "faster":
        words = await _take_faster(app, outlook, standing, say)
    else:
        done = await app.ledger.run(transitions.choose(request.id, request.user, callback_data.what))
        words = say("toast-wait" if callback_data.what == "wait" else "toast-later") if done else None
        # A button may be pressed again before it is gone.
        if done and request.chosen != callback_data.what:
            _count(callback_data.what)
    # As it is after the choice.
    standing = await app.ledger.standing(request.id) or standing
    await callback.answer(words or _too_late(standing.jobs, say))
    if any(job.state in PENDING for job in standing.jobs):
        await _show(messages, outlook, standing)


async def _take_faster(app: App, outlook: Outlook, standing: Standing, say: Translator) -> str | None:
    """Switch what still waits; what to answer, None when nothing waits any more."""
    request, jobs = standing.request, standing.jobs
    if request.chosen == "faster":
        return say("toast-already")
    faster = await outlook.faster(jobs, await outlook.estimates(jobs, standing.lines))
    if faster is None:
        waits = any(job.state is State.WAITING for job in jobs)
        return say("toast-no-faster") if waits else None
    switched = await admission.switch(app, request, jobs, faster.provider, faster.model)
    if not switched:
        return None
    _count("faster")
    return say("toast-faster", model=faster.names[say.lang])


def _count(choice: str) -> None:
    metrics.wait_choices.add(1, {"imagebot.choice": choice})


def _too_late(jobs: Sequence[Job], say: Translator) -> str:
    if any(job.state in (State.SUBMITTING, State.RUNNING) for job in jobs):
        return say("toast-being-drawn")
    if any(job.state in (State.READY, State.DELIVERING) for job in jobs):
        return say("queue-sending")
    return say("toast-over")


async def _show(messages: Messages, outlook: Outlook, standing: Standing) -> None:
    """Let the placeholder say what is so now."""
    request, jobs = standing.request, standing.jobs
    estimates = await outlook.estimates(jobs, standing.lines)
    try:
        offer = await outlook.offer(standing, estimates)
        await messages.progress(request, jobs, estimates, offer, asked=True)
    except (Undeliverable, TelegramAPIError) as error:
        log.info("choice not shown", request_id=request.id, error=type(error).__name__)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="waiting")
    router.callback_query.register(choose, OfWaiting.filter())
    return router
