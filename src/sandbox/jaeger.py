"""A trace as the JSON that Jaeger's page loads ("JSON File" in its search) and its API answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from src.sandbox.otlp import SpanRecord


def as_jaeger(trace: Sequence[SpanRecord]) -> dict[str, Any]:
    """The answer Jaeger gives for the trace of these spans."""
    processes = _processes(trace)
    data = {
        "traceID": trace[0].trace_id if trace else "",
        "spans": [_span(span, processes[_process_key(span)][0]) for span in trace],
        "processes": dict(processes.values()),
        "warnings": None,
    }
    return {"data": [data] if trace else [], "total": 0, "limit": 0, "offset": 0, "errors": None}


def _processes(trace: Sequence[SpanRecord]) -> dict[str, tuple[str, dict[str, Any]]]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for span in trace:
        if _process_key(span) not in found:
            tags = {key: value for key, value in span.resource.items() if key != "service.name"}
            process = {"serviceName": span.service, "tags": _tags(tags)}
            found[_process_key(span)] = (f"p{len(found) + 1}", process)
    return found


def _process_key(span: SpanRecord) -> str:
    return json.dumps(span.resource, sort_keys=True)


def _span(span: SpanRecord, process: str) -> dict[str, Any]:
    tags = {**span.attributes, "span.kind": span.kind, "otel.scope.name": span.scope}
    if span.status != "unset":
        tags["otel.status_code"] = span.status.upper()
    if span.status == "error":
        tags["error"] = True
    if span.status_message:
        tags["otel.status_description"] = span.status_message
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": _references(span),
        "startTime": span.start_ns // 1000,
        "duration": (span.end_ns - span.start_ns) // 1000,
        "tags": _tags(tags),
        "logs": [
            {"timestamp": event.at_ns // 1000, "fields": _tags({"event": event.name, **event.attributes})}
            for event in span.events
        ],
        "processID": process,
        "warnings": None,
    }


def _references(span: SpanRecord) -> list[dict[str, str]]:
    """The parent first: Jaeger hangs a span under the first reference that is there."""
    references = []
    if span.parent_id:
        references.append({"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id})
    references += [
        {"refType": "FOLLOWS_FROM", "traceID": link.trace_id, "spanID": link.span_id}
        for link in span.links
        if link.span_id != span.parent_id
    ]
    return references


def _tags(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_tag(key, value) for key, value in attributes.items()]


def _tag(key: str, value: Any) -> dict[str, Any]:
    # A bool is an int to Python, so it comes first.
    for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return {"key": key, "type": name, "value": value}
    return {"key": key, "type": "string", "value": json.dumps(value, ensure_ascii=False)}
