"""Dramatiq's real command line, real Redis, real OTLP: what is exported by forked workers that are stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from observability.dramatiq import instrument_broker
from src.sandbox.traces import TraceSandbox, is_finished, orphans

HERE = Path(__file__).parent
DEADLINE = 30  # seconds; for a busy machine, nothing is expected to take them


class Program:
    """worker_app under `dramatiq`, two processes of one thread, and the Redis it works on."""

    def __init__(self, redis_url: str) -> None:
        self.url = redis_url
        self.namespace = uuid.uuid4().hex
        self.client = redis.Redis.from_url(redis_url)
        self.broker = RedisBroker(client=self.client, namespace=self.namespace)
        self.broker.declare_queue("default")

    def send(self, actor: str, *args: object) -> None:
        self.broker.enqueue(Message("default", actor, args, {}, {}))

    async def pop(self, key: str, count: int) -> list[bytes]:
        def blocking() -> list[bytes]:
            found = [self.client.blpop([f"{self.namespace}:{key}"], timeout=DEADLINE) for _ in range(count)]
            assert all(found), f"{found.count(None)} of {count} {key} are missing"
            return [item[1] for item in found]

        return await asyncio.to_thread(blocking)

    def release(self, count: int) -> None:
        self.client.rpush(f"{self.namespace}:release", *["go"] * count)

    @asynccontextmanager
    async def running(
        self, endpoint: str, *command: str, options: Sequence[str] = (), **env: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Ends the program by SIGTERM, and waits for its end. `options`: further ones of Dramatiq's."""
        process = await asyncio.create_subprocess_exec(
            *(command or (sys.executable,)),
            *("-m", "dramatiq", "worker_app", "--processes", "2", "--threads", "1", "--path", str(HERE)),
            *options,
            cwd=HERE.parents[1],
            env=os.environ
            | {
                "TEST_REDIS_URL": self.url,
                "TEST_NAMESPACE": self.namespace,
                "TEST_TELEMETRY": "own",
                "PYTHONPATH": str(HERE.parents[1]),
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                # So late that only the end of the program sends anything.
                "OTEL_BSP_SCHEDULE_DELAY": "600000",
                "OTEL_BLRP_SCHEDULE_DELAY": "600000",
                "OTEL_METRIC_EXPORT_INTERVAL": "600000",
                "dramatiq_worker_timeout": "50",
                "dramatiq_queue_prefetch": "1",
            }
            | env,
            stderr=asyncio.subprocess.PIPE,
        )
        output = asyncio.create_task(process.communicate())
        try:
            await catches_sigterm(process.pid)
            yield process
            async with asyncio.timeout(DEADLINE):
                self.output = (await output)[1].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def catches_sigterm(pid: int) -> None:
    """Dramatiq installs its handlers last; a signal before that would kill the master and leave its workers."""
    bit = 1 << (signal.SIGTERM - 1)
    async with asyncio.timeout(DEADLINE):
        while not int(re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[0], 16) & bit:
            await asyncio.sleep(0.02)


@pytest.fixture
def program(redis_url: str) -> Program:
    return Program(redis_url)


@contextmanager
def traced(program: Program, endpoint: str) -> Iterator[TracerProvider]:
    """The program's messages are sent with tracing, and the sender's spans exported."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    instrument_broker(program.broker, tracer_provider=provider)
    yield provider


async def test_sigterm_loses_no_finished_span(program: Program, sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    with traced(program, endpoint) as provider:
        async with program.running(endpoint) as process:
            with provider.get_tracer("test").start_as_current_span("caller") as caller:
                for number in range(10):
                    program.send("quick", number)
                await program.pop("done", 10)
                program.send("hold")
                program.send("hold")
            # One thread a process, so these are both processes, in the middle of a message.
            pids = await program.pop("started", 2)
            assert len(set(pids)) == 2
            process.send_signal(signal.SIGTERM)
            program.release(2)
        await asyncio.to_thread(provider.shutdown)
    assert process.returncode == 0, program.output

    trace_id = f"{caller.get_span_context().trace_id:032x}"
    trace = received.trace(trace_id)
    assert received.trace_ids() == [trace_id]
    assert [span.name for span in trace if span.kind == "consumer"].count("process quick") == 10
    assert [span.name for span in trace if span.kind == "consumer"].count("process hold") == 2
    assert len(trace) == 1 + 2 * 12
    assert orphans(trace) == []
    assert is_finished(trace)

    held = [span for span in trace if span.name == "process hold"]
    assert len({span.resource["service.instance.id"] for span in held}) == 2
    assert {span.service for span in held} == {"test-worker"}

    counts = [point.count for point in received.metrics("messaging.process.duration")]
    assert sum(count or 0 for count in counts) == 12
    exemplars = {
        i for point in received.metrics("messaging.process.duration") for i in point.exemplar_trace_ids
    }
    assert exemplars == {trace_id}

    lines = [line for line in received.logs(trace_id) if line.body.startswith("quick")]
    assert len(lines) == 10
    assert {line.span_id for line in lines} == {s.span_id for s in trace if s.name == "process quick"}
    assert "hush-hush" not in received.text() + program.output
    assert trace_id in program.output


@pytest.mark.soak
async def test_spawned_workers_export_too(program: Program, sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    async with program.running(endpoint, options=["--use-spawn"]) as process:
        program.send("hold")
        program.send("hold")
        await program.pop("started", 2)
        process.send_signal(signal.SIGTERM)
        program.release(2)
    assert process.returncode == 0, program.output
    held = [span for span in received.spans() if span.name == "process hold"]
    assert len({span.resource["service.instance.id"] for span in held}) == 2
    assert {span.attributes["messaging.dramatiq.outcome"] for span in held} == {"done"}


async def test_opentelemetry_instrument_needs_no_change_of_the_program(
    program: Program, sandbox: tuple[TraceSandbox, str]
) -> None:
    received, endpoint = sandbox
    command = (str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable)
    env = {"TEST_TELEMETRY": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    async with program.running(endpoint, *command, **env) as process:
        program.send("hold")
        await program.pop("started", 1)
        process.send_signal(signal.SIGTERM)
        program.release(1)
    held = [span for span in received.spans() if span.name == "process hold"]
    assert len(held) == 1, program.output
    assert held[0].attributes["messaging.dramatiq.outcome"] == "done"


async def test_a_bad_collector_costs_no_message(redis_url: str) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def work(endpoint: str) -> None:
        program = Program(redis_url)
        async with program.running(endpoint, OTEL_BSP_SCHEDULE_DELAY="50") as process:
            for number in range(50):
                program.send("quick", number)
            await program.pop("done", 50)
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 0, program.output

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    await asyncio.gather(work(f"http://127.0.0.1:{port}"), work("http://127.0.0.1:1"))
    hanging.close()
