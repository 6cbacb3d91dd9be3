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
from aiogram.types import Message, TelegramObject, User

from src.bot.asking import Asking, BadSource, source_of
from src.intake import Wish
from src.jobs import Person
from src.texts import Voice

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
    message: Message, command: CommandObject, asking: Asking, person: Person, say: Voice, update_id: int
) -> None:
    await _ask(message, command.args or "", asking, person, say, update_id)


async def spoken_to(
    message: Message, bot: Bot, asking: Asking, person: Person, say: Voice, update_id: int
) -> None:
    words = message.text or message.caption or ""
    name = f"@{(await bot.me()).username}"
    if words.lower().startswith(name.lower()):
        words = words[len(name) :].lstrip(" ,:")
    await _ask(message, words, asking, person, say, update_id)


async def _ask(
    message: Message, words: str, asking: Asking, person: Person, say: Voice, update_id: int
) -> None:
    if message.from_user is None:
        return
    try:
        source = source_of(message)
        if source is None and message.reply_to_message is not None:
            source = source_of(message.reply_to_message)
    except BadSource as error:
        await message.reply(say(error.key))
        return
    wish = Wish(
        user=message.from_user.id,
        chat=message.chat.id,
        prompt=words.strip(),
        update=str(update_id),
        aspect=person.aspect,
        count=person.count,
        lang=say.lang,
        source=source,
        thread=message.message_thread_id if message.is_topic_message else None,
        reply_to=message.message_id,
        group=message.chat.type != ChatType.PRIVATE,
    )
    if (refusal := await asking.ask(wish, say)) is not None:
        await message.reply(refusal)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="groups")
    router.message.register(imagine, Command("imagine"))
    router.message.register(
        spoken_to, _GROUP, F.text | F.caption, ~F.text.startswith("/"), ~F.caption.startswith("/")
    )
    return router
