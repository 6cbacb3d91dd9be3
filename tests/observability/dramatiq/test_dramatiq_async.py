"""Dramatiq's async actors in its real worker processes: `AsyncIO()` and `async def`, on a real Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from harness import Recorded, needs_async_actors, tracing

DEADLINE = 30  # seconds; for a busy machine, nothing is expected to take them


def catches_sigterm(pid: int) -> bool:
    """Dramatiq installs its handlers last; a signal before that would kill the master and leave its workers."""
    caught = int(re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[0], 16)
    return bool(caught & 1 << (signal.SIGTERM - 1))


def wait_for(client: redis.Redis, key: str, count: int) -> None:
    assert all(client.blpop([key], timeout=DEADLINE) for _ in range(count)), (
        f"{key} did not come {count} times"
    )


def run_worker(url: str, namespace: str, spans: Path, client: redis.Redis) -> list[dict[str, Any]]:
    """Run the program until its messages are done, then stop it by SIGTERM; the spans it wrote."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "dramatiq", "worker_async", "--processes", "1", "--threads", "2"],
        cwd=Path(__file__).parent,
        env=os.environ
        | {
            "TEST_REDIS_URL": url,
            "TEST_NAMESPACE": namespace,
            "TEST_SPANS": str(spans),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "dramatiq_worker_timeout": "50",
        },
    )
    try:
        wait_for(client, f"{namespace}:started", 2)
        client.rpush(f"{namespace}:release", "", "")
        wait_for(client, f"{namespace}:failed", 4)
        until = time.monotonic() + DEADLINE
        while not catches_sigterm(worker.pid) and time.monotonic() < until:
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    return [json.loads(line) for line in spans.read_text().splitlines()]


@needs_async_actors
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_consumer_covers_the_coroutine_and_is_current_in_it(
    redis_url: str, recorded: Recorded, tmp_path: Path
) -> None:
    namespace = uuid.uuid4().hex
    client = redis.Redis.from_url(redis_url)
    broker = RedisBroker(client=client, namespace=namespace)
    broker.declare_queue("default")
    tracing.instrument_broker(broker, tracer_provider=recorded.provider)
    for _ in range(2):
        broker.enqueue(Message("default", "first", (), {}, {}))
    sent = {f"0x{span.context.span_id:016x}": f"0x{span.context.trace_id:032x}" for span in recorded.all()}

    spans = run_worker(redis_url, namespace, tmp_path / "spans", client)

    assert Counter(span["name"] for span in spans) == {
        "process first": 2,
        "within": 2,
        "task": 2,
        "send second": 2,
        "process second": 4,
    }
    for root, trace_id in sent.items():
        by_name: dict[str, list[dict[str, Any]]] = {}
        for span in spans:
            if span["context"]["trace_id"] == trace_id:
                by_name.setdefault(span["name"], []).append(span)
        ((process,), (within,), (task,), (send,)) = (
            by_name[name] for name in ("process first", "within", "task", "send second")
        )
        assert process["parent_id"] == root
        for inner in (within, task, send):
            assert inner["parent_id"] == process["context"]["span_id"]
            assert process["start_time"] <= inner["start_time"]
            assert inner["end_time"] <= process["end_time"]
        assert process["attributes"]["messaging.dramatiq.outcome"] == "done"
        attempts = by_name["process second"]
        assert [span["parent_id"] for span in attempts] == [send["context"]["span_id"]] * 2
        assert sorted(span["attributes"]["messaging.dramatiq.outcome"] for span in attempts) == [
            "dead",
            "retried",
        ]
        assert {span["attributes"]["error.type"] for span in attempts} == {"ValueError"}
