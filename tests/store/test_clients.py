"""Reaching Redis over TLS as a user of its own, and what is said when that fails."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from src.api.probes import check
from src.app import open_app
from src.settings import Settings, SettingsError, load_settings
from src.store.addresses import SentinelAddress, sentinel_address
from src.store.clients import make_redis, make_sync_redis, trouble
from tests.conftest import RedisProcess
from tests.servers import Certificates, RedisAt, free_port, redis_knows_tls, serving, user_options

PASSWORD = "pass word%"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if not redis_knows_tls():
        pytest.skip("needs a redis-server with TLS on PATH, such as Debian's")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RedisAt]:
    """A Redis with TLS only and one user, who has the rights that the guide gives."""
    port = free_port()
    options = [*certificates.of_redis(port), *user_options("imagebot", PASSWORD)]
    server = RedisAt(tmp_path_factory.mktemp("redis"), f"rediss://localhost:{port}/0", *options, port=port)
    with serving(server):
        yield server


@pytest.fixture
def good(server: RedisAt, certificates: Certificates) -> dict[str, object]:
    """The settings that reach it."""
    return {
        "redis_url": server.url.replace("localhost", "imagebot@localhost"),
        "redis_password": PASSWORD,
        "redis_ca_file": certificates.authority,
    }


async def said(settings: Settings) -> list[str]:
    """What both kinds of client say is wrong when they write; empty: nothing."""
    found = []
    client = make_redis(settings)
    try:
        await client.set("imagebot:test", 1)
    except redis.RedisError as error:
        found.append(trouble(error))
    await client.aclose()
    with make_sync_redis(settings) as sync:
        try:
            sync.set("imagebot:test", 1)
        except redis.RedisError as error:
            found.append(trouble(error))
    return found


async def test_over_tls_as_its_user(good: dict[str, object]) -> None:
    assert await said(load_settings(**good)) == []


async def test_a_password_in_the_address_comes_first(good: dict[str, object]) -> None:
    url = str(good["redis_url"]).replace("@", ":pass%20word%25@")
    settings = load_settings(**good | {"redis_url": url, "redis_password": "another"})
    assert await said(settings) == []
    assert {PASSWORD, "pass%20word%25", "another"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redis_password": "wrong"}, "refuses user and password"),
        ({"redis_password": None}, "refuses user and password"),
        ({"redis_ca_file": None}, "its certificate is not trusted: check REDIS_CA_FILE"),
        ({"redis_url": "rediss://nowhere.invalid/0"}, "its host name is not known"),
        ({"redis_url": "redis://localhost:1/0"}, "nothing listens at its address"),
        ({"redis_url": "unix:///nowhere.sock"}, "nothing listens at its address"),
        ({"redis_url": "redis+sentinel://localhost:1,localhost:2/mymaster/0"}, "no sentinel answers"),
    ],
)
async def test_what_is_wrong_is_said(good: dict[str, object], changes: dict[str, object], words: str) -> None:
    found = await said(load_settings(**good | changes))
    assert len(found) == 2
    assert all(text.startswith(words) for text in found), found


async def test_a_user_without_rights(server: RedisAt, good: dict[str, object]) -> None:
    with make_sync_redis(load_settings(**good)) as client, pytest.raises(redis.RedisError) as error:
        client.flushall()
    assert trouble(error.value).startswith("its user may not do what is needed")
    with make_sync_redis(load_settings(**good)) as client, pytest.raises(redis.RedisError) as error:
        client.set("another:key", 1)
    assert trouble(error.value).startswith("its user may not do what is needed")


async def test_the_readiness_probe_says_it(good: dict[str, object]) -> None:
    async with open_app(load_settings(**good | {"redis_password": "wrong"})) as app:
        assert await check(app) == {"redis": "refuses user and password: check REDIS_URL and REDIS_PASSWORD"}


def test_the_address_of_sentinels() -> None:
    assert sentinel_address("redis://host:1/0") is None
    assert sentinel_address("rediss+sentinel://bot:p%40@one:1,two/my%20master/3") == SentinelAddress(
        (("one", 1), ("two", 26379)), "my master", 3, "bot", "p@", tls=True
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis+sentinel://one,two",
        "redis+sentinel://,two/name",
        "redis+sentinel://one:x/name/0",
    ],
)
def test_an_address_that_cannot_be_read(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL: expected an address such as"):
        load_settings(redis_url=url)


@pytest.mark.parametrize(
    ("options", "database", "command", "words"),
    [
        ("--maxmemory 1", 0, "SET imagebot:x 1", "cannot be written: its memory is full: raise"),
        ("--min-replicas-to-write 1", 0, "SET imagebot:x 1", "cannot be written: too few replicas"),
        ("--cluster-enabled yes", 0, "SET imagebot:x 1", "is a cluster"),
        ("--cluster-enabled yes", 1, "PING", "is a cluster"),
        ("--databases 1", 1, "PING", "has no such database"),
        # Nobody but a sentinel knows this word.
        (
            "--databases 1",
            0,
            "SENTINEL masters",
            "does not know what is asked: 6.2 is needed; `redis+sentinel",
        ),
    ],
)
def test_a_redis_of_the_wrong_kind(
    tmp_path: Path, options: str, database: int, command: str, words: str
) -> None:
    server = RedisProcess(tmp_path, *options.split())
    server.start()
    client = redis.Redis.from_url(server.url.replace("db=0", f"db={database}"))
    with client, pytest.raises(redis.RedisError) as error:
        client.execute_command(*command.split())
    server.kill()
    assert trouble(error.value).startswith(words)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        # As redis-py raises them, which over a socket now and then finds it closed before it reads why.
        (redis.ConnectionError("max number of clients reached"), "has as many clients as it may"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "still loads what it keeps"),
    ],
)
def test_a_redis_that_is_not_to_be_had_now(error: redis.RedisError, words: str) -> None:
    assert trouble(error).startswith(words)


def test_another_program_has_our_names(sync_redis: Any) -> None:
    sync_redis.set("imagebot:counts", "5")
    for ask in (
        lambda: sync_redis.hgetall("imagebot:counts"),
        lambda: sync_redis.eval("return redis.call('HGETALL', 'imagebot:counts')", 0),
    ):
        with pytest.raises(redis.RedisError) as error:
            ask()
        assert trouble(error.value).startswith("has something of another program's")


def test_no_redis_at_all_answers() -> None:
    class Web(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = redis.Redis(port=server.server_address[1], retry=None, driver_info=None)
        with client, pytest.raises(redis.RedisError) as error:
            client.ping()
        thread.join()
    assert trouble(error.value).startswith("does not speak Redis's language")


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("nothing\n")
    for file in ("missing.crt", "empty.crt"):
        with pytest.raises(SettingsError, match="REDIS_CA_FILE: expected a readable file"):
            load_settings(redis_ca_file=tmp_path / file)


def test_a_name_with_two_addresses_at_which_nothing_listens() -> None:
    # As asyncio words it, whose error has neither a number nor a cause then.
    calls = (
        "[Errno 111] Connect call failed ('::1', 1, 0, 0)",
        "[Errno 111] Connect call failed ('127.0.0.1', 1)",
    )
    error = redis.ConnectionError(f"Error Multiple exceptions: {', '.join(calls)} connecting to localhost:1.")
    assert trouble(error) == "nothing listens at its address: check REDIS_URL"


def test_a_redis_that_runs_is_not_started_a_second_time(own_redis: RedisProcess) -> None:
    assert own_redis.process is not None
    before = own_redis.process.pid
    own_redis.start()
    assert own_redis.process.pid == before
    own_redis.kill()
    own_redis.start()
    assert own_redis.process.pid != before
