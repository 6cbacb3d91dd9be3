"""The bot's own traces, through the real Collector into the real Jaeger, for every kind of end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from stack import Span, Stack, Trace

from src.jobs import Job, State
from src.sandbox.telegram import Person
from src.telemetry.job_spans import trace_id
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
    # On a slow machine a wake-up may come twice; the second finds nothing to do.
    steps = [s for s in trace.spans.values() if s.name.startswith("process ") and trace.children(s)]
    submit, deliver = sorted(steps, key=lambda span: span.start)
    assert submit.parent == deliver.parent == job.id
    assert [span.name for span in trace.children(submit)] == ["POST"]
    assert {span.name for span in trace.children(deliver)} == {"GET", "editMessageMedia"}
    sent = {span.id for span in trace.named("send submit")}
    assert {span for _, span in submit.links} <= sent
    assert submit.links


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
    # On a busy machine a wake-up may be sent again; what it then finds is done.
    showing = [span for span in trace.named("process deliver") if trace.children(span)]
    assert len(showing) == 2


async def test_a_worker_lost_and_its_successor(system: System, stack: Stack) -> None:
    system.faults.add("hang", path="createTask", times=1)
    ann = system.person()
    await ann.send_text("a castle")
    await system.until(lambda: not system.faults.active)
    await system.killed("worker")
    await system.start_worker()

    def tells_the_loss(trace: Trace) -> bool:
        return any(span.tags.get("error.type") == "process_lost" for span in trace.named("process submit"))

    trace = await _trace(system, stack, await _ended(system, ann), until=tells_the_loss)
    first, *others = sorted(trace.named("process submit"), key=lambda span: span.start)
    # From its claim to when its process was last heard of, or to the end of its lease.
    assert (first.tags["error.type"], first.tags["otel.status_code"]) == ("process_lost", "ERROR")
    assert others
    assert not [span for span in others if "otel.status_code" in span.tags]
    assert trace.named("job")[0].tags["imagebot.outcome"] == State.DELIVERED, (await system.jobs_of(ann))[0]


async def test_a_job_that_was_tried_again(system: System, stack: Stack) -> None:
    system.faults.add("500", path="createTask", times=1)
    ann = system.person()
    await ann.send_text("a harbour")
    trace = await _trace(system, stack, await _ended(system, ann))
    (job,) = trace.named("job")
    assert job.tags["imagebot.outcome"] == State.DELIVERED
    assert "otel.status_code" not in job.tags
    first, second = sorted(trace.named("process submit"), key=lambda span: span.start)
    assert (first.tags["otel.status_code"], first.tags["error.type"]) == ("ERROR", "upstream")
    assert [span.tags["http.response.status_code"] for span in trace.children(first)] == [500]
    assert "otel.status_code" not in second.tags
    assert "imagebot.retry" in _events(job)


async def test_jobs_that_met_a_limit(system: System, stack: Stack) -> None:
    system.faults.add("429", path="createTask", times=1, retry_after=2)
    ann, ben = system.person(), system.person()
    await ann.send_text("a bridge")

    async def put_off_herself() -> bool:
        return any("limited" in job.story for job in await system.jobs_of(ann))

    await system.until(put_off_herself)
    await ben.send_text("a tower")

    # The provider refused her; that closed the gate, at which his step was put off before it began.
    refused = await _trace(system, stack, await _ended(system, ann))
    (post, *_) = refused.named("POST")
    assert post.tags["http.response.status_code"] == 429
    put_off = await _trace(system, stack, await _ended(system, ben))
    steps = sorted(put_off.named("process submit"), key=lambda span: span.start)
    assert steps[0].tags["messaging.dramatiq.outcome"] == "skipped"
    assert [len(put_off.children(step)) for step in steps][-1] == 1
    for trace in (refused, put_off):
        (job,) = trace.named("job")
        assert "imagebot.limited" in _events(job)
        assert job.tags["imagebot.outcome"] == State.DELIVERED
        # A limit is no failure.
        assert not [step for step in trace.named("process submit") if "otel.status_code" in step.tags]


async def test_a_job_that_failed_over(system: System, stack: Stack) -> None:
    system.faults.add("business", path="createTask", times=1, code=402, message="no credits")
    ann = system.person()
    await ann.send_text("a mill")
    job = await _ended(system, ann)
    assert job.provider == "openai"
    trace = await _trace(system, stack, job)
    first, second = sorted(trace.named("process submit"), key=lambda span: span.start)
    assert {first.parent, second.parent} == {trace.named("job")[0].id}
    assert "imagebot.failover" in _events(trace.named("job")[0])
    assert [s.name for s in trace.spans.values() if s.name.startswith("generate_content")] == [
        f"generate_content {job.spec.model}"
    ]


def _events(span: Span) -> set[str]:
    return {event["event"] for event in span.events}


async def _ended(system: System, person: Person) -> Job:
    async def ended() -> Job | None:
        jobs = await system.jobs_of(person)
        return jobs[0] if jobs and all(job.ended for job in jobs) else None

    job: Job = await system.until(ended)
    return job


async def _is(system: System, person: Person, state: State) -> bool:
    jobs = await system.jobs_of(person)
    return bool(jobs) and jobs[0].state is state


async def _trace(
    system: System,
    stack: Stack,
    job: Job,
    *,
    jobs: int = 1,
    until: Callable[[Trace], bool] = lambda _: True,
) -> Trace:
    """The job's trace in Jaeger: whole, within ten seconds, and in order."""

    def whole(trace: Trace) -> bool:
        return len(trace.named("job")) == jobs and trace.whole and until(trace)

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
