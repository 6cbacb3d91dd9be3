"""The journal: every act of an admin, once: who did what to whom, and when.

Kept in Redis, the last thousand for a year at most. Reasons and names stand in it; nobody's words for a picture do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from src.app import App
from src.jobs import keys

Act = Literal[
    "ban",
    "lift",
    "tier",
    "limit",
    "pause",
    "resume",
    "on",
    "off",
    "style",
    "no_style",
    "broadcast",
    "stop",
    "no_broadcast",
    "retry",
    "cancel",
    "drop",
    "refund",
    "promo",
]
PAGE = 10
"""Entries of a page."""
_KEPT = 1000
_SECONDS = 365 * 86_400
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. `at`: ms of Redis's clock. `whom`: a person, a job, a switch, a style or a code. `how`: a reason, a tier, what it came to."""

    at: int
    by: int
    what: Act
    whom: str
    how: str


async def write(app: App, update: int, by: int, what: Act, whom: str = "", how: str = "") -> str | None:
    """Note what an admin does by an update, before it is done. One that is handled again is noted once.

    Returns:
        What `strike` takes out again should nothing come of it; None: it was noted before, and may have been done.
    """
    now = await app.ledger.now()
    act = json.dumps([update, by, what, whom, how[:_LONGEST]], ensure_ascii=False)
    async with app.redis.pipeline() as pipe:
        pipe.zadd(keys.JOURNAL(), {act: now}, nx=True)
        pipe.zremrangebyscore(keys.JOURNAL(), "-inf", now - 1000 * _SECONDS)
        pipe.zremrangebyrank(keys.JOURNAL(), 0, -_KEPT - 1)
        pipe.expire(keys.JOURNAL(), _SECONDS)
        new, *_ = await pipe.execute()
    return act if new else None


async def strike(app: App, noted: str | None) -> None:
    """Nothing came of what `write` has noted."""
    if noted is not None:
        await app.redis.zrem(keys.JOURNAL(), noted)


async def page(app: App, number: int) -> tuple[list[Entry], bool]:
    """The acts of a page, newest first, and whether there are older ones."""
    first = PAGE * number
    rows = await app.redis.zrevrange(keys.JOURNAL(), first, first + PAGE, withscores=True)
    entries = [Entry(int(at), *json.loads(act)[1:]) for act, at in rows]
    return entries[:PAGE], len(entries) > PAGE
