"""The `tool` fixture: a program the configurations are checked with, or a skip that says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Tool = Callable[..., str]


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """`tool(name)`: the path of a program that tests/jaeger/build.sh made; of promtool, else one on PATH.

    Debian's promtool will do (package prometheus); its Alertmanager is too old for the configuration.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    tools = Path(os.environ.get("IMAGEBOT_TOOLS") or f"{cache}/imagebot-tools").expanduser()

    def find(name: str) -> str:
        found = shutil.which(name, path=tools) or (shutil.which(name) if name == "promtool" else None)
        if found is None:
            pytest.skip(f"{name} not found: run tests/jaeger/build.sh")
        return found

    return find


@pytest.fixture(scope="session")
def check(tool: Callable[[str], str]) -> Tool:
    """`check(program, *arguments)`: what it printed; fails with that if it was not content."""

    def run(name: str, *arguments: str | Path) -> str:
        done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, timeout=60)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return output

    return run
