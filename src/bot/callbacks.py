"""What the buttons of the conversations carry; those under pictures are in `src.telegram.keyboards`."""

from __future__ import annotations

from typing import Literal

from aiogram.filters.callback_data import CallbackData


class OfDialog(CallbackData, prefix="d", sep="|"):
    """A button of the /create dialog; what was chosen so far is in the conversation's state."""

    what: Literal["aspect", "count", "go", "stop"]
    value: str = ""


class OfSettings(CallbackData, prefix="s", sep="|"):
    """A choice in /settings."""

    what: Literal["lang", "aspect", "count"]
    value: str


class OfQueue(CallbackData, prefix="q"):
    """A button of /queue: look again, or cancel one request."""

    what: Literal["look", "cancel"]
    id: str = ""


class Surprise(CallbackData, prefix="x"):
    """Draw something of the bot's own choosing."""
