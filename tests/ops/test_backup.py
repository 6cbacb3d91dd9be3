"""The drill: a backup in the middle of things, everything lost, a restore into another Redis, the pictures."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from src.jobs import State
from src.ops.backup import BackupError, backup, every, restore, verify
from src.settings import Settings
from tests.conftest import RedisProcess
from tests.system import System, running


def settings_of(url: str) -> Settings:
    return Settings(redis_url=url)


async def _command(system: System, *words: str) -> None:
    env = {**os.environ, "REDIS_URL": system.redis_process.url}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "src.cli", *words, env=env)
    assert await process.wait() == 0


@pytest.mark.soak
async def test_a_lost_machine_costs_no_picture(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2", KIE_CONCURRENCY="2") as system:
        ann, bob = system.person("Ann"), system.person("Bob")
        await ann.send_text("a castle")
        await system.picture(ann)
        await system.ledger.choose(str(ann.id), lang="ru", aspect="16:9")
        for number in range(4):
            await bob.send_text(f"#slow tower {number}")
        running_now = [await _job(system, bob, State.RUNNING, 2), await _job(system, bob, State.WAITING, 2)]
        # What a worker did after the backup would rightly be done again: it does nothing until it is killed.
        system.kill("worker", signal.SIGSTOP)
        await _command(system, "backup", str(tmp_path / "one.backup"))

        await system.killed("bot")
        await system.killed("worker")
        system.redis_process.kill()
        old, system.redis_process = system.redis_process, RedisProcess(_folder(tmp_path / "new"))
        system.redis_process.start()
        await system.reconnect()
        assert old.url != system.redis_process.url
        await _command(system, "restore", str(tmp_path / "one.backup"))

        assert (await system.ledger.person(str(ann.id))).aspect == "16:9"
        assert len(await system.jobs_of(ann)) == 1
        assert running_now
        await system.start_worker("new worker")
        await system.start_bot("new bot")
        await system.until(lambda: _all_delivered(system, bob))
        # Each placeholder became its picture, and no other; saying it again after the restore shows no second one.
        pictures = [m for m in bob.messages if m.from_bot and m.has_photo]
        assert len(pictures) == 4
        for m in pictures:
            assert len({r.sha256 for r in m.revisions if r.method == "editMessageMedia"}) == 1
        assert sum(system.kie.audit.submits.values()) == 5
        # What a machine's absence took is not what a generation takes.
        assert max(await system.ledger.durations("kie", "google/nano-banana")) < 60


async def _job(system: System, person: Any, state: State, count: int) -> bool:
    async def look() -> bool:
        return sum(job.state is state for job in await system.jobs_of(person)) == count

    return bool(await system.until(look))


async def _all_delivered(system: System, person: Any) -> bool:
    return all(job.state is State.DELIVERED for job in await system.jobs_of(person))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _fill(client: Any) -> None:
    client.hset("imagebot:user:1", "lang", "ru")
    client.set("imagebot:update:7", "request", ex=1000)
    client.set("imagebot:blob:1", b"\x00\xff" * 1000, ex=500)
    client.lpush("imagebot:blobs", "1")
    client.rpush("imagebot:dramatiq:images", "message")
    client.set("imagebot:gate:telegram", "1")
    client.set("others", "key")


@pytest.fixture
def two(redis_url: str, tmp_path: Path) -> Any:
    server = RedisProcess(_folder(tmp_path / "two"))
    server.start()
    yield settings_of(redis_url), settings_of(server.url)
    server.kill()


async def test_keys_come_back_with_their_expiry_and_nothing_else(two: Any, tmp_path: Path) -> None:
    one, other = two
    client = redis.Redis.from_url(one.redis_url)
    _fill(client)
    file = tmp_path / "a.backup"
    made = await backup(one, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.keys == verify(file).keys == 4
    client.close()

    await restore(other, file)
    copy = redis.Redis.from_url(other.redis_url)
    assert sorted(copy.keys()) == [
        b"imagebot:blob:1",
        b"imagebot:blobs",
        b"imagebot:update:7",
        b"imagebot:user:1",
    ]
    assert copy.get("imagebot:blob:1") == b"\x00\xff" * 1000
    assert 900 < copy.ttl("imagebot:update:7") <= 1000
    with pytest.raises(BackupError, match="--force"):
        await restore(other, file)
    copy.set("imagebot:user:2", "later")
    await restore(other, file, force=True)
    assert not copy.exists("imagebot:user:2")
    copy.close()


@pytest.mark.parametrize("harm", ["cut", "flip", "other"])
async def test_a_damaged_file_changes_nothing(two: Any, tmp_path: Path, harm: str) -> None:
    one, other = two
    client = redis.Redis.from_url(one.redis_url)
    _fill(client)
    client.close()
    file = tmp_path / "a.backup"
    await backup(one, file)
    data = bytearray(file.read_bytes())
    if harm == "cut":
        data = data[: len(data) // 2]
    elif harm == "flip":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"no backup at all")
    file.write_bytes(data)
    with pytest.raises(BackupError):
        await restore(other, file)
    copy = redis.Redis.from_url(other.redis_url)
    assert copy.dbsize() == 0
    copy.close()


async def test_a_backup_is_one_moment_while_others_write(two: Any, tmp_path: Path) -> None:
    """Two keys that are only ever changed together are the same in every backup."""
    one, other = two
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, one.redis_url])
    copy, client = redis.Redis.from_url(other.redis_url), redis.Redis.from_url(one.redis_url)
    try:
        deadline = time.monotonic() + 20
        while not client.exists("imagebot:pair:a") and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        client.mset({f"imagebot:pad:{n}": n for n in range(2000)})
        for number in range(5):
            file = tmp_path / f"{number}.backup"
            await backup(one, file)
            await restore(other, file, force=True)
            assert copy.get("imagebot:pair:a") == copy.get("imagebot:zz:b") is not None
    finally:
        writer.kill()
        writer.wait()
        copy.close()
        client.close()


_WRITER = """
import redis, sys
client = redis.Redis.from_url(sys.argv[1])
number = 0
while True:
    number += 1
    client.mset({"imagebot:pair:a": number, "imagebot:zz:b": number})
"""


async def test_scheduled_backups_rotate(redis_url: str, tmp_path: Path) -> None:
    for day in range(10, 15):
        (tmp_path / f"imagebot-202611{day}T000000Z.backup").write_bytes(b"")
        os.utime(tmp_path / f"imagebot-202611{day}T000000Z.backup", (0, 0))
    (tmp_path / "mine.txt").write_text("stays")
    task = asyncio.create_task(every(settings_of(redis_url), tmp_path, 3600, keep=3))
    try:
        async with asyncio.timeout(40):
            while len(list(tmp_path.glob("*.backup"))) != 3:
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept[:2] == ["imagebot-20261113T000000Z.backup", "imagebot-20261114T000000Z.backup"]
    assert verify(tmp_path / kept[2]).keys == 0
    assert kept[3] == "mine.txt"
