"""Styles: words that are added to a person's own, under a name, with a picture that shows them. Admins make them in
the chat (`src.bot.handlers.styles`); they are the same for everybody."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from src.app import App
from src.jobs import keys

LONGEST_NAME = 20
"""Characters of a name."""
# In a link, of 64 characters: `style_` and base64; what a button sends is of 64 bytes.
_LONGEST_BYTES = 43
LONGEST = 500
"""Characters of a style's words."""
MOST = 40
"""Styles there may be: one message lists them all."""


@dataclass(frozen=True, slots=True)
class Style:
    """One style. `sample`: Telegram's id of a photo, or None."""

    name: str
    words: str
    sample: str | None = None


async def all_styles(app: App) -> list[Style]:
    """The styles there are, by name."""
    rows = await app.redis.hgetall(keys.STYLES())
    return [Style(**json.loads(row)) for _, row in sorted(rows.items())]


async def style(app: App, name: str) -> Style | None:
    """The style of that name."""
    row = await app.redis.hget(keys.STYLES(), name.casefold())
    return Style(**json.loads(row)) if row else None


async def save(app: App, new: Style) -> None:
    """Keep a style in place of the one that had its name."""
    await app.redis.hset(keys.STYLES(), new.name.casefold(), json.dumps(asdict(new)))


async def drop(app: App, name: str) -> None:
    """Keep a style no longer."""
    await app.redis.hdel(keys.STYLES(), name.casefold())


def is_name(text: str) -> bool:
    """Whether a style may be called so: what is typed behind `--style`, and never a parameter itself."""
    return (
        0 < len(text) <= LONGEST_NAME
        and len(text.encode()) <= _LONGEST_BYTES
        and text.replace(" ", "").replace("-", "").isalnum()
        and text[0].isalnum()
    )


def styled(words: str, name: str | None, styles: Iterable[Style]) -> str:
    """Words with those that a style adds."""
    added = [style.words for style in styles if style.name == name]
    return ", ".join([words, *added])
