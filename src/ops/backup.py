"""Backup and restore of everything that must survive, while the system runs.

What is guaranteed: a backup is the ledger at one moment, since one script reads it all; only the kept
originals of delivered pictures, which never change, are read after it. Others wait meanwhile: 0.4 s with
30 000 jobs in the history. Restored into an empty Redis it
gives the same history, choices, limits and jobs in flight. Those go on as if no time had passed: what
a provider still has is fetched, and shown by an edit of its placeholder, so a picture that was
delivered after the backup is not sent again. Wishes admitted after the backup are not in it.

Left out are Dramatiq's messages (wake-ups that the ledger sends again) and what is only true for
seconds. No secret is in the ledger, so none is in a backup; prompts and Telegram ids are: the file is
readable by its owner only.

The file: gzip of a JSON line (format, version, time, Redis), then a frame for each key: lengths of name
and value (4 bytes each) and expiry (8 bytes, ms since the epoch, 0 for none), name, value; then a frame
of length 0 and the SHA-256 of all before it.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import structlog
from redis.exceptions import ResponseError

from src.jobs.ledger import PREFIX, script
from src.jobs.records import SCHEMA_VERSION
from src.settings import Settings
from src.store.clients import make_redis

log = structlog.get_logger(__name__)

FORMAT = "imagebot-backup"
VERSION = 1
_FRAME = struct.Struct(">IIQ")
_CHUNK = 500
_CHUNK_BYTES = 8_000_000
_PATTERN = "imagebot-*.backup"
_AGAIN_SECONDS = 60.0
_SOCKET_SECONDS = 120.0
# True for seconds only, or of processes that will be others.
_LEFT_OUT = (
    "dramatiq:",
    "gate:",
    "pass:",
    "seen:",
    "cut:",
    "album:",
    "heartbeats",
    "probe",
    "progress:",
    "duty:",
)


class BackupError(Exception):
    """A backup that cannot be made, read or restored; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds. `at`: ms of Redis's clock; `jobs`: those still in flight when restored."""

    at: int
    redis: str
    keys: int
    jobs: int = 0


async def backup(settings: Settings, file: Path) -> Contents:
    """Write a backup of the running system to `file`, which is there either whole or not at all.

    Raises:
        BackupError: the file cannot be written.
        redis.RedisError: Redis is away.
    """
    async with _client(settings) as client:
        version = (await client.info("server"))["redis_version"]
        text, _ = script("backup")
        raw = await client.eval(text, 1, PREFIX, *_LEFT_OUT)
        at = int(raw[0])
        part = file.with_name(f".{file.name}.part")
        try:
            keys = await _write(client, part, {"at": at, "redis": version}, raw)
            await asyncio.to_thread(os.replace, part, file)
        except OSError as error:
            raise BackupError(f"{file} cannot be written: {error.strerror}") from error
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
    return Contents(at, version, keys)


async def restore(settings: Settings, file: Path, *, force: bool = False) -> Contents:
    """Put a backup into a Redis that holds nothing of this system; the file is checked whole before.

    Nothing acts on a job before the last step, so bot and workers may run already.

    Args:
        force: drop what is there.

    Raises:
        BackupError: the file is broken, of a later version, or Redis is not empty.
        redis.RedisError: Redis is away; then drop what there is by `force` and try again.
    """
    contents = await asyncio.to_thread(verify, file)
    async with _client(settings) as client:
        await _make_room(client, force=force)
        due = b""
        batch: list[tuple[bytes, int, bytes]] = []
        size = 0
        for name, expires, value in _frames(file):
            if name == f"{PREFIX}due".encode():
                due = value
                continue
            batch.append((name, expires, value))
            size += len(value)
            if len(batch) >= _CHUNK or size >= _CHUNK_BYTES:
                await _put(client, batch, contents)
                batch, size = [], 0
        await _put(client, batch, contents)
        seconds, micros = await client.time()
        passed = max(0, int(seconds) * 1000 + int(micros) // 1000 - contents.at)
        text, _ = script("resume")
        jobs = int(await client.eval(text, 1, PREFIX, passed, due))
    return Contents(contents.at, contents.redis, contents.keys, jobs)


def verify(file: Path) -> Contents:
    """Read a backup to its end.

    Raises:
        BackupError: it is not one, is cut short or changed, or is of a later version.
    """
    header = _header(file)
    return Contents(int(header["at"]), str(header["redis"]), sum(1 for _ in _frames(file)))


async def every(settings: Settings, folder: Path, seconds: float, keep: int) -> None:
    """Make a backup every so often, for ever, and keep the newest `keep` of them."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    while True:
        await asyncio.sleep(max(0.0, _newest(folder) + seconds - time.time()))
        file = folder / time.strftime("imagebot-%Y%m%dT%H%M%SZ.backup", time.gmtime())
        try:
            contents = await backup(settings, file)
        except (BackupError, redis.RedisError) as error:
            log.error("no backup", error=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        log.info("backup made", file=str(file), keys=contents.keys)
        await asyncio.to_thread(_rotate, folder, keep)


def _rotate(folder: Path, keep: int) -> None:
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink()


def _newest(folder: Path) -> float:
    return max((file.stat().st_mtime for file in folder.glob(_PATTERN)), default=0.0)


async def _write(client: Any, part: Path, facts: dict[str, Any], raw: list[Any]) -> int:
    """Write the frames of `raw`, and of the originals it only names; how many there are."""
    checksum = hashlib.sha256()
    keys = 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as out:

        def put(data: bytes) -> None:
            checksum.update(data)
            out.write(data)

        header = {"format": FORMAT, "version": VERSION, "schema": SCHEMA_VERSION, **facts}
        put(json.dumps(header).encode() + b"\n")
        chunk = bytearray()
        for i in range(1, len(raw), 3):
            name, expires, value = raw[i], int(raw[i + 1]), raw[i + 2]
            if not value and (value := await client.dump(name)) is None:
                continue  # an original that a newer one has pushed out meanwhile
            chunk += _FRAME.pack(len(name), len(value), expires) + name + value
            keys += 1
            if len(chunk) >= _CHUNK_BYTES:
                await asyncio.to_thread(put, bytes(chunk))
                chunk.clear()
        put(bytes(chunk))
        put(_FRAME.pack(0, 0, keys))
        out.write(checksum.digest())
        out.close()
        file.flush()
        os.fsync(file.fileno())
    return keys


def _header(file: Path) -> dict[str, Any]:
    with _opened(file) as data:
        try:
            header = json.loads(data.readline(10_000))
        except ValueError:
            header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BackupError(f"{file} is not a backup of this system")
    if header["version"] > VERSION or header["schema"] > SCHEMA_VERSION:
        raise BackupError(f"{file} was made by a later version of this system: restore it with that")
    return header


def _frames(file: Path) -> Iterator[tuple[bytes, int, bytes]]:
    """Name, expiry and value of each key, in order; the checksum is checked at the end."""
    checksum = hashlib.sha256()
    with _opened(file) as data:
        checksum.update(data.readline(10_000))
        keys = 0
        while True:
            frame = _exactly(data, _FRAME.size)
            checksum.update(frame)
            name_length, length, number = _FRAME.unpack(frame)
            if name_length == 0:
                break
            body = _exactly(data, name_length + length)
            checksum.update(body)
            keys += 1
            yield body[:name_length], number, body[name_length:]
        if keys != number or _exactly(data, checksum.digest_size) != checksum.digest():
            raise BackupError(f"{file} is damaged: its checksum does not fit")


@contextmanager
def _opened(file: Path) -> Iterator[gzip.GzipFile]:
    """The file's contents; what goes wrong while they are read is said in plain words."""
    try:
        with gzip.open(file, "rb") as data:
            yield data
    except gzip.BadGzipFile as error:
        raise BackupError(f"{file} is not a backup of this system, or is damaged") from error
    except (EOFError, zlib.error) as error:
        raise BackupError(f"{file} is cut short or damaged") from error
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror or error}") from error


def _exactly(data: gzip.GzipFile, length: int) -> bytes:
    found = data.read(length)
    if len(found) < length:
        raise EOFError
    return found


async def _make_room(client: Any, *, force: bool) -> None:
    found = [key async for key in client.scan_iter(match=f"{PREFIX}*", count=1000)]
    # Processes that run already have said so.
    ours = [
        key
        for key in found
        if not key.decode().removeprefix(PREFIX).startswith((*_LEFT_OUT, "samples", "alerts"))
    ]
    if ours and not force:
        raise BackupError(
            f"this Redis holds {len(ours)} keys of the system already: restore into an empty one, "
            "or drop them with --force"
        )
    for i in range(0, len(found), _CHUNK):
        await client.unlink(*found[i : i + _CHUNK])


async def _put(client: Any, batch: list[tuple[bytes, int, bytes]], contents: Contents) -> None:
    if not batch:
        return
    async with client.pipeline(transaction=False) as pipe:
        for name, expires, value in batch:
            pipe.restore(name, expires, value, replace=True, absttl=expires > 0)
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
