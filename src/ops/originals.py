"""How many pictures the store of `src.store.blobs` keeps: bounded by days and bytes, with room for what is under way.

One worker process sweeps for all. What it finds it writes into Redis, where admission reads it: a picture that there
will be no room for is refused before it is paid. Between two sweeps the ledger counts along (`ready.lua`).
"""

from __future__ import annotations

import asyncio
import time

import structlog
from redis.exceptions import RedisError

from src.app import App
from src.jobs import State, keys
from src.jobs.spending import DAY
from src.ops.leader import Leader
from src.store.blobs import ORIGINALS, UPLOADS, Blob, BlobsAway

log = structlog.get_logger(__name__)

EVERY = 30.0
"""Seconds between two sweeps."""
# A picture is taken for twice as large as the mean, and for no less than this.
_USUAL_BYTES = 2_000_000
# Jobs that may come between two sweeps, at the rate at which Telegram takes their pictures.
_TO_COME = 100
# An upload whose request broke off is not its job's to drop.
_UPLOAD_SECONDS = 3600
_PAGE = 500


class Sweeper:
    """Sweeps while this process leads."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._leader = Leader(app, keys.SWEEPER, 3 * EVERY)

    async def run(self) -> None:
        """Sweep until cancelled; while Redis or the store is away, what it last said counts."""
        try:
            while True:
                try:
                    await self.sweep_if_leading()
                except RedisError as error:
                    log.warning("originals not swept", error=type(error).__name__)
                await asyncio.sleep(EVERY)
        finally:
            await self._leader.resign()

    async def sweep_if_leading(self) -> None:
        if await self._leader.held():
            await self.sweep()

    async def sweep(self) -> None:
        """Drop what may go, and say how much room there is."""
        try:
            # Reading alone says nothing of a disk that is full.
            await self._app.blobs.put("probe", b"written")
            await self._sweep()
        except BlobsAway as error:
            log.error("pictures cannot be kept: no more are made", why=str(error))
            await self._app.close_store()

    async def _sweep(self) -> None:
        app, now = self._app, time.time()
        limit = app.settings.blobs_max_bytes
        found = sorted([blob async for blob in app.blobs.all(ORIGINALS)], key=lambda blob: blob.at)
        delivered, useless = await self._known(found)
        uploads = [blob async for blob in app.blobs.all(UPLOADS)]
        oldest = now - app.settings.blobs_days * DAY
        drop = useless + [blob for blob in delivered if blob.at < oldest]
        latest = now - app.settings.job_deadline - _UPLOAD_SECONDS
        drop += [blob for blob in uploads if blob.at < latest]
        sizes = [blob.size for blob in found]
        size = max(_USUAL_BYTES, 2 * sum(sizes) // max(1, len(sizes)))
        used = sum(sizes) + sum(blob.size for blob in uploads) - sum(blob.size for blob in drop)
        free = await app.blobs.free()
        room = limit - used if free is None else min(limit - used, free)
        wanted = min(limit // 2, size * (2 * await self._open() + _TO_COME))
        for blob in delivered:
            if room >= wanted:
                break
            if blob.at >= oldest:
                drop.append(blob)
                used, room = used - blob.size, room + blob.size
        if not await self._leader.held():
            # A restore has begun meanwhile, and what was read is true no more.
            return
        await app.blobs.delete(*(blob.name for blob in drop))
        for folder in ("", ORIGINALS, UPLOADS):
            await app.blobs.drop_unfinished(folder, now - _UPLOAD_SECONDS)
        # Room for less than one is none.
        said = {"room": room if room >= size else 0, "size": size, "used": used, "limit": limit}
        await app.redis.hset(keys.ORIGINALS(), mapping=said)
        if drop:
            log.info("originals swept", dropped=len(drop), **said)

    async def _known(self, found: list[Blob]) -> tuple[list[Blob], list[Blob]]:
        """The pictures that people have, oldest first, and those that nobody will get.

        One without a record is of a job that is forgotten; but those before the first with a record may be of the
        Redis that was before this one, whose records can come back from a backup: these go with their days.
        """
        delivered, useless, older, known = list[Blob](), list[Blob](), list[Blob](), False
        for at in range(0, len(found), _PAGE):
            page = found[at : at + _PAGE]
            async with self._app.redis.pipeline(transaction=False) as pipe:
                for blob in page:
                    pipe.hmget(keys.JOB(blob.name.rpartition("/")[2]), "state", "told")
                for blob, (state, told) in zip(page, await pipe.execute(), strict=True):
                    known = known or state is not None
                    if state is None:
                        (useless if known else older).append(blob)
                    elif state == State.DELIVERED:
                        delivered.append(blob)
                    elif told == "1":
                        useless.append(blob)
        return older + delivered, useless

    async def _open(self) -> int:
        """Jobs whose pictures may come in an answer."""
        async with self._app.redis.pipeline(transaction=False) as pipe:
            for name, provider in self._app.providers.items():
                if provider.capabilities.inline:
                    pipe.zcard(keys.LINE(name))
                    pipe.scard(keys.SLOTS(name))
            return sum(await pipe.execute())
