"""A container's health check: `python -m src.ops.healthcheck` ends with 0 while the process in here is well.

Well means that a process of this host said within 20 s that it runs, from its event loop and to Redis.
Whether the system as a whole works is the api's `/readyz` and `imagebot status`.
"""

from __future__ import annotations

import socket
import sys

from redis.exceptions import RedisError

from src.jobs import Ledger
from src.ops.heartbeat import parse_vitals
from src.settings import Settings, SettingsError, load_settings
from src.store.clients import make_sync_redis, trouble


def ailment(settings: Settings, host: str) -> str:
    """What is wrong with the processes of `host`; empty: nothing."""
    with make_sync_redis(settings) as redis:
        try:
            seconds, _ = redis.time()
            vitals, _ = parse_vitals(redis.hgetall(Ledger().key("vitals")), seconds * 1000)
        except RedisError as error:
            return f"Redis: {trouble(error)}"
    if any(vital.holder.rpartition(":")[0] == host for vital in vitals):
        return ""
    return f"no process on {host} said within 20 s that it runs"


def main() -> None:
    try:
        sys.exit(ailment(load_settings(), socket.gethostname()) or 0)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
