"""A finished span as OTLP bytes, one at a time, so that they can be kept on disk and joined into a request.

Says what the official encoder says, for a fifth of its CPU time: the fields that every span has are written out
as protobuf lays them down, and what repeats from span to span, such as an attribute of few values, is made once.
Nothing is sent here; that is `observability.durable`.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, SpanFlags
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status as StatusMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope as Scope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

logger = logging.getLogger(__name__)

# Longer texts seldom repeat.
_LONGEST_CACHED = 100
_KINDS = {
    SpanKind.INTERNAL: SpanMessage.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: SpanMessage.SPAN_KIND_SERVER,
    SpanKind.CLIENT: SpanMessage.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: SpanMessage.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: SpanMessage.SPAN_KIND_CONSUMER,
}
_CODES = {
    StatusCode.UNSET: StatusMessage.STATUS_CODE_UNSET,
    StatusCode.OK: StatusMessage.STATUS_CODE_OK,
    StatusCode.ERROR: StatusMessage.STATUS_CODE_ERROR,
}
_REMOTENESS_KNOWN = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _REMOTENESS_KNOWN | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
# Fields as they are tagged. Of ExportTraceServiceRequest, ResourceSpans and ScopeSpans, those that hold messages:
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS = b"\x0a", b"\x12", b"\x12"
# of Span:
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_TIMES = struct.Struct("<cQcQ")
_START, _END = b"\x39", b"\x41"
_ATTRIBUTE, _EVENT, _LINK = b"\x4a", b"\x5a", b"\x6a"
# of Event, while a Link's ids have the tags of a Span's:
_TIME = struct.Struct("<cQ")
_EVENT_TIME = b"\x09"
# of KeyValue and of AnyValue.
_VALUE, _TEXT = b"\x12", b"\x0a"


def encode_resource(resource: Resource) -> bytes:
    """The beginning of a `ResourceSpans` message: whose spans follow."""
    message = ResourceSpans(
        resource=ResourceMessage(attributes=_attributes(resource.attributes)), schema_url=resource.schema_url
    )
    return bytes(message.SerializeToString())


def encode_span(span: ReadableSpan) -> bytes:
    """A part of a `ResourceSpans` message: one span and its scope, without its resource."""
    context, parent = span.context, span.parent
    if context is None:
        return b""
    # As the tuple it is: each of its properties is a call.
    trace_id, span_id, *_ = context
    parts = [
        _TRACE_ID,
        trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        span_id.to_bytes(8, "big"),
        _named(span.name, span.kind),
        _TIMES.pack(_START, span.start_time or 0, _END, span.end_time or 0),
    ]
    if parent is not None:
        parts += (_PARENT_ID, parent.span_id.to_bytes(8, "big"))
    for key, value in (span.attributes or {}).items():
        if isinstance(value, str):
            short = len(value) <= _LONGEST_CACHED
            parts.append(_cached_attribute(key, value) if short else _attribute(key, value))
        elif isinstance(value, int | float) or (
            type(value) is tuple and all(type(item) is str for item in value)
        ):
            parts.append(_cached_attribute(key, value))
        else:
            parts.append(_attribute(key, value))
    parts.append(_REMOTE_PARENT if parent is not None and parent.is_remote else _LOCAL_PARENT)
    parts.append(_seldom(span, context))
    return _field(_SCOPE_SPANS, _scope(span.instrumentation_scope) + _field(_SPANS, b"".join(parts)))


def export_request(resource: bytes, spans: Iterable[bytes]) -> bytes:
    """An `ExportTraceServiceRequest` of the parts that `encode_resource` and `encode_span` made."""
    return _field(_RESOURCE_SPANS, b"".join([resource, *spans]))


def key_value(key: str, value: str) -> KeyValue:
    """An attribute."""
    return KeyValue(key=key, value=AnyValue(string_value=value))


@lru_cache(1024)
def _named(name: str, kind: SpanKind) -> bytes:
    return bytes(SpanMessage(name=name, kind=_KINDS[kind]).SerializeToString())


def _seldom(span: ReadableSpan, context: SpanContext) -> bytes:
    """Its status, and what most spans have none of."""
    if not span.events and not span.links and not context.trace_state and type(span.attributes) is dict:
        return _status(span.status)
    parts = [_status(span.status)]
    parts += map(_event, span.events)
    parts += map(_link, span.links)
    if context.trace_state or span.dropped_attributes or span.dropped_events or span.dropped_links:
        message = SpanMessage(
            trace_state=context.trace_state.to_header(),
            dropped_attributes_count=span.dropped_attributes,
            dropped_events_count=span.dropped_events,
            dropped_links_count=span.dropped_links,
        )
        parts.append(message.SerializeToString())
    return b"".join(parts)


def _event(event: Event) -> bytes:
    name = _event_named(event.name)
    content = _TIME.pack(_EVENT_TIME, event.timestamp) + name
    if event.attributes:
        rest = SpanMessage.Event(
            attributes=_attributes(event.attributes), dropped_attributes_count=event.dropped_attributes
        )
        content += rest.SerializeToString()
    return _field(_EVENT, content)


@lru_cache(256)
def _event_named(name: str) -> bytes:
    return bytes(SpanMessage.Event(name=name).SerializeToString())


def _link(link: Link) -> bytes:
    context = link.context
    content = b"".join(
        (
            _TRACE_ID,
            context.trace_id.to_bytes(16, "big"),
            _SPAN_ID,
            context.span_id.to_bytes(8, "big"),
            _REMOTE_LINK if context.is_remote else _LOCAL_LINK,
        )
    )
    if link.attributes:
        rest = SpanMessage.Link(
            attributes=_attributes(link.attributes), dropped_attributes_count=link.dropped_attributes
        )
        content += rest.SerializeToString()
    return _field(_LINK, content)


def _status(status: Status) -> bytes:
    if status.status_code is StatusCode.UNSET:
        return _UNSET
    message = StatusMessage(code=_CODES[status.status_code], message=status.description or "")
    return bytes(SpanMessage(status=message).SerializeToString())


@lru_cache(8192, typed=True)  # for 1, 1.0 and True are the same
def _cached_attribute(key: str, value: str | bool | float | tuple[str, ...]) -> bytes:
    return _attribute(key, value)


def _attribute(key: str, value: Any) -> bytes:
    """An attribute as a span has it; nothing where OTLP has no such value."""
    if isinstance(value, str):
        text = _field(_VALUE, _field(_TEXT, value.encode(errors="replace")))
        return _field(_ATTRIBUTE, _key(key) + text)
    return b"".join(_field(_ATTRIBUTE, found.SerializeToString()) for found in _attributes({key: value}))


@lru_cache(1024)
def _key(key: str) -> bytes:
    return bytes(KeyValue(key=key).SerializeToString())


def _attributes(attributes: Mapping[str, Any] | None) -> list[KeyValue]:
    encoded = []
    for key, value in (attributes or {}).items():
        try:
            encoded.append(KeyValue(key=key, value=_any_value(value)))
        except (TypeError, ValueError) as error:
            logger.warning("attribute %s left out: %s", key, error)
    return encoded


def _any_value(value: Any) -> AnyValue:
    if value is None:
        return AnyValue()
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Sequence):
        return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
    if isinstance(value, Mapping):
        pairs = [KeyValue(key=str(key), value=_any_value(item)) for key, item in value.items()]
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    raise TypeError(f"OTLP has no {type(value).__name__}")


@lru_cache(64)
def _scope(scope: Scope | None) -> bytes:
    """The beginning of a `ScopeSpans` message."""
    if scope is None:
        return b""
    message = InstrumentationScope(
        name=scope.name, version=scope.version or "", attributes=_attributes(scope.attributes)
    )
    return bytes(ScopeSpans(scope=message, schema_url=scope.schema_url or "").SerializeToString())


def _field(tag: bytes, content: bytes) -> bytes:
    """A field that holds a message, as protobuf writes it: tag, length in groups of seven bits, content."""
    length = len(content)
    if length < 0x80:
        return tag + _BYTES[length] + content
    head = bytearray(tag)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


_BYTES = [bytes((number,)) for number in range(0x80)]
_UNSET = bytes(SpanMessage(status=StatusMessage()).SerializeToString())
_LOCAL_PARENT = SpanMessage(flags=_REMOTENESS_KNOWN).SerializeToString()
_REMOTE_PARENT = SpanMessage(flags=_REMOTE).SerializeToString()
_LOCAL_LINK = SpanMessage.Link(flags=_REMOTENESS_KNOWN).SerializeToString()
_REMOTE_LINK = SpanMessage.Link(flags=_REMOTE).SerializeToString()
