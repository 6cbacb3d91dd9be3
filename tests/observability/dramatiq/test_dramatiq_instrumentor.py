"""OpenTelemetry's own switch, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

import dramatiq
import pytest
from harness import Bench, Recorded, make_broker, tracing


@pytest.fixture
def instrumentor(recorded: Recorded) -> Iterator[tracing.DramatiqInstrumentor]:
    before = dramatiq.broker.global_broker
    instrumentor = tracing.DramatiqInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    dramatiq.broker.global_broker = before


class Program:
    """A broker with an actor of its own."""

    def __init__(self) -> None:
        self.bench = Bench(make_broker("stub", None))
        self.work = self.bench.actor(self.work)

    @staticmethod
    def work() -> None: ...

    def send_and_run(self) -> None:
        with self.bench.working():
            self.work.send()


def test_the_global_broker_and_those_made_later_are_traced(
    instrumentor: tracing.DramatiqInstrumentor, recorded: Recorded
) -> None:
    there = Program()
    dramatiq.set_broker(there.bench.broker)
    instrumentor.instrument(tracer_provider=recorded.provider, meter_provider=recorded.meters, flush=False)
    made_later = Program()
    for program in (there, made_later):
        program.send_and_run()
    assert len(recorded.all("send work")) == len(recorded.all("process work")) == 2
    assert len(recorded.all()) == 4

    instrumentor.uninstrument()
    for program in (there, made_later, Program()):
        program.send_and_run()
    assert len(recorded.all()) == 4


def test_opentelemetry_finds_it() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="dramatiq")
    assert found.load() is tracing.DramatiqInstrumentor
