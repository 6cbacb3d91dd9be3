"""Spans that survive: each is on disk from its end until the Collector has it.

`DurableSpanProcessor` does what the SDK's batch processor does, and besides:

- spans of a process that was killed (SIGKILL, out of memory) are sent by the next process of the machine
  that looks into the same folder, within seconds;
- a Collector that is away costs no span: what it did not take waits on disk, up to 64 MB, and in memory
  only up to a queue's length;
- a span that has no parent in its process, such as that of a request or a message, is noted when it
  begins; its process killed in the middle, it is sent as far as it was known, so that its children have
  their parent.

Without a folder (a read-only container, say) spans wait in memory only, as they do in the SDK's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status as StatusMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from observability import shorthand
from observability.otlp import encode_resource, encode_span, export_request, key_value
from observability.scrubbing import Scrubber
from observability.spool import Record, Spool, SpoolFile, taken_over

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_MOST_OVER = 200  # notes of spans that have ended, before the file is written anew
_LEAST_NS = 1_000  # viewers count in microseconds, and wonder at spans that take none
_NOTED = (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.INTERNAL)

PROCESS_LOST = "process_lost"
"""`error.type` of a span whose process did not live to end it."""


class Answer(Enum):
    """What became of a request."""

    TAKEN = auto()
    REFUSED = auto()  # and will be again
    AWAY = auto()  # later, perhaps


Post = Callable[[bytes], Answer]
"""Sends an `ExportTraceServiceRequest`. Never raises."""


class _Batch:
    """Spans that ended, in memory and where possible on disk too."""

    __slots__ = ("file", "head", "spans")

    def __init__(self, head: bytes, file: SpoolFile | None) -> None:
        self.head = head
        self.spans: list[ReadableSpan] = []
        self.file = file


class DurableSpanProcessor(SpanProcessor):
    """Batches what ends and posts it from a thread of its own.

    Args:
      post: where to; also called for what other processes have left in `folder`.
      folder: shared by the processes of this machine; None for memory only.
      first_to_write: see `observability.setup`.
      delay: seconds between two batches. batch: spans that make one leave earlier.
      queue: most spans in memory; beyond, they are left to the disk, or lost without one.
    """

    def __init__(
        self,
        post: Post,
        *,
        folder: Path | None = None,
        first_to_write: Callable[[str], bool] | None = None,
        scrubber: Scrubber | None = None,
        delay: float = 0.5,
        batch: int = 512,
        queue: int = 2048,
    ) -> None:
        self._post = post
        self._resource: tuple[Resource | None, bytes] = (None, b"")
        self._first_to_write = first_to_write
        self._scrubber = scrubber or Scrubber(())
        self._delay, self._batch_size, self._queue = delay, batch, queue
        self._spool = _spool(folder)
        self._shut = False
        self._away = False
        self._looked = 0.0
        self._begin()
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    def _begin(self) -> None:
        """At first, and again in a forked child: the parent's spans and files are the parent's."""
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._wake = threading.Event()
        self._batch: _Batch | None = None
        self._open: dict[int, bytes] = {}
        self._notes: SpoolFile | None = None
        self._over = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        if not self._shut:
            self._thread.start()

    # What spans do

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        context, parent = span.context, span.parent
        if self._shut or self._spool is None or context is None or not context.trace_flags.sampled:
            return
        if span.kind not in _NOTED or (parent is not None and not parent.is_remote):
            return
        note = self._encode(span, shorthand.written)
        with self._lock, suppress(OSError):
            if self._notes is None:
                self._notes = self._spool.file("open", [(0, self._encoded(span.resource))])
            self._notes.append(context.span_id, note)
            self._open[context.span_id] = note

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if self._shut or context is None or not context.trace_flags.sampled:
            return
        record = self._encode(span, shorthand.written) if self._spool is not None else b""
        with self._lock:
            self._keep(context.span_id, record, span)
            if self._open:
                self._ended(context.span_id)

    def _encoded(self, resource: Resource) -> bytes:
        if self._resource[0] is not resource:
            self._resource = resource, encode_resource(resource)
        return self._resource[1]

    def _encode(self, span: ReadableSpan, form: Callable[[ReadableSpan], bytes] = encode_span) -> bytes:
        """Without secrets, as it is sent; on disk it is kept in the form `shorthand.written`."""
        record = form(span)
        if self._scrubber.finds_in(record):
            record = form(self._scrubber.span(span))
        return record

    def _keep(self, span_id: int, record: bytes, span: ReadableSpan) -> None:
        batch = self._batch
        if batch is not None and len(batch.spans) >= self._queue:
            if batch.file is None:
                return  # told when the queue filled up
            batch.file.leave()
            batch = None
        if batch is None:
            head = self._encoded(span.resource)
            batch = self._batch = _Batch(head, self._new_file(head))
        batch.spans.append(span)
        if batch.file is not None:
            try:
                batch.file.append(span_id, record)
            except OSError as error:
                logger.warning("spans are kept in memory only: %s", error.strerror)
                batch.file.remove()
                batch.file = None
        if len(batch.spans) == self._batch_size:
            self._wake.set()
        if len(batch.spans) == self._queue and batch.file is None:
            logger.warning("the Collector does not keep up, spans are lost")

    def _new_file(self, head: bytes) -> SpoolFile | None:
        if self._spool is None:
            return None
        try:
            return self._spool.file("ended", [(0, head)])
        except OSError as error:
            logger.warning("spans are kept in memory only: %s", error.strerror)
            return None

    def _ended(self, span_id: int) -> None:
        """A noted span has ended, and its note says so."""
        if self._open.pop(span_id, None) is not None and self._notes is not None:
            self._over += 1
            with suppress(OSError):
                self._notes.append(span_id, b"")

    # What the thread does

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            if self._shut:
                return  # who shuts down sends the last
            try:
                with self._lock, suppress(OSError):
                    self._tidy_notes()
                with suppress_instrumentation():
                    if self._send() and self._spool is not None:
                        self._look_around(self._spool)
            except Exception:
                # Such as a file of somebody else's in the folder: the spans that follow go on.
                logger.exception("spans that wait on disk cannot be sent")

    def _tidy_notes(self) -> None:
        notes = self._notes
        if notes is None or self._spool is None:
            return
        if self._open and self._over < _MOST_OVER:
            notes.touch()
            return
        # Without room for another, what is noted stays where it is.
        records = [(0, self._resource[1]), *self._open.items()]
        self._notes = self._spool.file("open", records) if self._open else None
        self._over = 0
        notes.remove()

    def _send(self) -> bool:
        """Post what has ended so far; False if it has to wait."""
        with self._sending:
            with self._lock:
                batch, self._batch = self._batch, None
            if batch is None:
                return True
            answer = self._post(export_request(batch.head, map(self._encode, batch.spans)))
            self._told(answer)
            if answer is not Answer.AWAY:
                if batch.file is not None:
                    batch.file.remove()
                return True
            if batch.file is not None:
                batch.file.leave()
                if self._spool is not None and (lost := self._spool.trim()):
                    logger.warning(
                        "the Collector is away for long, the oldest spans are lost: %s files", lost
                    )
            else:
                self._put_back(batch)
            return False

    def _put_back(self, batch: _Batch) -> None:
        with self._lock:
            newer = self._batch
            if newer is not None:
                batch.spans += newer.spans[: self._queue - len(batch.spans)]
                if newer.file is not None:
                    newer.file.remove()
            self._batch = batch

    def _told(self, answer: Answer) -> None:
        if (answer is Answer.AWAY) is not self._away:
            self._away = answer is Answer.AWAY
            logger.warning("the Collector is away, spans wait" if self._away else "the Collector is back")

    def _look_around(self, spool: Spool) -> None:
        """Send what was left behind: by a process that was killed, or by anyone while the Collector was away."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for path in spool.left_behind("ended"):
            if not self._send_file(
                path, lambda records, _: [shorthand.as_otlp(record.content) for record in records]
            ):
                return
        for path in spool.left_behind("open"):
            if not self._send_file(path, self._cut_short):
                return

    def _send_file(self, path: Path, spans_of: Callable[[list[Record], int], list[bytes]]) -> bool:
        """False if it has to wait."""
        with taken_over(path) as records:
            if records is None:
                return True
            try:
                spans = spans_of(records[1:], path.stat().st_mtime_ns)
            except Exception as error:
                logger.info("a lost process's spans wait: %s", type(error).__name__)
                return False
            if spans:
                answer = self._post(export_request(records[0].content, spans))
                self._told(answer)
                if answer is Answer.AWAY:
                    return False
            path.unlink()
        return True

    def _cut_short(self, records: list[Record], ended_ns: int) -> list[bytes]:
        """Spans that had begun and not ended: they end when their process was last heard of."""
        notes: dict[int, bytes] = {}
        for id_, content in records:
            if content:
                notes[id_] = content
            else:
                notes.pop(id_, None)
        first = self._first_to_write or (lambda _: True)
        return [
            _ended_at(shorthand.as_otlp(note), ended_ns)
            for id_, note in notes.items()
            if first(f"{id_:016x}")
        ]

    # The end

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Post what has ended; what cannot be sent stays for the next process."""
        with suppress_instrumentation():
            return self._send()

    def shutdown(self) -> None:
        if self._shut:
            return
        self._shut = True
        self._wake.set()
        with suppress_instrumentation():
            self._send()
        if self._notes is not None:
            # What is still open will not be ended any more: the next process says so.
            if self._open:
                self._notes.leave()
            else:
                self._notes.remove()


_LOST = StatusMessage(code=StatusMessage.STATUS_CODE_ERROR, message="the process was lost")


def _spool(folder: Path | None) -> Spool | None:
    if folder is None:
        return None
    try:
        return Spool(folder)
    except OSError as error:
        logger.info("spans are kept in memory only: %s", error.strerror)
        return None


def _ended_at(note: bytes, ended_ns: int) -> bytes:
    message = ResourceSpans.FromString(note)
    span = message.scope_spans[0].spans[0]
    span.end_time_unix_nano = max(ended_ns, span.start_time_unix_nano + _LEAST_NS)
    if span.kind != SpanMessage.SPAN_KIND_INTERNAL:
        span.status.CopyFrom(_LOST)
        span.attributes.append(key_value("error.type", PROCESS_LOST))
    return bytes(message.SerializeToString())
