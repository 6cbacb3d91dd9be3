"""Sharing a picture by a link, and what whoever opens it finds: the picture, its words, and one like it. The links to
styles are here too, before /start takes them for a greeting."""

from __future__ import annotations

from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.filters import CommandObject, CommandStart
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Message
from aiogram.utils.deep_linking import create_start_link
from aiogram.utils.formatting import Code, Text

from src.app import App
from src.bot import pictures
from src.bot.handlers import styles
from src.bot.handlers.create import Words, close_dialog, expecting_words
from src.bot.ordering import Asking, first_tap, wish_in
from src.jobs import Job, keys
from src.telegram import keyboards
from src.telegram.i18n import TOAST, Translator, shorten
from src.telegram.keyboards import OfShared

_LIKE = "like_"
_TAP_SECONDS = 5
_OLD_WORDS = 3500


async def shared(
    callback: CallbackQuery, callback_data: OfShared, app: App, bot: Bot, say: Translator
) -> None:
    """Its person lets others see a picture, or no longer."""
    job = await app.ledger.job(callback_data.id)
    message = callback.message
    if job is None or job.user != str(callback.from_user.id) or not isinstance(message, Message):
        await callback.answer(say("toast-foreign" if job else "toast-old"))
        return
    if callback_data.what == "take back":
        await app.redis.hdel(keys.JOB(job.id), "shared")
        await callback.answer()
        await message.edit_text(say("share-taken-back"))
        return
    await app.redis.hset(keys.JOB(job.id), "shared", 1)
    await callback.answer()
    link = await create_start_link(bot, _LIKE + job.id)
    await message.reply(say("share", link=link), reply_markup=keyboards.share(say, job.id, link))


async def opened(
    message: Message, command: CommandObject, app: App, bot: Bot, state: FSMContext, say: Translator
) -> None:
    """Somebody follows such a link."""
    await close_dialog(message, state)
    job = await _shared(app, (command.args or "").removeprefix(_LIKE))
    if job is None:
        await message.answer(say("share-gone"), reply_markup=keyboards.surprise(say))
        return
    await pictures.show(app, bot, job, say, keyboards.like(say, job.id), where=(message.chat.id, None))


async def like(
    callback: CallbackQuery,
    callback_data: OfShared,
    app: App,
    asking: Asking,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    """They want one like it, or one with other words."""
    job, message = await _shared(app, callback_data.id), callback.message
    if job is None or not isinstance(message, Message) or message.chat.type != ChatType.PRIVATE:
        await callback.answer(say("share-gone"))
        return
    # What changed a picture says nothing without one.
    source = (job.shown or {})["file_id"] if job.spec.source else None
    data = {"aspect": job.spec.aspect, "count": 1, "source": source}
    if callback_data.what == "words":
        await callback.answer()
        await state.set_state(Words.waiting)
        await state.set_data(data)
        asked = Text(say("words-ask"), "\n", Code(shorten(job.spec.prompt, _OLD_WORDS)))
        await message.answer(**asked.as_kwargs(), reply_markup=expecting_words(say))
        return
    if not await first_tap(app, callback, update_id, _TAP_SECONDS):
        await callback.answer(say("toast-already"))
        return
    wish = wish_in(
        message,
        callback.from_user.id,
        job.spec.prompt,
        data,
        say,
        update_id=update_id,
        reply_to=message.message_id,
    )
    refusal = await asking.ask(wish, say)
    await callback.answer(shorten(refusal or say("toast-drawing"), TOAST), show_alert=bool(refusal))


async def _shared(app: App, job_id: str) -> Job | None:
    """A picture that its person shares."""
    job = await app.ledger.job(job_id)
    return job if job is not None and job.shared and "file_id" in (job.shown or {}) else None


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="sharing")
    router.message.register(
        opened, CommandStart(deep_link=True, magic=F.args.startswith(_LIKE)), F.chat.type == ChatType.PRIVATE
    )
    router.message.register(
        styles.opened,
        CommandStart(deep_link=True, magic=F.args.startswith(styles.LINK)),
        F.chat.type == ChatType.PRIVATE,
    )
    router.callback_query.register(shared, OfShared.filter(F.what.in_({"share", "take back"})))
    router.callback_query.register(like, OfShared.filter())
    return router
