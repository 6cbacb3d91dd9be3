"""Checks a `reply_markup` as Telegram does, and brings it into the form it is shown in."""

from __future__ import annotations

import json
from typing import Any

from src.sandbox.telegram.entities import utf16_length
from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.records import Chat
from src.sandbox.telegram.wire import Call

Markup = dict[str, Any]

_ACTIONS = (
    "url",
    "callback_data",
    "web_app",
    "login_url",
    "switch_inline_query",
    "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat",
    "copy_text",
    "callback_game",
    "pay",
)
_MAX_BUTTONS = 100
_MAX_BYTES = 10 * 1024
_MAX_PLACEHOLDER = 64


def read_markup(
    call: Call, chat: Chat | None, *, inline_only: bool = False, invoice: bool = False
) -> Markup | None:
    """The markup of a call, None if there is none; raises ApiError for one Telegram would refuse.

    `chat`: where it is; None: nobody knows. `inline_only`: for edits, which take nothing but an inline keyboard. `invoice`: its first button may pay.
    """
    value = call.structure("reply_markup", "reply keyboard markup")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in value:
        rows = [_inline_row(row) for row in _rows(value, "inline_keyboard")]
        rows = [row for row in rows if row]
        _check_inline(rows, chat, invoice)
        return {"inline_keyboard": rows} if rows else None
    if inline_only and value:
        raise bad_request("inline keyboard expected")
    if "keyboard" in value:
        rows = [[_reply_button(button) for button in row] for row in _rows(value, "keyboard")]
        value = {**value, "keyboard": rows}
    if utf16_length(str(value.get("input_field_placeholder") or "")) > _MAX_PLACEHOLDER:
        raise bad_request("REPLY_MARKUP_PLACEHOLDER_TOO_LONG")
    return value or None


def _check_inline(rows: list[list[dict[str, Any]]], chat: Chat | None, invoice: bool) -> None:
    buttons = [button for row in rows for button in row]
    if len(buttons) > _MAX_BUTTONS or len(json.dumps(rows, ensure_ascii=False).encode()) > _MAX_BYTES:
        raise bad_request("reply markup is too long")
    for number, button in enumerate(buttons):
        if "pay" in button and not (invoice and number == 0):
            raise bad_request("BUTTON_TYPE_INVALID")
        if "web_app" in button and not (chat and chat.is_private):
            raise bad_request("BUTTON_TYPE_INVALID")


def _rows(value: Markup, name: str) -> list[list[Any]]:
    rows = value[name]
    if not isinstance(rows, list):
        raise bad_request(f'field "{name}" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise bad_request(f'field "{name}" must be an Array of Arrays')
    return rows


def _inline_row(row: list[Any]) -> list[dict[str, Any]]:
    for button in row:
        if not isinstance(button, dict):
            raise bad_request("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
        if not button.get("text"):
            raise bad_request('can\'t parse inline keyboard button: Field "text" must be non-empty')
        actions = [name for name in _ACTIONS if button.get(name) is not None]
        if not actions:
            raise bad_request(
                "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
            )
        data = button.get("callback_data")
        if data is not None and not 1 <= len(str(data).encode()) <= 64:
            raise bad_request("BUTTON_DATA_INVALID")
        page = (button.get("web_app") or {}).get("url")
        if page is not None and not page.startswith("https://"):
            raise bad_request(
                f"inline keyboard button Web App URL '{page}' is invalid: Only HTTPS links are allowed"
            )
        url = button.get("url")
        if url is not None and not ("." in url or "://" in url):
            raise bad_request(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")
    return row


def _reply_button(button: Any) -> dict[str, Any]:
    if isinstance(button, str):
        return {"text": button}
    if not isinstance(button, dict) or not button.get("text"):
        raise bad_request("can't parse keyboard button: KeyboardButton must be a String or an Object")
    return button
