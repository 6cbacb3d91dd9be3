"""What all tests share: a real Redis process and settings that come from nowhere else."""

from __future__ import annotations

import tests.lazy_types  # noqa: F401  isort: skip
import functools
import gc
import os
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import structlog
from redis.asyncio import Redis

from src.local.redis_server import redis_server

_UP_SECONDS = 20.0


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Drawing a traceback in colours takes seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )


def pytest_collection_finish() -> None:
    # What was imported stays: going through it again and again takes a tenth of a run.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_trust_store() -> Iterator[None]:
    """aiogram reads the machine's certificates for each bot: a tenth of a second, in hundreds of tests."""
    once = SimpleNamespace(create_default_context=functools.cache(ssl.create_default_context))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("aiogram.client.session.aiohttp.ssl", once)
        yield


class RedisProcess:
    """A redis-server of the tests' own, on a Unix socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = Path(tempfile.mkdtemp(prefix="ib-")) / "r.sock"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        """Start it unless it runs: a second one would take the socket, and the first keep its clients and their data."""
        with self._lock:
            if self.process is None or self.process.poll() is not None:
                self._start()

    def _start(self) -> None:
        command = [redis_server(), "--port", "0", "--unixsocket", self.socket, "--dir", self.folder]
        command += ["--save", "", *(self.options or ("--appendonly", "no"))]
        # A full disk is an error to it (EFBIG), not a signal that kills: see tests/chaos/machine.py.
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, restore_signals=False)
        client = redis.Redis.from_url(self.url)
        until = time.monotonic() + _UP_SECONDS
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        client.close()

    def kill(self) -> None:
        with self._lock:
            if self.process is not None:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A developer's token or collector must not leak into the tests."""
    from src.settings import Settings

    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            del os.environ[name]
    os.environ["DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    # As `observability.setup` does in the system's own processes, before an instrumentation reads it for good.
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
    Settings.model_config["env_file"] = None


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis of this test's own, which it may stop."""
    server = RedisProcess(tmp_path)
    server.start()
    yield server
    os.kill(server.process.pid, signal.SIGCONT)
    server.kill()


@pytest.fixture
def redis_url(redis_process: RedisProcess) -> str:
    """The address of an empty Redis."""
    client = redis.Redis.from_url(redis_process.url)
    client.flushall()
    client.script_flush()
    client.close()
    return redis_process.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Any]:
    client = Redis.from_url(redis_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
def sync_redis(redis_url: str) -> Iterator[Any]:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    yield client
    client.close()
