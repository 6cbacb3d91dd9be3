"""Processes of the program, each a fork of one that has imported the libraries and nothing of ours.

Importing them is most of what a process does in a test that lasts seconds.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context, set_start_method
from pathlib import Path

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.types_in_use",
        "aiogram.filters.callback_data",
        "aiogram.fsm.storage.redis",
        "aiogram.utils.formatting",
        "aiohttp_socks",
        "dramatiq",
        "dramatiq.brokers.redis",
        "dramatiq.cli",
        "dramatiq.middleware.asyncio",
        "fluent.runtime",
        "httpx",
        "httpx_aiohttp",
        "opentelemetry.exporter.otlp.proto.http._log_exporter",
        "opentelemetry.exporter.otlp.proto.http.metric_exporter",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.instrumentation.httpx",
        "opentelemetry.instrumentation.logging",
        "obstore",
        "PIL.ImageCms",
        "PIL.ImageDraw",
        "PIL.ImageFilter",
        "PIL.ImageFont",
        "PIL.ImageOps",
        "pillow_heif",
        "pydantic_settings",
        "redis.asyncio",
        "requests",
        "structlog",
        "tomllib",
        "typer",
        "uvloop",
    ]
)


class Forked:
    """`python -m MODULE ARGUMENTS` in a session of its own; what it prints is appended to `log`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_become, args=(command, dict(env), log), name=command[0])
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _become(command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
    os.setsid()
    # Else a part that starts processes starts a server of forks for them, with all its imports.
    set_start_method(None, force=True)
    os.environ.clear()
    os.environ.update(env)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(out, number)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module, *arguments = command
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without
