"""Spans that survive: each is on disk from its end, and some from their beginning, until the Collector has it.

`CrashSpool` does what the SDK's batch processor does, with any exporter of the SDK's kind, and besides:

- spans of a process that was killed (SIGKILL, out of memory) are sent by the next process of the machine
  that looks into the same folder, within seconds;
- a Collector that is away costs no span: what it did not take waits on disk, up to 64 MB, the oldest lost first;
- a span that has no parent in its process, such as that of a request or a message, and one that others link to
  (a message's sending) is noted when it begins; its process killed in the middle, it is sent as far as it was
  known, so that its children have their parent.

Without a folder, or on a full disk, spans wait in memory, the newest 2,048.

A process writes to one file at a time, which it holds locked: one whose lock is free was left behind, and whoever
locks it first sends it. A file begins with its format's version; what follows are records, each with its length and
checksum: a span's beginning or end as an OTLP request, or that what is still open is noted in a later file. Each is
one write, and what was written before a process was killed is there; a machine that loses its power may lose some.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import threading
import time
import uuid
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind

from observability.otlp_reader import spans_in
from observability.scrubbing import Scrubber

logger = logging.getLogger(__name__)

PROCESS_LOST = "process_lost"
"""`error.type` of a span whose process did not live to end it."""

_MAGIC, _VERSION = b"imagebot spans ", b"1\n"
_RECORD = struct.Struct(">cII")  # kind, length, checksum
_BEGUN, _ENDED, _MOVED = b"b", b"e", b"m"
_LOOK_SECONDS = 2.0
_MOST_BYTES = 64_000_000
_MOST_REFUSALS = 5  # of one file, while the Collector takes others
_LEAST_NS = 1_000  # viewers count in microseconds, and wonder at spans that take none
_IN_MEMORY = "spans are kept in memory only: %s"
_ROOTS = (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.INTERNAL)


class CrashSpool(SpanProcessor):
    """Batches what ends and exports it from a thread of its own.

    Args:
      exporter: also given what other processes have left in `folder`.
      folder: shared by the processes of this machine; None for memory only.
      first_to_write: see `observability.setup`.
      delay: seconds between two batches. batch: spans that make one leave earlier.
      queue: most spans in memory; beyond, they are left to the disk, or lost without one.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        folder: Path | None = None,
        first_to_write: Callable[[str], bool] | None = None,
        scrubber: Scrubber | None = None,
        delay: float = 1.0,
        batch: int = 512,
        queue: int = 2048,
    ) -> None:
        self._exporter = exporter
        self._folder = folder
        self._first_to_write = first_to_write or (lambda _: True)
        self._scrubber = scrubber or Scrubber(())
        self._delay, self._batch, self._queue = delay, batch, queue
        self._shut = self._away = False
        self._file: _File | None = None
        self._taken = self._taken_before = (
            0  # requests the Collector took, and how many when that was last asked
        )
        self._looked = 0.0
        self._said: dict[str, float] = {}
        self._refusals: Counter[Path] = Counter()
        self.dropped = 0
        self._begin()
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    def _begin(self) -> None:
        """At first, and again in a forked child: the parent's spans and file are the parent's."""
        if self._file is not None:
            self._file.leave()
        # A signal's handler may end a span while its thread is in here.
        self._lock, self._sending = threading.RLock(), threading.Lock()
        self._wake = threading.Event()
        self._file = None
        self._open: dict[int, bytes] = {}
        self._over: list[ReadableSpan] = []
        if not self._shut:
            threading.Thread(target=self._run, name="spans", daemon=True).start()

    # What spans do

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._shut or self._folder is None or (context := _sampled(span)) is None:
            return
        is_root = span.parent is None or span.parent.is_remote
        if not (span.kind is SpanKind.PRODUCER or (is_root and span.kind in _ROOTS)):
            return
        if (encoded := self._encoded(span)) is not None:
            with self._lock:
                self._open[context.span_id] = encoded[1]
                self._write(_BEGUN, encoded[1])

    def on_end(self, span: ReadableSpan) -> None:
        if self._shut or (context := _sampled(span)) is None or (encoded := self._encoded(span)) is None:
            return
        with self._lock:
            self._open.pop(context.span_id, None)
            if len(self._over) >= self._queue:
                self._keep(*self._take(), self._queue - 1)
            self._over.append(encoded[0])
            self._write(_ENDED, encoded[1])
            if len(self._over) == self._batch:
                self._wake.set()

    def _encoded(self, span: ReadableSpan) -> tuple[ReadableSpan, bytes] | None:
        """A span as it is sent, without secrets; None for one that cannot be. Never raises."""
        content = b""
        with suppress(Exception):  # such as half a surrogate, or an odd time
            content = encode_spans([span]).SerializeToString()
        if content and not self._scrubber.finds_in(content):
            return span, content
        try:
            span = self._scrubber.span(span)
            return span, encode_spans([span]).SerializeToString()
        except Exception as error:
            self._drop(1, f"cannot be encoded ({type(error).__name__})")
            return None

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        if count:
            self._say(logging.ERROR, "%s spans lost since the start: %s", self.dropped, why)

    def _say(self, level: int, text: str, *of: object) -> None:
        """Once in a while: what goes wrong goes wrong with every span."""
        if time.monotonic() - self._said.get(text, -60) >= 60:
            self._said[text] = time.monotonic()
            logger.log(level, text, *of)

    # The file; with the lock

    def _write(self, kind: bytes, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            if self._file is None:
                self._file = _File(self._folder, self._open.values())
                if kind is _BEGUN:
                    return  # among what is open
            self._file.write(kind, content)
        except OSError as error:
            self._say(logging.WARNING, _IN_MEMORY, error)
            if self._file is not None:
                self._file.remove()
                self._file = None

    def _take(self) -> tuple[list[ReadableSpan], _File | None]:
        """What has ended since the last time, and the file that it is in, where there is one for it alone."""
        over, self._over = self._over, []
        file, self._file = self._file, None
        if file is not None and self._open and self._folder is not None:
            try:
                self._file = _File(self._folder, self._open.values())
            except OSError as error:
                # Without room for another, what is noted stays where it is.
                self._say(logging.WARNING, _IN_MEMORY, error)
                self._file, file.ended = file, 0
                return over, None
        if file is not None:
            with suppress(OSError):
                file.write(_MOVED, b"")
        return over, file

    def _keep(self, over: list[ReadableSpan], file: _File | None, most: int) -> None:
        """For later: on disk, where all of it is there, or `most` in memory."""
        if file is not None and file.ended >= len(over):
            file.leave()
            return
        if file is not None:
            file.remove()
        kept = [*over, *self._over]
        self._over = kept[-most:]
        self._drop(len(kept) - len(self._over), "the Collector does not keep up, and the disk is no help")

    # What the thread does

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            if self._shut:
                return  # who shuts down sends the last
            try:
                with suppress_instrumentation():
                    if self._send() and self._folder is not None:
                        self._look_around(self._folder)
            except Exception:
                logger.exception("spans cannot be sent")

    def _send(self) -> bool:
        """Export what has ended so far; False if it has to wait."""
        with self._sending:
            with self._lock:
                if not self._over:
                    if self._file is not None:
                        self._file.touch()
                    return True
                over, file = self._take()
            if self._export(over):
                if file is not None:
                    file.remove()
                return True
            with self._lock:
                self._keep(over, file, self._queue)
            if self._folder is not None:
                with suppress(FileNotFoundError):  # somebody else's, gone meanwhile
                    self._trim(self._folder)
            return False

    def _export(self, spans: Sequence[ReadableSpan]) -> bool:
        taken = False
        try:
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:
            logger.exception("spans cannot be sent")
        self._taken += taken
        if taken is self._away:
            self._away = not taken
            logger.warning(
                "the Collector takes no spans, they wait" if self._away else "the Collector is back"
            )
        return taken

    def _look_around(self, folder: Path) -> None:
        """Send what was left behind: by a process that was killed, or by anyone while the Collector was away."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for path in sorted(folder.glob("[!.]*.spans"), key=lambda path: (self._refusals[path], path)):
            try:
                with _taken_over(path) as data:
                    if data is None or self._send_left(path, data):
                        continue
            except Exception as error:
                _set_aside(path, "unreadable", type(error).__name__)
                continue
            if self._taken == self._taken_before:
                return  # away
            self._taken_before = self._taken
            self._refusals[path] += 1
            if self._refusals[path] >= _MOST_REFUSALS:
                _set_aside(path, "refused", "the Collector takes others and not these")
        self._taken_before = self._taken

    def _send_left(self, path: Path, data: bytes) -> bool:
        """False if its spans were not taken."""
        if not data.startswith(_MAGIC + _VERSION):
            if not data.startswith(_MAGIC):
                raise ValueError("not a file of spans")
            return True  # another version's, which will be back
        records = list(_records(data))
        over = [_read(content) for kind, content in records if kind == _ENDED]
        ids = {_span_of(request).span_id for request in over}
        if records and records[-1][0] != _MOVED:
            ended_ns = path.stat().st_mtime_ns
            for request in (_read(content) for kind, content in records if kind == _BEGUN):
                span = _span_of(request)
                if span.span_id in ids:
                    continue
                try:
                    if self._first_to_write(span.span_id.hex()):
                        over.append(_cut_short(request, ended_ns))
                except Exception as error:
                    logger.info("a lost process's spans wait: %s", type(error).__name__)
                    return True
        spans = [span for request in over for span in spans_in(request)]
        if spans and not self._export(spans):
            return False
        if len(_MAGIC + _VERSION) + sum(_RECORD.size + len(content) for _, content in records) < len(data):
            _set_aside(path, "unreadable", "its end is cut off")
        else:
            path.unlink()
        return True

    def _trim(self, folder: Path) -> None:
        """Delete the oldest files that nobody holds, whatever they are, until the folder is of bearable size."""
        size = 0
        for path in sorted(folder.glob("[!.]*"), key=os.path.getmtime, reverse=True):
            with suppress(OSError):
                size += path.stat().st_size
                if size > _MOST_BYTES:
                    with _taken_over(path) as data:
                        if data is not None:
                            path.unlink()
                            lost = sum(kind == _ENDED for kind, _ in _records(data))
                            self._drop(lost, "the Collector is away for long, the oldest go")

    # The end

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended; what cannot be sent stays for the next process."""
        with suppress_instrumentation():
            return self._send()

    def shutdown(self) -> None:
        if self._shut:
            return
        self._shut = True
        self._wake.set()
        with suppress_instrumentation():
            self._send()
            self._exporter.shutdown()
        with self._lock:
            # What is still open will not be ended any more: the next process says so.
            if self._file is not None:
                self._file.leave() if self._open else self._file.remove()
                self._file = None


class _File:
    """A file of this process, locked while it is open. Errors of the disk end in `OSError`."""

    def __init__(self, folder: Path, notes: Any) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # By name the oldest is first.
        self.path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.spans"
        self.ended = 0  # spans that ended, in it
        # Locked and with its notes in it before it has the name under which others look for it.
        hidden = self.path.with_name(f".{self.path.name}")
        self._fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._put(_MAGIC + _VERSION)
            for note in notes:
                self.write(_BEGUN, note)
            os.rename(hidden, self.path)
        except BaseException:
            os.close(self._fd)
            os.unlink(hidden)
            raise

    def write(self, kind: bytes, content: bytes) -> None:
        self._put(_RECORD.pack(kind, len(content), zlib.crc32(content)) + content)
        self.ended += kind == _ENDED

    def _put(self, data: bytes) -> None:
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def touch(self) -> None:
        """Show that its process lives: the time at which the file was last changed."""
        os.utime(self._fd)

    def remove(self) -> None:
        """Delete it: its spans were sent."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self.leave()

    def leave(self) -> None:
        """Leave it for whoever sees it first."""
        os.close(self._fd)


@contextmanager
def _taken_over(path: Path) -> Iterator[bytes | None]:
    """What is in a file that was left behind, ours while the block runs; None if it is held or gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Somebody else may have sent and deleted it since it was opened.
        yield path.read_bytes() if os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)


def _set_aside(path: Path, what: str, why: str) -> None:
    logger.error("spans on disk are set aside: %s.%s, %s", path.name, what, why)
    with suppress(OSError):
        path.rename(path.with_name(f"{path.name}.{what}"))


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each, up to the first that is not whole."""
    at = len(_MAGIC + _VERSION)
    while at + _RECORD.size <= len(data):
        kind, length, checksum = _RECORD.unpack_from(data, at)
        content = data[at + _RECORD.size : at + _RECORD.size + length]
        if kind not in (_BEGUN, _ENDED, _MOVED) or len(content) < length or zlib.crc32(content) != checksum:
            return
        yield kind, content
        at += _RECORD.size + length


def _sampled(span: ReadableSpan) -> SpanContext | None:
    context = span.get_span_context()
    return context if context is not None and context.trace_flags.sampled else None


def _read(content: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.ParseFromString(content)
    return request


def _span_of(request: ExportTraceServiceRequest) -> otlp.Span:
    span: otlp.Span = request.resource_spans[0].scope_spans[0].spans[0]
    return span


def _cut_short(request: ExportTraceServiceRequest, ended_ns: int) -> ExportTraceServiceRequest:
    """A span that had begun and not ended: it ends when its process was last heard of."""
    span = _span_of(request)
    span.end_time_unix_nano = max(ended_ns, span.start_time_unix_nano + _LEAST_NS)
    if span.kind != otlp.Span.SPAN_KIND_INTERNAL:
        span.status.code, span.status.message = otlp.Status.STATUS_CODE_ERROR, "the process was lost"
        span.attributes.append(KeyValue(key="error.type", value=AnyValue(string_value=PROCESS_LOST)))
    return request
