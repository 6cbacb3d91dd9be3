"""Keeping nothing more of a picture, or of a person, that was asked to be forgotten."""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError

from src.app import App
from src.jobs import Job, credit, keys, transitions
from src.jobs.spending import DAY, day
from src.pipeline import admission
from src.store.blobs import ORIGINALS, BlobsAway

log = structlog.get_logger(__name__)

# Of a person's keys these go by themselves, within the hour or with what is under way; a time to cool down would else
# be ended by whom it is meant for.
_BRIEF = (keys.WINDOW, keys.ACTIVE, keys.STRIKES, keys.COOLING, keys.HELPED, keys.GUESSES)
# A ban would else be undone by its owner.
_NOT_THEIRS = frozenset({"blocked", "why", "tier", "rate", "active"})
# Bots may delete messages of up to 48 hours, and so many at once.
_DELETABLE_MS, _AT_ONCE = 47 * 3_600_000, 100


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was deleted of a person.

    Attributes:
        number: by which the log names it too.
        pictures: those asked for. cancelled: of them, in the works. notes: all else that was kept.
        copies: of pictures drawn into other chats, those that are known to stay in an `INLINE_STORAGE_CHAT`.
        bought, payments: pictures that stay theirs, and the payments that stay in the accounts.
        backup_hours: age of the newest backup, or None where none is known; backup_days: until the last that still
            holds it is gone.
    """

    number: str
    pictures: int
    cancelled: int
    notes: int
    copies: int
    backup_hours: int | None
    backup_days: int
    bought: int = 0
    payments: int = 0


async def make_favourite(app: App, job: Job, *, on: bool) -> None:
    """Make a picture a favourite; or none any more, and then it is kept as long as all are, but a day at least: nobody
    who takes that back asks to have it deleted."""
    ttl = None
    if not on:
        person = await app.ledger.person(job.user)
        days = min(person.keep or app.settings.job_ttl_days, app.settings.job_ttl_days)
        ttl = max(DAY, (job.created - await app.ledger.now()) // 1000 + days * DAY)
    await app.ledger.run(transitions.star(job.id, ttl=ttl))


async def forget_person(app: App, bot: Bot, user: str) -> Receipt:
    """Keep nothing more of a person: what is in the works is cancelled, and goes when it has ended."""
    active = await app.ledger.active(user)
    endings = [await admission.cancel(app, job.id, user) for job in active]
    ids = list({job_id async for job_id in _jobs_of(app, user)})
    jobs = await app.ledger.jobs(ids)
    for job_id in ids:
        await _forget(app, job_id, user)
    copies = await _remove_copies(app, bot, jobs)
    names = [name async for name in _names_of(app, user)]
    chosen = set(await app.redis.hkeys(keys.USER(user))) - _NOT_THEIRS
    if chosen:
        await app.redis.hdel(keys.USER(user), *chosen)
    if names:
        await app.redis.delete(*names)
    await app.ledger.unreachable(user)
    await app.redis.zrem(keys.AUDIENCE(), user)
    await _forget_costs(app, user)
    backup = await app.redis.hgetall(keys.BACKUP())
    hours = (await app.ledger.now() - int(backup["at"])) // 3_600_000 if backup.get("at") else None
    receipt = Receipt(
        secrets.token_hex(4),
        len(ids),
        sum(ending.done for ending in endings),
        len(names) + len(chosen),
        copies,
        hours,
        int(backup.get("days", 0)),
        (await credit.balance(app.ledger, user, 0)).bought,
        len(await credit.payments(app.ledger, user)),
    )
    log.info("person forgotten", receipt=receipt.number, count=receipt.pictures)
    return receipt


async def _jobs_of(app: App, user: str) -> AsyncIterator[str]:
    """A person's jobs, also those that their history, which is cut, has no more."""
    cursor = 0
    while True:
        cursor, names = await app.redis.scan(cursor, match=keys.JOB("*"), count=1000)
        async with app.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(name, "user")
            owners = await pipe.execute()
        for name, owner in zip(names, owners, strict=True):
            if owner == user:
                yield name.rpartition(":")[2]
        if not cursor:
            return


async def _forget_costs(app: App, user: str) -> None:
    """What a person's pictures cost; but for today's, which a cap counts."""
    today = keys.SPENDER(day(await app.ledger.now()))
    async for name in app.redis.scan_iter(keys.SPENDER("*"), count=1000):
        theirs = [unit async for unit, _ in app.redis.hscan_iter(name, match=f"{user} *")]
        if theirs and name != today:
            await app.redis.hdel(name, *theirs)


async def _names_of(app: App, user: str) -> AsyncIterator[str]:
    """The names of a person's keys."""
    rows = [row for row in keys.TABLE.values() if "<user>" in row.name and row not in (*_BRIEF, keys.USER)]
    patterns = [row.names_with("user", user) for row in rows]
    async for name in app.redis.scan_iter(f"{keys.PREFIX}*:{user}*", count=1000):
        if any(re.fullmatch(pattern, name) for pattern in patterns):
            yield name


async def forget(app: App, bot: Bot, job_id: str, user: str) -> bool:
    """Keep nothing more of a person's picture; whether it is gone now (else it goes soon after its end)."""
    jobs = await app.ledger.jobs([job_id])
    gone = await _forget(app, job_id, user)
    if gone:
        await _remove_copies(app, bot, jobs)
    return gone


async def _remove_copies(app: App, bot: Bot, jobs: Sequence[Job]) -> int:
    """Delete what inline mode has put into its storage chat for these pictures, or into one of before; how many are
    known to stay."""
    since = await app.ledger.now() - _DELETABLE_MS
    copies = [(*job.shown["copy"], job.created) for job in jobs if job.shown and "copy" in job.shown]
    young: dict[int, list[int]] = defaultdict(list)
    for chat, number, created in copies:
        if created > since:
            young[chat].append(number)
    left = len(copies)
    for chat, numbers in young.items():
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            try:
                await bot.delete_messages(chat, some)
                left -= len(some)
            except TelegramAPIError as error:
                log.warning("copies stay in the storage chat", count=len(some), error=type(error).__name__)
    return left


async def _forget(app: App, job_id: str, user: str) -> bool:
    gone = await app.ledger.run(transitions.forget(job_id, user)) == "gone"
    if gone:
        try:
            await app.blobs.delete(f"{ORIGINALS}/{job_id}")
        except BlobsAway as error:
            # It goes with its days there.
            log.warning("an original stays for now", job_id=job_id, why=str(error))
    return gone
