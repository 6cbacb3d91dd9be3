"""What a group lets the bot do: permissions by kind of media, roles, slow mode, closed topics."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.errors import bad_request, too_many_requests
from src.sandbox.telegram.records import Chat, Content

# Each kind of content: the right that it takes, and its name in Telegram's refusal.
_KINDS = {
    "photo": ("can_send_photos", "photos"),
    "document": ("can_send_documents", "documents"),
    "video": ("can_send_videos", "videos"),
    "audio": ("can_send_audios", "music"),
    "voice": ("can_send_voice_notes", "voice notes"),
    "animation": ("can_send_other_messages", "animations"),
    "sticker": ("can_send_other_messages", "stickers"),
    "text": ("can_send_messages", "text messages"),
}
_PERMISSIONS = (
    *dict.fromkeys(right for right, _ in _KINDS.values()),
    *("can_send_video_notes", "can_send_polls", "can_add_web_page_previews", "can_change_info"),
    *("can_invite_users", "can_pin_messages", "can_manage_topics"),
)
_ADMINISTRATOR = (
    *("can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats"),
    *("can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users"),
    *("can_post_stories", "can_edit_stories", "can_delete_stories", "can_send_welcome_messages"),
)


def permissions(chat: Chat) -> dict[str, bool]:
    """The group's ChatPermissions."""
    return {name: chat.permissions.get(name, True) for name in _PERMISSIONS}


def member(chat: Chat, user: dict[str, Any]) -> dict[str, Any]:
    """Someone's ChatMember."""
    is_in = not chat.blocked if user["is_bot"] else user["id"] in chat.members
    status = chat.roles.get(user["id"], "member") if is_in else "left"
    if not is_in and chat.roles.get(user["id"]) == "kicked":
        status = "kicked"
    shown: dict[str, Any] = {"status": status, "user": user}
    if status == "administrator":
        shown |= dict.fromkeys(_ADMINISTRATOR, True) | {"is_anonymous": False}
        if chat.type == "channel":
            shown |= {"can_post_messages": True, "can_edit_messages": True}
    elif status == "creator":
        shown["is_anonymous"] = False
    elif status == "kicked":
        shown["until_date"] = 0
    elif status == "restricted":
        may = {name: chat.restrictions.get(name, True) for name in _PERMISSIONS}
        shown |= may | {
            "can_react_to_messages": True,
            "can_edit_tag": True,
            "is_member": True,
            "until_date": 0,
        }
    return shown


def check_sending(bot: Bot, chat: Chat, contents: Sequence[Content], thread: int | None) -> None:
    """Count a new message of the bot; raises ApiError where the chat refuses it."""
    if chat.is_private or chat.roles.get(bot.id) == "administrator":
        return
    if thread in chat.closed_topics:
        raise bad_request("TOPIC_CLOSED")
    for content in contents:
        check_content(bot, chat, content)
    left = chat.sent_at + chat.slow_mode - time.time()
    if left > 0:
        raise too_many_requests(math.ceil(left))
    chat.sent_at = time.time()


def check_content(bot: Bot, chat: Chat, content: Content) -> None:
    """Raises ApiError where the bot may not put that into the chat."""
    if chat.is_private or chat.roles.get(bot.id) == "administrator":
        return
    right, name = next((_KINDS[kind] for kind in _KINDS if kind in content), ("", ""))
    forbidden = {r for r, may in chat.permissions.items() if not may}
    if chat.roles.get(bot.id) == "restricted":
        forbidden |= {r for r, may in chat.restrictions.items() if not may}
    if right in forbidden:
        raise bad_request(f"not enough rights to send {name} to the chat")
