"""Finished spans outlive their process and an absent Collector, in bounded memory and on bounded disk."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Tracer

from observability import durable, spool
from observability.durable import Answer, DurableSpanProcessor
from observability.endpoint import TraceEndpoint
from observability.scrubbing import Scrubber
from src.sandbox import otlp
from src.sandbox.otlp import SpanRecord
from src.sandbox.traces import TraceSandbox

NEVER = 600.0  # seconds; only a flush sends


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_LOOK_SECONDS", 0.05)


class Collector:
    """Takes what is posted, or does not."""

    def __init__(self, *answers: Answer) -> None:
        self.spans: list[SpanRecord] = []
        self._answers = list(answers)

    def __call__(self, body: bytes) -> Answer:
        answer = self._answers.pop(0) if self._answers else Answer.TAKEN
        if answer is Answer.TAKEN:
            self.spans += otlp.spans(body)
        return answer

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@contextmanager
def tracing(
    collector: Callable[[bytes], Answer],
    folder: Path | None,
    *,
    delay: float = NEVER,
    queue: int = 2048,
    scrubber: Scrubber | None = None,
    first_to_write: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Tracer, DurableSpanProcessor]]:
    processor = DurableSpanProcessor(
        collector,
        folder=folder,
        first_to_write=first_to_write,
        scrubber=scrubber,
        delay=delay,
        queue=queue,
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


def test_what_is_refused_is_not_sent_for_ever(tmp_path: Path) -> None:
    with tracing(Collector(Answer.REFUSED), tmp_path) as (tracer, processor):
        end(tracer, "a")
        assert processor.force_flush()
    assert list(tmp_path.iterdir()) == []


async def test_an_absent_collector_costs_no_span(tmp_path: Path) -> None:
    collector = Collector(*[Answer.AWAY] * 3)
    with tracing(collector, tmp_path, delay=0.02) as (tracer, processor):
        for number in range(5):
            end(tracer, f"span {number}")
            processor.force_flush()
        await until(lambda: len(collector.spans) == 5)
    assert sorted(collector.names) == [f"span {number}" for number in range(5)]


async def test_without_a_folder_spans_wait_in_memory_up_to_the_queue() -> None:
    collector = Collector(Answer.AWAY, Answer.AWAY)
    with tracing(collector, None, queue=4) as (tracer, processor):
        end(tracer, "a", "b")
        assert not processor.force_flush()
        end(tracer, "c")
        assert not processor.force_flush()
        end(tracer, *"defgh")
        assert processor.force_flush()
    assert collector.names == list("abcd")


def test_more_than_the_queue_waits_on_disk(tmp_path: Path) -> None:
    collector = Collector()
    with tracing(collector, tmp_path, queue=2) as (tracer, _):
        end(tracer, *"abcde")
    assert collector.names == ["e"]
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


async def test_a_span_still_open_at_the_end_is_told_by_the_next_process(tmp_path: Path) -> None:
    def noted() -> int:
        try:
            return sum(len(list(spool._records(path.read_bytes()))) for path in tmp_path.glob("*.open"))
        except FileNotFoundError:
            return 0  # written anew just now

    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        tracer.start_span("open", Context(), SpanKind.CONSUMER)
        alone = noted()
        for _ in range(durable._MOST_OVER):
            tracer.start_span("over", Context(), SpanKind.CONSUMER).end()
        await until(lambda: noted() == alone)
    assert set(collector.names) == {"over"}
    with tracing(collector, tmp_path, delay=0.01):
        await until(lambda: "open" in collector.names)
    assert len(collector.spans) == durable._MOST_OVER + 1
    assert list(tmp_path.iterdir()) == []


async def test_notes_that_cannot_be_written_anew_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    append = spool.SpoolFile.append

    def on_a_full_disk(file: spool.SpoolFile, id_: int, content: bytes) -> None:
        if full and "open" in str(file.path) and id_ == 0 and len(list(tmp_path.glob("*.open"))) > 1:
            raise OSError(errno.ENOSPC, "no space left")
        append(file, id_, content)

    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        monkeypatch.setattr(spool.SpoolFile, "append", on_a_full_disk)
        waits = tracer.start_span("waits", Context(), SpanKind.CONSUMER)
        for _ in range(durable._MOST_OVER):
            tracer.start_span("over", Context(), SpanKind.CONSUMER).end()
        await until(lambda: len(collector.spans) == durable._MOST_OVER)
        waits.end()
    full = False
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        tracer.start_span("after", Context(), SpanKind.CONSUMER).end()
        await until(lambda: "after" in collector.names)
    assert collector.names.count("waits") == 1
    assert {span.status for span in collector.spans} == {"unset"}
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
        asyncio.run(until(lambda: not list(tmp_path.glob("*.open"))))
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
    away, mine, others = Collector(Answer.AWAY), Collector(), Collector()
    with tracing(mine, tmp_path) as (tracer, _):
        end(tracer, "mine")
        root = tracer.start_span("root", Context(), SpanKind.SERVER)
        with tracing(away, tmp_path) as (another, _):
            end(another, "left behind")
        with tracing(others, tmp_path, delay=0.01):
            await until(lambda: others.spans)
        root.end()
    assert (mine.names, others.names) == (["mine", "root"], ["left behind"])


def test_a_record_cut_off_by_the_kill_is_left_out(tmp_path: Path) -> None:
    file = spool.SpoolFile(tmp_path / "x.ended")
    file.append(0, b"head")
    file.append(7, b"whole")
    file.append(8, b"cut off")
    file.leave()
    whole = (tmp_path / "x.ended").read_bytes()
    (tmp_path / "x.ended").write_bytes(whole[:-3])
    with spool.taken_over(tmp_path / "x.ended") as records:
        assert records == [(0, b"head"), (7, b"whole")]


def test_a_file_grows_with_what_is_written_and_ends_with_it(tmp_path: Path) -> None:
    file = spool.SpoolFile(tmp_path / "x.ended")
    written = [(number, bytes([number]) * size) for number, size in enumerate((9, spool._GROWTH, 9), 1)]
    for id_, content in written:
        file.append(id_, content)
    assert list(spool._records((tmp_path / "x.ended").read_bytes())) == written
    file.leave()
    with spool.taken_over(tmp_path / "x.ended") as records:
        assert records == written
    assert (tmp_path / "x.ended").stat().st_size < 2 * spool._GROWTH


def test_a_full_disk_costs_no_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    collector = Collector()
    with tracing(collector, tmp_path) as (tracer, _):
        end(tracer, "a")
        monkeypatch.setattr(os, "posix_fallocate", full)
        tracer.start_span("large", attributes={"text": "x" * spool._GROWTH}).end()
        tracer.start_span("noted", Context(), SpanKind.SERVER).end()
        end(tracer, "b")
    assert collector.names == ["a", "large", "noted", "b"]
    assert "memory only" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_folder_stays_of_bearable_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_MOST_BYTES", 250)
    folder = spool.Spool(tmp_path)
    for number in range(5):
        file = folder.file("ended")
        file.append(number, b"x" * 90)
        file.leave()
        os.utime(file.path, (number, number))
    assert folder.trim() == 3
    kept = sorted(int(path.stat().st_mtime) for path in tmp_path.iterdir())
    assert kept == [3, 4]


async def test_what_cannot_be_read_in_the_folder_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.ended").mkdir()
    collector = Collector()
    with tracing(collector, tmp_path, delay=0.01) as (tracer, _):
        await until(lambda: "cannot be sent" in caplog.text)
        end(tracer, "span")
        await until(lambda: collector.spans)


async def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    collector = Collector()
    with tracing(collector, tmp_path / "file" / "spans") as (tracer, _):
        end(tracer, "a")
    assert collector.names == ["a"]


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[str, TraceSandbox, list[web.Request]]]:
    """An OTLP receiver, whose answer under `/status/N/` is N."""
    received, seen = TraceSandbox(), []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(status=int(request.match_info["status"]))

    app = web.Application()
    received.add_to(app)
    app.router.add_post("/status/{status}/v1/traces", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", received, seen
    await runner.cleanup()


async def test_what_an_answer_means(endpoint: tuple[str, TraceSandbox, list[web.Request]]) -> None:
    url, _, seen = endpoint
    expected = {
        200: Answer.TAKEN,
        400: Answer.REFUSED,
        401: Answer.REFUSED,
        429: Answer.AWAY,
        503: Answer.AWAY,
    }
    for status, answer in expected.items():
        settings = {"ENDPOINT": f"{url}/status/{status}/", "HEADERS": "x-key=a%20b,x-team=c"}
        assert await asyncio.to_thread(TraceEndpoint(settings.get, timeout=5).post, b"") is answer
    assert seen[0].headers["x-key"] == "a b"
    assert seen[0].headers["Content-Type"] == "application/x-protobuf"
    nobody = TraceEndpoint({"ENDPOINT": "http://127.0.0.1:1"}.get, timeout=5)
    assert nobody.post(b"") is Answer.AWAY


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
async def test_compressed_or_not(
    endpoint: tuple[str, TraceSandbox, list[web.Request]], compression: str
) -> None:
    url, received, _ = endpoint
    settings = {"ENDPOINT": url, "COMPRESSION": compression}
    with tracing(TraceEndpoint(settings.get, timeout=5).post, None) as (tracer, processor):
        end(tracer, "a")
        assert await asyncio.to_thread(processor.force_flush)
    assert [span.name for span in received.spans()] == ["a"]


@pytest.mark.parametrize(
    "settings", [{"COMPRESSION": "brotli"}, {"ENDPOINT": "collector:4318"}, {"TIMEOUT": "soon"}]
)
def test_a_wrong_setting_is_told(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"COMPRESSION|ENDPOINT|float"):
        TraceEndpoint(settings.get, timeout=5)
