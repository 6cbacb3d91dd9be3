"""The buttons under a picture: Again, Variation, Edit, As file, and behind More what is wanted less often. Everything they need is in the ledger, so they work after a restart."""

from __future__ import annotations

from dataclasses import replace

import structlog
from aiogram import Bot, Router
from aiogram.enums import ChatType
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, InaccessibleMessage, InlineKeyboardMarkup, Message

from src.app import App
from src.bot import lineage, pictures
from src.bot.chats import Chats, speaks_for
from src.bot.forgetting import make_favourite
from src.bot.handlers.create import ask_for_mask, ask_for_words, begin_from, begin_with
from src.bot.handling import Later
from src.bot.middlewares import state_of
from src.bot.ordering import Asking, first_tap
from src.bot.parameters import capabilities
from src.jobs import TOOLS, How, Job, Person, Request, State
from src.pipeline import admission
from src.telegram import keyboards
from src.telegram.i18n import TOAST, Translator, shorten
from src.telegram.keyboards import OfJob, OfRequest

log = structlog.get_logger(__name__)


_TAP_SECONDS = 5


async def of_request(
    callback: CallbackQuery,
    callback_data: OfRequest,
    app: App,
    bot: Bot,
    asking: Asking,
    chats: Chats,
    later: Later,
    say: Translator,
    update_id: int,
) -> None:
    request = await app.ledger.request(callback_data.id)
    message = callback.message
    if request is None or message is None:
        await callback.answer(say("toast-old"))
        return
    once = callback_data.what != "cancel"
    if once:
        foreign = not await chats.are_same(request.chat, message.chat.id)
    else:
        foreign = not await chats.may_act(callback, request.user)
    if await _is_refused(callback, app, say, update_id, foreign=foreign, once=once):
        return
    if callback_data.what == "cancel":
        await callback.answer(say(await cancel(app, request)))
        return
    jobs = await app.ledger.jobs(request.jobs)
    if not jobs:
        await callback.answer(say("toast-old"))
    elif callback_data.what == "again":
        await _draw(app, callback, jobs[0], "again", asking, say, update_id, count=len(jobs))
    else:
        await callback.answer(say("toast-file"))
        later(pictures.send_files(app, bot, [job for job in jobs if job.state is State.DELIVERED], say))


async def of_job(
    callback: CallbackQuery,
    callback_data: OfJob,
    app: App,
    bot: Bot,
    asking: Asking,
    chats: Chats,
    state: FSMContext,
    person: Person,
    later: Later,
    say: Translator,
    update_id: int,
) -> None:
    job = await app.ledger.job(callback_data.id)
    message = callback.message
    if job is None or message is None:
        await callback.answer(say("toast-old"))
        return
    own = await chats.may_act(callback, job.user)
    foreign = not own and not await chats.are_same(job.spec.chat, message.chat.id)
    once = callback_data.what not in ("more", "less")
    if await _is_refused(callback, app, say, update_id, foreign=foreign, once=once):
        return
    what, has_picture = callback_data.what, "file_id" in (job.shown or {})
    match what:
        case "again":
            await _draw(app, callback, job, "again", asking, say, update_id)
        case "vary" | "upscale" | "cutout" if has_picture:
            await _draw(app, callback, job, what, asking, say, update_id)
        case "file" if has_picture:
            await callback.answer(say("toast-file"))
            later(pictures.send_files(app, bot, [job], say))
        case "show" if has_picture:
            await callback.answer()
            later(pictures.show_again(app, bot, job, say))
        case "more" | "less" if isinstance(message, Message):
            await callback.answer()
            await message.edit_reply_markup(
                reply_markup=await _buttons(app, job, person, say, all_of_them=what == "more")
            )
        case "star" | "unstar" if own:
            await make_favourite(app, job, on=what == "star")
            await callback.answer(say("gallery-starred" if what == "star" else "gallery-unstarred"))
            if isinstance(message, Message):
                await message.edit_reply_markup(
                    reply_markup=await _buttons(app, job, person, say, all_of_them=True)
                )
        case "details":
            await callback.answer()
            await _tell(app, message, job, say)
        case "start" if (
            has_picture and isinstance(message, Message) and message.chat.type == ChatType.PRIVATE
        ):
            await callback.answer()
            await begin_from(message, job, state, person, say)
        case "advanced" if own and job.spec.chat > 0 and job.spec.how not in TOOLS:
            await callback.answer()
            await begin_with(bot, job, state, app, say)
        case "words" | "edit" | "mask" if what == "words" or has_picture:
            await callback.answer()
            # Who acts for a chat writes in its name.
            if own and (chat := speaks_for(job.user)) is not None:
                state = state_of(state, chat)
            if what == "mask":
                await ask_for_mask(bot, job, state, person, say, callback.from_user)
            else:
                await ask_for_words(bot, job, state, say, callback.from_user, change=what == "edit")
        case _:
            await callback.answer(say("toast-old"))


async def _buttons(
    app: App, job: Job, person: Person, say: Translator, *, all_of_them: bool
) -> InlineKeyboardMarkup:
    edits = app.routing.offered().edit
    if not all_of_them:
        return keyboards.picture(say, job.id, edits=edits)
    tools = {tool for tool in TOOLS if app.routing.tool(tool) is not None}
    starred = await app.ledger.is_starred(job)
    masks = capabilities(person.model, 1, app).mask
    return keyboards.more(say, job, edits=edits, masks=masks, tools=tools, starred=starred)


async def _tell(app: App, message: Message | InaccessibleMessage, job: Job, say: Translator) -> None:
    """Say how a picture was made and where it comes from, in answer to it."""
    parent = await app.ledger.job(job.spec.parent) if job.spec.parent else None
    text = lineage.details(say, job, parent, app.routing.catalog)
    if isinstance(message, Message):
        await message.reply(**text.as_kwargs(), reply_markup=keyboards.details(say, job))


async def cancel(app: App, request: Request) -> str:
    """Take back what a request has open, for its owner; the key of the words to answer with."""
    endings = [await admission.cancel(app, job, request.user) for job in request.jobs]
    if any(ending.done for ending in endings):
        return "toast-cancelled"
    if any(ending.before in (State.DELIVERING, State.READY) for ending in endings):
        return "toast-too-late"
    return "toast-over"


async def _draw(
    app: App,
    callback: CallbackQuery,
    job: Job,
    how: How,
    asking: Asking,
    say: Translator,
    update_id: int,
    count: int = 1,
) -> None:
    """Ask for a picture made of this one, for whoever pressed the button."""
    message = callback.message
    wish = replace(
        admission.once_more(app, job, str(update_id)),
        user=callback.from_user.id,
        count=count,
        lang=say.lang,
        reply_to=message.message_id if isinstance(message, Message) else None,
    )
    if how != "again":
        source = str((job.shown or {}).get("file_id", "")) or None
        wish = replace(wish, source=source, references=(), painted=None, parent=job.id, how=how)
    refusal = await asking.ask(wish, say)
    if refusal is None:
        await callback.answer(say("toast-drawing"))
    else:
        await callback.answer(shorten(refusal, TOAST), show_alert=True)


async def _is_refused(
    callback: CallbackQuery, app: App, say: Translator, update_id: int, *, foreign: bool, once: bool = True
) -> bool:
    """Answer a tap on somebody else's button, and the second of two quick taps; whether it was one.

    Args:
        once: two quick taps would do it twice.
    """
    if foreign:
        await callback.answer(say("toast-foreign"))
    elif once and not await first_tap(app, callback, update_id, _TAP_SECONDS):
        await callback.answer(say("toast-already"))
    else:
        return False
    return True


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="gallery")
    router.callback_query.register(of_request, OfRequest.filter())
    router.callback_query.register(of_job, OfJob.filter())
    return router
