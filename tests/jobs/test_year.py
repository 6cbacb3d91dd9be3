"""A year of history in a real Redis: what it holds does not grow with the days, but for the accounts.

Days pass by moving every lifetime, and every moment that the ledger keeps, back by so much.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from typing import Any, cast

import pytest

from src.app import App, open_app
from src.bot import broadcasting
from src.jobs import Ledger, Limits, Spec, Wake, credit, keys, new_id, transitions
from src.ops import journal
from src.ops.monitor import Monitor
from src.settings import load_settings
from tests.jobs.states import claimed

STEP = 10
JOBS = 15
_DAY_MS = 86_400_000
_TTL = 30 * 86_400
_LIMITS = Limits(rate=1000, window=60, active=1000, waiting=10_000)
# What grows for good: one a payment, one a code and person.
_ACCOUNTS = {"payments", "redeemed"}
# Without a lifetime and not there at the end: choices, single values, what processes say, what is still to be told.
_ELSEWHERE = {
    "became", "chat", "styles", "switches", "pause", "feedback", "secret", "originals", "backup", "heard",
    "alerts", "owed", "reconciled", "updates", "grace", "looked", "dramatiq",
}  # fmt: skip
# Sorted sets whose scores are moments.
_MOMENTS = ("due", "open", "failed", "active:", "history:", "window:", "starred:", "people", "journal")


class Silent:
    """Alerts that nobody is told of."""

    async def consider(self, snapshot: object) -> None:
        return


def days_pass(client: Any, days: int) -> None:
    """Let so many days go by for everything that is there."""
    names, moved = list(client.scan_iter(count=5000)), days * _DAY_MS
    timed = [name for name in names if name.removeprefix(keys.PREFIX).startswith(_MOMENTS)]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.pttl(name)
        for name, left in zip(names, pipe.execute(), strict=True):
            if left >= 0:
                pipe.pexpire(name, left - moved)
        for name in timed:
            for member, at in client.zscan_iter(name):
                pipe.zadd(name, {member: at - moved}, xx=True)
        pipe.execute()


def asked(ledger: Ledger, user: int, provider: str, model: str, *, cap: int) -> str:
    """A job somebody asks for, with its placeholder."""
    request, job = new_id(), new_id()
    spec, wake = Spec("a fox", model, "1:1", user, "en"), Wake(job, provider, user)
    admit = transitions.admit(
        request=request, user=str(user), provider=provider, cap=cap, jobs=[(spec, wake)],
        limits=_LIMITS, deadline=600, ttl=_TTL, update=job,
    )  # fmt: skip
    assert ledger.run_sync(admit).accepted
    ledger.run_sync(transitions.placed(request, [1]))
    return job


def ended(ledger: Ledger, job: str, end: str, model: str, *, cap: int) -> None:
    """It ends that way, and its person is told."""
    if end == "cancelled":
        assert ledger.run_sync(transitions.cancel(job, "", cap=cap)).done
    else:
        fence = claimed(ledger, job, "submit").fence
        ledger.run_sync(transitions.accepted(job, fence, ticket={"external_id": job}, after=1))
        if end == "failed":
            assert ledger.run_sync(transitions.fail(job, None, kind="upstream", cap=cap)).done
        else:
            made = transitions.ready(job, fence, result={"url": "u"}, cap=cap, model=model)
            assert ledger.run_sync(made)[0]
    fence = claimed(ledger, job, "deliver").fence
    assert ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=_TTL)).outcome
    # Its worker has written its span.
    cast(Any, ledger)._sync_client.hdel(keys.OWED(), job)


async def days_work(app: App, day: int, starred: deque[str], picture: str) -> None:
    """What else people and admins do: favourites, previews, payments, codes, a broadcast, the journal."""
    ledger, me = app.ledger, str(1 + day % 3)
    await ledger.noticed(await ledger.person(me), "en")
    assert await ledger.run(transitions.star(picture, ttl=None))
    starred.append(picture)
    if len(starred) > 5:
        assert await ledger.run(transitions.star(starred.popleft(), ttl=_TTL))
    charge = f"charge {day}"
    assert (await ledger.run(credit.paid(charge, me, stars=50, pictures=10, teller=charge))).first
    await ledger.run(credit.refunded(charge, me, stars=50, teller=f"{charge} back"))
    until = int(time.time()) + 30 * 86_400
    await ledger.run(credit.paid(f"{charge} m", me, stars=9, pictures=1, teller=charge, until=until))
    await credit.promise(ledger, f"code {day}", 1, 1)
    assert (await ledger.run(credit.redeem(f"code {day}", me, teller=charge))).verdict == "ok"
    await credit.promise(ledger, f"code {day - STEP}", 0, None)
    notice = broadcasting.Notice({"en": {"text": "news", "entities": []}})
    assert await broadcasting.start(app, str(day), 1, notice)
    assert await broadcasting.steer(app, str(day), "stop")
    assert await broadcasting.steer(app, str(day), "drop")
    assert await journal.write(app, day, 1, "broadcast")


def entries(client: Any) -> Counter[str]:
    """What each row of the table of keys holds: keys where they have lifetimes, entries where they have none."""
    found: Counter[str] = Counter()
    count = {"zset": client.zcard, "set": client.scard, "list": client.llen, "hash": client.hlen}
    for name in client.scan_iter(count=5000):
        row = keys.row_of(name)
        assert row is not None, name
        found[row.word] += count[row.type](name) if row.expires == "never" and row.type in count else 1
    return found


@pytest.mark.timeout(300)
async def test_a_year_of_history_leaves_redis_level(redis_url: str, sync_redis: Any) -> None:
    ledger, chance = Ledger(sync_client=sync_redis), random.Random(7)
    people, in_line, starred = iter(range(10, 10**6)), deque[str](), deque[str]()
    async with open_app(load_settings(redis_url=redis_url, kie_api_key="k" * 20)) as app:
        monitor = Monitor(app, cast(Any, Silent()))
        for day in range(0, 365, STEP):
            model = f"model of month {day // 30}"
            for _ in range(JOBS):
                user = chance.choice([1, 2, 3, next(people)])
                job = asked(ledger, user, "kie", model, cap=10**6)
                end = chance.choice(["delivered", "delivered", "failed", "cancelled"])
                ended(ledger, job, end, model, cap=10**6)
            # In this line somebody always waits; everybody's turn comes, or they take it back.
            in_line.append(asked(ledger, next(people), "openai", model, cap=1))
            ended(ledger, asked(ledger, next(people), "openai", model, cap=1), "cancelled", model, cap=1)
            if len(in_line) > 2:
                ended(ledger, in_line.popleft(), "delivered", model, cap=1)
            picture = asked(ledger, 1, "kie", model, cap=10**6)
            request = str(sync_redis.hget(keys.JOB(picture), "request"))
            await app.ledger.changing(request, preview=True)
            await app.ledger.shown(request, "a sketch", "previewing")
            ended(ledger, picture, "delivered", model, cap=10**6)
            await days_work(app, day, starred, picture)
            await monitor.look()
            await app.ledger.all_durations()
            days_pass(sync_redis, STEP)
            if day == 90:
                before, weight = entries(sync_redis), sync_redis.info("memory")["used_memory"]
    after = entries(sync_redis)
    grown = {word: (before[word], n) for word, n in after.items() if n > 1.3 * before[word] + 10}
    # Two rings of a fixed length that a quarter of a year has not filled.
    assert grown.keys() <= {"ended", "samples", *_ACCOUNTS}, grown
    done = len(range(0, 365, STEP))
    assert (after["payments"], after["redeemed"]) == (2 * done, done)
    lasting = {row.word for row in keys.TABLE.values() if row.expires == "never"}
    assert lasting - after.keys() == _ELSEWHERE
    assert after["ended"] <= 1050
    assert sync_redis.info("memory")["used_memory"] < 1.2 * weight
