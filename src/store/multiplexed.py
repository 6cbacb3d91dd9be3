"""An asyncio client of Redis whose tasks share one connection: what they ask within a moment is sent in one write,
and answers are matched in their order.

Only small commands that Redis answers at once go that way; pictures, WAIT, transactions and the like take a
connection of redis-py's pool, so that they hold up nobody. The shared connection is made by redis-py too.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import deque
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError, InvalidResponse, RedisError, TimeoutError

from src.store.resp import AT_ONCE, MORE, REPEATED, is_read_only, new_reader, pack, parsed

_CLOSED = "The client was closed."
# Writes that need not wait after a time with fewer: what one person's job asks before it is with the provider.
_BURST = 16
# Looks a socket timeout, see `Line._look`.
_LOOKS = 5
# Between connections that fail; it needs no greater count.
_BACKOFF = ExponentialBackoff(cap=0.5, base=0.02)
_MOST_FAILURES = 10


class _Several:
    """Waits for the answers of commands that were sent together; an error is an answer like others."""

    __slots__ = ("_count", "_replies", "answered")

    def __init__(self, answered: asyncio.Future[list[Any]], count: int) -> None:
        self.answered = answered
        self._count = count
        self._replies: list[Any] = []

    def done(self) -> bool:
        return self.answered.done()

    def set_result(self, reply: Any) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._count:
            self.answered.set_result(self._replies)

    set_exception = set_result


class Line(asyncio.Protocol):
    """One connection, from when redis-py has authenticated it until it breaks or is retired.

    Sends nothing twice. A caller that is cancelled leaves its place in the line to an answer nobody takes.
    """

    def __init__(self, connection: AbstractConnection, between_writes: float = 0.0) -> None:
        self._between_writes = between_writes
        self._loop = asyncio.get_running_loop()
        # redis-py has no way to hand over its socket. It must not close it, so it forgets it.
        self._stream, connection._writer, connection._reader = connection._writer, None, None
        assert self._stream is not None
        self._transport = self._stream.transport
        self._transport.set_protocol(self)
        self._reader = new_reader(connection.encoder)
        self._waiting: deque[asyncio.Future[Any] | _Several] = deque()
        self._unsent: list[bytes] = []
        self._look_seconds = (connection.socket_timeout or math.inf) / _LOOKS
        self._looking: asyncio.TimerHandle | None = None
        self._silent_looks = 0
        self._next_write = -math.inf
        self.open = True

    def send(self, command: bytes, *, at_once: bool = False) -> asyncio.Future[Any]:
        """Send a command, with the others of this moment unless `at_once`; the future of its answer.

        Its errors are Redis's own; redis.ConnectionError, the connection broke; redis.TimeoutError, nothing was
        heard of Redis for the socket timeout.
        """
        answered: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(answered)
        self._unsent.append(command)
        if len(self._unsent) == 1:
            self._begin()
        if at_once:
            self._flush()
        return answered

    def send_all(self, commands: list[bytes]) -> asyncio.Future[list[Any]]:
        """`send` several, one directly after the other: the future of their answers, errors among them."""
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiting.extend([_Several(answered, len(commands))] * len(commands))
        self._unsent.extend(commands)
        if len(self._unsent) == len(commands):
            self._begin()
        return answered

    def retire(self) -> None:
        """Take no more; close once all that was asked is answered."""
        self.open = False
        if not self._waiting:
            self._transport.abort()

    def drop(self, error: RedisError) -> None:
        """Close now; all that wait get the error."""
        self.open = False
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        self._unsent.clear()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(type(error)(*error.args))
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _begin(self) -> None:
        wait = self._next_write - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._flush)
        else:
            self._loop.call_soon(self._flush)
        if self._looking is None and self._look_seconds < math.inf:
            self._silent_looks = 0
            self._looking = self._loop.call_later(self._look_seconds, self._look)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            unused = self._loop.time() - (_BURST - 1) * self._between_writes
            self._next_write = max(self._next_write, unused) + self._between_writes
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _look(self) -> None:
        """Has Redis been silent too long?

        Looks are counted and not seconds: after a standstill of this process, in which answers came in unread,
        there was one.
        """
        self._looking = None
        if not self._waiting:
            return
        self._silent_looks += 1
        if self._silent_looks > _LOOKS:
            self.drop(TimeoutError("Timeout reading from socket"))
        else:
            self._looking = self._loop.call_later(self._look_seconds, self._look)

    def data_received(self, data: bytes) -> None:
        self._silent_looks = 0
        self._reader.feed(data)
        while True:
            try:
                reply = self._reader.gets()
            except UnicodeDecodeError as error:
                reply = error
            except InvalidResponse as error:
                self.drop(ConnectionError(f"Protocol error: {error}"))
                return
            if reply is MORE:
                break
            if isinstance(reply, hiredis.PushNotification):
                continue
            if not self._waiting:
                self.drop(ConnectionError("An answer that nobody asked for."))
                return
            waiter = self._waiting.popleft()
            if isinstance(reply, Exception):
                if is_read_only(reply):
                    # Another is the master now: the next connection will find it.
                    self.open = False
                if not waiter.done():
                    waiter.set_exception(reply)
            elif not waiter.done():
                waiter.set_result(reply)
        if not self.open:
            self.retire()

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(
            ConnectionError("Connection closed by server." if error is None else f"Connection lost: {error}")
        )


class LinePool(BlockingConnectionPool):
    """redis-py's pool, where callers wait their turn for a connection; and beside it the line that all share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # redis-py's retry of a command, for one that went over the line.
        self._retry: Retry = copy.deepcopy(self.connection_kwargs["retry"])
        self._retry.update_supported_errors(REPEATED)
        self.between_writes = 0.0
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None
        self._failures = 0
        self._not_before = 0.0

    async def ask(self, command: bytes, *, at_once: bool = False) -> Any:
        """The answer to a command, sent over the line; see `Line.send`."""

        async def once() -> Any:
            line = self._line
            if line is None or not line.open:
                line = await self._connected()
            return await line.send(command, at_once=at_once)

        return await self._retry.call_with_retry(once, _go_on)

    async def ask_all(self, commands: list[bytes]) -> list[Any]:
        """The answers to commands sent directly after each other, errors of Redis among them."""

        async def once() -> list[Any]:
            line = self._line
            if line is None or not line.open:
                line = await self._connected()
            replies = await line.send_all(commands)
            for reply in replies:
                if isinstance(reply, REPEATED):
                    raise reply
            return replies

        return await self._retry.call_with_retry(once, _go_on)

    async def _connected(self) -> Line:
        """A line to the master of the moment; all that need one wait for the same."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="a line to Redis")
            self._connecting.add_done_callback(self._connect_done)
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                raise ConnectionError(_CLOSED) from None
            raise

    def _connect_done(self, task: asyncio.Task[Line]) -> None:
        self._connecting = None
        # Whoever waited for it may be gone.
        _ = task.cancelled() or task.exception()

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        connection: AbstractConnection = self.make_connection()  # type: ignore[no-untyped-call]
        # Those that wait repeat: each as often as it may, and not that often each time.
        connection.retry = Retry(NoBackoff(), 0)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self._failures = min(self._failures + 1, _MOST_FAILURES)
            self._not_before = loop.time() + _BACKOFF.compute(self._failures)
            await connection.disconnect(nowait=True)
            raise
        self._failures = 0
        self._line = Line(connection, self.between_writes)
        return self._line

    async def disconnect(self, inuse_connections: bool = True) -> None:
        if self._line is not None:
            if inuse_connections:
                self._line.drop(ConnectionError(_CLOSED))
            else:
                # For one, when the sentinels name another master.
                self._line.retire()
        await super().disconnect(inuse_connections)

    async def aclose(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        await super().aclose()


async def _go_on(error: Exception) -> None:
    """Nothing is to be done before a command is repeated: the line has seen to itself."""


class MultiplexedRedis(Redis):
    """redis-py's client on a `LinePool`."""

    connection_pool: LinePool

    def gather(self, seconds: float) -> None:
        """Write at most once in that time, with all that was asked by then, but for some writes after a time with
        fewer; said before the first command.

        For a process of many tasks: a write, the answer's read and a turn of the loop for each are most of what a
        command costs. A task that is alone waits for nobody.
        """
        self.connection_pool.between_writes = seconds

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        command = pack(args, options)
        if command is None:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        reply = await self.connection_pool.ask(command, at_once=AT_ONCE in options)
        return parsed(self.response_callbacks, args[0], reply, options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    connection_pool: LinePool

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = self.command_stack
        plain = not (self.is_transaction or self.explicit_transaction or self.watching or self.scripts)
        packed = [pack(args, options) for args, options in stack] if plain else []
        commands = [command for command in packed if command is not None]
        if not commands or len(commands) < len(stack):
            return await super().execute(raise_on_error)
        try:
            replies = await self.connection_pool.ask_all(commands)
            if raise_on_error:
                self.raise_first_error(stack, replies)
            return [
                reply
                if isinstance(reply, Exception)
                else parsed(self.response_callbacks, args[0], reply, options)
                for (args, options), reply in zip(stack, replies, strict=True)
            ]
        finally:
            await self.reset()  # type: ignore[no-untyped-call]
