"""A process dies between the ledger's answer and the span: the ledger's note has another process write it, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from observability.spans import SpanRef, reserve_span
from src.jobs import Job, Ledger, Spec, State, Wake, keys, transitions
from src.jobs.transitions import Limits
from src.telemetry import job_spans
from src.telemetry.owed_spans import OwedSpans
from tests.observability.conftest import Recorded, recorded

__all__ = ["recorded"]

LIMITS = Limits(rate=100, window=60, active=100, waiting=100)
LOOKS = 6


@pytest_asyncio.fixture
async def ledger(
    redis_client: Any, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ledger]:
    monkeypatch.setattr(job_spans, "_tracer", recorded.tracer)
    yield Ledger(redis_client)


async def running(ledger: Ledger, recorded: Recorded, job_id: str = "j") -> Job:
    """A job whose generation runs."""
    with recorded.tracer.start_as_current_span("update message"):
        wake = Wake(job_id, "kie", 1, trace=str(reserve_span()))
    spec = Spec(prompt="a fox", model="m", aspect="1:1", chat=1, lang="en")
    await ledger.run(
        transitions.admit(
            request="r",
            user="1",
            provider="kie",
            cap=1,
            jobs=[(spec, wake)],
            limits=LIMITS,
            deadline=60,
            ttl=60,
        )
    )
    job = await ledger.run(transitions.claim(job_id, "submit", holder="h:1", lease=60))
    assert job is not None
    generation = job_spans.open_generation(job)
    accepted = transitions.accepted(
        job_id, job.fence, ticket={"external_id": "t"}, after=0, generation=generation
    )
    assert await ledger.run(accepted)
    ((row,), _) = await ledger.run(transitions.due(10, lease=60, holder="h:1"))
    assert row.job is not None
    return row.job


async def delivered(ledger: Ledger, job: Job) -> None:
    assert await ready(ledger, job)
    claimed = await ledger.run(transitions.claim(job.id, "deliver", holder="h:1", lease=60))
    assert claimed is not None
    done = await ledger.run(transitions.finish(job.id, claimed.fence, shown={"message": 1}, ttl=60))
    assert done.outcome == "delivered"


async def ready(ledger: Ledger, job: Job) -> bool:
    result = {"url": "https://example.com/1.png"}
    says = transitions.ready(job.id, job.fence, result=result, cap=1, model="m")
    return (await ledger.run(says))[0]


async def look(*finders: OwedSpans) -> None:
    for _ in range(LOOKS):
        for finder in finders:
            await finder.look()


async def test_of_a_dead_process_both_are_written_once(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    await delivered(ledger, job)
    await look(OwedSpans(ledger), OwedSpans(ledger))
    generation, whole = recorded.one("generate_content m"), recorded.one("job")
    ref = SpanRef.parse(job.generation)
    assert ref is not None
    assert generation.context.span_id == ref.span_id
    assert generation.parent.span_id == whole.context.span_id
    assert whole.attributes["imagebot.outcome"] == State.DELIVERED
    assert (whole.attributes["imagebot.tries"], whole.attributes["imagebot.deliveries"]) == (1, 1)
    assert generation.attributes["gen_ai.provider.name"] == "kie"
    assert whole.start_time <= generation.end_time <= whole.end_time
    assert not await ledger.client.exists(keys.OWED())


async def test_a_generation_that_came_to_nothing_keeps_its_error(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    assert await ledger.run(transitions.retry(job.id, job.fence, after=0, note="retry:upstream"))
    await look(OwedSpans(ledger))
    assert recorded.one("generate_content m").attributes["error.type"] == "upstream"


async def test_what_was_written_is_not_written_again(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    await delivered(ledger, job)
    job_spans.write_generation(job)
    job_spans.write_end(job, State.DELIVERED)
    mine = OwedSpans(ledger)
    mine.written(job.generation)
    mine.written(job.id)
    await look(mine, OwedSpans(ledger))
    assert len(recorded.all("job")) == len(recorded.all("generate_content m")) == 1


async def test_a_span_in_its_machines_spool_is_left_to_it(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    assert await ready(ledger, job)
    ref = SpanRef.parse(job.generation)
    assert ref is not None
    assert await ledger.run(transitions.lost(f"{ref.span_id:016x}", "disk"))
    await look(OwedSpans(ledger))
    assert not recorded.all("generate_content m")
    assert not await ledger.client.exists(keys.OWED())


async def test_while_its_process_is_at_it_nobody_else_writes(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    assert await ready(ledger, job)
    for _ in range(LOOKS):
        await OwedSpans(ledger).look()
    assert not recorded.all("generate_content m")
    assert await ledger.client.exists(keys.OWED())
