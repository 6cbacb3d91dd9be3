"""Files that people sent, or that we sent them, fetched from Telegram by their ids."""

from __future__ import annotations

import aiohttp
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError, TelegramBadRequest

from src.telegram.client import says

_SECONDS = 60


class NoFile(Exception):
    """Telegram does not give that file out, and will not later.

    Attributes:
        too_big: because of its size.
    """

    def __init__(self, *, too_big: bool = False) -> None:
        super().__init__()
        self.too_big = too_big


class NotNow(Exception):
    """The file could not be had for now: Telegram is away, busy with it, or broke off."""


async def download(bot: Bot, file_id: str, *, seconds: int = _SECONDS) -> bytes:
    """The whole of a file.

    Raises:
        NoFile, NotNow: there is none, or none now.
    """
    try:
        file = await bot.get_file(file_id)
        if file.file_path is None:
            raise NotNow
        stream = await bot.download_file(file.file_path, timeout=seconds)
    except TelegramBadRequest as error:
        # "wrong file_id or the file is temporarily unavailable" says that it was there a moment ago.
        if says(error, "temporarily unavailable"):
            raise NotNow from error
        raise NoFile(too_big=says(error, "too big")) from error
    except (TelegramAPIError, aiohttp.ClientError, OSError) as error:
        raise NotNow from error
    data = stream.read() if stream is not None else b""
    if not data or (file.file_size is not None and len(data) < file.file_size):
        # A connection that closes may look like an end.
        raise NotNow
    return data
