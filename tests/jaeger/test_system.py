"""The bot's own traces, through the real Collector into the real Jaeger, for every kind of end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from stack import Span, Stack, Trace

from src.jobs import Job, State
from src.sandbox.telegram import Person
from src.tracing import trace_id
from tests.system import System, running

pytestmark = [pytest.mark.jaeger, pytest.mark.asyncio(loop_scope="module")]

WITHIN = 10.0
# Clocks of two processes on one machine, and Jaeger's whole microseconds.
SLACK_US = 2_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    async with running(folder, OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp_endpoint, LEASE="2") as system:
        yield system


async def test_a_delivered_job(system: System, stack: Stack) -> None:
    ann = system.person()
    await ann.send_text("a red fox in snow")
    trace = await _trace(system, stack, await _ended(system, ann))
    (root,), (job,) = trace.roots, trace.named("job")
    assert root.name == "update message"
    assert job.parent == root.id
    assert {span.name for span in trace.children(root)} >= {"send submit", "sendMessage", "job"}
    (generation,) = [s for s in trace.children(job) if s.name.startswith("generate_content ")]
    assert {span.name for span in trace.children(generation)} == {"GET"}
    (submit,), (deliver,) = trace.named("process submit"), trace.named("process deliver")
    assert submit.parent == deliver.parent == job.id
    assert [span.name for span in trace.children(submit)] == ["POST"]
    assert {span.name for span in trace.children(deliver)} == {"GET", "editMessageMedia"}
    (sent,) = trace.named("send submit")
    assert sent.id in {span for _, span in submit.links}


async def test_a_refused_job(system: System, stack: Stack) -> None:
    ann = system.person()
    await ann.send_text("nsfw")
    trace = await _trace(system, stack, await _ended(system, ann))
    (job,) = trace.named("job")
    assert job.tags["imagebot.outcome"] == State.FAILED
    assert job.tags["otel.status_code"] == "ERROR"
    assert trace.named("editMessageText")


async def test_a_cancelled_job(system: System, stack: Stack) -> None:
    ann = system.person()
    await ann.send_text("#never")
    placeholder = await system.message(ann, lambda m: m.from_bot)
    await system.until(lambda: _is(system, ann, State.RUNNING))
    await (await ann.tap(placeholder, placeholder.buttons[0]["callback_data"])).answered()
    trace = await _trace(system, stack, await _ended(system, ann))
    assert trace.named("job")[0].tags["imagebot.outcome"] == State.CANCELLED


async def test_an_album(system: System, stack: Stack) -> None:
    ann = system.person()
    await system.ledger.choose(str(ann.id), count=2)
    await ann.send_text("two seasons")
    job = await _ended(system, ann)
    trace = await _trace(system, stack, job, jobs=2)
    assert len(trace.named("process deliver")) == 2


async def test_a_worker_lost_and_its_successor(system: System, stack: Stack) -> None:
    system.faults.add("hang", path="createTask", times=1)
    ann = system.person()
    await ann.send_text("a castle")
    await system.until(lambda: not system.faults.active)
    await system.killed("worker")
    await system.start_worker()
    trace = await _trace(system, stack, await _ended(system, ann))
    lost, second = sorted(trace.named("process submit"), key=lambda span: span.start)
    assert lost.tags["error.type"] == "process_lost"
    assert second.tags.get("otel.status_code") != "ERROR"
    assert trace.named("job")[0].tags["imagebot.outcome"] == State.DELIVERED, (await system.jobs_of(ann))[0]


async def test_a_job_that_failed_over(system: System, stack: Stack) -> None:
    system.faults.add("business", path="createTask", times=1, code=402, message="no credits")
    ann = system.person()
    await ann.send_text("a mill")
    job = await _ended(system, ann)
    assert job.provider == "openai"
    trace = await _trace(system, stack, job)
    first, second = sorted(trace.named("process submit"), key=lambda span: span.start)
    assert {first.parent, second.parent} == {trace.named("job")[0].id}
    assert "imagebot.failover" in {event["event"] for event in trace.named("job")[0].events}
    assert [s.name for s in trace.spans.values() if s.name.startswith("generate_content")] == [
        f"generate_content {job.spec.model}"
    ]


async def _ended(system: System, person: Person) -> Job:
    async def ended() -> Job | None:
        jobs = await system.jobs_of(person)
        return jobs[0] if jobs and all(job.ended for job in jobs) else None

    job: Job = await system.until(ended)
    return job


async def _is(system: System, person: Person, state: State) -> bool:
    jobs = await system.jobs_of(person)
    return bool(jobs) and jobs[0].state is state


async def _trace(system: System, stack: Stack, job: Job, *, jobs: int = 1) -> Trace:
    """The job's trace in Jaeger: whole, within ten seconds, and in order."""

    def whole(trace: Trace) -> bool:
        return len(trace.named("job")) == jobs and trace.whole

    trace = await asyncio.to_thread(stack.trace, trace_id(job), until=whole, timeout=WITHIN)
    assert trace.orphans == []
    for span in trace.spans.values():
        assert span.start <= span.end
        assert not span.warnings, span
        if span.parent is not None:
            assert span.start >= trace.spans[span.parent].start - SLACK_US, _story(trace, span)
    for ended in trace.named("job"):
        for child in trace.children(ended):
            assert child.end <= ended.end + SLACK_US or child.name == "process deliver", _story(trace, child)
    return trace


def _story(trace: Trace, span: Span) -> str:
    return f"{span.name} is out of order in\n{trace}"
