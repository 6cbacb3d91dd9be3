"""The containers' health check as they run it: a process with an exit code."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from src.app import open_app
from src.ops.heartbeat import Vitals
from src.settings import load_settings
from tests.conftest import RedisProcess


def check(url: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run where no `.env` is, knowing only where Redis is."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "src.ops.healthcheck"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, "REDIS_URL": url},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_a_process_is_well_from_its_first_word_to_its_last(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path)
    server.start()
    try:
        assert "no process on" in check(server.url, tmp_path).stderr
        async with open_app(load_settings(redis_url=server.url)) as app:
            vitals = Vitals(app, "worker")
            await vitals.report()
            done = await asyncio.to_thread(check, server.url, tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
            await vitals.retire()
        assert check(server.url, tmp_path).returncode == 1
    finally:
        server.kill()
    done = check(server.url, tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "Redis: nothing listens at its address: check REDIS_URL"
