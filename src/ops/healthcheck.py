"""A container's health check: `python -m src.ops.healthcheck` exits with 0 while a process in here is healthy.

Healthy means that a process of this container reached Redis from its event loop within the last 15 s.
It only reads the file that the heartbeat writes: it runs every half minute, so it must cost nothing. Whether the
system as a whole works is the api's `/readyz` and `imagebot status`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from src.ops.thresholds import ALIVE_SECONDS


def ailment() -> str:
    """What is wrong with the processes of this container; empty when healthy."""
    now = time.time()
    files = Path(tempfile.gettempdir()).glob("imagebot-*.heartbeat")
    said = [file.read_text() for file in files if now - file.stat().st_mtime <= ALIVE_SECONDS]
    return min(said, default=f"no process in here said within {ALIVE_SECONDS:.0f} s that it runs")


if __name__ == "__main__":
    sys.exit(ailment() or 0)
