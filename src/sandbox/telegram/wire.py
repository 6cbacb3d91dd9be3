"""One Bot API call as it came over the wire, whichever of the shapes its client uses.

Parameters may stand in the query string, in JSON, in a form or in multipart fields; a file may be a
multipart part named as its parameter, or named anything and referred to by `attach://name`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, web

from src.sandbox.telegram.errors import ApiError, bad_request, too_large

MAX_BODY = 52 * 1024 * 1024
"""Bytes of a whole request: a 50 MB file and what surrounds it."""

_CHUNK = 256 * 1024


@dataclass(frozen=True)
class Upload:
    """The bytes of one uploaded file."""

    name: str
    data: bytes
    content_type: str = "application/octet-stream"

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class Call:
    """A method and its parameters; the readers below check a parameter's form as Telegram does."""

    method: str
    params: Mapping[str, Any]
    uploads: Mapping[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The parameter as text, empty if absent."""
        value = self.params.get(name)
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    def integer(self, name: str, default: int = 0) -> int:
        value = self.params.get(name)
        if value is None or value == "":
            return default
        try:
            return int(value)
        except (TypeError, ValueError):
            return default

    def flag(self, name: str) -> bool:
        return str(self.params.get(name, "")).lower() in ("true", "1", "yes")

    def structure(self, name: str, label: str) -> Any:
        """The JSON value of the parameter, parsed if the client sent it as a string; None if absent."""
        value = self.params.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise bad_request(f"can't parse {label} JSON object") from None

    def file(self, name: str) -> Upload | str | None:
        """The file meant by a parameter: its bytes, or else a file_id or address, or None."""
        if name in self.uploads:
            return self.uploads[name]
        value = self.params.get(name)
        if not isinstance(value, str) or not value:
            return None
        return self.attached(value)

    def attached(self, reference: str) -> Upload | str:
        """The upload behind `attach://name`; any other reference is handed back as it is."""
        if not reference.startswith("attach://"):
            return reference
        upload = self.uploads.get(reference.removeprefix("attach://"))
        if upload is None:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return upload


async def read_call(request: web.Request, method: str) -> Call:
    """Reads the call; raises ApiError 413 over `MAX_BODY` and 400 for a body that can't be read."""
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()
    params: dict[str, Any] = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        params |= _parse_json(await _read_body(request))
    elif request.content_type == "application/x-www-form-urlencoded":
        body = await _read_body(request)
        params |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    elif request.content_type.startswith("multipart/"):
        await _read_multipart(request, params, uploads)
    return Call(method, params, uploads)


def _parse_json(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise bad_request("can't parse JSON object") from None
    if not isinstance(value, dict):
        raise bad_request("JSON object expected")
    return value


async def _read_body(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise too_large()
    return bytes(body)


async def _read_multipart(request: web.Request, params: dict[str, Any], uploads: dict[str, Upload]) -> None:
    size = 0
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or part.name is None:
                continue
            body = bytearray()
            while chunk := await part.read_chunk(_CHUNK):
                body += chunk
                size += len(chunk)
                if size > MAX_BODY:
                    raise too_large()
            if part.filename is not None:
                kind = part.headers.get("Content-Type", "application/octet-stream")
                uploads[part.name] = Upload(part.filename, bytes(body), kind)
            else:
                params[part.name] = body.decode("utf-8", "replace")
    except (ApiError, ConnectionError, asyncio.CancelledError):
        raise
    except (ValueError, AssertionError, web.HTTPException):
        raise bad_request("can't parse multipart/form-data") from None
