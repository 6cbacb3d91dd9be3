"""The drill: a backup in the middle of things, everything lost, a restore into another Redis, the pictures."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import signal
import stat
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import redis

from src.jobs import Job, Ledger, Limits, Spec, State, Wake, keys, new_id, transitions
from src.jobs.ledger import script
from src.ops.backup import BackupError, backup, every, restore, verify
from src.settings import Settings, load_settings
from tests.conftest import RedisProcess
from tests.system import System, running


def settings_of(url: str) -> Settings:
    return load_settings(redis_url=url)


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
        assert max(await system.ledger.durations("kie", "nano-banana-2-1")) < 60


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
    assert made.keys == verify(file).keys == 3
    client.close()

    await restore(other, file)
    copy = redis.Redis.from_url(other.redis_url)
    assert sorted(copy.keys()) == [
        b"imagebot:blob:1",
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


@pytest.mark.parametrize("harm", ["cut", "flip", "other", "earlier", "gzip"])
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
    elif harm == "earlier":
        data = bytearray(gzip.compress(b'{"format": "imagebot-backup", "version": 1, "schema": 1}\n\0\0\0\1'))
    elif harm == "gzip":
        data = bytearray(gzip.compress(b"[1, 2]"))
    else:
        data = bytearray(b"no backup at all")
    file.write_bytes(data)
    with pytest.raises(BackupError) as refused:
        await restore(other, file)
    assert "\n" not in str(refused.value)
    copy = redis.Redis.from_url(other.redis_url)
    assert copy.dbsize() == 0
    copy.close()


async def test_a_backup_is_one_moment_while_others_write(two: Any, tmp_path: Path) -> None:
    """Jobs come, go on and end all the while: what is restored is the ledger as it stood at one moment."""
    one, other = two
    client, copy = (redis.Redis.from_url(s.redis_url, decode_responses=True) for s in two)
    finished(client, 1000)
    stop = threading.Event()
    writer = asyncio.create_task(asyncio.to_thread(_live, Ledger(sync_client=client), stop))
    try:
        async with asyncio.timeout(20):
            while int(client.hget("imagebot:counts", "delivered") or 0) < 20:
                await asyncio.sleep(0.01)
        for number in range(3):
            file = tmp_path / f"{number}.backup"
            made = await backup(one, file)
            restored = await restore(other, file, force=True)
            assert restored.jobs > 0
            _is_a_whole_ledger(copy, made.at)
    finally:
        stop.set()
        await writer
        copy.close()
        client.close()


async def test_an_update_whose_request_is_kept_stays_known(two: Any, tmp_path: Path) -> None:
    """Also of the moment's own ms, which here is any that is not over: else, told again, it would be asked for twice."""
    one, other = two
    client, copy = (redis.Redis.from_url(s.redis_url, decode_responses=True) for s in two)
    _admitted(Ledger(sync_client=client), 1)
    request = client.get(keys.UPDATE("u1"))
    client.hset(keys.REQUEST(request), "created", 10**15)
    await backup(one, tmp_path / "a.backup")
    await restore(other, tmp_path / "a.backup")
    assert copy.exists(keys.REQUEST(request))
    assert copy.get(keys.UPDATE("u1")) == request
    copy.close()
    client.close()


def finished(client: Any, count: int, first: int = 0) -> None:
    """Jobs that ended, each with its request."""
    with client.pipeline(transaction=False) as pipe:
        for n in range(first, first + count):
            job = {"state": "delivered", "told": 1, "created": n, "request": f"r{n}", "story": "x" * 300}
            pipe.hset(f"imagebot:job:j{n}", mapping=job)
            pipe.hset(f"imagebot:request:r{n}", mapping={"user": n % 50, "jobs": f"j{n}", "created": n})
            pipe.expire(f"imagebot:job:j{n}", 1000)
        pipe.execute()


def _admitted(ledger: Ledger, number: int) -> str:
    user = str(number % 7)
    jobs = [(Spec("a fox", "m", "1:1", int(user) + 1, "en"), Wake(new_id(), "kie", int(user)))]
    admit = transitions.admit(
        request=new_id(),
        user=user,
        provider="kie",
        cap=10**6,
        update=f"u{number}",
        jobs=jobs,
        limits=Limits(rate=10**6, window=60, active=10**6, waiting=10**6),
        deadline=600,
        ttl=3600,
    )
    assert ledger.run_sync(admit).accepted
    return jobs[0][1].job


def _live(ledger: Ledger, stop: threading.Event) -> None:
    """Jobs, each from an update of its own, go their way until told to stop; some dozens are open at any time."""
    number, waiting, running, ready = 0, deque[str](), deque[Job](), deque[Job]()

    def claimed(job: str, step: Any) -> Job:
        found = ledger.run_sync(transitions.claim(job, step, holder="w", lease=60))
        assert found is not None
        return found

    while not stop.wait(0.001):
        number += 1
        waiting.append(_admitted(ledger, number))
        if len(waiting) > 10:
            job = claimed(waiting.popleft(), "submit")
            ticket = {"provider": "kie", "external_id": job.id}
            ledger.run_sync(transitions.accepted(job.id, job.fence, ticket=ticket, after=60))
            running.append(job)
        if len(running) > 10:
            job = running.popleft()
            made = transitions.ready(job.id, job.fence, result={}, cap=10**6, model="m")
            ledger.run_sync(made)
            ready.append(job)
        if len(ready) > 10:
            job = claimed(ready.popleft().id, "deliver")
            ledger.run_sync(transitions.finish(job.id, job.fence, shown={"message": 1}, ttl=3600))


def _is_a_whole_ledger(copy: Any, at: int) -> None:
    """Whatever names a job or request names one that is there, and what is open is where it must be."""
    due = {id for id in copy.zrange("imagebot:due", 0, -1) if not id.startswith("r:")}
    jobs = {key.removeprefix("imagebot:job:"): copy.hgetall(key) for key in copy.scan_iter("imagebot:job:*")}
    requests = {key.removeprefix("imagebot:request:") for key in copy.scan_iter("imagebot:request:*")}
    assert due
    assert due == {id for id, job in jobs.items() if job["state"] != "delivered"}
    assert {id for user in range(7) for id in copy.zrange(f"imagebot:active:{user}", 0, -1)} == due
    assert copy.smembers("imagebot:slots:kie") == {
        id for id, job in jobs.items() if job["state"] in ("submitting", "running")
    }
    assert requests == {job["request"] for job in jobs.values()}
    # A history is cut now and then; what was admitted in the moment's own millisecond is not in the backup.
    for user in range(7):
        named = copy.zrangebyscore(f"imagebot:history:{user}", "-inf", at - 1)
        assert set(named) <= requests
    assert {copy.get(key) for key in copy.scan_iter("imagebot:update:*")} <= requests
    counts = {name: int(number) for name, number in copy.hgetall("imagebot:counts").items()}
    ours = [job for id, job in jobs.items() if not id.startswith("j")]
    assert counts["admitted"] == len(ours)
    assert counts["delivered"] == sum(job["state"] == "delivered" for job in ours)


@pytest.mark.parametrize(
    "jobs", [6_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
async def test_a_long_history_is_read_in_small_pieces(two: Any, tmp_path: Path, jobs: int) -> None:
    """However many jobs have ended, no command reads many of them, and no answer is large."""
    one, other = two
    client = redis.Redis.from_url(one.redis_url, decode_responses=True)
    for first in range(0, jobs, 2_000):
        finished(client, 2_000, first)
    client.config_resetstat()
    client.config_set("slowlog-log-slower-than", 100_000)
    made = await backup(one, tmp_path / "a.backup")
    seen = client.info("commandstats")
    assert made.keys >= 2 * jobs
    # The one script finds nothing open here; all the rest are commands for one key each, in pages.
    assert seen["cmdstat_eval"]["calls"] == 1
    assert seen["cmdstat_scan"]["calls"] > made.keys / 1000
    assert "cmdstat_keys" not in seen
    assert client.info("clients")["client_recent_max_output_buffer"] < 2_000_000
    if jobs > 100_000:
        assert client.slowlog_len() == 0
    assert (await restore(other, tmp_path / "a.backup")).keys == made.keys
    client.close()


async def test_payments_are_read_in_pages_as_they_were_at_the_moment(two: Any, tmp_path: Path) -> None:
    """There is one for each that ever was. What is paid or given back later is not in the balance of the moment either."""
    one, other = two
    client, copy = (redis.Redis.from_url(s.redis_url, decode_responses=True) for s in two)
    later = 10**6 * int(client.time()[0])
    row = {"user": "1", "stars": 50, "pictures": 10, "teller": "u", "at": 5}
    back = row | {"refunded": 6, "refunder": "r"}
    payments = {f"old {n}": row for n in range(3_000)} | {"given back": back}
    after = {"later": row | {"at": later}, "given back later": back | {"refunded": later}}
    client.hset(keys.PAYMENTS(), mapping={of: json.dumps(paid) for of, paid in (payments | after).items()})
    client.config_resetstat()
    await backup(one, tmp_path / "a.backup")
    assert client.info("commandstats")["cmdstat_hscan"]["calls"] > 5
    await restore(other, tmp_path / "a.backup")
    found = {of: json.loads(text) for of, text in copy.hgetall(keys.PAYMENTS()).items()}
    assert found == payments | {"given back later": row}
    copy.close()
    client.close()


async def test_a_payment_of_the_very_moment_is_in_it_whole_or_not_at_all(two: Any, tmp_path: Path) -> None:
    """Else it would be in the balance without a payment, and be found again and count twice; or the other way round."""
    one, other = two
    client, copy = (redis.Redis.from_url(s.redis_url, decode_responses=True) for s in two)
    paid, back = (client.script_load(script(name)) for name in ("paid", "refunded"))
    ended = threading.Event()

    def pay(first: int) -> None:
        pipe = client.pipeline(transaction=False)
        for number in range(first, first + 20):
            pipe.evalsha(paid, 1, keys.PREFIX, f"charge {number}", "1", 50, 10, "u", 0, "")
            pipe.evalsha(back, 1, keys.PREFIX, f"charge {number // 2}", "1", 50, "r")
        pipe.execute()

    def pay_on() -> None:
        for first in itertools.count(20, 20):
            if ended.is_set():
                return
            pay(first)

    pay(0)
    payer = threading.Thread(target=pay_on)
    payer.start()
    try:
        for number in range(5):
            await backup(one, tmp_path / f"{number}.backup")
    finally:
        ended.set()
        payer.join()
    for number in range(5):
        await restore(other, tmp_path / f"{number}.backup", force=True)
        rows = [json.loads(text) for text in copy.hvals(keys.PAYMENTS())]
        assert len(rows) == int(copy.hget(keys.TAKINGS(), "payments") or 0) > 0
        bought = sum(row["pictures"] for row in rows if "refunded" not in row)
        assert bought == int(copy.hget(keys.BALANCE(), "1") or 0)
    copy.close()
    client.close()


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
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.hget(keys.BACKUP(), "days") == "1"
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept[:2] == ["imagebot-20261113T000000Z.backup", "imagebot-20261114T000000Z.backup"]
    assert verify(tmp_path / kept[2]).keys == 0
    assert kept[3] == "mine.txt"
