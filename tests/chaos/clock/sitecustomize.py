"""Imported by Python when it starts, where this folder is in PYTHONPATH: a wall clock that can be set.

It is wrong by as many seconds as stand in the file CLOCK_FILE. `time.monotonic` goes on as ever, as it does
when a machine's clock is set. (libfaketime cannot do it: Python's `time.sleep` fails under it.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CLOCK_FILE"])
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic
_EVERY = 0.05

_read_at = 0.0
_wrong_by = 0


def _error() -> int:
    global _read_at, _wrong_by
    if (now := _monotonic()) - _read_at > _EVERY:
        _read_at = now
        _wrong_by = int(_FILE.read_text())
    return _wrong_by


time.time = lambda: _time() + _error()
time.time_ns = lambda: _time_ns() + _error() * 1_000_000_000
