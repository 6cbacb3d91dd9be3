"""Groups: the bot speaks only when spoken to, and answers in the topic it was asked in.

Spoken to: /imagine, a command with the bot's name, a message that begins with its mention, and an
answer to one of its messages. Others' photos are none of its business unless such a message carries
or answers one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import BaseMiddleware, Bot, F, Router
from aiogram.enums import ChatType
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.types import Message, TelegramObject, User

from src.bot.handlers.create import Words
from src.bot.ordering import Asking, BadSource, source_of, wish_in
from src.jobs import Person
from src.telegram.i18n import Translator

_GROUP = F.chat.type != ChatType.PRIVATE


class OnlyAddressed(BaseMiddleware):
    """Outer middleware of messages: drops what a group's members say to each other."""

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        if isinstance(event, Message) and event.chat.type != ChatType.PRIVATE:
            bot: Bot = data["bot"]
            if not _is_addressed(event, await bot.me()):
                return None
        return await handler(event, data)


def _is_addressed(message: Message, me: User) -> bool:
    text = (message.text or message.caption or "").lower()
    name = f"@{(me.username or '').lower()}"
    if text.startswith("/"):
        command, _, mention = text.split(maxsplit=1)[0].partition("@")
        return f"@{mention}" == name or (not mention and command == "/imagine")
    if text.startswith(name) and not text[len(name) : len(name) + 1].isalnum():
        return True
    answered = message.reply_to_message
    return answered is not None and answered.from_user is not None and answered.from_user.id == me.id


async def imagine(
    message: Message, command: CommandObject, asking: Asking, person: Person, say: Translator, update_id: int
) -> None:
    data = {"aspect": person.aspect, "count": person.count}
    await _ask(message, command.args or "", data, asking, say, update_id)


async def spoken_to(
    message: Message,
    bot: Bot,
    asking: Asking,
    person: Person,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    words = message.text or message.caption or ""
    name = f"@{(await bot.me()).username}"
    if words.lower().startswith(name.lower()):
        words = words[len(name) :].lstrip(" ,:")
    data: dict[str, Any] = {"aspect": person.aspect, "count": person.count}
    if await state.get_state() == Words.waiting.state:
        data = await state.get_data()
    if await _ask(message, words, data, asking, say, update_id):
        await state.clear()


async def _ask(
    message: Message,
    words: str,
    data: dict[str, Any],
    asking: Asking,
    say: Translator,
    update_id: int,
) -> bool:
    """Ask for a picture, or for a change of the one the message carries or answers; True if accepted."""
    if message.from_user is None:
        return False
    try:
        shown = source_of(message)
        if shown is None and message.reply_to_message is not None:
            shown = source_of(message.reply_to_message)
    except BadSource as error:
        await message.reply(say(error.key))
        return False
    if shown is not None:
        data = {**data, "source": shown}
    wish = wish_in(
        message,
        message.from_user.id,
        words,
        data,
        say,
        update_id=update_id,
        reply_to=message.message_id,
    )
    if (refusal := await asking.ask(wish, say)) is not None:
        await asking.refuse(message, refusal)
    return refusal is None


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="groups")
    router.message.register(imagine, Command("imagine"))
    router.message.register(
        spoken_to, _GROUP, F.text | F.caption, ~F.text.startswith("/"), ~F.caption.startswith("/")
    )
    return router
