"""Where the sandbox keeps its state: in memory, or in a folder so that it survives a restart.

Records are JSON documents by kind and key, written as they change; the bytes of files lie beside them,
named by their hash.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class Store(Protocol):
    """What the sandbox asks of a store."""

    def put(self, kind: str, key: str, record: dict[str, Any]) -> None: ...

    def drop(self, kind: str, key: str) -> None: ...

    def load(self, kind: str) -> Iterator[dict[str, Any]]:
        """The records of a kind in the order they were first put."""
        ...

    def put_bytes(self, sha256: str, data: bytes) -> None: ...

    def get_bytes(self, sha256: str) -> bytes | None:
        """The bytes, or None when they were let go."""
        ...

    def close(self) -> None: ...


class MemoryStore:
    """Keeps file bytes up to `max_bytes` (the oldest go first; None: all of them), and no records."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max = max_bytes
        self._held = 0
        self._bytes: OrderedDict[str, bytes] = OrderedDict()

    def put(self, kind: str, key: str, record: dict[str, Any]) -> None:
        pass

    def drop(self, kind: str, key: str) -> None:
        pass

    def load(self, kind: str) -> Iterator[dict[str, Any]]:
        return iter(())

    def put_bytes(self, sha256: str, data: bytes) -> None:
        if sha256 in self._bytes:
            return
        self._bytes[sha256] = data
        self._held += len(data)
        while self._max is not None and self._held > self._max:
            self._held -= len(self._bytes.popitem(last=False)[1])

    def get_bytes(self, sha256: str) -> bytes | None:
        return self._bytes.get(sha256)

    def close(self) -> None:
        self._bytes.clear()


class FolderStore:
    """Keeps everything in a folder; what was put survives the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "telegram.sqlite3", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing this way; only a power cut could, and this is a sandbox.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(id INTEGER PRIMARY KEY, kind TEXT, key TEXT, record TEXT, UNIQUE (kind, key))"
        )

    def put(self, kind: str, key: str, record: dict[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO records (kind, key, record) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET record = excluded.record",
            (kind, key, json.dumps(record)),
        )

    def drop(self, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM records WHERE kind = ? AND key = ?", (kind, key))

    def load(self, kind: str) -> Iterator[dict[str, Any]]:
        rows = self._db.execute("SELECT record FROM records WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        return (json.loads(row[0]) for row in rows)

    def put_bytes(self, sha256: str, data: bytes) -> None:
        path = self._files / sha256
        if not path.exists():
            draft = path.with_suffix(".part")
            draft.write_bytes(data)
            draft.rename(path)

    def get_bytes(self, sha256: str) -> bytes | None:
        try:
            return (self._files / sha256).read_bytes()
        except FileNotFoundError:
            return None

    def close(self) -> None:
        self._db.close()
