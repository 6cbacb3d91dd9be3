"""The broker of wake-ups: Dramatiq's messages in one Redis list, taken once.

Dramatiq's own Redis broker keeps each message until it is acknowledged and sends it again when its worker
died, a minute later; it looks for new ones in ever longer pauses. A wake-up needs none of that: the ledger
sends again, within seconds, what nobody acted on. So it is one command to send and one that waits to take,
a fifth of the commands and a worker that begins at once. Not here: who is woken, and when (`src.pipeline.notify`).

    imagebot:dramatiq:wakeups:<queue>   LIST   messages as Dramatiq encodes them, oldest first
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from dramatiq import Broker, Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

_PREFIX = "imagebot:dramatiq:wakeups:"
_AT_ONCE_SECONDS = 0.001


def queue_key(queue: str) -> str:
    """The key of a queue's list."""
    return _PREFIX + queue


class WakeUps(Broker):
    """Dramatiq's broker for messages that may be lost.

    A message that a killed worker had taken is gone. One that cannot be decoded is dropped, and so is one
    that failed: there is no dead-letter queue. Nothing is delayed.

    Args:
        client: makes a client for threads that answers in bytes.

    Attributes:
        loop_client: the event loop's client while there is one; what is sent by it holds up no thread.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        super().__init__(middleware=[])
        self.loop_client: Any = None
        self.queues: set[str] = set()
        self._make_client = client
        self._client = client()

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def get_declared_queues(self) -> set[str]:
        return set(self.queues)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send from a thread.

        Raises:
            ValueError: with a delay.
            redis.RedisError: it may not have been sent.
        """
        if delay is not None:
            raise ValueError("when a step runs again is written in the ledger, not in a delayed message")
        self.emit_before("enqueue", message, delay)
        self._client.rpush(queue_key(message.queue_name), message.encode())
        self.emit_after("enqueue", message, delay)
        return message

    async def enqueue_all(self, messages: Sequence[Message[Any]]) -> None:
        """Send messages of one queue by `loop_client`.

        Raises:
            redis.RedisError: they may not have been sent.
        """
        for message in messages:
            self.emit_before("enqueue", message, None)
        await self.loop_client.execute_command(
            "RPUSH", queue_key(messages[0].queue_name), *(message.encode() for message in messages)
        )
        for message in messages:
            self.emit_after("enqueue", message, None)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        return _Consumer(self._make_client(), queue_key(queue_name), prefetch, timeout / 1000)

    def waiting(self, queue_name: str) -> int:
        """Messages in a queue.

        Raises:
            redis.RedisError: Redis is away.
        """
        return int(self._client.llen(queue_key(queue_name)))

    def flush(self, queue_name: str) -> None:
        self._client.delete(queue_key(queue_name))

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def close(self) -> None:
        self._client.close()


class _Consumer(Consumer):
    """Takes messages while fewer than `prefetch` are in the process's hands."""

    def __init__(self, client: Any, key: str, prefetch: int, seconds: float) -> None:
        self._client = client
        self._key = key
        self._prefetch = prefetch
        self._seconds = seconds
        self._taken: deque[bytes] = deque()
        # By their ids: after an outage Dramatiq hands the messages of the consumer before to this one.
        self._handed_out: set[str] = set()
        self._busy = False
        self._returned = threading.Condition()

    def __next__(self) -> MessageProxy | None:
        if not self._taken:
            with self._returned:
                room = self._prefetch - len(self._handed_out)
                if room <= 0:
                    self._returned.wait(self._seconds)
                    return None
            self._take(room)
        while self._taken:
            try:
                message = Message.decode(self._taken.popleft())
            except DecodeError:
                log.warning("a wake-up that cannot be read, dropped")
                continue
            with self._returned:
                self._handed_out.add(message.message_id)
            return MessageProxy(message)
        return None

    def _take(self, room: int) -> None:
        """Wait for a message. Behind one that did not have to be waited for there may be more: those are
        taken together."""
        try:
            if self._busy:
                self._taken.extend(self._client.lpop(self._key, room) or ())
            if not self._taken:
                began = time.monotonic()
                found = self._client.blpop([self._key], self._seconds)
                self._busy = time.monotonic() - began < _AT_ONCE_SECONDS
                if found is not None:
                    self._taken.append(found[1])
        except RedisError as error:
            # What Dramatiq tries again after.
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def ack(self, message: MessageProxy) -> None:
        with self._returned:
            self._handed_out.discard(message.message_id)
            self._returned.notify()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Leave to other workers what this one has taken and not begun."""
        self._put_back([message.encode() for message in messages])

    def close(self) -> None:
        self._put_back(self._taken)
        self._taken.clear()
        self._client.close()

    def _put_back(self, messages: Iterable[bytes]) -> None:
        back = list(messages)
        if not back:
            return
        try:
            self._client.rpush(self._key, *back)
        except RedisError as error:
            # The ledger sends them again.
            log.warning("wake-ups not put back", wake_ups=len(back), error=type(error).__name__)
