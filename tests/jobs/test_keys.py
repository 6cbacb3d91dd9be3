"""The table of Redis's keys is true: of every key that there is, its type, and whether it has a lifetime."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image

import src
from src.jobs import Ledger, State, keys, transitions
from tests.jobs.recorded import record
from tests.jobs.states import CAP, admitted, wrong
from tests.system import System, running

_SCRIPTS = sorted(Path(src.__file__).parent.rglob("*.lua"))
_USED = re.compile(r"""(?:\bP|KEYS\[1\]) \.\. '([a-z]+)""")


def test_after_every_transition(sync_redis: Any) -> None:
    record(sync_redis)
    ledger = Ledger(sync_client=sync_redis)
    ledger.run_sync(transitions.hurry("kie", "unknown", remember=60))
    ledger.run_sync(transitions.lost("span", "step"))
    ledger.run_sync(transitions.due(10, lease=15, holder="worker"))
    assert wrong(sync_redis) == []


def test_a_name_with_too_few_or_too_many_parts_is_not_made() -> None:
    assert keys.JOB("a:b") == "imagebot:job:a:b"
    for key, parts in [(keys.JOB, ()), (keys.DUE, ("a",)), (keys.DIALOG, (1, 2, 3))]:
        with pytest.raises(TypeError, match="parts"):
            key(*parts)


def test_a_line_that_is_empty_knows_nobody(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    (first,) = admitted(ledger, "1", cap=0)
    second, third = admitted(ledger, "2", count=2, cap=0)
    assert sync_redis.hgetall(keys.TAGS("kie"))
    ledger.run_sync(transitions.release("kie", 1))
    assert sync_redis.hgetall(keys.TAGS("kie"))
    ledger.run_sync(transitions.cancel(second, "", cap=0))
    ledger.run_sync(transitions.cancel(third, "", cap=0))
    assert not sync_redis.exists(keys.TAGS("kie"))
    ledger.run_sync(transitions.cancel(first, "", cap=0))
    admitted(ledger, "3", cap=CAP)
    assert not sync_redis.exists(keys.TAGS("kie"))


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_at_its_top_which_keys_it_uses(script: Path) -> None:
    text = script.read_text("utf-8")
    used = set(_USED.findall(text)) | ({"job"} if "job_key(" in text else set())
    said = re.search(r"^-- Keys  (.*)$", text, re.MULTILINE)
    assert used == (set(said[1].split(", ")) if said else set())
    assert used <= keys.TABLE.keys()


async def test_a_used_system(tmp_path: Path) -> None:
    photo = BytesIO()
    Image.new("RGB", (640, 480), (200, 120, 40)).save(photo, "JPEG")
    async with running(tmp_path, LEASE="3", PROGRESS_INTERVAL="1") as system:
        album, edit, refused, cancelled = (system.person() for _ in range(4))
        await system.ledger.choose(str(album.id), count=4)
        await album.send_text("four seasons")
        await edit.send_photo(photo.getvalue(), "make it a watercolour")
        await refused.send_text("nsfw")
        await cancelled.send_text("#never a picture that takes for ever")
        placeholder = await system.message(cancelled, lambda m: m.from_bot and bool(m.buttons))
        (job,) = await system.jobs_of(cancelled)
        await system.until(lambda: _state(system, job.id, State.RUNNING))
        tap = await cancelled.tap(placeholder, placeholder.buttons[0]["callback_data"])
        await tap.answered()
        message = await system.picture(edit)
        for button in message.buttons[:3]:
            await edit.tap(message, button["callback_data"])
        for person in (album, edit, refused, cancelled):
            await system.until(lambda person=person: system.all_ended(person))
        await system.until(lambda: _settled(system))
        await edit.send_text("/create")
        await system.until(lambda: _in_dialog(system))
        with redis.Redis.from_url(system.redis_process.url, decode_responses=True) as client:
            assert wrong(client) == []
            words = {name.removeprefix(keys.PREFIX).partition(":")[0] for name in client.scan_iter()}
        assert {"job", "request", "heartbeats", "gate", "seen", "history", "counts", "dialog"} <= words


async def _state(system: System, job: str, state: State) -> bool:
    found = await system.ledger.job(job)
    return found is not None and found.state is state


async def _settled(system: System) -> bool:
    return int(await system.redis.zcard(keys.DUE())) == 0


async def _in_dialog(system: System) -> bool:
    return bool([name async for name in system.redis.scan_iter(f"{keys.DIALOG.prefix}:*")])
