"""Backup and restore of everything that must survive, while the system runs.

A backup is the ledger at the moment at which it begins. One script reads what is open then: a few
thousand jobs at most. What has ended never changes, and a payment says when it did: these are read after that, a page
at a time, so Redis serves others as ever however long the history is, and nothing is held in memory. What was asked
for or paid after the moment is left out. Restored into an empty Redis it gives the same history, choices, limits and jobs in
flight. Those go on as if no time had passed: what a provider still has is fetched, and shown by an edit of
its placeholder, so a picture that was delivered after the backup is not sent again.

Left out are Dramatiq's messages (wake-ups that the ledger sends again) and what is only true for
seconds. No secret is in the ledger, so none is in a backup; prompts and Telegram ids are: the file is
readable by its owner only.

Of the store of pictures (`src.store.blobs`) it holds what open jobs still need. Originals that people have had are
not in it: whoever wants those copies that folder or bucket.

The file: gzip of JSON lines. The first says what it is, the last how many entries there are; each between them
is a key as Redis dumps it: [name, expiry in ms since the epoch or 0, value in base64]; or rows of a hash, [name, 0,
{field: value}]; or, without our prefix before its name, a picture of the store as it is.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import json
import math
import os
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import structlog
from redis.exceptions import ResponseError

from src.jobs.keys import BACKUP, LEASE, PAYMENTS, PREFIX, SWEEPER
from src.jobs.ledger import script
from src.jobs.records import SCHEMA_VERSION
from src.jobs.uploads import is_upload, name_of
from src.local.folders import make_folder
from src.settings import Settings, UserError
from src.store.blobs import ORIGINALS, UPLOADS, Blobs, BlobsAway
from src.store.clients import make_redis

log = structlog.get_logger(__name__)

FORMAT = "imagebot-backup"
VERSION = 4
# Version 2 has its pictures in Redis's keys only, version 3 all payments in one line.
_READ = (2, 3, 4)
_PAGE = 250
_PATTERN = "imagebot-*.backup"
_AGAIN_SECONDS = 60.0
_SOCKET_SECONDS = 120.0
_HELD_OFF_SECONDS = 3600
# True for seconds only, or of processes that will be others; and the secret behind pseudonyms.
_LEFT_OUT = (
    "secret",
    "told:",
    "limited:",
    "dramatiq:",
    "gate:",
    "pass:",
    "seen:",
    "cut:",
    "album:",
    "heartbeats",
    "probe",
    "lease:",
    "owed",
    "disks",
    "backup",
    "pace",
    "originals",
    # So that payments of after the backup are found again.
    "reconciled:",
)
# What changes with every job is read in the one moment only; payments by what they say of themselves.
_OF_THE_MOMENT = (
    *("due", "open", "counts", "ended", "failed", "line:", "tags:", "slots:", "active:"),
    *("balance", "free:", "payments", "subscribed", "takings", "promos", "redeemed"),
)
# Pictures: read one at a time.
_LARGE = ("blob:", "upload:")

Key = tuple[bytes, int, bytes | dict[str, str]]
"""Name, expiry in ms since the epoch or 0, value as DUMP gives it; or some rows of a hash."""


class BackupError(UserError):
    """A backup that cannot be made, read or restored; the text says why and what to do."""

    exit_code = os.EX_DATAERR


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds. `at`: ms of Redis's clock; `jobs`: those still in flight when restored."""

    at: int
    redis: str
    keys: int
    jobs: int = 0


def _part_of(file: Path) -> Path:
    """Where a backup is written until it is whole.

    Raises:
        BackupError: that is a folder's name, or a device's, in whose place a file would come.
    """
    if file.is_dir():
        raise BackupError(f"{file} cannot be written: {os.strerror(errno.EISDIR)}")
    if file.exists() and not file.is_file():
        raise BackupError(f"{file} cannot be written: it is no ordinary file")
    return file.with_name(f".{file.name}.part")


async def backup(settings: Settings, file: Path) -> Contents:
    """Write a backup of the running system to `file`, which is there either whole or not at all.

    Raises:
        BackupError: the file cannot be written.
        redis.RedisError: Redis is away.
    """
    part = _part_of(file)
    keys = 0
    async with _client(settings) as client:
        version = (await client.info("server"))["redis_version"]
        moment: list[Any] = []
        while not moment:
            moment = await client.eval(script("backup"), 1, PREFIX, *_inbox(settings))
        head = {
            "format": FORMAT,
            "version": VERSION,
            "schema": SCHEMA_VERSION,
            "at": int(moment[0]),
            "redis": version,
        }
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as raw:
                with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out:
                    out.write(_line(head))
                    async for name, expires, value in _keys(client, Blobs(settings), moment):
                        rows = value if isinstance(value, dict) else base64.b64encode(value).decode()
                        out.write(_line([name.decode(), expires, rows]))
                        keys += 1
                    out.write(_line({"keys": keys}))
                os.fsync(raw.fileno())
            part.replace(file)
        except BlobsAway as error:
            raise BackupError(f"the store of pictures cannot be read: {error}") from error
        except OSError as error:
            raise BackupError(f"{file} cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        await client.hset(BACKUP(), mapping={"at": head["at"], "why": ""})
    return Contents(head["at"], version, keys)


async def restore(settings: Settings, file: Path, *, force: bool = False) -> Contents:
    """Put a backup into a Redis that holds nothing of this system; the file is checked whole before.

    Nothing acts on a job before the last step, so bot and workers may run already.

    Args:
        force: drop what is there.

    Raises:
        BackupError: the file is broken, of another version, or Redis is not empty.
        redis.RedisError: Redis is away; then drop what there is by `force` and try again.
    """
    contents = await asyncio.to_thread(verify, file)
    async with _client(settings) as client:
        await _hold_off(client)
        await _make_room(client, force=force)
        due, page = b"", list[Key]()
        for key in _read(file):
            name, _, value = key
            if isinstance(value, bytes) and name == f"{PREFIX}due".encode():
                due = value
                continue
            if isinstance(value, bytes) and not name.startswith(PREFIX.encode()):
                await _put_picture(settings, name.decode(), value)
                await _hold_off(client)
                continue
            page.append(key)
            if len(page) >= _PAGE or _kind(key[0]).startswith(_LARGE):
                await _put(client, page, contents)
                page.clear()
        await _put(client, page, contents)
        seconds, micros = await client.time()
        passed = max(0, int(seconds) * 1000 + int(micros) // 1000 - contents.at)
        jobs = int(await client.eval(script("resume"), 1, PREFIX, passed, due))
        await client.delete(LEASE(SWEEPER))
    return Contents(contents.at, contents.redis, contents.keys, jobs)


def verify(file: Path) -> Contents:
    """Read a backup to its end.

    Raises:
        BackupError: it is not one, is cut short or changed, or is of another version.
    """
    lines = _lines(file)
    head = next(lines, None)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BackupError(f"{file} is not a backup of this system")
    if head.get("version") not in _READ or head.get("schema", 0) > SCHEMA_VERSION:
        raise BackupError(f"{file} was made by another version of this system: restore it with that")
    return Contents(head["at"], head["redis"], sum(1 for _ in _read(file)))


async def every(settings: Settings, folder: Path, seconds: float, keep: int) -> None:
    """Make a backup every so often, for ever, and keep the newest `keep` of them.

    Raises:
        NoFolder: it cannot be made, or not written into.
    """
    await asyncio.to_thread(make_folder, folder, "its argument")
    with suppress(redis.RedisError):
        await _note(settings, every=seconds, days=math.ceil(keep * seconds / 86_400))
    while True:
        await asyncio.sleep(max(0.0, _newest(folder) + seconds - time.time()))
        file = folder / time.strftime("imagebot-%Y%m%dT%H%M%SZ.backup", time.gmtime())
        try:
            contents = await backup(settings, file)
        except (BackupError, redis.RedisError) as error:
            log.error("no backup", error=str(error))
            with suppress(redis.RedisError):
                await _note(settings, why=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        log.info("backup made", file=str(file), keys=contents.keys)
        await asyncio.to_thread(_rotate, folder, keep)


async def _note(settings: Settings, **said: float | str) -> None:
    """Where the status page and the alerts see it."""
    async with _client(settings) as client:
        await client.hset(BACKUP(), mapping=said)


def _newest(folder: Path) -> float:
    return max((file.stat().st_mtime for file in folder.glob(_PATTERN)), default=0.0)


def _rotate(folder: Path, keep: int) -> None:
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink()


async def _keys(client: Any, blobs: Blobs, moment: list[Any]) -> AsyncIterator[Key]:
    """All that is kept: what the script read, the pictures that it names, then the rest page by page."""
    at, names = int(moment[0]), set(moment[1::3])
    for name, expires, value in zip(moment[1::3], moment[2::3], moment[3::3], strict=True):
        if value:
            yield name, int(expires), value
    pictures = [name for name, value in zip(moment[1::3], moment[3::3], strict=True) if not value]
    async for key in _dumped(client, pictures):
        yield key
    async for key in _pictures(blobs, pictures):
        yield key
    async for key in _payments(client, at):
        yield key
    cursor = 0
    while True:
        cursor, found = await client.scan(cursor, match=f"{PREFIX}*", count=_PAGE)
        page = [
            name
            for name in found
            if name not in names and not _kind(name).startswith(_LEFT_OUT + _OF_THE_MOMENT)
        ]
        async for key in _dumped(client, await _asked_before(client, page, at, names)):
            yield key
        if not cursor:
            return


async def _payments(client: Any, at: int) -> AsyncIterator[Key]:
    """The payments as they were at the moment, page by page: there is one for each that ever was."""
    cursor = 0
    while True:
        cursor, found = await client.hscan(PAYMENTS(), cursor, count=_PAGE)
        rows = {}
        for charge, text in found.items():
            paid = json.loads(text)
            if paid.get("refunded", 0) >= at:
                del paid["refunded"], paid["refunder"]
            if paid["at"] < at:
                rows[charge.decode()] = json.dumps(paid)
        if rows:
            yield PAYMENTS().encode(), 0, rows
        if not cursor:
            return


async def _asked_before(client: Any, page: list[bytes], at: int, names: set[bytes]) -> list[bytes]:
    """Those of a page that do not belong to a request or job made after the moment; `names`: what was open then."""
    records = {name: _record(name) for name in page}
    if updates := [name for name in page if _kind(name).startswith("update:")]:
        asked = await client.mget(updates)
        records |= {
            name: f"{PREFIX}request:{(of or b'').decode()}" for name, of in zip(updates, asked, strict=True)
        }
    owned = [name for name in page if records[name]]
    async with client.pipeline(transaction=False) as pipe:
        for name in owned:
            pipe.hget(records[name], "created")
        created = dict(zip(owned, await pipe.execute(), strict=True))
    return [name for name in page if records[name].encode() in names or int(created.get(name) or 0) < at]


async def _dumped(client: Any, names: list[bytes]) -> AsyncIterator[Key]:
    """Keys with their values, but for those that are gone by now."""
    large = [name for name in names if _kind(name).startswith(_LARGE)]
    for page in ([name for name in names if name not in large], *([name] for name in large)):
        async with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in page:
                pipe.pttl(name)
                pipe.dump(name)
            (seconds, micros), *answers = await pipe.execute()
        now = int(seconds) * 1000 + int(micros) // 1000
        for name, left, value in zip(page, answers[::2], answers[1::2], strict=True):
            if value is not None:
                yield name, now + left if left > 0 else 0, value


async def _pictures(blobs: Blobs, names: list[bytes]) -> AsyncIterator[Key]:
    """Those of the pictures that the store has."""
    for kind in map(_kind, names):
        name = f"{UPLOADS}/{name_of(kind)}" if is_upload(kind) else f"{ORIGINALS}/{kind.partition(':')[2]}"
        if (data := await blobs.get(name)) is not None:
            yield name.encode(), 0, data


async def _put_picture(settings: Settings, name: str, data: bytes) -> None:
    try:
        await Blobs(settings).put(name, data)
    except BlobsAway as error:
        raise BackupError(f"the store of pictures cannot be written: {error}") from error


def _inbox(settings: Settings) -> list[str]:
    """The updates that Telegram gave and nobody has handled yet."""
    token = settings.telegram_token
    return [f"updates:{token.get_secret_value().partition(':')[0]}"] if token else []


def _kind(name: bytes) -> str:
    return name.decode().removeprefix(PREFIX)


def _record(name: bytes) -> str:
    """The job's or request's record that says when a key was made; empty: it belongs to none."""
    kind, _, of = _kind(name).partition(":")
    kind = "job" if kind == "blob" else kind
    return f"{PREFIX}{kind}:{of}" if kind in ("job", "request") else ""


def _line(what: Any) -> bytes:
    return json.dumps(what).encode() + b"\n"


def _lines(file: Path) -> Iterator[Any]:
    """The file's lines; what goes wrong while they are read is said in plain words."""
    try:
        with gzip.open(file, "rb") as data:
            line = data.readline(10_000)
            while line:
                yield json.loads(line)
                line = data.readline()
    except gzip.BadGzipFile as error:
        raise BackupError(f"{file} is not a backup of this system, or is damaged") from error
    except (EOFError, ValueError, zlib.error) as error:
        raise BackupError(f"{file} is not a backup of this system, or is cut short or damaged") from error
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror or error}") from error


def _read(file: Path) -> Iterator[Key]:
    """Each key, in order; at the end it is checked that none is missing."""
    keys, whole = 0, False
    lines = _lines(file)
    next(lines)
    for line in lines:
        match line:
            case [str(name), int(expires), str(value)]:
                yield name.encode(), expires, base64.b64decode(value)
                keys += 1
            case [str(name), 0, dict(rows)]:
                yield name.encode(), 0, rows
                keys += 1
            case {"keys": number}:
                whole = number == keys
    if not whole:
        raise BackupError(f"{file} is cut short or damaged")


async def _hold_off(client: Any) -> None:
    """While there are only some of the records, nobody may drop pictures that have none. That also goes for a while where
    this fails."""
    await client.set(LEASE(SWEEPER), "restore", ex=_HELD_OFF_SECONDS)


async def _make_room(client: Any, *, force: bool) -> None:
    page: list[bytes] = []
    async for name in client.scan_iter(match=f"{PREFIX}*", count=_PAGE):
        # Processes that run already have said so.
        if not force and not _kind(name).startswith((*_LEFT_OUT, "samples", "alerts")):
            raise BackupError(
                "this Redis holds data of the system already: restore into an empty one, or drop it with --force"
            )
        if name != LEASE(SWEEPER).encode():
            page.append(name)
        if len(page) >= _PAGE:
            await client.unlink(*page)
            page.clear()
    if page:
        await client.unlink(*page)


async def _put(client: Any, page: Iterable[Key], contents: Contents) -> None:
    await _hold_off(client)
    async with client.pipeline(transaction=False) as pipe:
        for name, expires, value in page:
            if isinstance(value, dict):
                pipe.hset(name, mapping=value)
                continue
            pipe.restore(name, expires, value, replace=True, absttl=expires > 0)
            if _kind(name).startswith("history:"):
                # It was read after the moment, and names requests that are not in here.
                pipe.zremrangebyscore(name, f"({contents.at}", "+inf")
        try:
            await pipe.execute()
        except ResponseError as error:
            if "version" in str(error).lower():
                raise BackupError(
                    f"this Redis is older than the one of the backup ({contents.redis}): use that version or a newer one"
                ) from error
            raise


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[Any]:
    client = make_redis(settings, decode_responses=False, socket_timeout=_SOCKET_SECONDS)
    try:
        yield client
    finally:
        await client.aclose()
