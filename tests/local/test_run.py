"""`imagebot run` on one machine: one at a time on a data folder, and its operator finds it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from src.local.demo import start_api_when_asked, start_redis
from src.local.folders import FolderInUse, NoFolder, held
from src.local.redis_server import NoRedis, found
from src.local.supervisor import Part, PartDied, Supervisor
from src.settings import SettingsError, load_settings

ROOT = Path(__file__).parents[2]
UP_SECONDS = 90


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A bot whose Telegram answers nothing: that is not what is looked at."""
    (tmp_path / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests/lazily",
        "TMPDIR": str(tmp_path / "tmp"),
        "ENV_FILE": "",
        "DATA_DIR": str(tmp_path / "data"),
        "TELEGRAM_TOKEN": "123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "TELEGRAM_API_URL": "http://127.0.0.1:9",
        "KIE_API_KEY": "none",
        "KIE_BASE_URL": "http://127.0.0.1:9",
    }


def imagebot(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "src.cli", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=UP_SECONDS, check=False)


@pytest.fixture
def run(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A running `imagebot run`, once its bot has said that it runs."""
    process = subprocess.Popen([sys.executable, "-m", "src.cli", "run"], env=env, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if b"bot started" in line:
            break
    else:
        pytest.fail(said.decode())
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=UP_SECONDS)


def test_an_operator_finds_it_and_a_second_one_is_refused(
    run: subprocess.Popen[bytes], env: dict[str, str], tmp_path: Path
) -> None:
    second = imagebot("run", env=env)
    assert second.returncode == os.EX_TEMPFAIL
    (line,) = second.stderr.splitlines()
    assert "is in use by" in line
    figures = imagebot("status", "--json", env=env)
    assert json.loads(figures.stdout)["processes"]
    assert imagebot("jobs", "list", env=env).returncode == 0
    made = imagebot("backup", str(tmp_path / "1.backup"), env=env)
    assert (made.returncode, (tmp_path / "1.backup").exists()) == (0, True), made.stderr
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=UP_SECONDS)
    assert list((tmp_path / "tmp").glob("imagebot-*/")) == []
    gone = imagebot("status", env=env)
    assert gone.returncode == os.EX_UNAVAILABLE
    assert "REDIS_URL" in gone.stderr


async def test_a_redis_outlives_its_starter_and_keeps_its_folder(tmp_path: Path) -> None:
    first, second = (Supervisor(logs=tmp_path / "logs", say=print) for _ in range(2))
    try:
        await start_redis(first, tmp_path)
        # As if its starter had been killed: the starter's own hold on the folder is gone.
        first.until_stopped.close()
        with pytest.raises(FolderInUse):
            await start_redis(second, tmp_path)
        await first.stop()
        client = redis.Redis.from_url(await start_redis(second, tmp_path))
        assert client.ping()
        client.close()
    finally:
        await asyncio.gather(first.stop(), second.stop())


async def test_what_another_redis_wrote_is_told(tmp_path: Path) -> None:
    """As after `apt install redis-server`, which is older than the wheel's."""
    folder = tmp_path / "redis/appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.1.base.rdb").write_bytes(b"REDIS9999")
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    supervisor = Supervisor(logs=tmp_path / "logs", say=print)
    try:
        with pytest.raises(NoRedis, match="cannot read what another Redis or Valkey has written"):
            await start_redis(supervisor, tmp_path)
    finally:
        await supervisor.stop()


@pytest.mark.parametrize("name", ["d" * 100, "Мой бот #1", "100%41?", "a'b\"c", "\udcff"])
async def test_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path too long for a socket leaves no folder behind."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    data = tmp_path / name
    supervisor = Supervisor(logs=tmp_path / "logs", say=print)
    try:
        address = await start_redis(supervisor, data)
        assert found(load_settings(data_dir=data)).redis_url == address
        client = redis.Redis.from_url(address)
        assert client.ping()
        client.close()
    finally:
        await supervisor.stop()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoFolder, match="cannot be made"), held(tmp_path / "file" / "data", "a test"):
        pass


def test_a_disk_without_locks_is_not_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(NoFolder, match="knows no locks"), held(tmp_path, "a test"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
async def test_a_full_disk_stops_no_part_and_is_told(tmp_path: Path) -> None:
    """What a part says is lost there; that its last words are not written stays no secret."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/talker.log").symlink_to("/dev/full")
    done = tmp_path / "done"
    # More than a pipe holds, which is where a part stands still when nobody reads it.
    says = (
        f"[print('x' * 99) for _ in range(10_000)]; open({str(done)!r}, 'w'); print('No space left'); 1 / 0"
    )
    supervisor = Supervisor(logs=tmp_path / "logs", say=print)
    try:
        await supervisor.start(Part("talker", [sys.executable, "-c", says], restart=False))
        with pytest.raises(PartDied, match=r"(?s)talker ended with exit code 1.*No space left"):
            await supervisor.during(asyncio.sleep(60))
        assert done.exists()
    finally:
        await supervisor.stop()


async def test_parts_end_side_by_side_and_last_what_serves_them(tmp_path: Path) -> None:
    # Each of the two waits for the other's end; the one that serves them tells whether they are gone.
    waits = (
        "import pathlib, signal, sys, time; own, other, told = map(pathlib.Path, sys.argv[1:]); "
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "try:\n told.touch()\n signal.pause()\n"
        "finally:\n own.touch()\n while not other.exists(): time.sleep(0.01)\n own.with_suffix('.ended').touch()"
    )
    supervisor = Supervisor(logs=tmp_path / "logs", say=pytest.fail)

    async def there(*names: str) -> None:
        async with asyncio.timeout(UP_SECONDS):
            while not all((tmp_path / name).exists() for name in names):
                await asyncio.sleep(0.01)

    def part(name: str, other: str, *, serves: bool = False) -> Part:
        paths = [str(tmp_path / one) for one in (name, other, f"{name} is up")]
        command = [sys.executable, "-c", waits, *paths]
        return Part(name, command, ready=lambda: there(f"{name} is up"), grace=UP_SECONDS, serves=serves)

    await supervisor.start(part("redis", "one", serves=True))
    await supervisor.start(part("one", "two"))
    await supervisor.start(part("two", "one"))
    await supervisor.stop()
    ends = [(tmp_path / f"{name}.ended").stat().st_mtime_ns for name in ("one", "two", "redis")]
    assert max(ends) == ends[2]


async def test_a_wrong_setting_ends_all_with_its_own_line(env: dict[str, str], tmp_path: Path) -> None:
    """Started again it would end so for ever."""
    supervisor = Supervisor(logs=tmp_path / "logs", say=pytest.fail)
    wrong = env | {"REDIS_URL": "redis://127.0.0.1:9", "RATE_LIMIT": "x", "JOB_TTL_DAYS": "0"}
    command = [sys.executable, "-m", "dramatiq", "src.actors", "--processes", "1", "--threads", "1"]
    try:
        await supervisor.start(Part("worker", command, wrong))
        with pytest.raises(SettingsError) as ended:
            await supervisor.during(asyncio.sleep(UP_SECONDS))
    finally:
        await supervisor.stop()
    first, *wrong_ones = str(ended.value).splitlines()
    assert first == "Settings that need mending:"
    assert {line.split(":")[0] for line in wrong_ones} == {"  RATE_LIMIT", "  JOB_TTL_DAYS"}
    assert ended.value.exit_code == os.EX_CONFIG


async def test_the_api_starts_when_somebody_asks_for_it(env: dict[str, str], tmp_path: Path) -> None:
    supervisor = Supervisor(logs=tmp_path / "logs", say=pytest.fail)
    listener = supervisor.until_stopped.enter_context(socket.create_server(("127.0.0.1", 0)))
    try:
        address = await start_redis(supervisor, tmp_path)
        starting = asyncio.create_task(
            start_api_when_asked(supervisor, listener, env | {"REDIS_URL": address})
        )
        url = "http://{}:{}/app".format(*listener.getsockname())
        async with httpx.AsyncClient(trust_env=False, timeout=UP_SECONDS) as client:
            assert set(supervisor.pids()) == {"redis"}
            page = await client.get(url)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "api" in supervisor.pids()
        await starting
    finally:
        await supervisor.stop()
