"""What a job costs Redis: the commands of its steps, those that scripts make included."""

from __future__ import annotations

from typing import Any

from src.jobs import Job, Ledger, keys, transitions
from src.limits import Limiter, provider_gates, telegram_gates
from src.settings import load_settings
from tests.jobs.states import admitted, claimed

_OWN = {"info", "hello", "client|setinfo", "client|setname", "select"}


def _commands(client: Any) -> int:
    found = client.info("commandstats")
    return sum(v["calls"] for name, v in found.items() if name.removeprefix("cmdstat_") not in _OWN)


async def _a_job(client: Any, limiter: Limiter) -> None:
    """From the order to the picture in the chat, with two polls that find it unfinished."""
    ledger, settings = Ledger(sync_client=client), load_settings()
    (job,) = admitted(ledger)
    request = client.hget(keys.JOB(job), "request")
    ledger.run_sync(transitions.placed(request, [1]))
    assert await limiter.take(provider_gates(settings, "kie")) is None
    fence = claimed(ledger, job, "submit").fence
    ledger.run_sync(
        transitions.accepted(job, fence, ticket={"external_id": "x"}, after=0, generation="", callback=False)
    )
    polled = [_due(ledger)]
    for _ in range(2):
        ledger.run_sync(transitions.polled([transitions.GoesOn(job, polled[-1].fence, 0.0, None, 3)]))
        polled.append(_due(ledger))
    result = {"url": "https://a/b.png"}
    ready = transitions.ready(job, polled[-1].fence, result=result, cap=9, model="m")
    assert ledger.run_sync(ready)[0]
    assert await limiter.take(telegram_gates(settings, 1)) is None
    fence = claimed(ledger, job, "deliver").fence
    assert (
        ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=60)).outcome == "delivered"
    )


def _due(ledger: Ledger) -> Job:
    rows, _ = ledger.run_sync(transitions.due(10, lease=15, holder="worker"))
    (job,) = [row.job for row in rows if row.job is not None]
    return job


async def test_a_job_takes_few_commands(sync_redis: Any, redis_client: Any) -> None:
    limiter = Limiter(redis_client)
    await _a_job(sync_redis, limiter)  # the scripts become known, and the gates' hashes are there
    before = _commands(sync_redis)
    await _a_job(sync_redis, limiter)
    made = _commands(sync_redis) - before
    # 126, one where the person's history is cut, one where the durations are kept for longer, one where an hour begins.
    assert made <= 129, made
