"""compose/backup.sh and restore.sh with a real Redis: what was saved comes back, and nothing is overwritten."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import RedisProcess

FOLDER = Path(__file__).parents[2] / "compose"
KEPT = ("--appendonly", "yes", "--repl-diskless-sync-delay", "0")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("redis-cli", "redis-check-rdb"))), reason="needs Redis's tools on PATH"
)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[RedisProcess]:
    (tmp_path / "full").mkdir()
    server = RedisProcess(tmp_path / "full", *KEPT)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.hset("job", mapping={"state": "running"})
        client.set("short", "lived", ex=1000)
    yield server
    server.kill()


def backup(server: RedisProcess, to: Path, *, keep: int = 9) -> subprocess.CompletedProcess[str]:
    """Run the script once; `redis-cli` is told of the test's socket by a wrapper of its own."""
    wrapper = to.parent / "bin"
    wrapper.mkdir(exist_ok=True)
    (wrapper / "redis-cli").write_text(
        f'#!/bin/sh\nshift 4\nexec {shutil.which("redis-cli")} -s {server.socket} "$@"\n'
    )
    (wrapper / "redis-cli").chmod(0o755)
    return subprocess.run(
        ["sh", FOLDER / "backup.sh", to, "0", str(keep)],
        env={"PATH": f"{wrapper}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def restore(file: Path, to: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", FOLDER / "restore.sh", file, to], capture_output=True, text=True, timeout=60)


def test_what_was_saved_comes_back(full: RedisProcess, tmp_path: Path) -> None:
    done = backup(full, tmp_path / "backups")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "backups").glob("imagebot-*.rdb")
    empty = tmp_path / "empty"
    empty.mkdir()
    done = restore(file, empty)
    assert done.returncode == 0, done.stderr
    server = RedisProcess(empty, *KEPT)
    for _ in range(2):  # a second time from the files Redis wrote itself
        server.start()
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            assert client.hgetall("job") == {"state": "running"}
            assert 0 < client.ttl("short") <= 1000
        server.kill()


def test_old_backups_go(full: RedisProcess, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    old = [folder / f"imagebot-2020010{day}T000000Z.rdb" for day in (1, 2, 3)]
    for file in (*old, folder / "other.txt"):
        file.touch()
    assert backup(full, folder, keep=2).returncode == 0
    assert not old[0].exists()
    assert not old[1].exists()
    assert old[2].exists()
    assert (folder / "other.txt").exists()


def test_a_failed_backup_removes_and_leaves_nothing(full: RedisProcess, tmp_path: Path) -> None:
    full.kill()
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / "imagebot-20200101T000000Z.rdb"
    old.touch()
    assert backup(full, folder, keep=1).returncode != 0
    assert sorted(folder.glob("imagebot-*")) == [old]


def test_neither_data_nor_a_torn_file_is_taken_for_empty(full: RedisProcess, tmp_path: Path) -> None:
    assert backup(full, tmp_path / "backups").returncode == 0
    (file,) = (tmp_path / "backups").glob("imagebot-*.rdb")
    assert "has data" in restore(file, full.folder).stderr
    file.write_bytes(file.read_bytes()[:-20])
    (tmp_path / "empty").mkdir()
    assert "not a whole backup" in restore(file, tmp_path / "empty").stderr
    assert list((tmp_path / "empty").iterdir()) == []
