"""Folders that one start has for itself: a second one on the same folder would spoil what is in it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.settings import UserError

# A start that was killed leaves its Redis to end in order, which is over in a moment.
_PATIENCE = 3.0


class FolderInUse(UserError):
    """Another process works on the folder; the text says which, and what to do."""

    exit_code = os.EX_TEMPFAIL


class NoFolder(UserError):
    """A folder that cannot be made or written into; the text says why, and what to do."""

    exit_code = os.EX_CANTCREAT


def make_folder(folder: Path, named_by: str = "DATA_DIR") -> Path:
    """The folder, made where it is not there: for its owner only.

    Args:
        named_by: the setting or option that names it.

    Raises:
        NoFolder: it cannot be made, or not written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        why = "a file has that name" if isinstance(error, FileExistsError) else error.strerror
        raise NoFolder(f"{folder} cannot be made: {why}. Name a folder of yours by {named_by}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NoFolder(f"{folder} cannot be written into: name a folder of yours by {named_by}.")
    return folder


@contextmanager
def held(folder: Path, what: str) -> Iterator[int]:
    """Have a folder alone inside the block: the open file that holds it, which children may keep open for longer.

    Args:
        what: works in it, for the one who comes second.

    Raises:
        FolderInUse: another has it. NoFolder: it cannot be made.
    """
    make_folder(folder)
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoFolder(f"{folder} cannot be written into: {error.strerror}.") from None
    try:
        _take(lock, folder)
        os.truncate(lock, 0)
        os.pwrite(lock, f"{what}, process {os.getpid()}".encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            who = os.pread(lock, 200, 0).decode("utf-8", "replace") or "another process"
            raise FolderInUse(
                f"{folder} is in use by {who}: stop that one, or set DATA_DIR to another folder."
            ) from None
        except OSError as error:
            raise NoFolder(
                f"{folder} is on a disk that knows no locks ({error.strerror}), as some of a network's: "
                "set DATA_DIR to a folder on a disk of this machine."
            ) from None
