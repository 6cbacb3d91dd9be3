"""Redis's wire format for the two lean clients: which commands they send themselves, packing, reading.

redis-py makes and authenticates their connections; what it does around each command (the pool's turn,
a poll, a timer, a health check) costs several times what the command does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import hiredis
from redis._parsers import BaseParser
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError, DataError, InvalidResponse, ReadOnlyError, TimeoutError

LARGE = 64 * 1024
"""Bytes of a command that would hold up those behind it."""

AT_ONCE = "AT_ONCE"
"""Option of a command of the loop's client: it is sent without waiting for others; redis-py does not mind it."""

MORE: Final = object()
"""What a reader gives when an answer has not come whole."""

REPEATED = (ConnectionError, TimeoutError, ReadOnlyError)
"""Errors after which a command is sent again, as redis-py's clients do: whether it ran is unknown, or, where the
server only reads, certain that it did not."""

# Answered at once, small, and about keys only. All others go redis-py's way.
_LEAN = frozenset(
    [
        "EVALSHA",
        "EVAL",
        "TIME",
        "GET",
        "SET",
        "DEL",
        "EXISTS",
        "EXPIRE",
        "PEXPIRE",
        "INCR",
        "HGET",
        "HGETALL",
        "HMGET",
        "HSET",
        "HDEL",
        "HINCRBY",
        "LLEN",
        "LPOP",
        "LPUSH",
        "LRANGE",
        "LTRIM",
        "RPUSH",
        "SCARD",
        "SMEMBERS",
        "ZADD",
        "ZCARD",
        "ZCOUNT",
        "ZRANGE",
        "ZRANGEBYSCORE",
        "ZRANK",
        "ZREM",
        "ZREMRANGEBYSCORE",
        "ZREVRANGE",
    ]
)


# Scripts say what they mean; looking for a callback in redis-py's table takes as long as packing the command.
_AS_IT_IS = frozenset(["EVALSHA", "EVAL"])

_WAITING = frozenset(["BLPOP"])


def pack(args: tuple[Any, ...], options: Mapping[str, Any], *, may_wait: bool = False) -> bytes | None:
    """A command as it is sent; None: it is for redis-py.

    Args:
        may_wait: nobody else is held up by one that Redis answers when something comes.

    Raises:
        redis.DataError: an argument is neither text, bytes nor a number.
    """
    known = args[0] in _LEAN or (may_wait and args[0] in _WAITING)
    if not known or NEVER_DECODE in options:
        return None
    try:
        packed: bytes = hiredis.pack_command(args)
    except TypeError as error:
        raise DataError(str(error)) from None
    return packed if len(packed) <= LARGE else None


def new_reader(encoder: Any) -> hiredis.Reader:
    """A reader of one connection's answers, which makes errors of redis-py's kinds.

    Args:
        encoder: the connection's.
    """
    return hiredis.Reader(
        protocolError=InvalidResponse,
        replyError=BaseParser.parse_error,
        encoding=encoder.encoding if encoder.decode_responses else None,
        errors=encoder.encoding_errors,
        notEnoughData=MORE,
    )


def parsed(
    callbacks: Mapping[Any, Callable[..., Any]], name: Any, reply: Any, options: Mapping[str, Any]
) -> Any:
    """An answer as redis-py's clients give it.

    Args:
        callbacks: the client's, by the name of the command.
    """
    if name in _AS_IT_IS:
        return reply
    callback = callbacks.get(name)
    if callback is None:
        return reply
    # Not about the answer.
    told = {name: value for name, value in options.items() if name not in ("keys", AT_ONCE)}
    return callback(reply, **told)


def is_read_only(error: Exception) -> bool:
    """Whether a server says that it is no master (any more); a script's error of old servers carries it inside."""
    return isinstance(error, ReadOnlyError) or "READONLY" in str(error)
