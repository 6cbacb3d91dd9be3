"""What a Dramatiq user expects to work, works in our worker: by real processes, beside the bot's actors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import dramatiq
import httpx
import pytest
import pytest_asyncio
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from src.pipeline.queues import NAMESPACE, SUBMITS
from src.worker.broker import make_broker
from tests.servers import free_port
from tests.system import System, running
from tests.worker.own_actors import QUEUE, Own, declare

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMETHEUS_PORT = free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    env = {"dramatiq_prom_host": "127.0.0.1", "dramatiq_prom_port": str(PROMETHEUS_PORT)}
    env["dramatiq_prom_db"] = str(folder / "prometheus")
    async with running(folder, start=False, **env) as system:
        await system.start_worker(module="tests.worker.own_program")
        yield system


@pytest.fixture
def broker(system: System) -> Iterator[dramatiq.Broker]:
    made = make_broker(system.settings)
    yield made
    made.close()


@pytest.fixture
def own(broker: dramatiq.Broker) -> Own:
    """The actors, to send to them from here."""
    return declare(broker, print)


async def _seen(system: System, count: int) -> list[str]:
    """What the actors have said since this was asked last, as soon as it is so much."""

    async def enough() -> bool:
        return bool(await system.redis.llen("own:seen") >= count)

    await system.until(enough)
    return list(await system.redis.lpop("own:seen", 1000))


async def test_options_delays_and_join(system: System, broker: dramatiq.Broker, own: Own) -> None:
    sent = own.note.send_with_options(args=("later",), delay=800)
    assert sent.options["eta"] > sent.message_timestamp
    own.note.send("at once")
    assert await _seen(system, 2) == ["at once", "later"]
    then = own.note.message_with_options(args=("then",), pipe_ignore=True)
    dramatiq.pipeline([own.note.message("first"), then], broker=broker).run()
    await asyncio.to_thread(broker.join, QUEUE, timeout=30_000)  # type: ignore[call-arg]
    assert await _seen(system, 2) == ["first", "then"]


async def test_retries_and_time_limits_are_those_of_the_actor(
    system: System, broker: dramatiq.Broker, own: Own
) -> None:
    own.count_to_three.send()
    assert await _seen(system, 3) == ["try 1", "try 2", "try 3"]
    own.never_end.send()
    assert await _seen(system, 1) == ["interrupted"]
    await asyncio.to_thread(broker.join, QUEUE, timeout=30_000)  # type: ignore[call-arg]
    [dead] = await system.redis.hvals(f"{NAMESPACE}:{QUEUE}.XQ.msgs")
    assert Message.decode(dead.encode()).actor_name == "never_end"


async def test_prometheus_is_told(system: System, own: Own) -> None:
    own.note.send("counted")
    await _seen(system, 1)
    async with httpx.AsyncClient(trust_env=False) as client:

        async def counted() -> bool:
            page = await client.get(f"http://127.0.0.1:{PROMETHEUS_PORT}/metrics")
            return f'dramatiq_messages_total{{actor_name="note",queue_name="{QUEUE}"}}' in page.text

        await system.until(counted)


async def test_the_dashboard_shows_our_queues(system: System, broker: dramatiq.Broker, own: Own) -> None:
    # Its release forbids Dramatiq 2, with which it works: pip install --no-deps dramatiq-dashboard
    dashboard = pytest.importorskip("dramatiq_dashboard")
    assert isinstance(broker, RedisBroker)
    broker.declare_queue(SUBMITS)

    def page(path: str) -> str:
        said: list[str] = []
        environ: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        body = dashboard.DashboardApp(broker=broker, prefix="")(
            environ, lambda status, *_: said.append(status)
        )
        assert said[0].startswith("200")
        return b"".join(body).decode()

    sent = await asyncio.to_thread(own.note.send_with_options, args=("in a week",), delay=600_000_000)
    overview = await asyncio.to_thread(page, "/")
    assert SUBMITS in overview
    assert QUEUE in overview
    assert sent.options["redis_message_id"] in await asyncio.to_thread(page, f"/queues/{QUEUE}/delayed")
    await asyncio.to_thread(broker.flush, QUEUE)


async def test_an_idle_worker_looks_often_unless_its_owner_says_otherwise(
    broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(queue: str) -> int:
        """Milliseconds at most between two looks of a worker that Dramatiq gives its own second."""
        return int(broker.consume(queue, timeout=1000).timeout)

    assert [looks(SUBMITS), looks(f"{SUBMITS}.DQ"), looks(QUEUE)] == [120, 1000, 1000]
    monkeypatch.setenv("dramatiq_worker_timeout", "1000")
    assert looks(SUBMITS) == 1000


async def test_gevent_is_refused_with_a_word(redis_url: str, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("dramatiq-gevent")),
        *("src.actors", "--processes", "1", "--threads", "1"),
        env={**os.environ, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode != 0
    assert b"Start them by `dramatiq`" in output
