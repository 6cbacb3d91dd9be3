"""/queue and /cancel: a person's own pictures in the works, how long they take, and how busy it is."""

from __future__ import annotations

from typing import Any

from aiogram import Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Chat, Message
from aiogram.utils.formatting import Text

from src.app import App
from src.bot.chats import Chats
from src.bot.estimates import Outlook
from src.bot.handlers.create import close_dialog
from src.bot.handlers.gallery import cancel
from src.jobs import Job, Person, State
from src.jobs.estimate import Estimate
from src.telegram import keyboards
from src.telegram.client import is_unchanged
from src.telegram.i18n import Translator, isolated, shorten
from src.telegram.keyboards import OfQueue
from src.telegram.status_text import span, time_left

_LINE = 60
# A message and its keyboard hold no more; who has no limits may have hundreds.
_LISTED = 20


async def queue(
    message: Message, app: App, chats: Chats, outlook: Outlook, person: Person, say: Translator
) -> None:
    await _list(message, await _open(app, chats, person.id, message.chat), app, outlook, say)


async def of_queue(
    callback: CallbackQuery,
    callback_data: OfQueue,
    app: App,
    chats: Chats,
    outlook: Outlook,
    say: Translator,
) -> None:
    message = callback.message
    owner = await chats.owner_of(callback)
    words: str | None = None
    if callback_data.what == "cancel":
        request = await app.ledger.request(callback_data.id)
        if request is None:
            words = say("toast-old")
        elif await chats.may_act(callback, request.user):
            words = say(await cancel(app, request))
        else:
            words = say("toast-foreign")
    elif owner is None:
        words = say("toast-foreign")
    await callback.answer(words)
    if isinstance(message, Message) and owner is not None:
        try:
            jobs = await _open(app, chats, owner, message.chat)
            await message.edit_text(**await _queue(app, outlook, jobs, say))
        except TelegramBadRequest as error:
            if not is_unchanged(error):
                raise


async def _open(app: App, chats: Chats, user: str, chat: Chat) -> list[Job]:
    """A person's jobs under way; in a group those of that group, as the others there see them too."""
    jobs = await app.ledger.active(user)
    if chat.type == ChatType.PRIVATE:
        return jobs
    return [job for job in jobs if await chats.are_same(job.spec.chat, chat.id)]


async def _list(message: Message, jobs: list[Job], app: App, outlook: Outlook, say: Translator) -> None:
    """Show the list; in a group as an answer, which tells whose it is."""
    show = message.answer if message.chat.type == ChatType.PRIVATE else message.reply
    await show(**await _queue(app, outlook, jobs, say))


async def cancel_something(
    message: Message,
    app: App,
    chats: Chats,
    outlook: Outlook,
    person: Person,
    state: FSMContext,
    say: Translator,
) -> None:
    """End the dialog; or else take back the one request that is open, or let the person choose."""
    if await state.get_state() is not None:
        await close_dialog(message, state)
        await message.answer(say("dialog-cancelled"))
        return
    jobs = await _open(app, chats, person.id, message.chat)
    requests = list(dict.fromkeys(job.request for job in jobs))
    if not requests:
        await message.answer(say("cancel-nothing"))
    elif len(requests) > 1:
        await message.answer(say("cancel-which"))
        await _list(message, jobs, app, outlook, say)
    elif (request := await app.ledger.request(requests[0])) is not None:
        await message.answer(say(await cancel(app, request)))


async def _queue(app: App, outlook: Outlook, active: list[Job], say: Translator) -> dict[str, Any]:
    """The text and keyboard of /queue, as arguments of a call."""
    ids = {job.id for job in active}
    requests = list(dict.fromkeys(job.request for job in active))
    left = len(requests) - _LISTED
    requests = requests[:_LISTED]
    lines = [say("queue-title", count=len(ids))] if ids else [say("queue-empty")]
    for number, standing in enumerate(await app.ledger.standings(requests), start=1):
        own = [job for job in standing.jobs if job.id in ids]
        estimates = await outlook.estimates(own, standing.lines)
        last, estimate = max(zip(own, estimates, strict=True), key=lambda pair: (pair[1].late, pair[1].high))
        lines.append(f"{number}. {isolated(shorten(own[0].spec.prompt, _LINE))}")
        lines.append(f"    {_where(last, estimate, say)}")
    if left > 0:
        lines.append(say("queue-more", number=left))
    lines += ["", await _busy(app, say)]
    return {**Text("\n".join(lines)).as_kwargs(), "reply_markup": keyboards.queue(say, requests)}


def _where(job: Job, estimate: Estimate, say: Translator) -> str:
    time = time_left(say, *span(estimate.low, estimate.high))
    if job.state in (State.READY, State.DELIVERING):
        return say("queue-sending")
    if estimate.place is not None:
        return say("queue-waiting", place=estimate.place + 1, time=time)
    return say("queue-late") if estimate.late else say("queue-making", time=time)


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
