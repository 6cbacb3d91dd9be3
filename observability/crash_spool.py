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
checksum: a span's beginning or end as an OTLP request, or that what is still open is noted in a later file.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import struct
import threading
import time
import uuid
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind

from observability.otlp_reader import read_spans
from observability.scrubbing import Scrubber

logger = logging.getLogger(__name__)

_MAGIC, _VERSION = b"imagebot spans ", b"1\n"
_RECORD = struct.Struct(">cII")  # kind, length, checksum
_BEGUN, _ENDED, _MOVED = b"b", b"e", b"m"
_LOOK_SECONDS = 2.0
_MOST_BYTES = 64_000_000
_MOST_REFUSALS = 5  # of one file, while the Collector takes others
_ROOTS = (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.INTERNAL)


class CrashSpool(SpanProcessor):
    """Batches what ends and exports it from a thread of its own.

    Args:
      exporter: also given what other processes have left in `folder`.
      folder: shared by the processes of this machine; None for memory only.
      first_to_write: see `observability.setup`.
      delay: seconds between two batches. batch: spans that make one leave earlier, and most in a request.
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
        self._exporter, self._folder = exporter, folder
        self._first_to_write = first_to_write or (lambda _: True)
        self._scrubber = scrubber or Scrubber(())
        self._delay, self._batch, self._queue = delay, batch, queue
        self._shut = self._away = self._taken = False
        self._file: FileIO | None = None
        self._looked = 0.0
        self._said: dict[str, float] = {}
        self._tries: Counter[Path] = Counter()
        self._refusals: Counter[Path] = Counter()
        self.dropped = 0
        self._begin()
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    def _begin(self) -> None:
        """At first, and again in a forked child: the parent's spans and file are the parent's."""
        if self._file is not None:
            self._file.close()
        # A signal's handler may end a span while its thread is in here.
        self._lock, self._sending, self._wake = threading.RLock(), threading.Lock(), threading.Event()
        self._file = None  # what is in `_open` and in `_over` is all in it, where there is one
        self._open: dict[int, bytes] = {}
        self._over: list[ReadableSpan] = []
        if not self._shut:
            threading.Thread(target=self._run, name="spans", daemon=True).start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._shut or self._folder is None or (context := _sampled(span)) is None:
            return
        is_root = (span.parent is None or span.parent.is_remote) and span.kind in _ROOTS
        if (is_root or span.kind is SpanKind.PRODUCER) and (encoded := self._encoded(span)):
            with self._lock:
                self._open[context.span_id] = encoded[1]
                self._write(_BEGUN, encoded[1])

    def on_end(self, span: ReadableSpan) -> None:
        if self._shut or (context := _sampled(span)) is None or (encoded := self._encoded(span)) is None:
            return
        with self._lock:
            self._open.pop(context.span_id, None)
            self._over.append(encoded[0])
            self._write(_ENDED, encoded[1])
            if len(self._over) > self._queue:
                self._keep(*self._take())
            elif len(self._over) == self._batch:
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

    # The next three are called with the lock.

    def _write(self, kind: bytes, content: bytes) -> None:
        """Into the file; one that cannot be written holds nothing, and the next is begun with the next batch."""
        try:
            if self._file is not None:
                _append(self._file, kind, content)
            elif self._folder is not None and len(self._over) <= (kind == _ENDED):
                self._file = _new_file(self._folder)
                for note in self._open.values():
                    _append(self._file, _BEGUN, note)
                if kind == _ENDED:
                    _append(self._file, kind, content)
        except OSError as error:
            self._say(logging.WARNING, "spans are kept in memory only: %s", error)
            _removed(self._file)
            self._file = None

    def _take(self) -> tuple[list[ReadableSpan], FileIO | None]:
        """What has ended since the last time, and the file that it is in; what is open is noted in another."""
        over, self._over = self._over, []
        file, self._file = self._file, None
        if self._open:
            self._write(_BEGUN, b"")
        if file is not None:
            with suppress(OSError):
                _append(file, _MOVED)
        return over, file

    def _keep(self, over: list[ReadableSpan], file: FileIO | None) -> None:
        """For later: on disk, where it is there, or the newest in memory."""
        if file is not None and self._folder is not None:
            file.close()
            self._trim(self._folder)
            return
        _removed(self._file)
        self._file = None
        kept = [*over, *self._over]
        self._over = kept[-self._queue :]
        self._drop(len(kept) - len(self._over), "the Collector does not keep up, and the disk is no help")

    def _trim(self, folder: Path) -> None:
        """Delete the oldest files that nobody holds, whatever they are, until the folder is of bearable size."""
        size = 0
        for path in sorted(folder.glob("*"), reverse=True):
            with suppress(OSError):
                size += path.stat().st_size
                if size > _MOST_BYTES:
                    with _taken_over(path) as data:
                        if data:
                            path.unlink()
                            lost = sum(kind == _ENDED for kind, _ in _records(data)[0])
                            self._drop(lost, "the Collector is away for long, the oldest go")

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            if self._shut:
                return  # who shuts down sends the last
            try:
                if self.force_flush() and self._folder is not None:
                    with suppress_instrumentation():
                        self._look_around(self._folder)
            except Exception:
                logger.exception("spans cannot be sent")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended; False if it has to wait, for this process or, on disk, for the next."""
        with self._sending, suppress_instrumentation():
            with self._lock:
                if self._file is not None:
                    os.utime(self._file.fileno())  # shows that the process lives
                if not self._over:
                    return True
                over, file = self._take()
            taken = self._export(over)
            with self._lock:
                if not taken:
                    self._keep(over, file)
                else:
                    _removed(file)
            return taken

    def _export(self, spans: Sequence[ReadableSpan], refusals: int = 0) -> bool:
        """`refusals`: how often they were not taken; they may be too many for one request."""
        most = max(1, min(self._batch, len(spans)) >> refusals)
        taken = False
        try:
            taken = all(self._request(spans[at : at + most]) for at in range(0, len(spans), most))
        except Exception:
            logger.exception("spans cannot be sent")
        if taken is self._away:
            self._away = not taken
            logger.warning(
                "the Collector takes no spans, they wait" if self._away else "the Collector is back"
            )
        return taken

    def _request(self, spans: Sequence[ReadableSpan]) -> bool:
        taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        self._taken |= taken
        return taken

    def _look_around(self, folder: Path) -> None:
        """Send what was left behind: by a process that was killed, or by anyone while the Collector was away."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if not os.access(folder, os.W_OK):
            return  # what was sent could not be deleted, and would be sent for ever
        # Each has its turn: the first is no obstacle to the others.
        self._tries = Counter({path: self._tries[path] for path in folder.glob("*.spans")})
        for path in sorted(self._tries, key=lambda path: (self._tries[path], path)):
            self._tries[path] += 1
            try:
                with _taken_over(path) as data:
                    if not data or self._send_left(path, data):
                        continue
            except Exception as error:
                _set_aside(path, "unreadable", type(error).__name__)
                continue
            if not self._taken:
                return  # away
            self._refusals[path] += 1
            if self._refusals[path] >= _MOST_REFUSALS:
                _set_aside(path, "refused", "the Collector takes others and not these")
        self._taken = False

    def _send_left(self, path: Path, data: bytes) -> bool:
        """False if its spans were not taken."""
        if not data.startswith(_MAGIC):
            raise ValueError("not a file of spans")
        if not data.startswith(_MAGIC + _VERSION):
            return True  # another version's, which will be back
        records, whole = _records(data)
        spans = read_spans(b"".join(content for kind, content in records if kind == _ENDED))
        if records and records[-1][0] != _MOVED:
            known = {span.context.span_id for span in spans}
            begun = b"".join(content for kind, content in records if kind == _BEGUN)
            lost = read_spans(begun, lost_ns=path.stat().st_mtime_ns)
            try:
                spans = [span for span in spans if not _may_be_anothers(span) or self._is_first(span)]
                spans += [s for s in lost if s.context.span_id not in known and self._is_first(s)]
            except Exception as error:
                logger.info("a lost process's spans wait: %s", type(error).__name__)
                return True
        if spans and not self._export(spans, self._refusals[path]):
            return False
        if whole:
            path.unlink()
        else:
            _set_aside(path, "unreadable", "its end is cut off")
        return True

    def _is_first(self, span: ReadableSpan) -> bool:
        return self._first_to_write(f"{span.context.span_id:016x}")

    def shutdown(self) -> None:
        if self._shut:
            return
        self._shut = True
        self._wake.set()
        self.force_flush()
        self._exporter.shutdown()
        with self._lock:
            if self._file is not None and self._open:
                self._file.close()  # what is open will not be ended any more: the next process says so
            else:
                _removed(self._file)
            self._file = None


def _new_file(folder: Path) -> FileIO:
    """A file of this process, locked while it is open."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # By name the oldest is first.
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.spans"
    file = FileIO(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
    fcntl.flock(file, fcntl.LOCK_EX)  # who locked it meanwhile has seen that it is empty, and left it
    file.write(_MAGIC + _VERSION)
    return file


def _append(file: FileIO, kind: bytes, content: bytes = b"") -> None:
    data = _RECORD.pack(kind, len(content), zlib.crc32(content)) + content
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _removed(file: FileIO | None) -> None:
    if file is not None:
        Path(file.name).unlink(missing_ok=True)
        file.close()


@contextmanager
def _taken_over(path: Path) -> Iterator[bytes]:
    """What is in a file that was left behind, ours while the block runs; empty if it is held or gone."""
    with ExitStack() as stack:
        data = b""
        with suppress(FileNotFoundError, BlockingIOError):
            file = stack.enter_context(open(path, "rb", opener=_without_waiting))
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a file")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody else may have sent and deleted it since it was opened.
            data = file.read() if os.fstat(file.fileno()).st_nlink else b""
        yield data


def _without_waiting(name: str, flags: int) -> int:
    """What is no file, such as a pipe, may have nobody at its other end."""
    return os.open(name, flags | os.O_NONBLOCK)


def _set_aside(path: Path, what: str, why: str) -> None:
    logger.error("spans on disk are set aside: %s.%s, %s", path.name, what, why)
    with suppress(OSError):
        path.rename(path.with_name(f"{path.name}.{what}"))


def _records(data: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Kind and content of each up to the first that is harmed, and whether there is none."""
    records, at = [], len(_MAGIC + _VERSION)
    while len(data) >= at + _RECORD.size:
        kind, length, checksum = _RECORD.unpack_from(data, at)
        content = data[at + _RECORD.size : at + _RECORD.size + length]
        if zlib.crc32(content) != checksum:
            break
        records.append((kind, content))
        at += _RECORD.size + length
    return records, len(data) == at


def _may_be_anothers(span: ReadableSpan) -> bool:
    """Whether it may have been promised before its process had it: who does not know that it is here writes it too."""
    from_elsewhere = span.parent is not None and span.parent.is_remote
    return from_elsewhere and span.kind in (SpanKind.INTERNAL, SpanKind.CLIENT)


def _sampled(span: ReadableSpan) -> SpanContext | None:
    context = span.get_span_context()
    return context if context is not None and context.trace_flags.sampled else None
