"""A client of Redis for threads, where each thread has a connection of its own and a command is one write and its
answer.

Only small commands go that way; all others take a connection of redis-py's pool, which makes those of the threads
too.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from contextlib import suppress
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from src.store.resp import MORE, REPEATED, is_read_only, new_reader, pack, parsed

_READ_BYTES = 64 * 1024


class _Link:
    """A thread's connection, made and authenticated by redis-py."""

    def __init__(self, connection: Any, generation: int) -> None:
        self._connection = connection
        self._socket = connection._get_socket()
        self._reader = new_reader(connection.encoder)
        self._buffer = bytearray(_READ_BYTES)
        self._process = os.getpid()
        self._generation = generation

    def serves(self, generation: int) -> bool:
        """Whether it is this process's own, and no older than the pool's last word."""
        return self._generation == generation and self._process == os.getpid()

    def ask(self, command: bytes) -> Any:
        """The answer to a command; an error of Redis is one too.

        Raises:
            redis.ConnectionError: the connection broke.
            redis.TimeoutError: there was no answer within the socket timeout.
        """
        try:
            self._socket.sendall(command)
            while True:
                reply = self._reader.gets()
                if reply is MORE:
                    size = self._socket.recv_into(self._buffer)
                    if size == 0:
                        raise redis.ConnectionError("Connection closed by server.")
                    self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]
                elif not isinstance(reply, hiredis.PushNotification):
                    return reply
        except TimeoutError as error:
            raise redis.TimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise redis.ConnectionError(f"Connection lost: {error}") from error

    def close(self) -> None:
        self._connection.disconnect()

    def __del__(self) -> None:
        # Its thread has ended. redis-py's object, which is in a circle, would wait for the garbage collector.
        with suppress(Exception):
            self.close()


class LinkPool(redis.ConnectionPool):
    """redis-py's pool, and beside it a connection for each thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # redis-py's retry of a command, for one that went over a link.
        self._retry: Retry = copy.deepcopy(self.connection_kwargs["retry"])
        self._retry.update_supported_errors(REPEATED)
        self._threads = threading.local()
        self._links: weakref.WeakSet[_Link] = weakref.WeakSet()
        self._links_lock = threading.Lock()
        self._generation = 0

    def ask(self, command: bytes) -> Any:
        """The answer to a command, sent over this thread's connection."""
        return self._retry.call_with_retry(lambda: self._ask(command), _go_on)

    def _ask(self, command: bytes) -> Any:
        link: _Link | None = getattr(self._threads, "link", None)
        if link is None or not link.serves(self._generation):
            link = self._connect()
        try:
            reply = link.ask(command)
        except BaseException:
            # Dramatiq's too, which it may raise in the middle of anything: an answer may be on its way.
            self._drop(link)
            raise
        if isinstance(reply, Exception):
            if is_read_only(reply):
                # Another is the master now: the next connection will find it.
                self._drop(link)
            try:
                raise reply
            finally:
                # The error leads back here by its traceback: in that circle the link would outlive its thread.
                del link, reply
        return reply

    def _connect(self) -> _Link:
        connection: Any = self.make_connection()
        # The command is repeated, as often as it may, and not that often each time.
        connection.retry = Retry(NoBackoff(), 0)
        generation = self._generation
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        link = _Link(connection, generation)
        with self._links_lock:
            self._links.add(link)
        self._threads.link = link
        return link

    def _drop(self, link: _Link) -> None:
        self._threads.link = None
        link.close()

    def disconnect(self, inuse_connections: bool = True) -> None:
        # Without `inuse_connections`, for one when the sentinels name another master, each thread sees to its own.
        self._generation += 1
        if inuse_connections:
            with self._links_lock:
                links = list(self._links)
            for link in links:
                link.close()
        super().disconnect(inuse_connections)


def _go_on(error: Exception) -> None:
    """Nothing is to be done before a command is repeated: the link is gone already."""


class ThreadedRedis(redis.Redis):
    """redis-py's client on a `LinkPool`."""

    connection_pool: LinkPool

    def execute_command(self, *args: Any, **options: Any) -> Any:
        command = pack(args, options, may_wait=True)
        if command is None:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return parsed(self.response_callbacks, args[0], self.connection_pool.ask(command), options)
