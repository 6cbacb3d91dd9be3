"""The `stack` fixture: the real Collector and Jaeger, once a session; without their binaries a skip that says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stack import Stack, running, tool


@pytest.fixture(scope="session")
def _binaries() -> None:
    missing = [name for name in ("otelcol", "jaeger") if tool(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not built: run tests/jaeger/build.sh collector jaeger")


@pytest.fixture(scope="session")
def stack(_binaries: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running Collector and Jaeger with the project's configuration; metrics of spans come sooner."""
    changes = {"connectors": {"span_metrics": {"metrics_flush_interval": "1500ms"}}}
    with running(tmp_path_factory.mktemp("stack"), changes=changes) as stack:
        yield stack
