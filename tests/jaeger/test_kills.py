"""A thousand jobs while processes are killed: in the real Jaeger each job's trace is a whole tree, each span once."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path

import pytest
from stack import Stack, Trace

from tests.chaos.driver import run
from tests.chaos.faults import KILLS

pytestmark = [pytest.mark.jaeger, pytest.mark.soak, pytest.mark.timeout(1500)]

JOBS = 1_000
SECONDS = 500.0
# The last processes ended just now, and the Collector sends each second.
_TO_JAEGER = 30.0


async def test_a_thousand_jobs_with_kills_are_whole_trees(stack: Stack, tmp_path: Path) -> None:
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    report = await run(
        tmp_path,
        seed=7,
        seconds=SECONDS,
        jobs=JOBS,
        every=5.0,
        deadline=120,
        kinds=KILLS,
        OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp_endpoint,
    )
    assert len(report.verdict.traces) == JOBS
    found, seen = Counter[str](), list[Trace]()
    until = time.monotonic() + _TO_JAEGER
    for trace_id, jobs in report.verdict.traces.items():
        while not _is_whole(trace := stack.read(trace_id), jobs) and time.monotonic() < until:
            time.sleep(0.2)
        seen.append(trace)
        found.update(
            {
                "traces": 1,
                "whole trees": trace.whole and len(trace.named("job")) == jobs,
                "spans": len(trace.spans),
                "orphans": len(trace.orphans),
                "dangling links": len(trace.dangling),
                "spans twice": trace.doubled,
                "steps of killed processes": sum(
                    span.tags.get("error.type") == "process_lost" for span in trace.spans.values()
                ),
            }
        )
    print(report, *(f"| {what} | {number} |" for what, number in found.items()), sep="\n")
    bad = [str(trace) for trace in seen if not _is_whole(trace, report.verdict.traces[trace.id])]
    assert not bad, "\n".join(bad)
    assert report.verdict.complaints == []


def _is_whole(trace: Trace, jobs: int) -> bool:
    return trace.whole and len(trace.named("job")) == jobs and not trace.dangling and not trace.doubled
