"""Request bodies of strangers, read only as far as they may be, and only while they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

_SECONDS = 30.0
"""From one piece to the next: behind a client that is gone its connection and what it has sent would stay."""
_SMALL = 10_000


class Small(APIRoute):
    """A route for bodies of a few words. FastAPI reads one whole before it looks who it is from."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            return await handle(capped(request, _SMALL))

        return handle_small


async def read(request: Request, limit: int = 1_000_000) -> bytes:
    """The body.

    Raises:
        HTTPException: 413, it is longer than `limit` bytes; 408, it does not go on.
    """
    return await capped(request, limit).body()


def capped(request: Request, limit: int) -> Request:
    """The request, whose body ends with 413 behind `limit` bytes and with 408 where it does not go on, whoever reads it."""
    read = 0

    async def receive() -> Message:
        nonlocal read
        # FastAPI, which reads it, lets only this kind of error through.
        try:
            async with asyncio.timeout(_SECONDS):
                message = await request.receive()
        except TimeoutError:
            raise HTTPException(408, "the body does not go on", {"Connection": "close"}) from None
        read += len(message.get("body", b""))
        if read > limit:
            raise HTTPException(413, f"at most {limit} bytes are read")
        return message

    return Request(request.scope, receive)
