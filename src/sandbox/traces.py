"""An OTLP receiver with a trace page: where the demo and the tests look at what was exported.

Takes traces, metrics and logs over OTLP/HTTP (protobuf, gzip or not) and keeps the newest in memory.
`/traces` shows them; `/traces/waterfall.js` draws one trace into any page. It is no Jaeger: nothing is
searched, nothing outlives the process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from src.sandbox import otlp
from src.sandbox.jaeger import as_jaeger
from src.sandbox.otlp import LogLine, Point, SpanRecord

T = TypeVar("T")

_LARGEST_REQUEST = 32_000_000  # bytes, unpacked
_HERE = Path(__file__).parent
_FRESH = {"Cache-Control": "no-cache"}  # ask again, a new version may be installed


class TraceSandbox:
    """The receiver. Holds the newest traces, the latest value of each metric and the newest log lines.

    Args:
      max_traces, max_logs: how many are kept; the oldest go first.
    """

    def __init__(self, *, max_traces: int = 5_000, max_logs: int = 10_000) -> None:
        self._traces: OrderedDict[str, dict[str, SpanRecord]] = OrderedDict()
        self._trace_of_update: OrderedDict[int, str] = OrderedDict()
        self._points: dict[tuple[str, str, str], Point] = {}
        self._logs: deque[LogLine] = deque(maxlen=max_logs)
        self._max_traces = max_traces
        self._received = asyncio.Event()

    def add_to(self, app: web.Application) -> None:
        """Serve OTLP under `/v1/` and the pages under `/traces` of `app`."""
        app.router.add_post("/v1/traces", self._take_traces)
        app.router.add_post("/v1/metrics", self._take_metrics)
        app.router.add_post("/v1/logs", self._take_logs)
        app.router.add_get("/traces/api/recent", self._recent)
        app.router.add_get("/traces/api/by-update/{update_id:-?[0-9]+}", self._by_update)
        app.router.add_get("/traces/api/{trace_id:[0-9a-f]{32}}", self._one)
        app.router.add_get("/traces/{trace_id:[0-9a-f]{32}}.json", self._jaeger_file)
        app.router.add_get("/traces/waterfall.js", self._script)
        app.router.add_get("/traces", self._page)
        app.router.add_get("/traces/{trace_id:[0-9a-f]{32}}", self._page)

    # What was received

    def trace(self, trace_id: str) -> list[SpanRecord]:
        """The trace's spans so far, by their start; empty if it is not known."""
        return sorted(self._traces.get(trace_id, {}).values(), key=lambda span: (span.start_ns, span.end_ns))

    def trace_ids(self) -> list[str]:
        """The traces, oldest first."""
        return list(self._traces)

    def spans(self) -> list[SpanRecord]:
        """All spans."""
        return [span for trace in self._traces.values() for span in trace.values()]

    def trace_of_update(self, update_id: int) -> str | None:
        """Id of the trace of a Telegram update."""
        return self._trace_of_update.get(update_id)

    def metrics(self, name: str | None = None) -> list[Point]:
        """Latest value of each metric, process and set of attributes; of all metrics or the one named."""
        return [point for point in self._points.values() if name is None or point.name == name]

    def logs(self, trace_id: str | None = None) -> list[LogLine]:
        """Log lines, oldest first; all or those of a trace."""
        return [line for line in self._logs if trace_id is None or line.trace_id == trace_id]

    def text(self) -> str:
        """Everything that is kept as one JSON text: what to search for a secret."""
        kept: list[SpanRecord | Point | LogLine] = [*self.spans(), *self._points.values(), *self._logs]
        return json.dumps([dataclasses.asdict(record) for record in kept], ensure_ascii=False)

    async def wait_for(
        self,
        find: Callable[[TraceSandbox], T],
        timeout: float = 10,  # noqa: ASYNC109
    ) -> T:
        """What `find` returns once it is true; asked again after every export.

        Raises:
          TimeoutError: it was not true within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (found := find(self)):
            self._received.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._received.wait()
            except TimeoutError:
                names = sorted({span.name for span in self.spans()})
                raise TimeoutError(f"not exported within {timeout} s; spans seen: {names}") from None
        return found

    # OTLP

    async def _take_traces(self, request: web.Request) -> web.Response:
        for span in await _read(request, otlp.spans):
            self._keep(span)
        self._received.set()
        return _taken(ExportTraceServiceResponse())

    async def _take_metrics(self, request: web.Request) -> web.Response:
        for point in await _read(request, otlp.metrics):
            key = (point.instance, point.name, json.dumps(point.attributes, sort_keys=True))
            self._points[key] = point
        self._received.set()
        return _taken(ExportMetricsServiceResponse())

    async def _take_logs(self, request: web.Request) -> web.Response:
        self._logs.extend(await _read(request, otlp.logs))
        self._received.set()
        return _taken(ExportLogsServiceResponse())

    def _keep(self, span: SpanRecord) -> None:
        trace = self._traces.setdefault(span.trace_id, {})
        if trace.get(span.span_id) == span:
            return  # sent again, by somebody who did not hear that it was taken
        # A repeated id would hide a fault from the tests if it replaced the first.
        trace[span.span_id if span.span_id not in trace else f"{span.span_id}#{len(trace)}"] = span
        update_id = span.attributes.get("telegram.update.id")
        if isinstance(update_id, int):
            self._trace_of_update[update_id] = span.trace_id
        for kept in (self._traces, self._trace_of_update):
            while len(kept) > self._max_traces:
                kept.popitem(last=False)

    # Pages

    async def _one(self, request: web.Request) -> web.Response:
        return self._as_json(request.match_info["trace_id"])

    async def _by_update(self, request: web.Request) -> web.Response:
        trace_id = self._trace_of_update.get(int(request.match_info["update_id"]))
        # Who asks too early is no error.
        return self._as_json(trace_id) if trace_id else web.json_response({"trace_id": ""})

    async def _recent(self, request: web.Request) -> web.Response:
        newest = list(self._traces)[-100:][::-1]
        return web.json_response({"traces": [summary(self.trace(trace_id)) for trace_id in newest]})

    async def _jaeger_file(self, request: web.Request) -> web.Response:
        trace_id = request.match_info["trace_id"]
        if trace_id not in self._traces:
            raise web.HTTPNotFound(text="no such trace")
        name = f'attachment; filename="trace-{trace_id}.json"'
        return web.json_response(as_jaeger(self.trace(trace_id)), headers={"Content-Disposition": name})

    async def _script(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(_HERE / "waterfall.js", headers={"Content-Type": "text/javascript"} | _FRESH)

    async def _page(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(_HERE / "traces.html", headers=_FRESH)

    def _as_json(self, trace_id: str) -> web.Response:
        trace = self.trace(trace_id)
        if not trace:
            raise web.HTTPNotFound(text="no such trace")
        return web.json_response(summary(trace) | {"spans": [_as_dict(span, trace[0]) for span in trace]})


def orphans(trace: Sequence[SpanRecord]) -> list[SpanRecord]:
    """Spans of `trace` whose parent is not in it. A whole trace has none."""
    present = {span.span_id for span in trace}
    return [span for span in trace if span.parent_id and span.parent_id not in present]


def is_finished(trace: Sequence[SpanRecord]) -> bool:
    """Whether nothing is left to come: it has its root, every parent, and each message sent was processed.

    A span that is written at its end, such as a job's, is missed by its children until then.
    """
    processed = {link.span_id for span in trace if span.kind == "consumer" for link in span.links}
    waiting = [span for span in trace if span.kind == "producer" and span.span_id not in processed]
    return any(not span.parent_id for span in trace) and not orphans(trace) and not waiting


def summary(trace: Sequence[SpanRecord]) -> dict[str, Any]:
    """A trace in a few figures. `trace` must not be empty."""
    start = min(span.start_ns for span in trace)
    end = max(span.end_ns for span in trace)
    root = next((span for span in trace if not span.parent_id), trace[0])
    return {
        "trace_id": root.trace_id,
        "name": root.name,
        "started_at": start // 1_000_000,
        "duration_ms": (end - start) / 1e6,
        "span_count": len(trace),
        "services": sorted({span.service for span in trace}),
        "errors": sum(span.status == "error" for span in trace),
        "orphans": [span.span_id for span in orphans(trace)],
        "finished": is_finished(trace),
    }


def _as_dict(span: SpanRecord, first: SpanRecord) -> dict[str, Any]:
    """A span for the page, times in ms from the start of the trace: a browser's numbers end before ns do."""
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "links": [link.span_id for link in span.links if link.trace_id == span.trace_id],
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "start_ms": (span.start_ns - first.start_ns) / 1e6,
        "duration_ms": (span.end_ns - span.start_ns) / 1e6,
        "status": span.status,
        "status_message": span.status_message,
        "attributes": span.attributes,
        "events": [
            {"name": e.name, "at_ms": (e.at_ns - first.start_ns) / 1e6, "attributes": e.attributes}
            for e in span.events
        ],
    }


async def _read(request: web.Request, decode: Callable[[bytes], Iterable[T]]) -> list[T]:
    """What the request brings; aiohttp unpacks it. It may be larger than the application's other bodies."""
    if request.content_type != "application/x-protobuf":
        raise web.HTTPUnsupportedMediaType(text="expected application/x-protobuf")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_REQUEST:
            raise web.HTTPRequestEntityTooLarge(_LARGEST_REQUEST, len(body))
    try:
        return list(decode(bytes(body)))
    except otlp.DecodeError:
        raise web.HTTPBadRequest(text="not an OTLP export request") from None


def _taken(answer: Any) -> web.Response:
    return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")
