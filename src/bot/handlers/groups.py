"""Groups: the bot speaks only when spoken to, and answers in the topic it was asked in.

Spoken to: a command of its menu, any with its name, a message that mentions it, and an answer to one of its messages,
which may be no more than thanks, so it asks. Others' photos are none of its business unless such a message carries or
answers one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiogram import BaseMiddleware, Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest, TelegramRetryAfter
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, Message, TelegramObject, User

from src.app import App
from src.bot.chats import Chats, speaks_for
from src.bot.handlers.create import Words, ask_again, edit_of, perhaps_painted
from src.bot.middlewares import state_of
from src.bot.ordering import (
    NO_COMMAND,
    Asking,
    BadSource,
    answered_by,
    at_once,
    kept_by,
    pictures_of,
    quoted_in,
    wish_in,
)
from src.jobs import Person, keys
from src.pipeline.admission import Wish
from src.telegram import keyboards
from src.telegram.i18n import TOAST, Translator, shorten
from src.telegram.keyboards import OfOrder

_GROUP = F.chat.type != ChatType.PRIVATE

COMMANDS = ("imagine", "queue", "history", "settings", "models", "rules", "help")
"""The commands of its menu in groups; where it is the only bot they come without its name."""


class OnlyAddressed(BaseMiddleware):
    """Outer middleware of messages: drops what a group's members say to each other, and what people send through us."""

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        if not isinstance(event, Message):
            return await handler(event, data)
        bot: Bot = data["bot"]
        if event.via_bot is not None and event.via_bot.id == bot.id:
            return None
        if event.chat.type != ChatType.PRIVATE and not _is_addressed(event, await bot.me()):
            return None
        return await handler(event, data)


def _is_addressed(message: Message, me: User) -> bool:
    told = message.migrate_to_chat_id or message.migrate_from_chat_id
    if told or message.successful_payment or message.refunded_payment:
        return True
    text = message.text or message.caption or ""
    if text.startswith("/"):
        command, _, name = text.split(maxsplit=1)[0][1:].lower().partition("@")
        return name == (me.username or "").lower() or (not name and command in COMMANDS)
    return _answers(message, me.id) or _mention(me).search(text) is not None


def _answers(message: Message, me: int) -> bool:
    answered = message.reply_to_message
    return answered is not None and answered.from_user is not None and answered.from_user.id == me


def _mention(me: User) -> re.Pattern[str]:
    """The bot's name, with what stands between it and the words when they begin with it."""
    return re.compile(rf"(?<!\w)@{me.username}(?!\w)[ ,:]*", re.IGNORECASE)


async def imagine(
    message: Message,
    album: list[Message],
    command: CommandObject,
    app: App,
    asking: Asking,
    chats: Chats,
    speaker: int | str,
    person: Person,
    say: Translator,
    update_id: int,
) -> None:
    data = await _kept(message, chats, person)
    wish = await _wish(message, album, command.args or "", data, speaker, app, person, say, update_id)
    if wish is not None:
        await _ask(message, wish, asking, say)


async def spoken_to(
    message: Message,
    album: list[Message],
    app: App,
    bot: Bot,
    asking: Asking,
    chats: Chats,
    speaker: int | str,
    person: Person,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    said, mention = message.text or message.caption or "", _mention(await bot.me())
    words = mention.sub("", said)
    # What answers us may be thanks, unless it begins with our name.
    called = mention.match(said) if _answers(message, bot.id) else mention.search(said)
    data = await _kept(message, chats, person)
    expected = await state.get_state() == Words.waiting.state
    if expected:
        data = await state.get_data()
    wish = await _wish(message, album, words, data, speaker, app, person, say, update_id)
    if wish is None:
        return
    if not called and not expected:
        await _ask_first(message, wish, asking, say)
    elif await _ask(message, wish, asking, say) and expected:
        await state.clear()


async def _kept(message: Message, chats: Chats, person: Person) -> dict[str, Any]:
    """What a person has chosen for their wishes; in a group its admins' model comes first."""
    model = await chats.model(message.chat.id) if message.chat.type != ChatType.PRIVATE else None
    return kept_by(person) | ({"model": model} if model else {})


async def _wish(
    message: Message,
    album: list[Message],
    words: str,
    data: dict[str, Any],
    speaker: int | str,
    app: App,
    person: Person,
    say: Translator,
    update_id: int,
) -> Wish | None:
    """The wish for a picture, or for a change of those the message carries or the one it answers; without words of its
    own it is for those that it answers. None: it was said why there is none."""
    answered = answered_by(message)
    try:
        if pictures := pictures_of(album):
            pictures = await perhaps_painted(app, person, message, pictures, data)
        elif answered and (pictures := pictures_of([answered])) and data.get("how") != "mask":
            pictures |= await edit_of(app, person, answered)
    except BadSource as error:
        await message.reply(say(error.key))
        return None
    words, data = words if words.strip() else quoted_in(message), {**data, **pictures}
    return wish_in(message, speaker, words, data, say, update_id=update_id, reply_to=message.message_id)


async def _ask(message: Message, wish: Wish, asking: Asking, say: Translator) -> bool:
    """Ask for a picture; True if that was accepted."""
    if (refusal := await asking.ask(wish, say)) is not None:
        await asking.refuse(message, refusal, wish, say)
    return refusal is None


async def _ask_first(message: Message, wish: Wish, asking: Asking, say: Translator) -> None:
    """Ask whether words in answer to us are to be drawn."""
    await asking.keep(wish, message)
    question = say("order-edit" if wish.source else "order-draw")
    with at_once(), suppress(TelegramRetryAfter):
        await message.reply(question, reply_markup=keyboards.order(say, message.message_id))


async def answer_order(
    callback: CallbackQuery,
    callback_data: OfOrder,
    app: App,
    asking: Asking,
    chats: Chats,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    """Whoever wrote the words says what becomes of them."""
    message = callback.message
    key = keys.ORDER(message.chat.id if message else 0, callback_data.id)
    kept = await app.redis.get(key)
    if kept is None or not isinstance(message, Message):
        await callback.answer(say("toast-old"))
        return
    raw = json.loads(kept)
    wish = Wish(**{**raw, "references": tuple(raw.get("references", ()))})
    if not await chats.may_act(callback, str(wish.user)):
        await callback.answer(say("toast-foreign"))
        return
    if (chat := speaks_for(str(wish.user))) is not None:
        state = state_of(state, chat)
    if callback_data.what == "words":
        await ask_again(message, wish, state, say, callback.from_user)
    elif callback_data.what != "no":
        if callback_data.what == "fewer":
            most = asking.most_pictures()
            wish = replace(
                wish,
                source=wish.source if most else None,
                references=wish.references[: max(0, most - 1)],
                painted=wish.painted if most else None,
            )
        wish = replace(wish, update=str(update_id), lang=say.lang)
        refusal = await asking.ask(wish, say, one=callback_data.what == "one")
        if refusal is not None:
            await callback.answer(shorten(refusal, TOAST), show_alert=True)
            return
        if await state.get_state() == Words.waiting.state:
            await state.clear()
    await app.redis.delete(key)
    with suppress(TelegramBadRequest):
        await callback.answer()
    with suppress(TelegramBadRequest):
        await message.delete()


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="groups")
    router.message.register(imagine, Command("imagine"))
    router.message.register(spoken_to, _GROUP, F.text | F.caption, NO_COMMAND, ~F.caption.startswith("/"))
    router.callback_query.register(answer_order, OfOrder.filter())
    return router
