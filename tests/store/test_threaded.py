"""A connection for each thread: whose answer is whose, and what becomes of a command when it breaks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.client import NEVER_DECODE

from src.settings import load_settings
from src.store import scripts
from src.store.clients import make_sync_redis
from tests.conftest import RedisProcess
from tests.servers import wait_until

ECHO = scripts.script_of("return ARGV[1]")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    client = make_sync_redis(load_settings(redis_url=redis_url))
    yield client
    client.close()


def ids_of(client: Any) -> set[str]:
    return {row["id"] for row in client.client_list()}


def test_each_thread_gets_its_own_answers(client: Any, sync_redis: Any) -> None:
    before = ids_of(sync_redis)
    together = threading.Barrier(8)

    def ask(number: int) -> None:
        together.wait(10)
        for turn in range(20):
            assert scripts.call_sync(client, ECHO, "k", f"{number}:{turn}") == f"{number}:{turn}"
            client.hset(f"h:{number}", "turn", turn)
            assert client.hgetall(f"h:{number}") == {"turn": str(turn)}
        together.wait(10)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
        assert len(ids_of(sync_redis) - before) == 8
    # A thread's connection ends with it.
    wait_until(lambda: not ids_of(sync_redis) - before)


def test_errors_of_redis_are_those_of_redis_py(client: Any, sync_redis: Any) -> None:
    sync_redis.set("text", b"\xff")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hgetall("text")
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    with pytest.raises(UnicodeDecodeError):
        client.get("text")
    with pytest.raises(redis.DataError):
        client.set("text", None)
    assert client.execute_command("GET", "text", **{NEVER_DECODE: True}) == b"\xff"
    assert client.set("text", "é") is True
    assert client.get("text") == "é"


def test_large_values_both_ways(client: Any) -> None:
    text = "x" * 1_000_000
    client.set("text", text)
    assert client.get("text") == text
    assert scripts.call_sync(client, ECHO, "k", text) == text


def test_scripts_are_sent_whole_when_forgotten(client: Any, sync_redis: Any) -> None:
    registered = client.register_script("return ARGV[1]")
    for word in ("a", "b"):
        sync_redis.script_flush()
        assert registered(keys=["k"], args=[word]) == word
        sync_redis.script_flush()
        assert scripts.call_sync(client, ECHO, "k", word) == word


def test_a_killed_connection_is_made_anew_and_the_command_repeated(client: Any, sync_redis: Any) -> None:
    for turn in range(3):
        client.set("k", turn)
        sync_redis.client_kill_filter(_type="normal", skipme=True)
        assert client.get("k") == str(turn)


def test_a_dead_redis_is_an_error_and_a_new_one_is_found(own_redis: RedisProcess) -> None:
    client = make_sync_redis(load_settings(redis_url=own_redis.url))
    client.set("k", "v")
    own_redis.kill()
    with pytest.raises(redis.ConnectionError):
        client.get("k")
    own_redis.start()
    assert client.get("k") is None
    client.close()


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


def test_a_thread_that_was_interrupted_reads_no_answer_of_before(client: Any, sync_redis: Any) -> None:
    """Dramatiq raises its time limit and its end in the middle of a thread's work."""
    client.set("k", "v")

    def interrupt(*_: object) -> None:
        raise Interrupted

    # The command is sent; its answer is on its way when the signal comes.
    sync_redis.client_pause(300, all=True)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Interrupted):
            client.get("k")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert client.hgetall("h") == {}


def test_a_server_that_is_no_master_any_more_is_left(own_redis: RedisProcess) -> None:
    client = make_sync_redis(load_settings(redis_url=own_redis.url))
    with redis.Redis.from_url(own_redis.url) as other:
        client.set("k", "v")
        old = ids_of(other) - {str(other.client_id())}
        other.replicaof("127.0.0.1", 1)
        with pytest.raises(redis.ReadOnlyError):
            client.set("k", "w")
        other.replicaof("NO", "ONE")
        client.set("k", "w")
        assert not old & ids_of(other)
    client.close()


def test_a_forked_process_has_a_connection_of_its_own(client: Any) -> None:
    client.set("k", "v")
    child = os.fork()
    if child == 0:
        os._exit(0 if all(client.get("k") == "v" for _ in range(50)) else 1)
    assert all(client.hgetall("h") == {} for _ in range(50))
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_client_closes_the_connections_of_all_threads(client: Any, sync_redis: Any) -> None:
    before = ids_of(sync_redis)
    done, end = threading.Barrier(3), threading.Event()

    def ask() -> None:
        client.get("k")
        done.wait(10)
        end.wait(10)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    done.wait(10)
    assert len(ids_of(sync_redis) - before) == 2
    client.close()
    wait_until(lambda: not ids_of(sync_redis) - before)
    end.set()
    for thread in threads:
        thread.join()
