"""Keeping nothing more of a picture, or of a person, that was asked to be forgotten."""

from __future__ import annotations

import structlog

from src.app import App
from src.jobs import transitions
from src.store.blobs import ORIGINALS, BlobsAway

log = structlog.get_logger(__name__)


async def forget(app: App, job_id: str, user: str) -> bool:
    """Keep nothing more of a person's picture; whether it is gone now (else it goes soon after its end)."""
    gone = await app.ledger.run(transitions.forget(job_id, user)) == "gone"
    if gone:
        try:
            await app.blobs.delete(f"{ORIGINALS}/{job_id}")
        except BlobsAway as error:
            # It goes with its days there.
            log.warning("an original stays for now", job_id=job_id, why=str(error))
    return gone
