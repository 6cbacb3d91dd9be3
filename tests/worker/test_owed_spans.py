"""A process dies between the ledger's answer and the span: the ledger's note has another process write it, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan

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


def said(span: ReadableSpan) -> dict[str, Any]:
    """All of a span but its end, which is the ledger's moment or the process's."""
    return {
        "name": span.name,
        "kind": span.kind,
        "ids": (span.context.trace_id, span.context.span_id, span.parent and span.parent.span_id),
        "start": span.start_time,
        "attributes": dict(span.attributes or {}),
        "status": (span.status.status_code, span.status.description),
        "events": [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events],
    }


FACTS = {
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.request.seed": 7,
    "imagebot.cost": 0.04,
    "imagebot.cost.unit": "USD",
    "gen_ai.usage.input_tokens": 12,
    "imagebot.polls": 1,
}
FAILED = {"error.type": "upstream", "imagebot.error.code": "500"}


@pytest.mark.parametrize("outcome", ["delivered", "failed", "cancelled", "retried", "failed over"])
async def test_both_say_what_the_living_process_would_have(
    ledger: Ledger, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr(job_spans, "_servers", {"kie": "api.kie.ai"})
    job, facts = await running(ledger, recorded), FACTS
    if outcome == "delivered":
        result = {"url": "https://example.com/1.png", "seed": 7, "cost": 0.04, "unit": "USD"}
        says = transitions.ready(job.id, job.fence, result=result, cap=1, model="m", facts=FACTS)
        assert (await ledger.run(says))[0]
    elif outcome == "failed":
        says_so = transitions.fail(job.id, job.fence, kind="upstream", code="500", cap=1, provider="kie")
        assert (await ledger.run(says_so)).done
    elif outcome == "cancelled":
        await ledger.run(transitions.cancel(job.id, "1", cap=1))
    elif outcome == "retried":
        assert await ledger.run(
            transitions.retry(job.id, job.fence, after=0, note="limited:kie", facts=FAILED)
        )
    else:
        moved = transitions.reroute(
            *(job.id, job.fence),
            spec=replace(job.spec, model="other"),
            wake=replace(job.wake, provider="openai"),
            cap=1,
            other_cap=1,
            facts=FAILED,
        )
        assert (await ledger.run(moved))[0]
    if outcome in ("retried", "failed over"):
        facts = FAILED
    if outcome in ("delivered", "retried", "failed over"):
        job_spans.write_generation(job, error=str(facts.get("error.type", "")), attributes=facts)
    if outcome in ("delivered", "failed", "cancelled"):
        claimed = await ledger.run(transitions.claim(job.id, "deliver", holder="h:1", lease=60))
        assert claimed is not None
        done = await ledger.run(transitions.finish(job.id, claimed.fence, shown={"message": 1}, ttl=60))
        assert done.outcome == outcome
        job_spans.write_end(claimed, done.outcome, seconds=done.seconds)
    living = {span.name: said(span) for span in recorded.all() if span.name != "update message"}
    recorded.exporter.clear()
    await look(OwedSpans(ledger))
    assert {span.name: said(span) for span in recorded.all()} == living
    assert living["generate_content m"]["attributes"]["gen_ai.response.id"] == "t"
    assert living["generate_content m"]["attributes"]["server.address"] == "api.kie.ai"
    assert not await ledger.client.exists(keys.OWED())


async def test_a_worker_that_dies_over_it_leaves_it_to_another(
    ledger: Ledger, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(ledger, recorded)
    await delivered(ledger, job)

    class Dies(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Dies

    with monkeypatch.context() as dying:
        dying.setattr(job_spans, "write_generation", die)
        dying.setattr(job_spans, "write_owed_end", die)
        for _ in range(2):
            with pytest.raises(Dies):
                await look(OwedSpans(ledger))
    await look(OwedSpans(ledger))
    assert recorded.all("job") == [], "while it may yet be at it"
    # A minute later.
    for note in await ledger.client.hkeys(keys.OWED()):
        assert 0 < await ledger.client.ttl(keys.OWING(note)) <= 60
        await ledger.client.delete(keys.OWING(note))
    await look(OwedSpans(ledger))
    assert len(recorded.all("job")) == len(recorded.all("generate_content m")) == 1


@pytest.mark.parametrize("note", ["[1]", "{}", "no JSON", '[1,"","","","x"]'])
async def test_a_note_that_nobody_can_read_is_no_obstacle(
    ledger: Ledger, recorded: Recorded, note: str
) -> None:
    job = await running(ledger, recorded)
    await delivered(ledger, job)
    other = await running(ledger, recorded, "k")
    await ledger.client.hset(keys.OWED(), other.id, note)
    await look(OwedSpans(ledger))
    assert recorded.one("job").attributes["imagebot.job.id"] == job.id
    assert not await ledger.client.exists(keys.OWED())


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


async def test_a_span_whose_note_has_gone_meanwhile_stays_its_writer_s(
    ledger: Ledger, recorded: Recorded
) -> None:
    """Who has written it may die before it is sent: its machine's spool has it then."""
    job = await running(ledger, recorded)
    ref = SpanRef.parse(job.generation)
    assert ref is not None
    await OwedSpans(ledger)._write(job.generation)
    assert await ledger.run(transitions.lost(f"{ref.span_id:016x}", "disk"))
    assert not recorded.all("generate_content m")


async def test_while_its_process_is_at_it_nobody_else_writes(ledger: Ledger, recorded: Recorded) -> None:
    job = await running(ledger, recorded)
    assert await ready(ledger, job)
    for _ in range(LOOKS):
        await OwedSpans(ledger).look()
    assert not recorded.all("generate_content m")
    assert await ledger.client.exists(keys.OWED())
