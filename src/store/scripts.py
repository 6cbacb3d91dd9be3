"""Calling Lua scripts in Redis by their SHA-1, sent whole only when Redis does not know them yet.

What the scripts do, and which keys they touch, is said where they are: `src/jobs/lua`, `src/limits`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from redis.exceptions import ConnectionError, NoScriptError

from src.store.resp import AT_ONCE

Script = tuple[str, str]
"""A script's text and its SHA-1."""


_REPLICATED_MS = 1000


def script_of(text: str) -> Script:
    """The script with this text."""
    return text, hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (Redis names scripts by it)


async def call(client: Any, script: Script, prefix: str, *args: Any, at_once: bool = False) -> Any:
    """The answer of a script that takes the keys' prefix as its only key; by an asyncio client.

    Args:
        at_once: a busy client does not let it wait for other commands.
    """
    text, sha = script
    options = {AT_ONCE: True} if at_once else {}
    try:
        return await client.execute_command("EVALSHA", sha, 1, prefix, *args, **options)
    except NoScriptError:
        return await client.eval(text, 1, prefix, *args)


async def call_replicated(client: Any, script: Script, prefix: str, *args: Any) -> Any:
    """`call`, whose answer counts only once a replica has what the script wrote: then it outlives the master.

    Raises:
        redis.ConnectionError: no replica has it within a second. This may be a master that the sentinels
            have replaced, so the next call asks them again.
    """
    text, sha = script
    for name, what in (("EVALSHA", sha), ("EVAL", text)):
        # On one connection: WAIT is about the writes of its own.
        async with client.pipeline(transaction=False) as pipe:
            pipe.execute_command(name, what, 1, prefix, *args)
            pipe.execute_command("WAIT", 1, _REPLICATED_MS)
            answer, replicas = await pipe.execute(raise_on_error=False)
        if isinstance(answer, NoScriptError):
            continue
        if isinstance(answer, Exception):
            raise answer
        if isinstance(replicas, Exception) or int(replicas) < 1:
            await client.connection_pool.disconnect(inuse_connections=False)
            raise ConnectionError("no replica has it")
        return answer
    raise NoScriptError(sha)


def call_sync(client: Any, script: Script, prefix: str, *args: Any) -> Any:
    """`call` by a client for threads."""
    text, sha = script
    try:
        return client.evalsha(sha, 1, prefix, *args)
    except NoScriptError:
        return client.eval(text, 1, prefix, *args)
