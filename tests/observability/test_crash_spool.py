"""Finished spans outlive their process and an absent Collector, in bounded memory and on bounded disk."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from observability import crash_spool
from observability.crash_spool import CrashSpool
from observability.scrubbing import Scrubber
from src.sandbox import otlp
from src.sandbox.otlp import SpanRecord
from src.sandbox.traces import TraceSandbox

NEVER = 600.0  # seconds; only a flush sends
TAKEN, AWAY = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_spool, "_LOOK_SECONDS", 0.05)


class Collector(SpanExporter):
    """Takes what is exported, as the wire has it, or does not. `request`: the last."""

    def __init__(self, *answers: SpanExportResult, refuses: str = "", most: int = 9_999) -> None:
        self.spans: list[SpanRecord] = []
        self.request = ExportTraceServiceRequest()
        self._answers = list(answers)
        self._refuses, self._most = refuses, most

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = self._answers.pop(0) if self._answers else TAKEN
        if self._refuses in [span.name for span in spans] or len(spans) > self._most:
            answer = AWAY
        if answer is TAKEN:
            self.request = encode_spans(spans)
            self.spans += otlp.spans(self.request.SerializeToString())
        return answer

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@contextmanager
def tracing(
    collector: SpanExporter,
    folder: Path | None,
    *,
    delay: float = NEVER,
    queue: int = 2048,
    batch: int = 512,
    scrubber: Scrubber | None = None,
    first_to_write: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Tracer, CrashSpool]]:
    processor = CrashSpool(
        collector,
        folder=folder,
        first_to_write=first_to_write,
        scrubber=scrubber,
        delay=delay,
        queue=queue,
        batch=batch,
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    yield provider.get_tracer("test"), processor
    provider.shutdown()


def end(tracer: Tracer, *names: str) -> None:
    for name in names:
        tracer.start_span(name, Context(), SpanKind.CLIENT).end()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(40):
        while not true():
            await asyncio.sleep(0.02)


def test_what_was_taken_is_kept_no_longer(tmp_path: Path) -> None:
    collector = Collector()
    with tracing(collector, tmp_path) as (tracer, processor):
        end(tracer, "a", "b")
        assert len(list(tmp_path.iterdir())) == 1
        processor.force_flush()
        assert collector.names == ["a", "b"]
    assert list(tmp_path.iterdir()) == []


async def test_an_absent_collector_costs_no_span(tmp_path: Path) -> None:
    collector = Collector(*[AWAY] * 3)
    with tracing(collector, tmp_path, delay=0.02) as (tracer, processor):
        for number in range(5):
            end(tracer, f"span {number}")
            processor.force_flush()
        await until(lambda: len(collector.spans) == 5)
    assert sorted(collector.names) == [f"span {number}" for number in range(5)]


async def test_without_a_folder_spans_wait_in_memory_up_to_the_queue() -> None:
    collector = Collector(AWAY, AWAY)
    with tracing(collector, None, queue=4) as (tracer, processor):
        end(tracer, "a", "b")
        assert not processor.force_flush()
        end(tracer, "c")
        assert not processor.force_flush()
        end(tracer, *"defgh")
        assert processor.force_flush()
        assert processor.dropped == 4
    assert collector.names == list("efgh")


def test_more_than_the_queue_waits_on_disk(tmp_path: Path) -> None:
    collector = Collector()
    with tracing(collector, tmp_path, queue=2) as (tracer, _):
        end(tracer, *"abcde")
    assert collector.names == ["d", "e"]
    with tracing(collector, tmp_path, delay=0.01):
        asyncio.run(until(lambda: len(collector.spans) == 5))
    assert sorted(collector.names) == list("abcde")


PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, get_tracer
    from observability import setup
    from pathlib import Path

    telemetry = setup("killed", spool=Path(sys.argv[1]), secrets=["hush-hush"])
    tracer = get_tracer("test")
    tracer.start_span("over", Context(), SpanKind.SERVER).end()
    with tracer.start_as_current_span("update", kind=SpanKind.SERVER, attributes={"n": 1}):
        with tracer.start_as_current_span("send", kind=SpanKind.PRODUCER, attributes={"url": "/hush-hush"}):
            pass
        if sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    """
)


def run(folder: Path, how: str, endpoint: str = "http://127.0.0.1:1") -> int:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    env |= {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), how], cwd=Path(__file__).parents[2], env=env, timeout=60
    )
    return done.returncode


def test_a_killed_process_loses_nothing_that_ended_and_no_root(tmp_path: Path) -> None:
    assert run(tmp_path, "kill") == -signal.SIGKILL
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01):
        asyncio.run(until(lambda: len(collector.spans) == 3))
    over, sent, cut = (
        next(s for s in collector.spans if s.name == name) for name in ("over", "send", "update")
    )
    assert over.status == sent.status == "unset"
    assert sent.parent_id == cut.span_id
    assert (cut.status, cut.attributes["error.type"], cut.attributes["n"]) == ("error", "process_lost", 1)
    assert cut.end_ns > cut.start_ns
    assert cut.status_message == "the process was lost"
    assert {span.service for span in collector.spans} == {"killed"}
    assert sent.attributes["url"] == "/[redacted]"
    assert list(tmp_path.iterdir()) == []


def test_of_two_who_know_of_a_lost_span_one_writes_it(tmp_path: Path) -> None:
    assert run(tmp_path, "kill") == -signal.SIGKILL
    asked: list[str] = []

    def first(span_id: str) -> bool:
        asked.append(span_id)
        if len(asked) == 1:
            raise ConnectionError
        return False

    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01, first_to_write=first):
        asyncio.run(until(lambda: not list(tmp_path.iterdir())))
    assert sorted(collector.names) == ["over", "send"]
    assert len(set(asked)) == 1
    assert len(asked) == 2


def test_a_process_that_ends_leaves_what_it_could_not_send(tmp_path: Path) -> None:
    assert run(tmp_path, "end") == 0
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01):
        asyncio.run(until(lambda: len(collector.spans) == 3))
    assert {span.status for span in collector.spans} == {"unset"}


async def test_what_a_living_process_holds_is_its_own(tmp_path: Path) -> None:
    away, mine, others = Collector(AWAY), Collector(), Collector()
    with tracing(mine, tmp_path) as (tracer, _):
        end(tracer, "mine")
        root = tracer.start_span("root", Context(), SpanKind.SERVER)
        with tracing(away, tmp_path) as (another, _):
            end(another, "left behind")
        with tracing(others, tmp_path, delay=0.01):
            await until(lambda: others.spans)
        root.end()
    assert (mine.names, others.names) == (["mine", "root"], ["left behind"])


async def test_a_span_still_open_at_the_end_is_told_by_the_next_process(tmp_path: Path) -> None:
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        tracer.start_span("open", Context(), SpanKind.CONSUMER)
        for number in range(20):
            tracer.start_span("over", Context(), SpanKind.CONSUMER).end()
            await until(lambda most=number: len(collector.spans) > most)
        # However often it was noted, it is noted once.
        await until(lambda: len(list(tmp_path.iterdir())) == 1)
    assert set(collector.names) == {"over"}
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: "open" in collector.names)
        await until(lambda: not list(tmp_path.iterdir()))
    assert collector.names.count("open") == 1


async def test_what_others_link_to_is_noted_when_it_begins(tmp_path: Path) -> None:
    collector = Collector()
    with tracing(collector, tmp_path) as (tracer, _), tracer.start_as_current_span("root"):
        tracer.start_span("sent", kind=SpanKind.PRODUCER)
        tracer.start_span("called", kind=SpanKind.CLIENT)
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: "sent" in collector.names)
    assert sorted(collector.names) == ["root", "sent"]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_no_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(AWAY)
    with tracing(collector, tmp_path) as (tracer, processor):
        end(tracer, "a")
        monkeypatch.setattr(crash_spool, "_new_file", full_disk)
        monkeypatch.setattr(crash_spool, "_append", full_disk)
        end(tracer, "large")
        tracer.start_span("noted", Context(), SpanKind.SERVER).end()
        assert not processor.force_flush()
        end(tracer, "b")
    assert collector.names == ["a", "large", "noted", "b"]
    assert "memory only" in caplog.text
    assert list(tmp_path.iterdir()) == []


async def test_the_folder_stays_of_bearable_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crash_spool, "_MOST_BYTES", 2_000)
    collector = Collector(*[AWAY] * 10)
    with tracing(collector, tmp_path) as (tracer, processor):
        for number in range(10):
            end(tracer, f"span {number}")
            processor.force_flush()
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
        kept = len(list(tmp_path.iterdir()))
        assert 0 < kept < 10
        assert processor.dropped == 10 - kept
    assert "spans lost" in caplog.text
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: len(collector.spans) == kept)
    assert sorted(collector.names) == [f"span {number}" for number in range(10 - kept, 10)]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    collector = Collector()
    with tracing(collector, tmp_path / "file" / "spans") as (tracer, _):
        end(tracer, "a")
    assert collector.names == ["a"]


def left_behind(folder: Path, *names: str) -> Path:
    """A file with these spans, of a process that could not send them."""
    before = set(folder.glob("*.spans"))
    with tracing(Collector(*[AWAY] * 2), folder) as (tracer, _):
        end(tracer, *names)
    (path,) = set(folder.glob("*.spans")) - before
    return path


def _foreign(path: Path) -> None:
    path.write_bytes(b"[a line of somebody else's")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("harm", [_foreign, _cut, _damaged, _folder, _pipe, _endless])
async def test_one_file_that_cannot_be_read_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    bad = left_behind(tmp_path, "before", "harmed")
    # A record after the last one says that nothing is open: it goes, so that the harm is a span's.
    if bad.is_file():
        bad.write_bytes(bad.read_bytes()[: -crash_spool._RECORD.size])
    harm(bad)
    left_behind(tmp_path, *(f"good {number}" for number in range(50)))
    assert run(tmp_path, "kill") == -signal.SIGKILL
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: len([name for name in collector.names if name.startswith("good")]) == 50)
        await until(lambda: "update" in collector.names)
        await until(lambda: not list(tmp_path.glob("*.spans")))
    assert "harmed" not in collector.names
    assert ("before" in collector.names) is (harm in (_cut, _damaged))
    assert [path.name for path in tmp_path.iterdir()] == [f"{bad.name}.unreadable"]
    assert [(r.levelname, bad.name in r.message) for r in caplog.records if "aside" in r.message] == [
        ("ERROR", True)
    ]


async def test_another_version_s_file_waits_for_that_version(tmp_path: Path) -> None:
    newer = left_behind(tmp_path, "of tomorrow")
    data = newer.read_bytes().replace(b"spans 1\n", b"spans 2\n", 1)
    newer.write_bytes(data)
    left_behind(tmp_path, "of today")
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: collector.spans)
    assert collector.names == ["of today"]
    assert newer.read_bytes() == data


async def test_what_alone_is_refused_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = left_behind(tmp_path, "bad")
    collector = Collector(refuses="bad")
    with tracing(collector, tmp_path, delay=0.01) as (tracer, processor):
        for number in range(crash_spool._MOST_REFUSALS):
            end(tracer, f"good {number}")
            await until(lambda most=number: processor._refusals[bad] > most)
        await until(lambda: not bad.exists())
    assert "bad" not in collector.names
    assert [path.name for path in tmp_path.iterdir()] == [f"{bad.name}.refused"]
    assert "takes others" in caplog.text


async def test_what_alone_is_refused_keeps_no_other_from_being_sent(tmp_path: Path) -> None:
    """In a process that has nothing of its own to send, which would tell that the Collector is there."""
    left_behind(tmp_path, "bad")
    left_behind(tmp_path, "good")
    collector = Collector(refuses="bad")
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: collector.names == ["good"])


async def test_what_is_refused_in_part_is_set_aside(tmp_path: Path) -> None:
    """In a process that has nothing of its own to send: what it took of the file tells that the Collector is there."""
    bad = left_behind(tmp_path, "good", "bad")
    collector = Collector(refuses="bad")
    with tracing(collector, tmp_path, delay=0.01, batch=1):
        await until(lambda: not bad.exists())
    assert [path.name for path in tmp_path.iterdir()] == [f"{bad.name}.refused"]
    assert collector.names == ["good"] * crash_spool._MOST_REFUSALS


async def test_a_request_has_no_more_spans_than_it_may(tmp_path: Path) -> None:
    left_behind(tmp_path, *(f"left {number}" for number in range(10)))
    collector = Collector(most=4)
    with tracing(collector, tmp_path, delay=0.01, batch=4) as (tracer, _):
        await until(lambda: len(collector.spans) == 10)
        end(tracer, *(f"mine {number}" for number in range(10)))
    assert len(collector.spans) == 20


async def test_what_is_too_much_for_one_request_is_sent_in_several(tmp_path: Path) -> None:
    bad = left_behind(tmp_path, *(f"large {number}" for number in range(16)))
    collector = Collector(most=2)
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        for number in range(crash_spool._MOST_REFUSALS):
            if bad.exists():
                end(tracer, f"good {number}")
                await until(lambda name=f"good {number}": name in collector.names)
        await until(lambda: len([name for name in collector.names if name.startswith("large")]) == 16)


READER = """
import sys, time
from pathlib import Path
from opentelemetry import trace
from observability import crash_spool, setup

crash_spool._LOOK_SECONDS = 0.0
telemetry = setup("reader", spool=Path(sys.argv[1]))
for number in range(10):
    trace.get_tracer("test").start_span(f"mine {number}").end()
    time.sleep(0.05)
"""


async def test_what_cannot_be_deleted_is_not_sent(
    tmp_path: Path, sandbox: tuple[TraceSandbox, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It would be sent again and again."""
    received, endpoint = sandbox
    left_behind(tmp_path, "left")
    tmp_path.chmod(0o500)
    weak = (
        ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    )
    env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    try:
        process = await asyncio.create_subprocess_exec(
            *weak,
            sys.executable,
            "-c",
            READER,
            str(tmp_path),
            env=os.environ | env,
            cwd=Path(__file__).parents[2],
        )
        assert await process.wait() == 0
    finally:
        tmp_path.chmod(0o700)
    names = [span.name for span in received.spans()]
    assert len(names) == 10
    assert "left" not in names


async def test_a_promised_span_that_its_process_wrote_is_told_to_others(tmp_path: Path) -> None:
    """It ended, and its process was killed before it could say so: whoever else would write it learns of it."""
    asked: list[str] = []
    promised, own = _as_killed(tmp_path)

    def first(span_id: str) -> bool:
        asked.append(span_id)
        return True

    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01, first_to_write=first):
        await until(lambda: len(collector.spans) == 2)
    assert asked == [f"{promised:016x}"]
    _as_killed(tmp_path)
    another = Collector()
    with tracing(another, tmp_path, delay=0.01, first_to_write=lambda _: False):
        await until(lambda: not list(tmp_path.iterdir()))
    assert another.names == ["own"]
    assert own != promised


def _as_killed(folder: Path) -> tuple[int, int]:
    """Ids of two spans in the file of a process that said nothing more: of one begun elsewhere, and of another."""
    parent = SpanContext(1, 2, True, TraceFlags(1))
    context = set_span_in_context(NonRecordingSpan(parent), Context())
    with tracing(Collector(*[AWAY] * 2), folder) as (tracer, _):
        spans = [
            tracer.start_span("promised", context, SpanKind.CLIENT),
            tracer.start_span("own", context, SpanKind.CONSUMER),
        ]
        for span in spans:
            span.end()
        (path,) = folder.glob("*.spans")
        data = path.read_bytes()
    for left in folder.iterdir():
        left.unlink()
    path.write_bytes(data)
    first, second = (span.get_span_context().span_id for span in spans)
    return first, second


async def test_while_the_collector_is_away_nothing_counts_as_refused(tmp_path: Path) -> None:
    left_behind(tmp_path, "waits")
    collector = Collector(*[AWAY] * 50)
    with tracing(collector, tmp_path, delay=0.001):
        await until(lambda: collector.spans)
    assert collector.names == ["waits"]


@pytest.fixture
def _silent() -> Iterator[None]:
    """What is captured of the log could not be sent from pytest's worker process to its master."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_odd_loses_itself_and_nothing_else(tmp_path: Path, on_disk: bool) -> None:
    """Half a surrogate, odd keys, numbers and times: nothing is thrown into the program, and no batch is lost."""
    half: Any = "\ud83d"
    collector = Collector()
    with tracing(collector, tmp_path if on_disk else None) as (tracer, processor):
        end(tracer, "before")
        odd: Any = {"": 1, 5: "number", half: "key", "value": half, "large": 1 << 70, "object": object()}
        link = Link(SpanContext(1, 2, True, TraceFlags(1)), {"link": half})
        span = tracer.start_span(f"odd {half}", Context(), SpanKind.SERVER, {**odd, "kept": 1}, [link])
        times: list[Any] = [1.5, -1, 1 << 70, "noon", float("nan")]
        for time in times:
            span.add_event(f"event {half}", odd, time)
        span.record_exception(ValueError(half))
        span.set_status(StatusCode.ERROR, half)
        span.end(times[0])
        tracer.start_span("late", Context(), start_time=times[3]).end(times[2])
        end(tracer, "after")
        assert processor.force_flush()
    assert collector.names == ["before", "odd ?", "late", "after"]
    (found,) = (span for span in collector.spans if span.name == "odd ?")
    assert found.attributes["kept"] == 1
    assert [event.name for event in found.events] == ["event ?"] * 5 + ["exception"]
    assert found.status_message == "?"


async def test_a_span_read_again_is_the_span(tmp_path: Path) -> None:
    """All that can be said of a span, through the file and the official exporter."""
    remote = SpanContext(1, 2, True, TraceFlags(1))
    first, again = Collector(AWAY), Collector()
    processor = CrashSpool(first, folder=tmp_path, delay=NEVER)
    resource = Resource({"service.name": "s", "parts": ("a", "b")}, "https://example.com/schema")
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("scope", "1", "https://example.com/scope", {"k": 1})
    with tracer.start_as_current_span("Ünïcode", Context(), SpanKind.SERVER, links=[Link(remote, {"a": 1})]):
        span = tracer.start_span("child", kind=SpanKind.CLIENT)
        values: dict[str, Any] = {"deep": {"a": [None, b"raw"]}, "list": [1, 2.5, True], "none": None}
        span.set_attributes(values)
        span.add_event("event", {"k": "v"}, 5)
        span.set_status(StatusCode.ERROR, "broke")
        span.end()
    said = encode_spans(processor._over)
    assert not processor.force_flush()
    provider.shutdown()
    with tracing(again, tmp_path, delay=0.01):
        await until(lambda: len(again.spans) == 2)
    assert again.request == said


async def test_a_killed_process_s_spans_arrive_on_the_wire(
    tmp_path: Path, sandbox: tuple[TraceSandbox, str]
) -> None:
    received, endpoint = sandbox
    assert run(tmp_path, "kill") == -signal.SIGKILL
    with tracing(OTLPSpanExporter(f"{endpoint}/v1/traces"), tmp_path, delay=0.01):
        await until(lambda: len(received.spans()) == 3)
    spans: dict[str, SpanRecord] = {span.name: span for span in received.spans()}
    cut, sent = spans["update"], spans["send"]
    assert sent.parent_id == cut.span_id
    assert (cut.kind, cut.status, cut.attributes["error.type"]) == ("server", "error", "process_lost")
    assert "hush-hush" not in received.text()


def test_a_file_is_its_process_s_alone_after_a_fork(tmp_path: Path) -> None:
    """A child has nothing of its parent's, the lock neither, or a killed parent's spans would wait for the child's end."""
    collector = Collector()
    with tracing(collector, tmp_path) as (tracer, processor):
        end(tracer, "parent's")
        if not (child := os.fork()):
            os._exit(0 if not processor._over and processor._file is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        end(tracer, "parent's too")
    assert collector.names == ["parent's", "parent's too"]
