"""Request bodies of strangers, read only as far as they may be."""

from __future__ import annotations

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Message

from src.api.problems import Problem


async def read(request: Request, limit: int = 1_000_000) -> bytes:
    """The body.

    Raises:
        Problem: 413, it is longer than `limit` bytes.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise Problem(413, "too_large", f"at most {limit} bytes are read")
    return bytes(body)


def capped(request: Request, limit: int) -> Request:
    """The request, whose body ends with 413 behind `limit` bytes, whoever reads it."""
    read = 0

    async def receive() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > limit:
            # FastAPI, which reads it, lets only this kind through.
            raise HTTPException(413, f"at most {limit} bytes are read")
        return message

    return Request(request.scope, receive)
