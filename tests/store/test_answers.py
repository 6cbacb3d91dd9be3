"""Whose answer is whose, and what becomes of those that wait when Redis goes away: what both clients must survive."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.client import NEVER_DECODE

from src.settings import load_settings
from src.store.clients import make_redis, make_sync_redis
from src.store.scripts import call_replicated
from tests.conftest import RedisProcess
from tests.servers import Sentinels, serving, wait_until

ECHO = "return ARGV[1]"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    client = make_redis(load_settings(redis_url=redis_url))
    yield client
    await client.aclose()


@pytest.fixture
def threads_client(redis_url: str) -> Iterator[Any]:
    with make_sync_redis(load_settings(redis_url=redis_url)) as client:
        yield client


def ids_of(client: Any) -> set[str]:
    return {row["id"] for row in client.client_list()}


async def test_each_task_gets_its_own_answer_and_waits_where_too_many_ask(
    client: Any, sync_redis: Any
) -> None:
    before = ids_of(sync_redis)
    echo = client.register_script(ECHO)

    async def ask(number: int) -> None:
        for turn in range(10):
            assert await echo(keys=["k"], args=[f"{number}:{turn}"]) == f"{number}:{turn}"
            await client.hset(f"h:{number}", mapping={"turn": turn})
            assert await client.hgetall(f"h:{number}") == {"turn": str(turn)}

    await asyncio.gather(*map(ask, range(100)))
    assert len(ids_of(sync_redis) - before) == 32


async def test_one_who_is_cancelled_disturbs_nobody(client: Any, sync_redis: Any) -> None:
    await client.set("k", "mine")
    echo = client.register_script(ECHO)
    server = sync_redis.info("server")["process_id"]
    for _ in range(3):
        # Holds all up, so that the cancelled are sent and not answered; some wait for a connection.
        os.kill(server, signal.SIGSTOP)
        calls = [asyncio.ensure_future(echo(keys=["k"], args=[number])) for number in range(60)]
        # Python 3.11's `wait_for`, by which redis-py sends, takes no cancellation while it ends.
        for _ in range(1000):
            await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        os.kill(server, signal.SIGCONT)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for number, answer in enumerate(answers):
            if number % 3 == 0:
                assert isinstance(answer, asyncio.CancelledError)
            else:
                assert answer == str(number)
    # No connection was lost to those that were cancelled.
    assert await asyncio.gather(*(client.get("k") for _ in range(100))) == ["mine"] * 100


async def test_a_pipeline_that_is_cancelled_disturbs_nobody(client: Any, sync_redis: Any) -> None:
    await client.set("k", "mine")
    sync_redis.client_pause(100, all=True)
    async with client.pipeline(transaction=False) as pipe:
        pipe.get("other").get("k")
        asked = asyncio.ensure_future(pipe.execute())
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
    assert await asyncio.gather(*(client.get("k") for _ in range(40))) == ["mine"] * 40


async def test_errors_of_redis_go_to_who_caused_them(client: Any, sync_redis: Any) -> None:
    sync_redis.set("text", b"\xff")
    # The commands go by several connections, in no order.
    sync_redis.set("k", 1)
    answers = await asyncio.gather(
        client.set("k", 1),
        client.hgetall("text"),
        client.get("text"),
        client.get("k"),
        client.evalsha("0" * 40, 0),
        client.execute_command("GET", "text", **{NEVER_DECODE: True}),
        client.get("k"),
        return_exceptions=True,
    )
    kinds = (bool, redis.ResponseError, UnicodeDecodeError, str, redis.exceptions.NoScriptError, bytes, str)
    assert tuple(map(type, answers)) == kinds


async def test_a_script_that_was_forgotten_is_sent_whole(
    client: Any, threads_client: Any, sync_redis: Any
) -> None:
    echo, echo_in_thread = client.register_script(ECHO), threads_client.register_script(ECHO)
    for word in ("a", "b"):
        sync_redis.script_flush()
        assert await echo(keys=["k"], args=[word]) == word
        sync_redis.script_flush()
        assert echo_in_thread(keys=["k"], args=[word]) == word


async def test_what_no_replica_has_is_not_answered(client: Any, sync_redis: Any) -> None:
    with pytest.raises(redis.ConnectionError, match="no replica"):
        await call_replicated(client, "return redis.call('SET', KEYS[1], ARGV[1])", "k", ["v"])
    assert sync_redis.get("k") == "v", "it may be said again"
    with pytest.raises(redis.ResponseError, match="wrong"):
        await call_replicated(client, "return {err='wrong'}", "k", [])


async def test_what_waits_or_is_large_holds_up_nobody(client: Any) -> None:
    waiting = asyncio.ensure_future(client.blpop(["list"], 4))
    picture = os.urandom(8_000_000)
    large = asyncio.ensure_future(client.set("picture", picture))
    for _ in range(50):
        await client.set("k", "v")
    assert not waiting.done()
    await large
    assert await client.execute_command("GET", "picture", **{NEVER_DECODE: True}) == picture
    await client.rpush("list", "x")
    assert tuple(await waiting) == ("list", "x")


async def test_a_killed_connection_is_made_anew_and_the_command_repeated(
    client: Any, threads_client: Any, sync_redis: Any
) -> None:
    await client.set("k", "v")
    for _ in range(3):
        threads_client.get("k")
        sync_redis.client_kill_filter(_type="normal", skipme=True)
        assert await asyncio.gather(*(client.get("k") for _ in range(50))) == ["v"] * 50
        assert threads_client.get("k") == "v"


async def test_an_answer_that_was_lost_is_asked_for_again(
    redis_process: RedisProcess, sync_redis: Any
) -> None:
    lost = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes all on, but for the first answer after the word INCR: then the connection is closed."""
        server, to_server = await asyncio.open_unix_connection(str(redis_process.socket))

        async def forward() -> None:
            while data := await reader.read(65536):
                forward.last = data  # type: ignore[attr-defined]
                to_server.write(data)
            to_server.close()

        forwarding = asyncio.ensure_future(forward())
        while data := await server.read(65536):
            if b"INCR" in forward.last and not lost:  # type: ignore[attr-defined]
                lost.append(data)
                break
            writer.write(data)
        forwarding.cancel()
        to_server.close()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = make_redis(load_settings(redis_url=f"redis://127.0.0.1:{port}/0"))
    assert await client.incr("n") == 2
    assert lost == [b":1\r\n"]
    await client.aclose()
    listening.close()


async def test_all_that_wait_fail_when_redis_dies_and_a_new_one_is_found(own_redis: RedisProcess) -> None:
    settings = load_settings(redis_url=own_redis.url)
    client, threads_client = make_redis(settings), make_sync_redis(settings)
    await client.set("k", "v")
    threads_client.get("k")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    waiting = [asyncio.ensure_future(client.get("k")) for _ in range(50)]
    await asyncio.sleep(0.01)
    own_redis.kill()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in failed] == [redis.ConnectionError] * 50
    with pytest.raises(redis.ConnectionError):
        threads_client.get("k")
    own_redis.start()
    assert await client.get("k") is None
    assert threads_client.get("k") is None
    threads_client.close()
    await client.aclose()


async def test_all_that_wait_fail_when_redis_is_silent_and_its_late_answers_are_nobodys(
    own_redis: RedisProcess,
) -> None:
    client = make_redis(load_settings(redis_url=own_redis.url), socket_timeout=0.1)
    await client.set("k", "v")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    failed = await asyncio.gather(*(client.get("k") for _ in range(40)), return_exceptions=True)
    # Of a Unix socket redis-py says the first.
    assert all(isinstance(error, (redis.ConnectionError, redis.TimeoutError)) for error in failed)
    os.kill(own_redis.process.pid, signal.SIGCONT)
    assert await client.set("other", "w") is True
    assert await asyncio.gather(*(client.get("k") for _ in range(40))) == ["v"] * 40
    await client.aclose()


async def test_a_standstill_of_our_own_is_not_taken_for_redis_silence(redis_url: str) -> None:
    client = make_redis(load_settings(redis_url=redis_url), socket_timeout=0.1)
    await client.set("k", "v")
    asked = [asyncio.ensure_future(client.get("k")) for _ in range(5)]
    await asyncio.sleep(0)
    time.sleep(0.3)
    assert await asyncio.gather(*asked) == ["v"] * 5
    await client.aclose()


async def test_a_server_that_is_no_master_any_more_is_left(own_redis: RedisProcess) -> None:
    settings = load_settings(redis_url=own_redis.url)
    client, threads_client = make_redis(settings), make_sync_redis(settings)
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as other:
        await client.set("k", "v")
        threads_client.get("k")
        old = ids_of(other) - {str(other.client_id())}
        assert len(old) == 2
        other.replicaof("127.0.0.1", 1)
        assert await client.get("k") == "v"
        with pytest.raises(redis.ReadOnlyError):
            await client.set("k", "w")
        with pytest.raises(redis.ReadOnlyError):
            threads_client.set("k", "w")
        assert not old & ids_of(other)
        other.replicaof("NO", "ONE")
        await client.set("k", "w")
        threads_client.set("k", "w")
    threads_client.close()
    await client.aclose()


async def test_a_closed_client_closes_all_its_connections(redis_url: str, sync_redis: Any) -> None:
    settings = load_settings(redis_url=redis_url)
    client, threads_client = make_redis(settings), make_sync_redis(settings)
    before = ids_of(sync_redis)
    await asyncio.gather(*(client.get("k") for _ in range(10)))
    threads_client.get("k")
    assert len(ids_of(sync_redis) - before) > 1
    await client.aclose()
    threads_client.close()
    wait_until(lambda: not ids_of(sync_redis) - before)


async def test_the_connections_to_sentinels_are_closed_too(tmp_path: Any) -> None:
    sentinels = Sentinels(tmp_path)
    with serving(sentinels):
        address = sentinels.url.split("//")[1].split(",")[0]
        with redis.Redis.from_url(f"redis://{address}", decode_responses=True) as asked:

            def clients() -> set[str]:
                # The sentinels connect to one another when they like.
                return {row["id"] for row in asked.client_list() if not row["name"].startswith("sentinel-")}

            before = clients()
            client = make_redis(load_settings(redis_url=sentinels.url))
            assert await client.set("k", "v")
            assert clients() > before
            await client.aclose()
            wait_until(lambda: clients() == before)


@pytest.mark.parametrize(
    "test",
    [
        test_all_that_wait_fail_when_redis_dies_and_a_new_one_is_found,
        test_all_that_wait_fail_when_redis_is_silent_and_its_late_answers_are_nobodys,
    ],
)
def test_on_the_loop_of_the_workers(test: Callable[..., Any], own_redis: RedisProcess) -> None:
    pytest.importorskip("uvloop").run(test(own_redis))


# Threads


def test_each_thread_gets_its_own_answers(threads_client: Any) -> None:
    echo = threads_client.register_script(ECHO)
    together = threading.Barrier(8)

    def ask(number: int) -> None:
        together.wait(10)
        for turn in range(20):
            assert echo(keys=["k"], args=[f"{number}:{turn}"]) == f"{number}:{turn}"
            threads_client.hset(f"h:{number}", "turn", turn)
            assert threads_client.hgetall(f"h:{number}") == {"turn": str(turn)}

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_a_late_answer_is_nobodys(own_redis: RedisProcess) -> None:
    """After a silence the connection is not used again, though Redis answers on it later."""
    client = make_sync_redis(load_settings(redis_url=own_redis.url))
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.1
    client.set("k", "v")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    with pytest.raises(redis.RedisError):
        client.get("k")
    os.kill(own_redis.process.pid, signal.SIGCONT)
    assert client.set("other", "w") is True
    assert client.get("k") == "v"
    client.close()


class Interrupted(Exception):
    pass


def test_a_thread_that_was_interrupted_reads_no_answer_of_before(
    threads_client: Any, sync_redis: Any
) -> None:
    """Dramatiq raises its time limit and its end in the middle of a thread's work."""
    threads_client.set("k", "v")

    def interrupt(*_: object) -> None:
        raise Interrupted

    # The command is sent; its answer is on its way when the signal comes.
    sync_redis.client_pause(300, all=True)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Interrupted):
            threads_client.get("k")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert threads_client.hgetall("h") == {}
