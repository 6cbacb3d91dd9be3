"""The body of a Bot API call that carries a file: its length is announced, and it goes out in few pieces.

aiogram's own sends every field for itself and a streamed file in chunks, each copied once more; that was half of
the CPU of showing a picture. Not here: what is sent (`src.telegram.photos`) and when (`src.telegram.throttle`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.methods import TelegramMethod
from aiogram.types import InputFile
from aiohttp import FormData, Payload
from aiohttp.abc import AbstractStreamWriter


class SizedFile(InputFile):
    """A file whose length in bytes is known before it is read."""

    size: int


class Session(AiohttpSession):
    """aiogram's session with that body, where all files of a call are sized ones."""

    # aiohttp takes either.
    def build_form_data(self, bot: Bot, method: TelegramMethod[Any]) -> FormData | Payload:  # type: ignore[override]
        files: dict[str, InputFile] = {}
        fields = {}
        for name, value in method.model_dump(warnings=False, exclude_none=True).items():
            if prepared := self.prepare_value(value, bot=bot, files=files):
                fields[name] = prepared
        sized = {name: file for name, file in files.items() if isinstance(file, SizedFile)}
        if files and len(sized) == len(files):
            return _Multipart(bot, fields, sized)
        form = FormData(quote_fields=False)
        for name, value in fields.items():
            form.add_field(name, value)
        for name, file in files.items():
            form.add_field(name, file.read(bot), filename=file.filename or name)
        return form


class _Multipart(Payload):
    """`multipart/form-data`: the fields, then the files. Can be written more than once."""

    _autoclose = True

    def __init__(self, bot: Bot, fields: Mapping[str, str], files: Mapping[str, SizedFile]) -> None:
        boundary = secrets.token_hex(16)
        super().__init__(None, content_type=f"multipart/form-data; boundary={boundary}")
        self._bot = bot
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        before = "".join(f'{part}{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
        # What stands before each file, and the file.
        self._files: list[tuple[bytes, SizedFile]] = []
        for name, file in files.items():
            before += f'{part}{name}"; filename="{quote(file.filename or name)}"\r\n'
            before += "Content-Type: application/octet-stream\r\n\r\n"
            self._files.append((before.encode(), file))
            before = "\r\n"
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self._size = len(self._end) + sum(len(head) + file.size for head, file in self._files)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for head, file in self._files:
            await writer.write(head)
            left = file.size
            async for piece in file.read(self._bot):
                left -= len(piece)
                if left < 0:
                    break
                await writer.write(piece)
            if left:
                raise ValueError("a file is not as long as it was said to be")
        await writer.write(self._end)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("the files are read only while they are written")
