"""Methods by which a bot sends: text, photos, files, albums, copies, and the signs of being busy."""

from __future__ import annotations

import secrets
from typing import Any

from src.sandbox.telegram import rights
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.content import (
    Part,
    read_call_caption,
    read_file,
    read_media,
    read_photo,
    read_text,
)
from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.keyboards import read_markup
from src.sandbox.telegram.methods import method
from src.sandbox.telegram.records import Chat, Content, Message
from src.sandbox.telegram.wire import Call

_ACTIONS = frozenset(
    [
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ]
)
EFFECTS = {
    "5104841245755180586": "🔥",
    "5107584321108051014": "👍",
    "5104858069142078462": "👎",
    "5159385139981059251": "❤",
    "5046509860389126442": "🎉",
    "5046589136895476101": "💩",
}
"""Message effects that everybody may use, in private chats."""

_REACTIONS = frozenset(
    [
        "👍",
        "👎",
        "❤",
        "🔥",
        "🥰",
        "👏",
        "😁",
        "🤔",
        "🤯",
        "😱",
        "🤬",
        "😢",
        "🎉",
        "🤩",
        "🤮",
        "💩",
        "🙏",
        "👌",
        "🕊",
        "🤡",
        "🥱",
        "🥴",
        "😍",
        "🐳",
        "❤\u200d🔥",
        "🌚",
        "🌭",
        "💯",
        "🤣",
        "⚡",
        "🍌",
        "🏆",
        "💔",
        "🤨",
        "😐",
        "🍓",
        "🍾",
        "💋",
        "🖕",
        "😈",
        "😴",
        "😭",
        "🤓",
        "👻",
        "👨\u200d💻",
        "👀",
        "🎃",
        "🙈",
        "😇",
        "😨",
        "🤝",
        "✍",
        "🤗",
        "🫡",
        "🎅",
        "🎄",
        "☃",
        "💅",
        "🤪",
        "🗿",
        "🆒",
        "💘",
        "🙉",
        "🦄",
        "😘",
        "💊",
        "🙊",
        "😎",
        "👾",
        "🤷\u200d♂",
        "🤷",
        "🤷\u200d♀",
        "😡",
    ]
)


@method("sendMessage")
async def send_message(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    return _send(bot, call, chat, read_text(call)).as_json()


@method("sendPhoto")
async def send_photo(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    caption = read_call_caption(call)
    part = await read_photo(bot, call.file("photo"))
    content = {**part.content, **caption}
    if call.flag("has_spoiler"):
        content["has_media_spoiler"] = True
    return _send(bot, call, chat, Part(content, part.sha256)).as_json()


@method("sendDocument", "sendSticker", "sendAnimation", "sendVideo", "sendAudio", "sendVoice")
async def send_file(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    field = call.method.removeprefix("send").lower()
    caption = {} if field == "sticker" else read_call_caption(call)
    part = await read_file(bot, field, call.file(field))
    return _send(bot, call, chat, Part({**part.content, **caption}, part.sha256)).as_json()


@method("sendMediaGroup")
async def send_media_group(bot: Bot, call: Call) -> list[dict[str, Any]]:
    chat = _chat(bot, call)
    items = call.structure("media", "media")
    if not isinstance(items, list):
        raise bad_request("can't parse media JSON object")
    if not items:
        raise bad_request("there are no messages to send")
    if len(items) > 10:
        raise bad_request("too many messages to send as an album")
    kinds = {str(item.get("type")) for item in items if isinstance(item, dict)}
    for homogeneous in ("document", "audio"):
        if homogeneous in kinds and len(kinds) > 1:
            raise bad_request(f"{homogeneous} can't be mixed with other media types")
    if "animation" in kinds:
        raise bad_request('type "animation" can\'t be used in sendMediaGroup')
    parts = [await read_media(bot, call, item) for item in items]
    album = {"media_group_id": str(secrets.randbelow(10**17) + 10**16)} if len(items) > 1 else {}
    album |= _effect(call, chat)
    reply_to, thread = _reply_to(call, chat), _thread(call, chat)
    rights.check_sending(bot, chat, [part.content for part in parts], thread)
    sent = [
        bot.add_message(
            chat,
            bot.as_user(),
            {**album, **part.content},
            method=call.method,
            reply_to=reply_to,
            thread_id=thread,
            sha256=part.sha256,
        )
        for part in parts
    ]
    return [message.as_json() for message in sent]


@method("copyMessage")
async def copy_message(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    original = _original(bot, call, "message to copy not found")
    content = _copied(original).content
    if "caption" in call.params:
        content = {key: value for key, value in content.items() if not key.startswith("caption")}
        content |= read_call_caption(call)
    return {"message_id": _send(bot, call, chat, Part(content, original.sha256)).message_id}


@method("copyMessages")
async def copy_messages(bot: Bot, call: Call) -> list[dict[str, Any]]:
    chat, source = _chat(bot, call), bot.chat(call.text("from_chat_id"))
    numbers = call.structure("message_ids", "message identifiers")
    if not isinstance(numbers, list) or not numbers:
        raise bad_request("message identifiers are not specified")
    if len(numbers) > 100:
        raise bad_request("too many message identifiers specified")
    # Those that are gone are left out.
    found = [m for number in map(int, numbers) if (m := source.messages.get(number)) and not m.deleted]
    if not found:
        raise bad_request("there are no messages to copy")
    return [{"message_id": _send(bot, call, chat, _copied(m)).message_id} for m in found]


def _copied(message: Message) -> Part:
    left_behind = ("media_group_id", "effect_id")
    content = {key: value for key, value in message.content.items() if key not in left_behind}
    return Part(content, message.sha256)


@method("sendLocation")
async def send_location(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    place = {}
    for name, most in (("latitude", 90), ("longitude", 180)):
        if not call.text(name):
            raise bad_request(f"{name} is empty")
        try:
            place[name] = float(call.text(name))
        except ValueError:
            place[name] = 0.0
        if abs(place[name]) > most:
            raise bad_request("wrong location specified")
    return _send(bot, call, chat, Part({"location": place})).as_json()


@method("forwardMessage")
async def forward_message(bot: Bot, call: Call) -> dict[str, Any]:
    chat = _chat(bot, call)
    original = _original(bot, call, "message to forward not found")
    origin = {"type": "user", "date": original.date, "sender_user": original.sender}
    content = _copied(original).content
    return _send(bot, call, chat, Part({"forward_origin": origin, **content}, original.sha256)).as_json()


@method("sendChatAction")
async def send_chat_action(bot: Bot, call: Call) -> bool:
    chat = _chat(bot, call)
    action = call.text("action").lower()
    if action not in _ACTIONS:
        raise bad_request("wrong parameter action in request")
    bot.tell(chat, "action", {"action": action})
    return True


@method("setMessageReaction")
async def set_message_reaction(bot: Bot, call: Call) -> bool:
    chat = _chat(bot, call)
    message = chat.messages.get(call.integer("message_id"))
    if message is None or message.deleted:
        raise bad_request("message to react not found")
    reactions = call.structure("reaction", "reaction types") or []
    if len(reactions) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    emoji = reactions[0].get("emoji") if reactions else None
    if reactions and emoji not in _REACTIONS:
        raise bad_request("REACTION_INVALID")
    bot.react(message, emoji)
    return True


@method("pinChatMessage", "unpinChatMessage")
async def pin_message(bot: Bot, call: Call) -> bool:
    chat = _chat(bot, call)
    if call.integer("message_id") not in chat.messages:
        raise bad_request("message to pin not found")
    return True


def _chat(bot: Bot, call: Call) -> Chat:
    return bot.writable_chat(call.text("chat_id"))


def _original(bot: Bot, call: Call, complaint: str) -> Message:
    message = bot.chat(call.text("from_chat_id")).messages.get(call.integer("message_id"))
    if message is None or message.deleted:
        raise bad_request(complaint)
    return message


def _send(bot: Bot, call: Call, chat: Chat, part: Part) -> Message:
    markup = read_markup(call, chat)
    reply_to, thread = _reply_to(call, chat), _thread(call, chat)
    content = {**part.content, **_effect(call, chat)}
    rights.check_sending(bot, chat, [content], thread)
    return bot.add_message(
        chat,
        bot.as_user(),
        content,
        method=call.method,
        markup=markup,
        reply_to=reply_to,
        thread_id=thread,
        sha256=part.sha256,
    )


def _effect(call: Call, chat: Chat) -> Content:
    effect = call.text("message_effect_id")
    if not effect:
        return {}
    if effect not in EFFECTS or not chat.is_private:
        raise bad_request("EFFECT_ID_INVALID")
    return {"effect_id": effect}


def _thread(call: Call, chat: Chat) -> int | None:
    thread = call.integer("message_thread_id")
    if not thread:
        return None
    # A group without topics takes any number, and forgets it.
    if not chat.is_forum:
        return None
    if thread not in chat.topics:
        raise bad_request("message thread not found")
    return thread


def _reply_to(call: Call, chat: Chat) -> int | None:
    reply = call.structure("reply_parameters", "reply parameters")
    if reply is None:
        number, optional = call.integer("reply_to_message_id"), call.flag("allow_sending_without_reply")
    elif isinstance(reply, dict):
        number = int(reply.get("message_id") or 0)
        optional = bool(reply.get("allow_sending_without_reply"))
    else:
        raise bad_request("object expected as reply parameters")
    if not number:
        return None
    original = chat.messages.get(number)
    if original is not None and not original.deleted:
        return number
    if optional:
        return None
    raise bad_request("message to be replied not found")
