"""What a person chooses when the line is long: to wait, to take a faster model, or to be told later.

Their place is kept whatever they press, and if they press nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from aiogram import Router
from aiogram.exceptions import TelegramAPIError
from aiogram.types import CallbackQuery

from src import intake
from src.app import App
from src.bot.outlook import Outlook
from src.buttons import OfWaiting
from src.delivery import Delivery, Undeliverable
from src.jobs import PENDING, Job, Request, State, transitions
from src.texts import Voice

log = structlog.get_logger(__name__)


async def choose(
    callback: CallbackQuery,
    callback_data: OfWaiting,
    app: App,
    delivery: Delivery,
    outlook: Outlook,
    say: Voice,
) -> None:
    request = await app.ledger.request(callback_data.id)
    if request is None:
        await callback.answer(say("toast-old"))
        return
    if request.user != str(callback.from_user.id):
        await callback.answer(say("toast-foreign"))
        return
    if callback_data.what == "faster":
        words = await _take_faster(app, outlook, request, say)
    else:
        done = await app.ledger.run(transitions.choose(request.id, request.user, callback_data.what))
        words = say("toast-wait" if callback_data.what == "wait" else "toast-later") if done else None
    jobs = await app.ledger.jobs(request.jobs)
    await callback.answer(words or _too_late(jobs, say))
    if any(job.state in PENDING for job in jobs):
        await _show(app, delivery, outlook, request.id, jobs)


async def _take_faster(app: App, outlook: Outlook, request: Request, say: Voice) -> str | None:
    """Switch what still waits; what to answer, None when nothing waits any more."""
    if request.chosen == "faster":
        return say("toast-already")
    jobs = await app.ledger.jobs(request.jobs)
    faster = await outlook.faster(jobs, await outlook.estimates(jobs))
    if faster is None:
        waits = any(job.state is State.WAITING for job in jobs)
        return say("toast-no-faster") if waits else None
    switched = await intake.switch(app, request, jobs, faster.provider, faster.model)
    return say("toast-faster", model=faster.model) if switched else None


def _too_late(jobs: Sequence[Job], say: Voice) -> str:
    if any(job.state in (State.SUBMITTING, State.RUNNING) for job in jobs):
        return say("toast-being-drawn")
    if any(job.state in (State.READY, State.DELIVERING) for job in jobs):
        return say("queue-sending")
    return say("toast-over")


async def _show(app: App, delivery: Delivery, outlook: Outlook, request_id: str, jobs: Sequence[Job]) -> None:
    """Let the placeholder say what is so now."""
    request = await app.ledger.request(request_id)
    if request is None:
        return
    estimates = await outlook.estimates(jobs)
    try:
        offer = await outlook.offer(jobs, estimates)
        await delivery.progress(request, jobs, estimates, offer, asked=True)
    except (Undeliverable, TelegramAPIError) as error:
        log.info("choice not shown", request_id=request_id, error=type(error).__name__)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="waiting")
    router.callback_query.register(choose, OfWaiting.filter())
    return router
