"""OpenTelemetry for Dramatiq: one trace from the caller to the actor, whatever lies between.

For any Dramatiq project, 1.13 to 2.x, on any broker. Three ways in, all the same:

    DramatiqInstrumentor().instrument()                  # every broker; also `opentelemetry-instrument dramatiq app`
    instrument_broker(broker)                            # this broker
    RedisBroker(middleware=[TracingMiddleware(), ...])   # as middleware; it belongs first

Sending a message makes a PRODUCER span `send {actor}`, running it a CONSUMER span `process {actor}`:
the actor is what a Dramatiq message is addressed to, the queue is in `messaging.destination.name`.
The CONSUMER's parent is the PRODUCER (which it also links to), so a chain of actors is one trace;
with `links_only` it starts a trace of its own and only links. Attempts of one message are siblings.
The context travels in the message option `otel`; no other option is touched.

Messages sent inside `anchored(span)` name that span as the parent of their processing: steps of one
long piece of work then lie flat under it, each linked to its PRODUCER, instead of nesting for ever.

Attributes and metrics follow the messaging conventions (1.44); what these lack is `messaging.dramatiq.*`.
It exports nothing itself, except that it flushes when a worker stops: forked workers leave without
running `atexit`.

This folder is also the distribution `opentelemetry-instrumentation-dramatiq`, where it is
`opentelemetry.instrumentation.dramatiq`: it imports its own files by relative names and, beside them, Dramatiq and
OpenTelemetry alone.
"""

from __future__ import annotations

from .instrumentor import DramatiqInstrumentor
from .middleware import (
    TracingMiddleware,
    anchored,
    anchored_context,
    instrument_broker,
    uninstrument_broker,
)
from .version import __version__

__all__ = [
    "DramatiqInstrumentor",
    "TracingMiddleware",
    "__version__",
    "anchored",
    "anchored_context",
    "instrument_broker",
    "uninstrument_broker",
]
