"""The OTLP receiver and what it tells about a trace, over its real address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

from observability.spans import PinnableIdGenerator, attached, context_of, reserve_span, write_span
from src.sandbox.traces import TraceSandbox, is_finished, orphans


class Receiver:
    def __init__(self, max_traces: int) -> None:
        self.sandbox = TraceSandbox(max_traces=max_traces)
        self.url = ""
        self.http: ClientSession


@pytest.fixture
async def receiver(request: pytest.FixtureRequest) -> AsyncIterator[Receiver]:
    receiver = Receiver(getattr(request, "param", 100))
    app = web.Application(client_max_size=1)  # the application's own limit must not bind the receiver
    receiver.sandbox.add_to(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession(receiver.url) as receiver.http:
        yield receiver
    await runner.cleanup()


def program(receiver: Receiver, service: str = "bot") -> TracerProvider:
    """A program that sends each span at once, packed."""
    exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces", compression=Compression.Gzip)
    provider = TracerProvider(
        resource=Resource({"service.name": service, "host.name": "here"}),
        id_generator=PinnableIdGenerator(),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def one_job(receiver: Receiver) -> str:
    """Export the trace of a job that failed on the way; its id."""
    tracer = program(receiver).get_tracer("test")
    with tracer.start_as_current_span(
        "update message", kind=SpanKind.SERVER, attributes={"telegram.update.id": 41}
    ) as update:
        job = reserve_span()
        producer = tracer.start_span("send submit", kind=SpanKind.PRODUCER)
        producer.end()
    with attached(context_of(job)):
        link = Link(producer.get_span_context())
        worker = program(receiver, "worker").get_tracer("test")
        consumer = worker.start_span("process submit", kind=SpanKind.CONSUMER, links=[link])
        worker.start_span("POST", set_span_in_context(consumer), SpanKind.CLIENT, {"tags": ["a", "b"]}).end()
        consumer.add_event("limited", {"gate": "x"})
        consumer.set_status(Status(StatusCode.ERROR, "refused"))
        consumer.end()
    write_span(job, "job", attributes={"ok": True, "cost": 0.5, "polls": 3}, tracer=tracer)
    return f"{update.get_span_context().trace_id:032x}"


async def test_a_trace_is_found_by_its_id_and_its_update(receiver: Receiver) -> None:
    trace_id = await asyncio.to_thread(one_job, receiver)
    by_id = await (await receiver.http.get(f"/traces/api/{trace_id}")).json()
    by_update = await (await receiver.http.get("/traces/api/by-update/41")).json()
    recent = await (await receiver.http.get("/traces/api/recent")).json()
    assert by_id == by_update
    assert receiver.sandbox.trace_of_update(41) == trace_id
    assert by_id["finished"]
    assert by_id["orphans"] == []
    assert by_id["errors"] == 1
    assert by_id["services"] == ["bot", "worker"]
    assert recent["traces"] == [{key: value for key, value in by_id.items() if key != "spans"}]
    spans = {span["name"]: span for span in by_id["spans"]}
    assert list(spans) == ["update message", "job", "send submit", "process submit", "POST"]
    assert spans["update message"]["start_ms"] == 0
    assert spans["process submit"]["parent_id"] == spans["job"]["span_id"]
    assert spans["process submit"]["links"] == [spans["send submit"]["span_id"]]
    assert spans["process submit"]["events"][0]["attributes"] == {"gate": "x"}
    assert spans["POST"]["attributes"] == {"tags": ["a", "b"]}
    assert spans["job"]["attributes"] == {"ok": True, "cost": 0.5, "polls": 3}


async def test_a_trace_in_the_making_is_seen_as_such(receiver: Receiver) -> None:
    trace_id = await asyncio.to_thread(one_job, receiver)
    whole = receiver.sandbox.trace(trace_id)
    assert is_finished(whole)
    assert orphans(whole) == []
    without_job = [span for span in whole if span.name != "job"]
    assert [span.name for span in orphans(without_job)] == ["process submit"]
    assert not is_finished(without_job)
    unprocessed = [span for span in whole if span.name in ("update message", "send submit")]
    assert not is_finished(unprocessed)
    assert not is_finished([span for span in whole if span.name == "job"])


async def test_jaegers_file_has_every_span_and_process(receiver: Receiver) -> None:
    trace_id = await asyncio.to_thread(one_job, receiver)
    answer = await receiver.http.get(f"/traces/{trace_id}.json")
    assert answer.headers["Content-Disposition"].endswith(f'"trace-{trace_id}.json"')
    (data,) = (await answer.json())["data"]
    assert data["traceID"] == trace_id
    spans = {span["operationName"]: span for span in data["spans"]}
    assert {p["serviceName"] for p in data["processes"].values()} == {"bot", "worker"}
    assert all(span["processID"] in data["processes"] for span in data["spans"])
    process = spans["process submit"]
    assert data["processes"][process["processID"]]["serviceName"] == "worker"
    assert process["references"] == [
        {"refType": "CHILD_OF", "traceID": trace_id, "spanID": spans["job"]["spanID"]},
        {"refType": "FOLLOWS_FROM", "traceID": trace_id, "spanID": spans["send submit"]["spanID"]},
    ]
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in process["tags"]}
    assert tags["error"] == ("bool", True)
    assert tags["span.kind"] == ("string", "consumer")
    job = {tag["key"]: (tag["type"], tag["value"]) for tag in spans["job"]["tags"]}
    assert (job["ok"], job["cost"], job["polls"]) == (("bool", True), ("float64", 0.5), ("int64", 3))
    assert process["logs"][0]["fields"][0] == {"key": "event", "type": "string", "value": "limited"}
    stored = next(span for span in receiver.sandbox.spans() if span.name == "job")
    assert spans["job"]["startTime"] == stored.start_ns // 1000


async def test_pages_and_script_are_served(receiver: Receiver) -> None:
    trace_id = await asyncio.to_thread(one_job, receiver)
    script = await receiver.http.get("/traces/waterfall.js")
    assert script.content_type == "text/javascript"
    assert "window.renderWaterfall" in await script.text()
    for path in ("/traces", f"/traces/{trace_id}"):
        assert "/traces/waterfall.js" in await (await receiver.http.get(path)).text()


@pytest.mark.parametrize("path", ["/traces/api/" + "0" * 32, "/traces/" + "0" * 32 + ".json"])
async def test_an_unknown_trace_is_not_found(receiver: Receiver, path: str) -> None:
    assert (await receiver.http.get(path)).status == 404
    # That an update has none yet is no error.
    early = await receiver.http.get("/traces/api/by-update/9")
    assert (early.status, await early.json()) == (200, {"trace_id": ""})


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs"])
async def test_what_is_not_otlp_is_refused(receiver: Receiver, path: str) -> None:
    protobuf = {"Content-Type": "application/x-protobuf"}
    assert (await receiver.http.post(path, data=b"\xffrubbish", headers=protobuf)).status == 400
    assert (await receiver.http.post(path, json={})).status == 415
    assert (await receiver.http.post(path, data=b"", headers=protobuf)).status == 200


@pytest.mark.parametrize("receiver", [3], indirect=True)
async def test_only_the_newest_traces_are_kept(receiver: Receiver) -> None:
    def export() -> list[str]:
        return [one_job(receiver) for _ in range(5)]

    trace_ids = await asyncio.to_thread(export)
    assert receiver.sandbox.trace_ids() == trace_ids[2:]
    assert receiver.sandbox.trace(trace_ids[0]) == []


async def test_waiting_ends_with_what_was_waited_for_or_says_what_came(receiver: Receiver) -> None:
    exporting = asyncio.create_task(asyncio.to_thread(one_job, receiver))
    jobs = await receiver.sandbox.wait_for(lambda s: [span for span in s.spans() if span.name == "job"])
    assert len(jobs) == 1
    await exporting
    with pytest.raises(TimeoutError, match="process submit"):
        await receiver.sandbox.wait_for(lambda s: s.trace("none"), timeout=0.01)
