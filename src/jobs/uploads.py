"""Pictures to be changed that came over REST: kept in the store of blobs until their job has ended.

Those of chats are Telegram's to keep; a job names either by its `source`. Telegram's file ids have no colon.
"""

from __future__ import annotations

import hashlib

from src.jobs.records import new_id

_KIND = "upload:"


def new_upload(data: bytes) -> str:
    """A new `source` for these bytes."""
    return f"{_KIND}{new_id()}:{hashlib.sha256(data).hexdigest()[:32]}"


def is_upload(source: str) -> bool:
    """Whether a `source` is kept by us, not by Telegram."""
    return source.startswith(_KIND)


def name_of(source: str) -> str:
    """The name of an upload's bytes in their folder."""
    return source.removeprefix(_KIND).replace(":", "-")


def content_of(source: str | None) -> str:
    """What is the same of two sources with the same bytes; empty: no source."""
    return source.rpartition(":")[2] if source else ""
