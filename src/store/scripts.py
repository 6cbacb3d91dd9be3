"""Lua scripts: their text, and what redis-py's script objects (`client.register_script`) do not do.

What the scripts do is said where they are: `src/jobs/lua`, `src/limits`. Each takes the keys' prefix as its only key.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.exceptions import ConnectionError

_REPLICATED_MS = 1000


def script_text(package: str, *names: str, folder: str = "") -> str:
    """The text of some files of a package, put together to one script."""
    files = resources.files(package) / folder
    return "\n".join((files / f"{name}.lua").read_text("utf-8") for name in names)


async def call_replicated(client: Any, text: str, prefix: str, args: Sequence[Any]) -> Any:
    """The answer of a script, which counts only once a replica has what it wrote: then it outlives the master.

    Raises:
        redis.ConnectionError: no replica has it within a second. This may be a master that the sentinels
            have replaced, so the next call asks them again.
    """
    # On one connection: WAIT is about the writes of its own.
    async with client.pipeline(transaction=False) as pipe:
        pipe.eval(text, 1, prefix, *args)
        pipe.wait(1, _REPLICATED_MS)
        answer, replicas = await pipe.execute(raise_on_error=False)
    if isinstance(answer, Exception):
        raise answer
    if isinstance(replicas, Exception) or int(replicas) < 1:
        await client.connection_pool.disconnect(inuse_connections=False)
        raise ConnectionError("no replica has it")
    return answer
