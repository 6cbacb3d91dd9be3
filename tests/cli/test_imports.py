"""What is run often or waited for does not load what it does not need: aiogram alone takes seconds of CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("src.ops.healthcheck", {"aiogram", "redis", "pydantic"}),
        ("src.cli --help", {"aiogram", "dramatiq", "redis"}),
        ("src.cli jobs --help", {"aiogram", "redis"}),
        ("src.cli status", {"aiogram", "aiohttp", "dramatiq", "fastapi", "matplotlib"}),
        ("src.cli jobs list", {"aiogram", "fastapi", "matplotlib"}),
        ("src.api.app", {"aiogram", "matplotlib"}),
    ],
)
def test_a_command_loads_only_what_it_needs(
    command: str, without: set[str], redis_url: str, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *command.split()],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root),
            "REDIS_URL": redis_url,
            "TMPDIR": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "src" in loaded, done.stderr[-1000:]
    assert not loaded & without
