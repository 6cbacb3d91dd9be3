"""The loop of the processes: uvloop where there is one, asyncio's own else."""

from __future__ import annotations

import asyncio
import importlib
import sys

import pytest

from src.worker import loop


async def _kind() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_runs_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert loop.run(_kind()) == "uvloop"


def test_without_uvloop_asyncio_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    try:
        importlib.reload(loop)
        assert loop.run(_kind()).startswith("asyncio")
    finally:
        monkeypatch.undo()
        importlib.reload(loop)
