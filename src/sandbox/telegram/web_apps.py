"""How Telegram opens a Mini App: its page's address, with who opens it, signed by the bot's token, and the client's colours.

As https://core.telegram.org/bots/webapps says, but without `signature`, which Telegram makes by a key of its own for those
who do not have the token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from src.sandbox.telegram.account import menu_button
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.people import Person


def open_web_app(bot: Bot, person: Person, url: str, colours: Mapping[str, str]) -> str:
    """The address a client opens for a person.

    Args:
        url: of a button in their private chat with the bot.
        colours: the client's, by the names of ThemeParams.

    Raises:
        LookupError: no button there has that address.
    """
    buttons = [button for message in person.messages for button in message.buttons]
    offered = [menu_button(bot, person.id), *buttons]
    if url not in [button.get("web_app", {}).get("url") for button in offered]:
        raise LookupError(f"no button opens {url}")
    given = {
        "tgWebAppData": init_data(bot.token, person),
        "tgWebAppVersion": "8.0",
        "tgWebAppPlatform": "web",
        "tgWebAppThemeParams": json.dumps(colours),
    }
    return f"{url}#{urlencode(given, quote_via=quote)}"


def init_data(token: str, person: Person, *, at: float | None = None) -> str:
    """`initData` of a person, signed with that token.

    Args:
        at: when the page was opened, in unix time; None: now.
    """
    record = person.record
    user: dict[str, Any] = {"id": record.id, "first_name": record.first_name, "last_name": ""}
    if record.username:
        user["username"] = record.username
    user |= {"language_code": record.language_code, "allows_write_to_pm": True}
    fields = {
        "query_id": f"AAH{secrets.token_urlsafe(15)}",
        "user": json.dumps(user, ensure_ascii=False, separators=(",", ":")),
        "auth_date": str(int(time.time() if at is None else at)),
    }
    checked = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    key = hmac.new(b"WebAppData", token.encode(), hashlib.sha256).digest()
    signed = fields | {"hash": hmac.new(key, checked.encode(), hashlib.sha256).hexdigest()}
    return urlencode(signed, quote_via=quote)
