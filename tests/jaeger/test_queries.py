"""Every query of the dashboard is answered: by the real Prometheus, fed by the real Collector, fed by the system."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from stack import OBSERVABILITY, Stack, prometheus

from src.app import cancel_all
from src.jobs import keys
from src.ops import backup
from src.sandbox.telegram import Person
from tests.system import System, running

pytestmark = [pytest.mark.jaeger, pytest.mark.soak, pytest.mark.timeout(400)]

WITHIN = 60.0
SILENT_WHILE_WELL = {
    "sum(rate(otelcol_exporter_send_failed_spans_total[$__rate_interval]))",
    "sum(rate(otelcol_receiver_refused_spans_total[$__rate_interval]))",
}
"""The Collector has these series from its first such span on."""
_HALF_A_DAY_MS = 12 * 3_600_000


@pytest.fixture
async def system(stack: Stack, tmp_path: Path) -> AsyncIterator[System]:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "KIE_CONCURRENCY": "2",
        "BUSY_FROM": "1",
        "LEASE": "2",
        # One job never ends, and is a slow one then.
        "JOB_DEADLINE": "75",
        "SPEND_CAP_DAY": "17 pictures",
        "FAILOVER": "false",
    }
    async with running(tmp_path, **settings) as system:
        yield system


@pytest.fixture
async def redis_exporter(system: System) -> AsyncIterator[str]:
    """In place of the exporter, which cannot be built from here: Redis's own figures under the exporter's names."""

    async def page(_: web.Request) -> web.Response:
        info = await system.redis.info()
        figures = {
            "redis_up": 1,
            "redis_aof_enabled": info["aof_enabled"],
            "redis_aof_last_write_status": int(info["aof_last_write_status"] == "ok"),
            "redis_rdb_last_bgsave_status": int(info["rdb_last_bgsave_status"] == "ok"),
            "redis_memory_used_bytes": info["used_memory"],
            "redis_memory_max_bytes": info["maxmemory"],
            "redis_commands_processed_total": info["total_commands_processed"],
            "redis_connected_clients": info["connected_clients"],
        }
        return web.Response(text="".join(f"{name} {value}\n" for name, value in figures.items()))

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    await runner.cleanup()


async def _live(system: System) -> None:
    """A minute in which everything happens that the dashboard shows."""
    at = await system.ledger.now()
    await system.redis.config_set("maxmemory", "1gb")
    await system.redis.lpush(keys.PACE(), f"{at - _HALF_A_DAY_MS} 1000")
    never = system.person("Never")
    await never.send_text("#never")
    await system.person("Refused").send_text("nsfw")
    for kind in ("500", "429", "reset_after_accept"):
        system.faults.add(kind, path="createTask", times=1, retry_after=1)
    system.telegram.faults.add("429", "sendMessage", times=1, retry_after=1)
    for wave in range(4):
        people = [system.person(f"Person {wave} {n}") for n in range(4)]
        for person in people:
            await person.send_text("a fox")
        if not wave:
            # Whoever is offered a choice presses a button.
            offered = await system.message(people[-1], lambda m: m.from_bot and len(m.buttons) > 1)
            await people[-1].tap(offered, "Wait")
        for person in people:
            await system.until(lambda person=person: _answered(system, person))
    await system.until(lambda: system.all_ended(never), 150)


async def _answered(system: System, person: Person) -> bool:
    """Whether it has its picture, or was refused."""
    refused = any(m.from_bot for m in person.messages) and not await system.jobs_of(person)
    return refused or await system.all_ended(person)


def _asked() -> dict[str, str]:
    """What the dashboard asks Prometheus, and in which panel."""
    dashboard = json.loads((OBSERVABILITY / "grafana" / "dashboards" / "imagebot.json").read_text())
    found = {
        target["expr"]: panel["title"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == "prometheus"
    }
    return found | {note["expr"]: note["name"] for note in dashboard["annotations"]["list"]}


async def _has_data(client: httpx.AsyncClient, expression: str, since: float) -> bool:
    query = expression.replace("$__rate_interval", "1m")
    asked = {"query": query, "start": since, "end": time.time(), "step": 1}
    answer = (await client.get("/api/v1/query_range", params=asked)).raise_for_status().json()
    values = [float(value) for series in answer["data"]["result"] for _, value in series["values"]]
    return any(map(math.isfinite, values))


async def test_every_query_of_the_dashboard_is_answered(
    system: System, stack: Stack, redis_exporter: str, tmp_path: Path
) -> None:
    since = time.time()
    backups = asyncio.create_task(backup.every(system.settings, tmp_path / "backups", 3600, 2))
    with prometheus(tmp_path, stack, redis_exporter) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            await _live(system)
            unanswered = {query: panel for query, panel in _asked().items() if query not in SILENT_WHILE_WELL}
            assert len(unanswered) > 50
            until = time.monotonic() + WITHIN
            while unanswered and time.monotonic() < until:
                for query in [*unanswered]:
                    if await _has_data(client, query, since):
                        del unanswered[query]
                await asyncio.sleep(1)
            assert unanswered == {}
    await cancel_all([backups])

    # And Jaeger what its two panels ask.
    async with httpx.AsyncClient(base_url=stack.jaeger_url) as client:

        async def finds(question: dict[str, str]) -> bool:
            asked = {"service": "imagebot-worker", "operation": "job", "limit": 20} | question
            return bool((await client.get("/api/traces", params=asked)).json()["data"])

        for question in ({"minDuration": "60s"}, {"tags": json.dumps({"error": "true"})}):
            await system.until(lambda question=question: finds(question))
