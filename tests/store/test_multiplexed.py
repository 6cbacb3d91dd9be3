"""One connection for all tasks: whose answer is whose, and what becomes of those that wait when it breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from redis.client import NEVER_DECODE

from src.settings import load_settings
from src.store import scripts
from src.store.clients import make_redis
from src.store.multiplexed import Line
from src.store.resp import AT_ONCE
from tests.conftest import RedisProcess

ECHO = scripts.script_of("return ARGV[1]")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    client = make_redis(load_settings(redis_url=redis_url))
    yield client
    await client.aclose()


async def line_to(client: Any) -> Line:
    connection = client.connection_pool.make_connection()
    await connection.connect()
    return Line(connection)


async def test_each_caller_gets_its_own_answer_over_one_connection(client: Any, sync_redis: Any) -> None:
    before = len(sync_redis.client_list())

    async def ask(number: int) -> None:
        for turn in range(20):
            assert await scripts.call(client, ECHO, "k", f"{number}:{turn}") == f"{number}:{turn}"
            await client.hset(f"h:{number}", mapping={"turn": turn})
            assert await client.hgetall(f"h:{number}") == {"turn": str(turn)}

    await asyncio.gather(*map(ask, range(50)))
    assert len(sync_redis.client_list()) == before + 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.zrange("z", 0, -1, withscores=True),
        lambda client: client.zrank("z", "b"),
        lambda client: client.hgetall("h"),
        lambda client: client.hgetall("none"),
        lambda client: client.hmget("h", "a", "none"),
        lambda client: client.smembers("none"),
        lambda client: client.exists("h"),
        lambda client: client.set("z2", 1, nx=True, ex=9),
        lambda client: client.hset("h", "b", 1.5),
        lambda client: client.pexpire("h", 10_000),
    ],
)
async def test_answers_are_those_of_redis_py(
    client: Any, redis_client: Any, ask: Callable[[Any], Any]
) -> None:
    await redis_client.zadd("z", {"a": 1, "b": 2})
    await redis_client.hset("h", mapping={"a": "é", "b": ""})
    await redis_client.set("z2", 0)
    mine, theirs = await ask(client), await ask(redis_client)
    assert (type(mine), mine) == (type(theirs), theirs)


async def test_what_cannot_be_sent_is_refused(client: Any) -> None:
    with pytest.raises(redis.DataError):
        await client.set("k", None)


async def test_one_who_is_cancelled_disturbs_nobody(client: Any, sync_redis: Any) -> None:
    await client.set("k", "mine")
    # Holds all up, so that the cancelled are sent and not answered.
    sync_redis.client_pause(100, all=True)
    calls = [asyncio.ensure_future(scripts.call(client, ECHO, "k", number)) for number in range(20)]
    await asyncio.sleep(0.01)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert isinstance(answer, asyncio.CancelledError) if number % 3 == 0 else answer == str(number)
    assert await client.get("k") == "mine"


async def test_errors_of_redis_go_to_who_caused_them(client: Any, sync_redis: Any) -> None:
    sync_redis.set("text", b"\xff")
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


async def test_a_script_that_was_forgotten_is_sent_whole(client: Any, sync_redis: Any) -> None:
    assert await scripts.call(client, ECHO, "k", 1) == "1"
    sync_redis.script_flush()
    assert await scripts.call(client, ECHO, "k", 2) == "2"


async def test_a_pipeline_goes_together(client: Any) -> None:
    async with client.pipeline(transaction=False) as pipe:
        pipe.set("k", "text").hgetall("k").get("k")
        assert [type(answer) for answer in await pipe.execute(raise_on_error=False)] == [
            bool,
            redis.ResponseError,
            str,
        ]
    async with client.pipeline(transaction=False) as pipe:
        pipe.get("k").hgetall("k")
        with pytest.raises(redis.ResponseError, match="Command # 2"):
            await pipe.execute()
    async with client.pipeline() as pipe:
        pipe.get("k").get("none")
        assert await pipe.execute() == ["text", None]


async def test_what_must_not_wait_is_sent_at_once_and_what_came_before_with_it(
    client: Any,
) -> None:
    client.gather(3600.0)
    # A task alone does not wait, for a while.
    for _ in range(16):
        await client.set("a", "1")
    first = asyncio.create_task(client.get("a"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not first.done()
    assert len(await client.execute_command("TIME", **{AT_ONCE: True})) == 2
    assert await first == "1"


async def test_a_picture_takes_a_connection_of_its_own(client: Any, sync_redis: Any) -> None:
    picture = os.urandom(8_000_000)
    await client.get("k")
    before = {row["id"] for row in sync_redis.client_list()}
    await client.set("picture", picture)
    assert await client.execute_command("GET", "picture", **{NEVER_DECODE: True}) == picture
    (pooled,) = [row for row in sync_redis.client_list() if row["id"] not in before]
    assert pooled["cmd"] == "get"


async def test_a_killed_connection_is_made_anew_and_the_command_repeated(
    client: Any, sync_redis: Any
) -> None:
    await client.set("k", "v")
    for _ in range(3):
        sync_redis.client_kill_filter(_type="normal", skipme=True)
        assert await asyncio.gather(*(client.get("k") for _ in range(50))) == ["v"] * 50


async def test_all_that_wait_fail_when_the_connection_breaks(own_redis: RedisProcess) -> None:
    client = make_redis(load_settings(redis_url=own_redis.url))
    line = await line_to(client)
    await client.get("k")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    waiting = [line.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") for _ in range(5)]
    several = line.send_all([b"*1\r\n$4\r\nTIME\r\n"] * 2)
    asked = asyncio.ensure_future(client.get("k"))
    await asyncio.sleep(0)
    own_redis.kill()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in failed] == [redis.ConnectionError] * 5
    assert [type(error) for error in await several] == [redis.ConnectionError] * 2
    with pytest.raises(redis.ConnectionError):
        await asked
    own_redis.start()
    assert await client.get("k") is None
    await client.aclose()


async def test_all_that_wait_fail_when_redis_is_silent(own_redis: RedisProcess) -> None:
    client = make_redis(load_settings(redis_url=own_redis.url), socket_timeout=0.1)
    line = await line_to(client)
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    waiting = [line.send(b"*1\r\n$4\r\nTIME\r\n") for _ in range(5)]
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in failed] == [redis.TimeoutError] * 5
    assert not line.open
    # Of a Unix socket redis-py says the first.
    with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
        await client.get("k")
    os.kill(own_redis.process.pid, signal.SIGCONT)
    assert await client.get("k") is None
    await client.aclose()


async def test_a_standstill_of_our_own_is_not_taken_for_redis_silence(redis_url: str) -> None:
    client = make_redis(load_settings(redis_url=redis_url), socket_timeout=0.1)
    line = await line_to(client)
    answer = line.send(b"*1\r\n$4\r\nTIME\r\n")
    await asyncio.sleep(0)
    time.sleep(0.3)
    assert len(await answer) == 2
    line.retire()
    await client.aclose()


async def test_a_server_that_is_no_master_any_more_is_left(own_redis: RedisProcess) -> None:
    client = make_redis(load_settings(redis_url=own_redis.url))
    with redis.Redis.from_url(own_redis.url) as other:
        await client.set("k", "v")
        (old,) = [row["id"] for row in other.client_list() if row["id"] != str(other.client_id())]
        other.replicaof("127.0.0.1", 1)
        read, failed = await asyncio.gather(client.get("k"), client.set("k", "w"), return_exceptions=True)
        assert read == "v"
        assert isinstance(failed, redis.ReadOnlyError)
        other.replicaof("NO", "ONE")
        await client.set("k", "w")
        assert old not in [row["id"] for row in other.client_list()]
    await client.aclose()


async def test_a_closed_client_leaves_nobody_waiting(own_redis: RedisProcess) -> None:
    client = make_redis(load_settings(redis_url=own_redis.url))
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    asked = [asyncio.ensure_future(client.get("k")) for _ in range(3)]
    await asyncio.sleep(0.01)
    # All wait for a connection. They try again, as with redis-py's pools, and get it once there is a server.
    await client.aclose()
    os.kill(own_redis.process.pid, signal.SIGCONT)
    assert await asyncio.gather(*asked) == [None] * 3
    await client.aclose()


@pytest.mark.parametrize(
    "test", [test_all_that_wait_fail_when_the_connection_breaks, test_all_that_wait_fail_when_redis_is_silent]
)
def test_on_the_loop_of_the_workers(test: Callable[..., Any], own_redis: RedisProcess) -> None:
    pytest.importorskip("uvloop").run(test(own_redis))


def test_a_standstill_on_the_loop_of_the_workers(redis_url: str) -> None:
    pytest.importorskip("uvloop").run(test_a_standstill_of_our_own_is_not_taken_for_redis_silence(redis_url))
