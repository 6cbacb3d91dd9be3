"""What a machine does to single processes: its clock is set, its disk is full (by Linux's limit on the size
of files)."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_CLOCK = Path(__file__).parent / "clock"


def with_own_clock(file: Path) -> dict[str, str]:
    """Environment of a Python process whose wall clock follows `file`."""
    set_clock(file, 0)
    return {"PYTHONPATH": str(_CLOCK), "CLOCK_FILE": str(file)}


def set_clock(file: Path, seconds: int) -> None:
    """Let the clock that follows `file` be wrong by so much."""
    # In one step: the process reads it at any moment.
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(file)


def family(pid: int) -> list[psutil.Process]:
    """A process and all it started; none when it is gone."""
    try:
        head = psutil.Process(pid)
        return [*head.children(recursive=True), head]
    except psutil.Error:
        return []


@contextmanager
def full_disk(pids: Iterable[int], room: int = 0) -> Iterator[None]:
    """Let no file of these processes grow beyond `room` bytes. They must ignore SIGXFSZ, as Python does."""
    before = []
    for pid in pids:
        with suppress(ProcessLookupError):
            before.append((pid, resource.prlimit(pid, resource.RLIMIT_FSIZE)))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, before[-1][1][1]))
    try:
        yield
    finally:
        for pid, limits in before:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
