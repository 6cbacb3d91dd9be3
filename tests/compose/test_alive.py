"""The containers' health check as they run it: a process with an exit code, which costs no more than its start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.app import open_app
from src.ops.heartbeat import Heartbeat, file_of
from src.settings import load_settings
from tests.conftest import RedisProcess


def check(folder: Path) -> str:
    """Its words, empty when all is well; run where no `.env` is, without any setting."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "src.ops.healthcheck"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, "TMPDIR": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The container's /tmp: this machine's own belongs to the processes of other tests, too."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


async def test_a_process_is_well_from_its_first_word_to_its_last(tmp_path: Path, folder: Path) -> None:
    server = RedisProcess(tmp_path)
    server.start()
    try:
        assert "no process in here" in check(folder)
        async with open_app(load_settings(redis_url=server.url)) as app:
            heartbeat = Heartbeat(app, "worker")
            await heartbeat.beat()
            assert check(folder) == ""
            os.utime(file_of("worker"), (0, 0))
            assert "no process in here" in check(folder)
            server.kill()
            await heartbeat.beat()
            assert check(folder) == "Redis: nothing listens at its address: check REDIS_URL"
            server.start()
            await heartbeat.beat()
            assert check(folder) == ""
            await heartbeat.retire()
        assert "no process in here" in check(folder)
    finally:
        server.kill()
