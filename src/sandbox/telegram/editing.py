"""Methods by which a bot changes or removes what it sent."""

from __future__ import annotations

import time
from typing import Any

from src.sandbox.telegram import rights
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.content import FILE_METHODS, read_call_caption, read_media, read_text
from src.sandbox.telegram.errors import bad_request, not_modified
from src.sandbox.telegram.keyboards import Markup, read_markup
from src.sandbox.telegram.methods import method
from src.sandbox.telegram.records import Chat, Content, Message
from src.sandbox.telegram.wire import Call

_DELETE_WITHIN = 48 * 3600
_MEDIA = ("photo", *FILE_METHODS)
_CAPTION = ("caption", "caption_entities")


@method("editMessageText")
async def edit_text(bot: Bot, call: Call) -> dict[str, Any]:
    message = _message(bot, call)
    part, markup = read_text(call), read_markup(call, message.chat, inline_only=True)
    if "text" not in message.content:
        raise bad_request("there is no text in the message to edit")
    return _apply(bot, call, message, part.content, markup, None)


@method("editMessageCaption")
async def edit_caption(bot: Bot, call: Call) -> dict[str, Any]:
    message = _message(bot, call)
    caption, markup = read_call_caption(call), read_markup(call, message.chat, inline_only=True)
    if not any(kind in message.content for kind in _MEDIA):
        raise bad_request("there is no caption in the message to edit")
    kept = {key: value for key, value in message.content.items() if key not in _CAPTION}
    return _apply(bot, call, message, {**kept, **caption}, markup, message.sha256)


@method("editMessageMedia")
async def edit_media(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _message(bot, call).chat
    item = call.structure("media", "input media")
    if item is None:
        raise bad_request("media is empty")
    markup = read_markup(call, chat, inline_only=True)
    part = await read_media(bot, call, item)
    # Looked up again: making the photo's sizes took a while.
    message = _message(bot, call)
    rights.check_content(bot, message.chat, part.content)
    content = part.content
    if "media_group_id" in message.content:
        _check_album(message.content, content)
        content = {"media_group_id": message.content["media_group_id"], **content}
    return _apply(bot, call, message, content, markup, part.sha256)


@method("editMessageReplyMarkup")
async def edit_markup(bot: Bot, call: Call) -> dict[str, Any]:
    message = _message(bot, call)
    markup = read_markup(call, message.chat, inline_only=True)
    return _apply(bot, call, message, message.content, markup, message.sha256)


@method("deleteMessage")
async def delete_message(bot: Bot, call: Call) -> bool:
    chat = bot.chat(call.text("chat_id"))
    number = call.integer("message_id")
    if not number:
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(number)
    if message is None or message.deleted:
        raise bad_request("message to delete not found")
    _check_deletable(message, chat)
    bot.delete_message(message)
    return True


@method("deleteMessages")
async def delete_messages(bot: Bot, call: Call) -> bool:
    chat = bot.chat(call.text("chat_id"))
    numbers = call.structure("message_ids", "message identifiers")
    if not isinstance(numbers, list):
        raise bad_request("expected an Array of message identifiers")
    if not numbers:
        raise bad_request("message identifiers are not specified")
    if len(numbers) > 100:
        raise bad_request("too many message identifiers specified")
    found = [chat.messages[number] for number in map(int, numbers) if number in chat.messages]
    for message in found:
        _check_deletable(message, chat)
    for message in found:
        if not message.deleted:
            bot.delete_message(message)
    return True


def _message(bot: Bot, call: Call) -> Message:
    """The message to edit; raises ApiError unless there is one and the bot may edit it."""
    if call.text("inline_message_id"):
        raise bad_request("MESSAGE_ID_INVALID")
    chat = bot.writable_chat(call.text("chat_id"))
    number = call.integer("message_id")
    if not number:
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(number)
    if message is None or message.deleted:
        raise bad_request("message to edit not found")
    if not message.from_bot or "forward_origin" in message.content or "sticker" in message.content:
        raise bad_request("message can't be edited")
    return message


def _check_album(old: Content, new: Content) -> None:
    was, becomes = (next(kind for kind in _MEDIA if kind in content) for content in (old, new))
    if was == becomes:
        return
    if becomes == "animation":
        raise bad_request("message content type can't be used in an album")
    if {was, becomes} & {"document", "audio"}:
        raise bad_request("can't change media type in the album")


def _check_deletable(message: Message, chat: Chat) -> None:
    if not message.from_bot and not chat.is_private:
        raise bad_request("message can't be deleted")
    if time.time() - message.date > _DELETE_WITHIN:
        raise bad_request("message can't be deleted for everyone")


def _apply(
    bot: Bot, call: Call, message: Message, content: Content, markup: Markup | None, sha256: str | None
) -> dict[str, Any]:
    if "effect_id" in message.content:
        content = {**content, "effect_id": message.content["effect_id"]}
    if content == message.content and markup == message.markup:
        raise not_modified()
    if markup is not None and "media_group_id" in message.content:
        raise bad_request("message can't be edited")
    bot.edit_message(message, content, markup, method=call.method, sha256=sha256)
    return message.as_json()
