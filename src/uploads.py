"""A picture on its way to Telegram: read from where it is while it is sent, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aiogram import Bot
from aiogram.types import InputFile

from src.providers.base import Picture, ProviderError

UPLOAD_SECONDS = 120


class PictureFile(InputFile):
    """A picture as aiogram sends it; again from its beginning when it is sent again.

    Attributes:
        failure: why it could not be read to its end; what was sent of it was of no use to Telegram then,
            which aiogram reports as an error of the network.
    """

    def __init__(self, picture: Picture, filename: str) -> None:
        super().__init__(filename)
        self.failure: ProviderError | None = None
        self._picture = picture

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        self.failure = None
        try:
            async for piece in self._picture.pieces():
                yield piece
        except ProviderError as error:
            self.failure = error
            raise
