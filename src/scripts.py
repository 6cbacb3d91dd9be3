"""Calling Lua scripts in Redis by their SHA-1, sent whole only when Redis does not know them yet.

What the scripts do, and which keys they touch, is said where they are: `src/jobs/lua`, `src/limits`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from redis.exceptions import NoScriptError

Script = tuple[str, str]
"""A script's text and its SHA-1."""


def script_of(text: str) -> Script:
    """The script with this text."""
    return text, hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (Redis names scripts by it)


async def call(client: Any, script: Script, prefix: str, *args: Any) -> Any:
    """The answer of a script that takes the keys' prefix as its only key; by an asyncio client."""
    text, sha = script
    try:
        return await client.evalsha(sha, 1, prefix, *args)
    except NoScriptError:
        return await client.eval(text, 1, prefix, *args)


def call_sync(client: Any, script: Script, prefix: str, *args: Any) -> Any:
    """`call` by a client for threads."""
    text, sha = script
    try:
        return client.evalsha(sha, 1, prefix, *args)
    except NoScriptError:
        return client.eval(text, 1, prefix, *args)
