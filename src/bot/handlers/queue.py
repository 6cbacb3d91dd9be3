"""/queue and /cancel: a person's own pictures in the works, how long they take, and how busy it is."""

from __future__ import annotations

from typing import Any

from aiogram import Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Message
from aiogram.utils.formatting import Text

from src.app import App
from src.bot.estimates import Outlook
from src.bot.handlers.gallery import cancel
from src.jobs import Job, State
from src.jobs.estimate import Estimate
from src.telegram import keyboards
from src.telegram.client import is_unchanged
from src.telegram.i18n import Translator, isolated, shorten
from src.telegram.keyboards import OfQueue
from src.telegram.status_text import span, time_left

_LINE = 60


async def queue(message: Message, app: App, outlook: Outlook, say: Translator) -> None:
    if message.from_user is not None:
        await message.answer(**await _queue(app, outlook, message.from_user.id, say))


async def of_queue(
    callback: CallbackQuery, callback_data: OfQueue, app: App, outlook: Outlook, say: Translator
) -> None:
    words: str | None = None
    if callback_data.what == "cancel":
        request = await app.ledger.request(callback_data.id)
        words = say("toast-old" if request is None else await cancel(app, request, callback.from_user.id))
    await callback.answer(words)
    if isinstance(callback.message, Message) and _is_own(callback):
        try:
            await callback.message.edit_text(**await _queue(app, outlook, callback.from_user.id, say))
        except TelegramBadRequest as error:
            if not is_unchanged(error):
                raise


def _is_own(callback: CallbackQuery) -> bool:
    """In a group everybody can press, but the list is of the one who asked."""
    message = callback.message
    if not isinstance(message, Message) or message.chat.type == ChatType.PRIVATE:
        return True
    asked = message.reply_to_message
    return asked is not None and asked.from_user is not None and asked.from_user.id == callback.from_user.id


async def cancel_something(
    message: Message, app: App, outlook: Outlook, state: FSMContext, say: Translator
) -> None:
    """End the dialog; or else take back the one request that is open, or let the person choose."""
    if message.from_user is None:
        return
    if await state.get_state() is not None:
        await state.clear()
        await message.answer(say("dialog-cancelled"))
        return
    jobs = await app.ledger.active(str(message.from_user.id))
    requests = list(dict.fromkeys(job.request for job in jobs))
    if not requests:
        await message.answer(say("cancel-nothing"))
    elif len(requests) > 1:
        await message.answer(say("cancel-which"))
        await message.answer(**await _queue(app, outlook, message.from_user.id, say))
    elif (request := await app.ledger.request(requests[0])) is not None:
        await message.answer(say(await cancel(app, request, message.from_user.id)))


async def _queue(app: App, outlook: Outlook, user: int, say: Translator) -> dict[str, Any]:
    """The text and keyboard of /queue, as arguments of a call."""
    active = await app.ledger.active(str(user))
    ids = {job.id for job in active}
    requests = list(dict.fromkeys(job.request for job in active))
    lines = [say("queue-title", count=len(ids))] if ids else [say("queue-empty")]
    for number, standing in enumerate(await app.ledger.standings(requests), start=1):
        own = [job for job in standing.jobs if job.id in ids]
        estimates = await outlook.estimates(own, standing.lines)
        last, estimate = max(zip(own, estimates, strict=True), key=lambda pair: pair[1].high)
        lines.append(f"{number}. {isolated(shorten(own[0].spec.prompt, _LINE))}")
        lines.append(f"    {_where(last, estimate, say)}")
    lines += ["", await _busy(app, say)]
    return {**Text("\n".join(lines)).as_kwargs(), "reply_markup": keyboards.queue(say, requests)}


def _where(job: Job, estimate: Estimate, say: Translator) -> str:
    time = time_left(say, *span(estimate.low, estimate.high))
    if job.state in (State.READY, State.DELIVERING):
        return say("queue-sending")
    if estimate.place is not None:
        return say("queue-waiting", place=estimate.place + 1, time=time)
    return say("queue-making", time=time)


async def _busy(app: App, say: Translator) -> str:
    waiting = running = 0
    for provider in app.providers:
        waiting += await app.ledger.waiting(provider)
        running += await app.ledger.running(provider)
    return say("queue-busy", waiting=waiting, running=running)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="queue")
    router.message.register(queue, Command("queue"))
    router.callback_query.register(of_queue, OfQueue.filter())
    router.message.register(cancel_something, Command("cancel"))
    return router
