"""The real Collector and Jaeger 2 on free ports, and a trace read back through Jaeger's query API.

For tests: the `stack` fixture in conftest.py starts one for the session. It runs the configuration files of
`observability/` as they are; only ports and the data folder differ. The binaries come from build.sh.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

# As in the Collector's own configuration, whose lists are replaced whole.
_OWN = {"without_type_suffix": False, "without_units": False, "without_scope_info": True}
OBSERVABILITY = Path(__file__).parents[2] / "observability"


def tool(name: str) -> str | None:
    """The path of a binary that build.sh made, else one on PATH, else None."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    tools = os.environ.get("IMAGEBOT_TOOLS") or f"{cache}/imagebot-tools"
    built = Path(tools, name).expanduser()
    return str(built) if os.access(built, os.X_OK) else shutil.which(name)


@dataclass(frozen=True)
class Span:
    """A span as Jaeger tells it. Times are microseconds since the epoch."""

    id: str
    name: str
    service: str
    parent: str | None
    links: tuple[tuple[str, str], ...]
    start: int
    end: int
    tags: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, raw: Mapping[str, Any], processes: Mapping[str, Any]) -> Span:
        # Jaeger gives the parent as the first CHILD_OF reference of the same trace; the others are links.
        references = [(r["refType"], r["traceID"], r["spanID"]) for r in raw["references"]]
        parent = next((s for kind, t, s in references if kind == "CHILD_OF" and t == raw["traceID"]), None)
        return cls(
            id=raw["spanID"],
            name=raw["operationName"],
            service=processes[raw["processID"]]["serviceName"],
            parent=parent,
            links=tuple((t, s) for kind, t, s in references if (kind, s) != ("CHILD_OF", parent)),
            start=raw["startTime"],
            end=raw["startTime"] + raw["duration"],
            tags={tag["key"]: tag["value"] for tag in raw["tags"]},
            events=tuple({f["key"]: f["value"] for f in log["fields"]} for log in raw["logs"]),
            warnings=tuple(raw.get("warnings") or ()),
        )


@dataclass(frozen=True)
class Trace:
    """All spans that Jaeger has of one trace, by id; `str(trace)` draws its tree. `doubled`: spans it has twice."""

    id: str
    spans: Mapping[str, Span] = field(default_factory=dict)
    doubled: int = 0

    @property
    def roots(self) -> list[Span]:
        return [span for span in self.spans.values() if span.parent is None]

    @property
    def orphans(self) -> list[Span]:
        return [
            span for span in self.spans.values() if span.parent is not None and span.parent not in self.spans
        ]

    @property
    def dangling(self) -> list[Span]:
        """Spans with a link to a span of this trace that nobody has."""
        return [
            span
            for span in self.spans.values()
            if any(t == self.id and s not in self.spans for t, s in span.links)
        ]

    @property
    def whole(self) -> bool:
        """Has it one root, and every span its parent?"""
        return len(self.roots) == 1 and not self.orphans

    def children(self, span: Span) -> list[Span]:
        return sorted((s for s in self.spans.values() if s.parent == span.id), key=lambda s: s.start)

    def named(self, name: str) -> list[Span]:
        return sorted((s for s in self.spans.values() if s.name == name), key=lambda s: s.start)

    def __str__(self) -> str:
        def lines(span: Span, depth: int) -> Iterator[str]:
            yield f"{'  ' * depth}{span.name}  [{span.service}, {(span.end - span.start) / 1e6:.3f} s]"
            for child in self.children(span):
                yield from lines(child, depth + 1)

        drawn = [f"trace {self.id}", *(line for root in self.roots for line in lines(root, 1))]
        return "\n".join(drawn + [f"  ORPHAN {span.name}" for span in self.orphans])


@dataclass(frozen=True)
class Stack:
    """A running Collector and Jaeger.

    Attributes:
        otlp_endpoint: for OTEL_EXPORTER_OTLP_ENDPOINT (HTTP).
        metrics_url: what Prometheus scrapes. own_metrics_url: the Collector's of itself.
        jaeger_url: Jaeger's pages and query API; what JAEGER_UI_URL wants.
    """

    otlp_endpoint: str
    metrics_url: str
    own_metrics_url: str
    jaeger_url: str

    def trace(
        self, trace_id: int | str, *, until: Callable[[Trace], bool] = lambda t: t.whole, timeout: float = 10
    ) -> Trace:
        """The trace, as soon as `until` holds for it (usually: it is whole).

        Raises:
            AssertionError: not within `timeout` seconds; the message draws what there was.
        """
        return wait_for(lambda: self.read(trace_id), until, timeout)

    def metrics(self, *, until: Callable[[str], bool] = bool, timeout: float = 10) -> str:
        """The Collector's page for Prometheus, in OpenMetrics, as soon as `until` holds for it."""
        headers = {"Accept": "application/openmetrics-text;version=1.0.0"}
        return wait_for(lambda: httpx.get(self.metrics_url, headers=headers).text, until, timeout)

    def read(self, trace_id: int | str) -> Trace:
        """What Jaeger has of the trace now."""
        if isinstance(trace_id, int):
            trace_id = f"{trace_id:032x}"
        answer = httpx.get(f"{self.jaeger_url}/api/traces/{trace_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Trace(trace_id)
        (data,) = answer.raise_for_status().json()["data"]
        spans = [Span.read(raw, data["processes"]) for raw in data["spans"]]
        found = {span.id: span for span in spans}
        return Trace(trace_id, found, len(spans) - len(found))


def wait_for(look: Callable[[], T], good: Callable[[T], bool], timeout: float) -> T:
    """What `look` returns once it is `good`; an AssertionError with the last look after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"not so within {timeout} s:\n{seen}"
        time.sleep(0.05)
    return seen


@contextmanager
def running(
    folder: Path, *, overlay: Path | None = None, changes: Mapping[str, Any] | None = None
) -> Iterator[Stack]:
    """A Collector and a Jaeger with their files in `folder`, until the block ends.

    Args:
        overlay: one more configuration of the Collector, such as tail-sampling.yaml.
        changes: and last of all, what differs from it, as the Collector's configuration would say it.
    """
    collector, jaeger = tool("otelcol"), tool("jaeger")
    assert collector is not None
    assert jaeger is not None
    http, grpc, metrics, own, health, stored, query, query_grpc, jaeger_health = (
        _free_address() for _ in range(9)
    )
    own_reader = {"pull": {"exporter": {"prometheus": _OWN | {"host": "127.0.0.1", "port": int(own[10:])}}}}
    jaeger_ports = {
        "extensions": {
            "healthcheckv2": {"http": {"endpoint": jaeger_health}},
            "jaeger_query": {"http": {"endpoint": query}, "grpc": {"endpoint": query_grpc}},
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": stored}}}},
    }
    collector_ports = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": http}, "grpc": {"endpoint": grpc}}}},
        "exporters": {
            "otlp_http/jaeger": {"endpoint": f"http://{stored}"},
            "prometheus": {"endpoint": metrics},
        },
        "extensions": {"health_check": {"endpoint": health}},
        "service": {"telemetry": {"metrics": {"readers": [own_reader]}}},
    }
    base = OBSERVABILITY / "collector" / "config.yaml"
    with ExitStack() as stack:
        start = [
            jaeger,
            *_configs(OBSERVABILITY / "jaeger" / "config.yaml", _written(folder, "jaeger", jaeger_ports)),
        ]
        stack.enter_context(_process(start, f"http://{jaeger_health}/status", folder))
        files = [
            base,
            overlay,
            _written(folder, "ports", collector_ports),
            _written(folder, "changes", changes or {}),
        ]
        stack.enter_context(_process([collector, *_configs(*files)], f"http://{health}", folder))
        yield Stack(f"http://{http}", f"http://{metrics}/metrics", f"http://{own}/metrics", f"http://{query}")


@contextmanager
def prometheus(folder: Path, stack: Stack, redis_exporter: str) -> Iterator[str]:
    """A Prometheus with the project's configuration and rules, and its files in `folder`; its address.

    It looks each second; beside that only the addresses differ.
    """
    program = tool("prometheus")
    assert program is not None
    config = (OBSERVABILITY / "prometheus" / "prometheus.yml").read_text()
    for name, url in {
        "collector:8889": stack.metrics_url,
        "collector:8888": stack.own_metrics_url,
        "redis-exporter:9121": redis_exporter,
    }.items():
        config = config.replace(name, httpx.URL(url).netloc.decode())
    config = config.replace("interval: 15s", "interval: 1s").replace(
        "rules/", f"{OBSERVABILITY}/prometheus/rules/"
    )
    (folder / "prometheus.yml").write_text(config)
    address = _free_address()
    start = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus-data",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with _process(start, f"http://{address}/-/ready", folder):
        yield f"http://{address}"


@contextmanager
def _process(command: list[str], health: str, folder: Path) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        env = os.environ | {"JAEGER_DATA": str(folder / "jaeger-data")}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        wait_for(
            lambda: _is_healthy(health) or (process.poll() is not None and f"ended:\n{log.read_text()}"),
            lambda seen: seen is True,
            timeout=20,
        )
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def _written(folder: Path, name: str, config: Mapping[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def _configs(*paths: Path | None) -> list[str]:
    return [f"--config={path}" for path in paths if path is not None]


def _free_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"
