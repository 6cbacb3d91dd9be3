"""Large bytes outside Redis: pictures that came in a provider's answer, and those to be changed that came over REST.

They are in one folder that all processes see, or in S3-compatible storage. What of them may go, and whether there is
room for more, is `src.ops.originals`'s to say.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from src.settings import Settings

if TYPE_CHECKING:
    from obstore.store import LocalStore, S3Store

ORIGINALS, UPLOADS = "originals", "uploads"
"""The folders: pictures by their jobs' ids; pictures to be changed by their own."""
_SECONDS = timedelta(seconds=30)
SPARE_BYTES = 256_000_000
"""Of the disk, which are left free; it may be Redis's too."""


class BlobsAway(OSError):
    """The store cannot be reached, read or written; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is kept. `size` in bytes; `at`: when it was written, in seconds of its store's clock."""

    name: str
    size: int
    at: float


class Blobs:
    """The store that BLOBS_URL names; opened at its first use.

    Each call raises `BlobsAway` when the store does not do it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        url = settings.blobs_url or ""
        self._folder = None if url.startswith("s3:") else _folder(settings)
        self._opened: LocalStore | S3Store | None = None

    async def put(self, name: str, data: bytes) -> None:
        """Keep these bytes under that name, in place of what was there. They are on disk when this returns."""
        with _plainly():
            await self._store().put_async(name, data)
            if self._folder is not None:
                await asyncio.to_thread(_to_disk, self._folder / name)

    async def get(self, name: str) -> bytes | None:
        """The bytes under that name; None: there are none."""
        with _plainly():
            try:
                found = await self._store().get_async(name)
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                return None

    async def delete(self, *names: str) -> None:
        """Nobody needs them any more; those that are gone already are none the worse."""
        with _plainly():
            for name in names:
                try:
                    await self._store().delete_async(name)
                except FileNotFoundError:
                    continue

    async def all(self, folder: str) -> AsyncIterator[Blob]:
        """What is kept in a folder of the store."""
        with _plainly():
            async for page in self._store().list(folder):
                for found in page:
                    yield Blob(found["path"], found["size"], found["last_modified"].timestamp())

    async def drop_unfinished(self, folder: str, before: float) -> None:
        """Drop what writers left in a folder who were killed while they wrote, which the store itself never shows.
        `before`: seconds of our clock; what is younger is still being written."""
        if self._folder is not None:
            with _plainly():
                await asyncio.to_thread(_drop_unfinished, self._folder / folder, before)

    async def free(self) -> int | None:
        """Bytes that may still be written to the disk; None: no disk of ours says."""
        if self._folder is None:
            return None
        with _plainly():
            self._store()
            return max(0, (await asyncio.to_thread(shutil.disk_usage, self._folder)).free - SPARE_BYTES)

    def _store(self) -> LocalStore | S3Store:
        if self._opened is None:
            # Here, as most commands never come here.
            from obstore.store import LocalStore, S3Store

            if self._folder is not None:
                self._opened = LocalStore(self._folder, mkdir=True)
            else:
                settings = self._settings
                bucket, _, prefix = (settings.blobs_url or "").removeprefix("s3://").partition("/")
                key, secret = settings.s3_access_key, settings.s3_secret_key
                given = {
                    "endpoint": settings.s3_endpoint,
                    "access_key_id": key and key.get_secret_value(),
                    "secret_access_key": secret and secret.get_secret_value(),
                }
                self._opened = S3Store(
                    bucket,
                    prefix=prefix or None,
                    region=settings.s3_region,
                    client_options={"timeout": _SECONDS, "connect_timeout": "5s", "allow_http": True},
                    retry_config={"max_retries": 2, "retry_timeout": _SECONDS},
                    config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]
                )
        return self._opened


def _folder(settings: Settings) -> Path:
    given = (settings.blobs_url or "").removeprefix("file:")
    return Path(given).resolve() if given else settings.data_dir.resolve() / "blobs"


def _drop_unfinished(folder: Path, before: float) -> None:
    # Written beside its name, then moved to it.
    for file in folder.glob("*#*"):
        if file.name.rpartition("#")[2].isdecimal():
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    file.unlink()


def _to_disk(file: Path) -> None:
    """A power cut must not take what Redis says is there."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _plainly() -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except BlobsAway:
        raise
    except (BaseError, OSError) as error:
        raise BlobsAway(str(error).partition("\n")[0]) from error
