"""Methods about the bot itself and what it may know: profile, commands, chats, files, taps, updates."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

from src.sandbox.telegram import rights
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.entities import utf16_length
from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.methods import method
from src.sandbox.telegram.records import Chat
from src.sandbox.telegram.updates import Webhook
from src.sandbox.telegram.wire import Call

MAX_DOWNLOAD = 20 * 1024 * 1024
"""Bytes of the largest file getFile serves."""

TAP_LIFETIME = 60.0
"""Seconds within which a tap must be answered."""

_TEXT_LIMITS = {"description": 512, "short_description": 120, "name": 64}
_MAX_POLL = 50.0
_HERE = ("127.0.0.1", "localhost", "::1")
_WEBHOOK_PORTS = (443, 80, 88, 8443)


@method("getMe")
async def get_me(bot: Bot, call: Call) -> dict[str, Any]:
    return {
        **bot.as_user(),
        "can_join_groups": True,
        "can_read_all_group_messages": bot.reads_all_group_messages,
        "supports_inline_queries": bot.inline.enabled,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


@method("setMyCommands")
async def set_my_commands(bot: Bot, call: Call) -> bool:
    commands = call.structure("commands", "commands")
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    if len(commands) > 100:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not re.fullmatch(r"/?[a-z0-9_]{1,32}", str(command.get("command", ""))):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= utf16_length(str(command.get("description", ""))) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    bot.commands[_commands_key(call)] = [
        {"command": command["command"].lstrip("/"), "description": command["description"]}
        for command in commands
    ]
    bot.save_profile()
    return True


@method("getMyCommands")
async def get_my_commands(bot: Bot, call: Call) -> list[dict[str, Any]]:
    return bot.commands.get(_commands_key(call), [])


@method("deleteMyCommands")
async def delete_my_commands(bot: Bot, call: Call) -> bool:
    bot.commands.pop(_commands_key(call), None)
    bot.save_profile()
    return True


def _commands_key(call: Call) -> str:
    scope = call.structure("scope", "BotCommandScope") or {"type": "default"}
    if scope.get("chat_id"):
        return f"{scope['type']}:{scope['chat_id']}:{call.text('language_code')}"
    return f"{scope['type']}::{call.text('language_code')}"


def commands_for(bot: Bot, chat: Chat, language: str) -> list[dict[str, Any]]:
    """The command menu a person sees in a chat: the narrowest scope, their language first."""
    all_such = "all_private_chats:" if chat.is_private else "all_group_chats:"
    for scope in (f"chat:{chat.id}", all_such, "default:"):
        for code in (language, ""):
            if found := bot.commands.get(f"{scope}:{code}"):
                return found
    return []


@method("setMyDescription", "setMyShortDescription", "setMyName")
async def set_profile_text(bot: Bot, call: Call) -> bool:
    field = re.sub(r"(?<!^)(?=[A-Z])", "_", call.method.removeprefix("setMy")).lower()
    text = call.text(field)
    if utf16_length(text) > _TEXT_LIMITS[field]:
        raise bad_request("text is too long")
    bot.profile[f"{field}:{call.text('language_code')}"] = text
    bot.save_profile()
    return True


@method("getMyDescription", "getMyShortDescription", "getMyName")
async def get_profile_text(bot: Bot, call: Call) -> dict[str, str]:
    field = re.sub(r"(?<!^)(?=[A-Z])", "_", call.method.removeprefix("getMy")).lower()
    text = bot.profile.get(f"{field}:{call.text('language_code')}") or bot.profile.get(f"{field}:", "")
    return {field: text or (bot.first_name if field == "name" else "")}


@method("setMyDefaultAdministratorRights")
async def accept(bot: Bot, call: Call) -> bool:
    return True


@method("setChatMenuButton")
async def set_chat_menu_button(bot: Bot, call: Call) -> bool:
    button = call.structure("menu_button", "MenuButton") or {"type": "default"}
    if button.get("type") not in ("default", "commands", "web_app"):
        raise bad_request("MenuButton has unsupported type")
    if button["type"] == "web_app":
        url = (button.get("web_app") or {}).get("url", "")
        if not button.get("text"):
            raise bad_request("BUTTON_TEXT_INVALID")
        if not url.startswith("https://"):
            raise bad_request(f"menu button Web App URL '{url}' is invalid: Only HTTPS links are allowed")
    bot.profile[f"menu_button:{call.text('chat_id')}"] = json.dumps(button)
    bot.save_profile()
    return True


@method("getChatMenuButton")
async def get_chat_menu_button(bot: Bot, call: Call) -> dict[str, Any]:
    return menu_button(bot, call.text("chat_id"))


def menu_button(bot: Bot, chat_id: int | str) -> dict[str, Any]:
    """What stands beside the field a person writes in, in their private chat."""
    own = bot.profile.get(f"menu_button:{chat_id}") or bot.profile.get("menu_button:")
    return dict(json.loads(own)) if own else {"type": "commands" if bot.commands else "default"}


@method("getUserProfilePhotos")
async def get_user_profile_photos(bot: Bot, call: Call) -> dict[str, Any]:
    if call.integer("user_id") not in bot.people:
        raise bad_request("user not found")
    # The people of the sandbox have none.
    return {"total_count": 0, "photos": []}


@method("logOut", "close")
async def leave(bot: Bot, call: Call) -> bool:
    """To another server; there is none, so the bot goes on here, as after ten minutes there."""
    bot.updates.set_webhook(None)
    return True


@method("getChat")
async def get_chat(bot: Bot, call: Call) -> dict[str, Any]:
    chat = bot.chat(call.text("chat_id"))
    of_group: dict[str, Any] = {} if chat.is_private else {"permissions": rights.permissions(chat)}
    if chat.slow_mode:
        of_group["slow_mode_delay"] = chat.slow_mode
    return {
        **chat.as_json(),
        **of_group,
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(
            (
                "unlimited_gifts",
                "limited_gifts",
                "unique_gifts",
                "premium_subscription",
                "gifts_from_channels",
            ),
            False,
        ),
    }


@method("getChatMember")
async def get_chat_member(bot: Bot, call: Call) -> dict[str, Any]:
    chat = bot.chat(call.text("chat_id"))
    user_id = call.integer("user_id")
    if user_id == bot.id:
        return rights.member(chat, bot.as_user())
    person = bot.people.get(user_id)
    if person is None:
        raise bad_request("invalid user_id specified")
    return rights.member(chat, person.as_user())


@method("getFile")
async def get_file(bot: Bot, call: Call) -> dict[str, Any]:
    file_id = call.text("file_id")
    if not file_id:
        raise bad_request("file_id not specified")
    record = bot.files.get(file_id)
    if record is None:
        raise bad_request("invalid file_id")
    if record.size > MAX_DOWNLOAD:
        raise bad_request("file is too big")
    if bot.local_files is None:
        return {**record.as_json(), "file_path": record.path}
    place = bot.local_files / record.path
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bot.file_bytes(record) or b"")
    return {**record.as_json(), "file_path": str(place)}


@method("answerCallbackQuery")
async def answer_callback_query(bot: Bot, call: Call) -> bool:
    tap = bot.taps.get(call.text("callback_query_id"))
    if tap is None or tap.answer is not None or time.time() - tap.asked_at > TAP_LIFETIME:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    text = call.text("text")
    if utf16_length(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    tap.answer = {"text": text, "show_alert": call.flag("show_alert"), "url": call.text("url")}
    bot.tell(tap.chat, "answer", {"query_id": tap.id, "person_id": tap.person_id, **tap.answer})
    return True


@method("getUpdates")
async def get_updates(bot: Bot, call: Call) -> list[dict[str, Any]]:
    bot.updates.allow(_allowed(call))
    limit = call.integer("limit", 100)
    return await bot.updates.poll(
        call.integer("offset"),
        limit if 1 <= limit <= 100 else 100,
        min(_MAX_POLL, max(0, call.integer("timeout"))),
    )


@method("setWebhook")
async def set_webhook(bot: Bot, call: Call) -> bool:
    url, secret = call.text("url"), call.text("secret_token")
    if not url:
        return _delete_webhook(bot, call)
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise bad_request("invalid webhook URL specified")
    # A local server takes plain http and any port, which is what tests on one machine need.
    if place.hostname not in _HERE and bot.local_files is None:
        if place.scheme == "http":
            raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
        if (place.port or 443) not in _WEBHOOK_PORTS:
            raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad_request("secret token contains unallowed characters")
    bot.updates.allow(_allowed(call))
    if call.flag("drop_pending_updates"):
        bot.updates.drop_all()
    connections = min(100, max(1, call.integer("max_connections", 40)))
    bot.updates.set_webhook(Webhook(url, secret, connections))
    return True


@method("deleteWebhook")
async def delete_webhook(bot: Bot, call: Call) -> bool:
    return _delete_webhook(bot, call)


def _delete_webhook(bot: Bot, call: Call) -> bool:
    if call.flag("drop_pending_updates"):
        bot.updates.drop_all()
    bot.updates.set_webhook(None)
    return True


@method("getWebhookInfo")
async def get_webhook_info(bot: Bot, call: Call) -> dict[str, Any]:
    webhook = bot.updates.webhook
    info: dict[str, Any] = {
        "url": webhook.url if webhook else "",
        "has_custom_certificate": False,
        "pending_update_count": len(bot.updates.pending),
    }
    if bot.updates.allowed is not None:
        info["allowed_updates"] = sorted(bot.updates.allowed)
    if webhook is not None:
        info["max_connections"] = webhook.max_connections
        if webhook.last_error_date is not None:
            info["last_error_date"] = webhook.last_error_date
            info["last_error_message"] = webhook.last_error_message
    return info


def _allowed(call: Call) -> list[str] | None:
    value = call.structure("allowed_updates", "allowed_updates")
    if value is None:
        return None
    if not isinstance(value, list):
        raise bad_request("expected an Array of String")
    return [str(kind) for kind in value]
