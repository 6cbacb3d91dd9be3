"""`setup` in processes of its own: what the standard variables make it export, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from src.sandbox.traces import TraceSandbox

ROOT = Path(__file__).parents[2]
DEADLINE = 30

PROGRAM = """
import structlog
from opentelemetry import metrics, trace
from observability import setup
from observability.spans import reserve_span, write_span

telemetry = setup("program", version="1.2", secrets=["hush-hush"], log_format="json")
with trace.get_tracer("test").start_as_current_span("work", attributes={"url": "/hush-hush"}) as span:
    metrics.get_meter("test").create_counter("things").add(3)
    with structlog.contextvars.bound_contextvars(job_id="j1"):
        structlog.get_logger("app").info("said", n=1, what="hush-hush")
    ref = reserve_span()
write_span(ref, "late")
print(type(trace.get_tracer_provider()).__name__, telemetry.exporting, span.is_recording())
"""


async def run(program: str = PROGRAM, **env: str) -> tuple[str, str]:
    """Run `program`; its output and its log."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ROOT,
        env=clean | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        output, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    return output.decode(), log.decode()


async def test_everything_goes_where_the_endpoint_says(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    _, log = await run(
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="host.name=one-host,deployment.environment.name=test",
    )
    work, late = (next(span for span in received.spans() if span.name == name) for name in ("work", "late"))
    assert late.parent_id == work.span_id
    assert work.service == "program"
    assert work.resource["service.version"] == "1.2"
    assert work.resource["host.name"] == "one-host"
    assert work.resource["deployment.environment.name"] == "test"
    assert work.resource["service.instance.id"]
    (counted,) = received.metrics("things")
    assert counted.value == 3
    cpu = {point.attributes["cpu.mode"]: point.value for point in received.metrics("process.cpu.time")}
    assert cpu["user"] > 0
    assert set(cpu) == {"user", "system"}
    (memory,) = received.metrics("process.memory.usage")
    assert memory.value > 10_000_000
    (used,) = received.metrics("system.memory.utilization")
    assert 0 < used.value <= 1
    (line,) = received.logs(work.trace_id)
    assert (line.body, line.span_id, line.service) == ("said", work.span_id, "program")
    assert line.attributes["job_id"] == "j1"
    assert work.attributes["url"] == "/[redacted]"
    assert "hush-hush" not in received.text() + log


async def test_without_an_endpoint_nothing_is_made() -> None:
    output, log = await run()
    assert output.split() == ["ProxyTracerProvider", "False", "False"]
    assert json.loads(log)["event"] == "said"
    assert "trace_id" not in log


async def test_disabled_means_disabled(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    output, _ = await run(OTEL_SDK_DISABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert output.split() == ["ProxyTracerProvider", "False", "False"]
    assert received.spans() == []


async def test_signals_are_chosen_one_by_one(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    await run(
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_SERVICE_NAME="renamed",
    )
    assert {span.service for span in received.spans()} == {"renamed"}
    assert received.metrics() == received.logs() == []


ODD = """
import math, structlog
from opentelemetry import metrics, trace
from observability import setup

telemetry = setup("program", secrets=["hush-hush"], log_format="json")
half = "\\ud83d"
with trace.get_tracer("test").start_as_current_span(f"odd {half}") as span:
    span.set_attributes({"half": half, 5: 6, "": 7, "large": 1 << 70, "hush-hush": b"hush-hush"})
    span.add_event(half, {half: half}, 1.5)
meter = metrics.get_meter("test")
meter.create_counter("odd").add(1, {"half": half, 5: 6, "": 7, "list": [half], "hush-hush": "hush-hush"})
meter.create_histogram("odd.too").record(math.nan, {"half": half})
meter.create_counter("things").add(3)
structlog.get_logger("app").info(half, n=half, large=1 << 70, name=object(), where=b"hush-hush")
structlog.get_logger("app").info("said")
trace.get_tracer("test").start_span("work").end()
"""


async def test_what_is_odd_takes_nothing_along(sandbox: tuple[TraceSandbox, str]) -> None:
    """What cannot be encoded loses itself, as does a secret: not its batch, and nothing is thrown into the program."""
    received, endpoint = sandbox
    _, log = await run(ODD, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="")
    assert sorted(span.name for span in received.spans()) == ["odd ?", "work"]
    (counted,) = received.metrics("things")
    assert counted.value == 3
    assert [point.value for point in received.metrics("odd")] == [1]
    assert [line.body for line in received.logs() if line.body in ("?", "said")] == ["?", "said"]
    assert "hush-hush" not in received.text() + log


HUSH = """
import pathlib, structlog, httpx, logging
from opentelemetry import metrics, trace, baggage
from observability import setup

secret = "hush-hush"
telemetry = setup("program", secrets=[secret], log_format="json")
class Odd:
    def __str__(self): return f"<{secret}>"
    __repr__ = __str__
kinds = {"path": pathlib.Path("/a", secret), "url": httpx.URL(f"http://a/{secret}"), "set": {secret},
    "array": bytearray(secret.encode()), "object": Odd(), "list": [Odd()], "dict": {"a": [{"b": Odd()}]}, "error": ValueError(secret)}
log, old = structlog.get_logger("app"), logging.getLogger(f"of.{secret}")
log.info("kinds", **kinds)
old.warning("%s and %(a)s" if False else "%s", kinds, extra={"more": kinds, secret: Odd()})
old.warning({"body": kinds})
with trace.get_tracer("test").start_as_current_span("work") as span:
    span.set_attributes(kinds)
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            error.add_note(secret)
            raise ExceptionGroup("many", [RuntimeError(Odd()), KeyError(secret)]) from error
    except Exception as error:
        span.record_exception(error, {"with": secret})
        log.exception("went wrong", of=error)
        old.exception(error)
metrics.get_meter("test").create_counter("things").add(3, {"kind": Odd(), "path": kinds["path"]})
"""


async def test_no_kind_of_value_says_a_secret(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    _, log = await run(
        HUSH,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_RESOURCE_ATTRIBUTES="said=hush-hush,hush-hush=1,hush=%68ush-hush",
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel,process",
    )
    assert {span.name for span in received.spans()} == {"work"}
    assert len([line for line in received.logs() if "kinds" in line.body or "went" in line.body]) == 2
    assert "hush-hush" not in received.text()
    assert "hush-hush" not in log


HEADERS = """
import structlog
from observability import setup

telemetry = setup("imagebot", log_format="json")
structlog.get_logger("app").info("said", raw="c2VjcmV0OnRva2Vu", whole="Basic c2VjcmV0OnRva2Vu", key="k-1234567")
"""


async def test_headers_that_are_secret_by_their_names_are_not_said(
    sandbox: tuple[TraceSandbox, str],
) -> None:
    received, endpoint = sandbox
    _, log = await run(
        HEADERS,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Basic%20c2VjcmV0OnRva2Vu, X-Scope-OrgID=imagebot",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="x-api-key=k-1234567",
        OTEL_SERVICE_NAME="imagebot-worker",
    )
    for text in (log, received.text()):
        assert "c2VjcmV0" not in text
        assert "k-1234567" not in text
    assert log.count("[redacted]") == 3
    assert "imagebot-worker" in received.text()


async def test_unsampled_is_unsampled_whole(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    await run(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_TRACES_SAMPLER="always_off")
    assert received.spans() == []
    assert received.metrics("things")


async def test_a_child_made_by_fork_exports_too(sandbox: tuple[TraceSandbox, str]) -> None:
    received, endpoint = sandbox
    program = PROGRAM + (
        "import os\n"
        "if child := os.fork():\n"
        "    os.waitpid(child, 0)\n"
        "else:\n"
        "    trace.get_tracer('test').start_span('in the child').end()\n"
        "    telemetry.shutdown()\n"
        "    os._exit(0)\n"
    )
    await run(program, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert sorted(span.name for span in received.spans()) == ["in the child", "late", "work"]


async def test_a_bad_collector_does_not_hold_up_the_end() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    program = PROGRAM + "print('ended in time:', telemetry.shutdown(3) in (True, False))\n"
    endpoints = (f"http://127.0.0.1:{port}", "http://127.0.0.1:1")
    results = await asyncio.gather(*(run(program, OTEL_EXPORTER_OTLP_ENDPOINT=url) for url in endpoints))
    assert all("ended in time: True" in output for output, _ in results)
    hanging.close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "expected http/protobuf or grpc"),
        ("OTEL_TRACES_EXPORTER", "nosuch", "no exporter named 'nosuch'"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "whole number above 0, not '0'"),
    ],
)
async def test_a_wrong_variable_is_told(name: str, value: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        await run(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_PROPAGATORS", "nosuch"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc")]
)
async def test_what_is_read_as_it_is_loaded_is_told_in_a_line(name: str, value: str) -> None:
    env = {"PATH": os.environ["PATH"], "ENV_FILE": "", "REDIS_URL": "redis://127.0.0.1:1/0", name: value}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "src.cli", "status"), cwd=ROOT, env=env, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == os.EX_CONFIG
    assert said.decode().startswith("imagebot: a variable OTEL_*: ")
    assert said.decode().count("\n") == 1
    assert value in said.decode()


async def test_why_the_collector_takes_nothing_is_told_once(sandbox: tuple[TraceSandbox, str]) -> None:
    program = (
        PROGRAM
        + "for _ in range(5):\n    trace.get_tracer('test').start_span('a').end()\n    telemetry.flush()\n"
    )
    _, endpoint = sandbox
    _, log = await run(
        program,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{endpoint}/nowhere",
        OTEL_BSP_SCHEDULE_DELAY="600000",
    )
    why = [line for line in map(json.loads, log.splitlines()) if line["logger"].endswith("trace_exporter")]
    assert len(why) == 1
    assert "404" in why[0]["event"]


NAMES = """
import asyncio, httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from observability import setup
from observability.addresses import address_hook

exporter = InMemorySpanExporter()
setup("program", span_processors=[SimpleSpanProcessor(exporter)])

async def main():
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        HTTPXClientInstrumentor.instrument_client(client, request_hook=address_hook())
        await client.get("http://me:pass@host.example/a?signature=topsecret")

asyncio.run(main())
print(*sorted(f"{name}={value}" for name, value in exporter.get_finished_spans()[0].attributes.items()))
"""


@pytest.mark.parametrize(
    ("chosen", "old"), [(None, False), ("database", False), ("http", False), ("http/dup", True)]
)
async def test_names_of_http_are_the_stable_ones_and_no_address_has_its_query(
    chosen: str | None, old: bool
) -> None:
    env = {} if chosen is None else {"OTEL_SEMCONV_STABILITY_OPT_IN": chosen}
    output, _ = await run(NAMES, **env)
    said = output.split()
    assert "url.full=http://host.example/a" in said
    assert ("http.url=http://host.example/a" in said, "http.method=GET" in said) == (old, old)
    assert not any("topsecret" in attribute or "pass@" in attribute for attribute in said)
