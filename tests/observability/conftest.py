"""What the tests of telemetry share: recorded spans and metrics, and a receiver of OTLP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from opentelemetry.sdk.trace.id_generator import IdGenerator

from observability.spans import PinnableIdGenerator
from src.sandbox.traces import TraceSandbox
from tests.observability.dramatiq import harness


@dataclass
class Recorded(harness.Recorded):
    """With spans whose ids can be reserved."""

    ids: IdGenerator | None = field(default_factory=PinnableIdGenerator)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
async def sandbox() -> AsyncIterator[tuple[TraceSandbox, str]]:
    """An OTLP receiver on a real socket, and its address."""
    received = TraceSandbox()
    app = web.Application()
    received.add_to(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield received, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
