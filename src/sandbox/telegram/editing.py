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
async def edit_text(bot: Bot, call: Call) -> dict[str, Any] | bool:
    message = _message(bot, call)
    part, markup = read_text(call), read_markup(call, message.chat, inline_only=True)
    if message.inline_id is not None and "text" not in message.content:
        # Telegram cannot look into it: one call changes a text and the words under a picture.
        words = {**_without_caption(message), **_as_caption(part.content)}
        return _apply(bot, call, message, words, markup, message.sha256)
    if "text" not in message.content:
        raise bad_request("there is no text in the message to edit")
    return _apply(bot, call, message, part.content, markup, None)


@method("editMessageCaption")
async def edit_caption(bot: Bot, call: Call) -> dict[str, Any] | bool:
    message = _message(bot, call)
    caption, markup = read_call_caption(call), read_markup(call, message.chat, inline_only=True)
    if not any(kind in message.content for kind in _MEDIA):
        raise bad_request("there is no caption in the message to edit")
    return _apply(bot, call, message, {**_without_caption(message), **caption}, markup, message.sha256)


@method("editMessageMedia")
async def edit_media(bot: Bot, call: Call) -> dict[str, Any] | bool:
    chat = _message(bot, call).chat
    item = call.structure("media", "input media")
    if item is None:
        raise bad_request("media is empty")
    markup = read_markup(call, chat, inline_only=True)
    if call.text("inline_message_id") and str(item.get("media")).startswith("attach://"):
        raise bad_request("invalid message content specified")
    part = await read_media(bot, call, item)
    # Looked up again: making the photo's sizes took a while.
    message = _message(bot, call)
    content = part.content
    if message.inline_id is None:
        rights.check_content(bot, message.chat, content)
    if "media_group_id" in message.content:
        _check_album(message.content, content)
        content = {"media_group_id": message.content["media_group_id"], **content}
    return _apply(bot, call, message, content, markup, part.sha256)


@method("editMessageReplyMarkup")
async def edit_markup(bot: Bot, call: Call) -> dict[str, Any] | bool:
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
    if inline_id := call.text("inline_message_id"):
        return bot.inline.message(inline_id)
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


def _without_caption(message: Message) -> Content:
    return {key: value for key, value in message.content.items() if key not in _CAPTION}


def _as_caption(text: Content) -> Content:
    words = {"caption": text["text"]}
    return {**words, "caption_entities": text["entities"]} if "entities" in text else words


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
) -> dict[str, Any] | bool:
    lasting = ("effect_id", "via_bot")
    content = {**content, **{name: message.content[name] for name in lasting if name in message.content}}
    if content == message.content and markup == message.markup:
        raise not_modified()
    if markup is not None and "media_group_id" in message.content:
        raise bad_request("message can't be edited")
    bot.edit_message(message, content, markup, method=call.method, sha256=sha256)
    return True if call.text("inline_message_id") else message.as_json()
