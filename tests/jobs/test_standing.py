"""How requests stand: themselves, their jobs and their places, in one look."""

from __future__ import annotations

from typing import Any

from src.jobs import Ledger, State, keys, transitions
from tests.jobs.states import admitted


async def test_what_waits_has_a_place_and_the_rest_has_none(redis_client: Any, sync_redis: Any) -> None:
    ledger = Ledger(redis_client, sync_redis)
    first = admitted(ledger, "1", count=3, cap=2)
    second = admitted(ledger, "2", cap=2)
    requests = [sync_redis.hget(keys.JOB(jobs[0]), "request") for jobs in (second, first)]
    one, two = await ledger.standings([requests[0], "never", requests[1]])
    assert (one.request, two.request) == (
        await ledger.request(requests[0]),
        await ledger.request(requests[1]),
    )
    assert list(one.jobs) == await ledger.jobs(second)
    assert list(two.jobs) == await ledger.jobs(first)
    assert [job.state for job in two.jobs] == [State.SUBMITTING, State.SUBMITTING, State.WAITING]
    assert one.lines.running == two.lines.running == {"kie": 2}
    places = {**one.lines.places, **two.lines.places}
    assert {job: places.get(job) for job in first[:2]} == dict.fromkeys(first[:2])
    line = await ledger.line("kie")
    assert {line.index(job): job for job in (first[2], *second)} == {places[job]: job for job in line}
    assert 0 <= await ledger.now() - one.lines.now < 60_000


async def test_nothing_is_read_of_what_is_not_there(redis_client: Any) -> None:
    ledger = Ledger(redis_client)
    assert await ledger.standings([]) == []
    assert await ledger.standing("never") is None


async def test_what_the_placeholder_says_is_kept_with_its_messages(
    redis_client: Any, sync_redis: Any
) -> None:
    ledger = Ledger(redis_client, sync_redis)
    (job,) = admitted(ledger)
    number = sync_redis.hget(keys.JOB(job), "request")
    assert (await ledger.run(transitions.placed(number, [7], 8, shown="making 5-10", eta=7.5))).ours
    request = await ledger.request(number)
    assert request is not None
    assert (request.messages, request.status_message) == ((7,), 8)
    assert (request.shown, request.eta) == ("making 5-10", 7.5)
    assert 0 <= await ledger.now() - request.shown_at < 60_000
    late = await ledger.run(transitions.placed(number, [9], None, shown="sending", eta=1.0))
    assert (late.ours, late.messages, late.status_message) == (False, (7,), 8)
    assert await ledger.request(number) == request
