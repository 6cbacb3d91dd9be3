"""Request bodies of strangers, read only as far as they may be."""

from __future__ import annotations

from fastapi import Request

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
