"""Records on disk until they are sent: what a killed process, or a Collector that is away, would lose.

A folder that the processes of a machine share. Each process writes to files of its own, which it holds
locked: one whose lock is free was left behind, and whoever sees it first sends it. Files are written through
memory that they share with the kernel: no call of the system a record, which would let other threads in, and what
was written before a process was killed is there all the same; a machine that loses its power may lose some.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# A record: a mark with its length, its id, its bytes. The mark is written last and at once, so that a record is whole
# or not there; the rest of a file is zero.
_MARK, _ID = struct.Struct(">I"), struct.Struct(">Q")
_HEAD_SIZE = _MARK.size + _ID.size
_WHOLE = 1 << 31
_GROWTH = 1 << 18  # bytes of disk taken at a time
_MOST_BYTES = 64_000_000


class Record(NamedTuple):
    """Bytes under an id; 0 for the first of a file, which says whose they are."""

    id: int
    content: bytes


class SpoolFile:
    """A file of this process, locked while it is open. Errors of the disk end in `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = self._size = 0
        # Locked before it has the name under which others look for it.
        hidden = path.with_name(f".{path.name}")
        self._fd = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._memory = self._grown(_GROWTH)
            os.rename(hidden, path)
        except BaseException:
            os.unlink(hidden)
            os.close(self._fd)
            raise

    def append(self, id_: int, content: bytes) -> None:
        """Add a record, whole or not at all as far as a reader is concerned."""
        body = self._at + _MARK.size
        end = body + _ID.size + len(content)
        if end > self._size:
            memory = self._grown(end - self._size + _GROWTH)
            self._memory.close()
            self._memory = memory
        _ID.pack_into(self._memory, body, id_)
        self._memory[body + _ID.size : end] = content
        self._memory[self._at : body] = _MARK.pack(_WHOLE | len(content))
        self._at = end

    def _grown(self, more: int) -> mmap.mmap:
        """The file's memory once it is larger. The disk is taken now: a full one would kill who writes there."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, self._size, more)
        else:
            os.pwrite(self._fd, bytes(more), self._size)
        memory = mmap.mmap(self._fd, self._size + more)
        self._size += more
        return memory

    def touch(self) -> None:
        """Show that its process lives: the time at which the file was last changed."""
        os.utime(self._fd)

    def remove(self) -> None:
        """Delete it: its records were sent."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self.leave()

    def leave(self) -> None:
        """Leave it for whoever sees it first."""
        self._memory.close()
        with suppress(OSError):
            os.ftruncate(self._fd, self._at)
        os.close(self._fd)


class Spool:
    """The folder. Names end in what the records are: `.ended` or `.open`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def file(self, ending: str, records: Iterable[tuple[int, bytes]] = ()) -> SpoolFile:
        """A new file with these records in it; with an `OSError` there is none."""
        file = SpoolFile(self._folder / f"{uuid.uuid4().hex}.{ending}")
        try:
            for record in records:
                file.append(*record)
        except OSError:
            file.remove()
            raise
        return file

    def left_behind(self, ending: str) -> Iterator[Path]:
        """Files of that kind, oldest first, of this process or others, locked or not."""
        found = []
        for path in self._folder.glob(f"[!.]*.{ending}"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(found):
            yield path

    def trim(self) -> int:
        """Delete the oldest files nobody holds until the folder is of bearable size; how many were deleted."""
        deleted, size = 0, 0
        for path in reversed(list(self.left_behind("ended"))):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
                if size > _MOST_BYTES:
                    with taken_over(path) as records:
                        if records is not None:
                            path.unlink()
                            deleted += 1
        return deleted


@contextmanager
def taken_over(path: Path) -> Iterator[list[Record] | None]:
    """The records of a file that was left behind, ours while the block runs; None if it is held or gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Somebody else may have sent and deleted it since it was opened.
        yield list(_records(path.read_bytes())) if os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)


def _records(data: bytes) -> Iterator[Record]:
    """Up to the first that is not whole: its process was killed while it wrote."""
    at = 0
    while at + _HEAD_SIZE <= len(data):
        (mark,) = _MARK.unpack_from(data, at)
        (id_,) = _ID.unpack_from(data, at + _MARK.size)
        at += _HEAD_SIZE
        length = mark & ~_WHOLE
        if not mark & _WHOLE or at + length > len(data):
            return
        yield Record(id_, data[at : at + length])
        at += length
