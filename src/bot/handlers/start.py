"""/start, /help, and everything that no conversation understands."""

from __future__ import annotations

from contextlib import suppress

from aiogram import Bot, F, Router
from aiogram.enums import ChatMemberStatus, ChatType, ContentType
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError
from aiogram.filters import Command, CommandStart
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, ChatMemberUpdated, Message

from src.app import App
from src.bot.chats import Chats
from src.bot.handlers.create import close_dialog
from src.bot.ordering import Asking
from src.bot.parameters import capabilities
from src.jobs import Person, transitions
from src.pipeline import admission
from src.telegram import keyboards
from src.telegram.i18n import Translator

# Of a person's requests, looked at when they let the bot write again.
_LATELY = 20
_OUTSIDE = frozenset({ChatMemberStatus.LEFT, ChatMemberStatus.KICKED})
# What Telegram itself says in a chat; everything else came from a person who may wait for an answer.
_SERVICE = frozenset(
    kind
    for kind in ContentType
    if kind
    not in (
        *(ContentType.UNKNOWN, ContentType.ANIMATION, ContentType.AUDIO, ContentType.CHECKLIST),
        *(
            ContentType.CONTACT,
            ContentType.DICE,
            ContentType.DOCUMENT,
            ContentType.GAME,
            ContentType.GIVEAWAY,
        ),
        *(ContentType.INVOICE, ContentType.LIVE_PHOTO, ContentType.LOCATION, ContentType.PAID_MEDIA),
        *(ContentType.POLL, ContentType.RICH_MESSAGE, ContentType.STICKER, ContentType.STORY),
        *(ContentType.VENUE, ContentType.VIDEO, ContentType.VIDEO_NOTE, ContentType.VOICE),
    )
)


async def start(message: Message, state: FSMContext, say: Translator) -> None:
    await close_dialog(message, state)
    if message.chat.type == ChatType.PRIVATE:
        await message.answer(say("start"), reply_markup=keyboards.surprise(say))
    else:
        await message.reply(say("start-group"))


async def help_(message: Message, app: App, person: Person, say: Translator) -> None:
    settings = app.settings
    masks = "yes" if capabilities(person.model, 1, app).mask else "no"
    await message.answer(say("help", rate=settings.rate_limit, window=settings.rate_window, masks=masks))


async def blocked(event: ChatMemberUpdated, app: App, state: FSMContext) -> None:
    """The person blocked the bot: draw nothing that nobody will see."""
    user = str(event.from_user.id)
    await state.clear()
    await app.ledger.unreachable(user)
    await app.ledger.put_out(event.chat.id)
    for job in await app.ledger.active(user):
        if job.spec.chat == event.chat.id:
            await admission.cancel(app, job.id, user)


async def unblocked(event: ChatMemberUpdated, app: App) -> None:
    """The bot may write to the person again: what it left behind promises nothing that is over."""
    user = str(event.from_user.id)
    await app.ledger.let_in(event.chat.id)
    for standing in await app.ledger.standings(await app.ledger.history(user, _LATELY)):
        request, jobs = standing.request, standing.jobs
        if (
            request.messages
            and jobs
            and all(job.ended for job in jobs)
            # An album's words may have been refused after all of its pictures.
            and (request.status_message is not None or not all(job.shown for job in jobs))
        ):
            await app.ledger.close_now(request.id)


async def of_group(event: ChatMemberUpdated, app: App, bot: Bot, chats: Chats, say: Translator) -> None:
    """What the bot is in a group has changed: say hello and what is missing, or draw nothing more for it."""
    chat = event.chat.id
    await chats.forget(chat)
    if event.new_chat_member.status in _OUTSIDE:
        await app.ledger.put_out(chat)
        for request in await app.ledger.open_in(chat):
            for job in request.jobs:
                await admission.cancel(app, job, None)
    elif event.old_chat_member.status in _OUTSIDE:
        await app.ledger.let_in(chat)
        rights = await chats.rights(chat)
        lines = [say("start-group"), *([say(rights.lacking)] if rights.lacking else [])]
        with suppress(TelegramBadRequest, TelegramForbiddenError):
            await bot.send_message(chat if rights.text else event.from_user.id, "\n\n".join(lines))


async def migrated(message: Message, app: App) -> None:
    """The group became a supergroup; both tell of it."""
    old, new = message.migrate_from_chat_id, message.migrate_to_chat_id
    await app.ledger.run(transitions.migrated(old or message.chat.id, new or message.chat.id))


async def unknown_command(message: Message, say: Translator) -> None:
    await message.answer(say("unknown-command"))


async def unusable(message: Message, asking: Asking, say: Translator) -> None:
    await asking.refuse(message, say("only-words-or-pictures"))


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
    router.my_chat_member.register(
        unblocked, F.chat.type == ChatType.PRIVATE, F.new_chat_member.status == ChatMemberStatus.MEMBER
    )
    router.my_chat_member.register(of_group, F.chat.type != ChatType.PRIVATE)
    router.message.register(migrated, F.migrate_to_chat_id | F.migrate_from_chat_id)
    return router


def make_fallback() -> Router:
    """What comes last: it answers what no conversation took."""
    router = Router(name="fallback")
    router.message.register(unknown_command, F.text.startswith("/"))
    router.message.register(unusable, F.chat.type == ChatType.PRIVATE, ~F.content_type.in_(_SERVICE))
    router.callback_query.register(unknown_button)
    return router
