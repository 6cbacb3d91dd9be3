"""OpenTelemetry's own switch: `opentelemetry-instrument` finds it by its entry point."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Any

import dramatiq.broker
from dramatiq import Broker
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from .middleware import instrument_broker, uninstrument_broker


class DramatiqInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every broker of the process: those that exist as the global one, and all made later.

    `instrument` takes the arguments of `instrument_broker`.
    """

    _brokers: weakref.WeakSet[Broker]

    def instrumentation_dependencies(self) -> Collection[str]:
        return ("dramatiq >= 1.13, < 3",)

    def _instrument(self, **kwargs: Any) -> None:
        known = ("tracer_provider", "meter_provider", "links_only", "flush")
        options = {name: kwargs[name] for name in known if name in kwargs}
        self._brokers = weakref.WeakSet()

        def instrument(broker: Broker) -> None:
            instrument_broker(broker, **options)
            self._brokers.add(broker)

        def init_and_instrument(init: Any, broker: Broker, args: Any, kwargs: Any) -> None:
            init(*args, **kwargs)
            instrument(broker)

        wrap_function_wrapper("dramatiq.broker", "Broker.__init__", init_and_instrument)
        if dramatiq.broker.global_broker is not None:
            instrument(dramatiq.broker.global_broker)

    def _uninstrument(self, **kwargs: Any) -> None:
        unwrap(Broker, "__init__")
        for broker in list(self._brokers):
            uninstrument_broker(broker)
