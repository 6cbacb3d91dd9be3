"""A ledger kept as a file: recorded by one version of the code, to be read and finished by later ones.

`python -m tests.jobs.recorded` records the present version's; the files of earlier ones stay.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis

from src.jobs import Ledger, State, keys, transitions
from src.jobs.records import SCHEMA_VERSION
from tests.conftest import RedisProcess
from tests.jobs.states import admitted, in_state, told_of_failures

FOLDER = Path(__file__).parent.parent / "fixtures"
# Fields and scores that are moments; they move with the clock when a recording is loaded.
_MOMENTS = {"created", "deadline", "accepted", "ready", "released", "shown_at"}
_TIMED = ("due", "active:", "history:", "window:", "failed")


def record(client: Any) -> dict[str, Any]:
    """A ledger with jobs in every state, as plain data."""
    ledger = Ledger(sync_client=client)
    for state in State:
        in_state(ledger, state)
        in_state(ledger, state, held=True)
    told_of_failures(ledger)
    album = admitted(ledger, "2", count=4)
    request = client.hget(keys.JOB(album[0]), "request")
    ledger.run_sync(transitions.placed(request, [11, 12, 13, 14], 15))
    admitted(ledger, "3", cap=0)
    seconds, micros = client.time()
    found = {key: _value(client, key) for key in sorted(client.keys("imagebot:*"))}
    return {"version": SCHEMA_VERSION, "at": seconds * 1000 + micros // 1000, "keys": found}


def load(client: Any, recording: dict[str, Any]) -> None:
    """Put a recording into an empty Redis as if it had been made just now."""
    seconds, micros = client.time()
    later = seconds * 1000 + micros // 1000 - recording["at"]
    for key, (kind, value, ttl) in recording["keys"].items():
        name = key.removeprefix("imagebot:")
        if kind == "hash":
            moved = {k: str(int(v) + later) if k in _MOMENTS and v else v for k, v in value.items()}
            client.hset(key, mapping=moved if name.startswith(("job:", "request:")) else value)
        elif kind == "zset":
            by = later if name.startswith(_TIMED) else 0
            client.zadd(key, {member: score + by for member, score in value.items()})
        elif kind == "set":
            client.sadd(key, *value)
        elif kind == "list":
            client.rpush(key, *value)
        else:
            client.set(key, value)
        if ttl > 0:
            client.expire(key, ttl)


def read(version: int) -> dict[str, Any]:
    """The recording of a version of the records."""
    found: dict[str, Any] = json.loads((FOLDER / f"ledger-v{version}.json").read_text("utf-8"))
    return found


def _value(client: Any, key: str) -> list[Any]:
    kind = client.type(key)
    value: Any
    if kind == "hash":
        value = client.hgetall(key)
    elif kind == "zset":
        value = dict(client.zrange(key, 0, -1, withscores=True))
    elif kind == "set":
        value = sorted(client.smembers(key))
    elif kind == "list":
        value = client.lrange(key, 0, -1)
    else:
        value = client.get(key)
    return [kind, value, client.ttl(key)]


def _write() -> None:
    server = RedisProcess(Path(tempfile.mkdtemp()))
    server.start()
    try:
        recording = record(redis.Redis.from_url(server.url, decode_responses=True))
    finally:
        server.kill()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"ledger-v{SCHEMA_VERSION}.json"
    path.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{path.name}: {len(recording['keys'])} keys", file=sys.stderr)


if __name__ == "__main__":
    _write()
