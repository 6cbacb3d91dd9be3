"""/start, /help, and everything that no conversation understands."""

from __future__ import annotations

from aiogram import F, Router
from aiogram.enums import ChatMemberStatus, ChatType, ContentType
from aiogram.filters import Command, CommandStart
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, ChatMemberUpdated, Message

from src.app import App
from src.pipeline import admission
from src.telegram import keyboards
from src.telegram.i18n import Translator

_UNUSABLE = frozenset(
    {
        ContentType.STICKER,
        ContentType.ANIMATION,
        ContentType.VIDEO,
        ContentType.VIDEO_NOTE,
        ContentType.VOICE,
        ContentType.AUDIO,
        ContentType.CONTACT,
        ContentType.LOCATION,
        ContentType.VENUE,
        ContentType.POLL,
        ContentType.DICE,
        ContentType.STORY,
    }
)


async def start(message: Message, state: FSMContext, say: Translator) -> None:
    await state.clear()
    await message.answer(say("start"), reply_markup=keyboards.surprise(say))


async def help_(message: Message, app: App, say: Translator) -> None:
    settings = app.settings
    await message.answer(say("help", rate=settings.rate_limit, window=settings.rate_window))


async def blocked(event: ChatMemberUpdated, app: App, state: FSMContext) -> None:
    """The person blocked the bot: draw nothing that nobody will see."""
    await state.clear()
    for job in await app.ledger.active(str(event.from_user.id)):
        if job.spec.chat == event.chat.id:
            await admission.cancel(app, job.id, None)


async def unknown_command(message: Message, say: Translator) -> None:
    await message.answer(say("unknown-command"))


async def unusable(message: Message, say: Translator) -> None:
    await message.answer(say("only-words-or-pictures"))


async def unknown_button(callback: CallbackQuery, say: Translator) -> None:
    await callback.answer(say("toast-old"))


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="start")
    router.message.register(start, CommandStart())
    router.message.register(help_, Command("help"))
    router.my_chat_member.register(
        blocked, F.chat.type == ChatType.PRIVATE, F.new_chat_member.status == ChatMemberStatus.KICKED
    )
    return router


def make_fallback() -> Router:
    """What comes last: it answers what no conversation took."""
    router = Router(name="fallback")
    router.message.register(unknown_command, F.text.startswith("/"))
    router.message.register(unusable, F.chat.type == ChatType.PRIVATE, F.content_type.in_(_UNUSABLE))
    router.callback_query.register(unknown_button)
    return router
