"""RabbitMQ as Dramatiq's broker: replicated quorum queues, and how many wake-ups wait in them.

Chosen by BROKER_URL; needs the extra `rabbitmq`. The ledger stays in Redis, so a RabbitMQ that is lost with
all its messages costs only the time until they are sent again.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pika
from dramatiq import Consumer
from dramatiq.brokers.rabbitmq import DEAD_MESSAGE_TTL, RabbitmqBroker
from dramatiq.common import dq_name, q_name, xq_name
from dramatiq.errors import ConnectionClosed
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPChannelError, AMQPConnectionError

from src.pipeline.queues import QUEUES
from src.settings import Settings

# It logs each failed attempt at ERROR, many times over; what it means is said by whoever asked.
logging.getLogger("pika").setLevel(logging.CRITICAL)

_SOCKET_SECONDS = 3.0
_BLOCKED_SECONDS = 10.0
# pika lets pass what the look-up of a host name raises, and its own of one who takes a connection and then says nothing.
_UNREACHABLE = (AMQPConnectionError, AMQPConnectorException, OSError)
_AWAY = (*_UNREACHABLE, AMQPChannelError)


class QuorumBroker(RabbitmqBroker):
    """Dramatiq's broker with quorum queues. They know no priorities; Dramatiq's own, of actors, remain.

    Dramatiq has no option for the type of its queues, so they are declared here, before it would do it.
    A message counts as sent when most of the queue's replicas have it.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(confirm_delivery=True, middleware=[])
        self.parameters = parameters(settings)

    @RabbitmqBroker.connection.getter  # type: ignore[attr-defined, untyped-decorator]
    def connection(self) -> Any:
        """This thread's connection.

        Raises:
            AMQPConnectionError: Dramatiq knows it, and tries again.
        """
        try:
            return RabbitmqBroker.connection.fget(self)  # type: ignore[attr-defined]
        except (AMQPConnectorException, OSError) as error:
            raise AMQPConnectionError(str(error)) from error

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        super().declare_queue(queue_name)
        name = q_name(queue_name)
        if not ensure or name not in self.queues_pending:
            return
        try:
            for queue, arguments in _queues(name).items():
                self.channel.queue_declare(queue, durable=True, arguments=arguments)
        except _AWAY as error:
            del self.connection
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        self.queues_pending.discard(name)

    def get_queue_message_counts(self, queue_name: str) -> tuple[int, int, int]:
        """Messages in a queue, in its delayed one and among its dead letters, by this thread's own connection.

        Raises:
            ConnectionClosed: RabbitMQ is away.
        """
        try:
            return self._counts(queue_name)
        except _AWAY:
            # The connection of a thread that had nothing to do was closed, or the queue has been deleted.
            del self.connection
            self.queues_pending.add(q_name(queue_name))
        try:
            return self._counts(queue_name)
        except _AWAY as error:
            del self.connection
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def _counts(self, queue_name: str) -> tuple[int, int, int]:
        self.declare_queue(queue_name, ensure=True)
        ready, delayed, dead = (_count(self.channel, name) for name in _queues(q_name(queue_name)))
        return ready, delayed, dead

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        try:
            return super().consume(queue_name, prefetch, timeout)
        except (AMQPConnectorException, OSError) as error:
            # Dramatiq tries again after this one only.
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


def _queues(name: str) -> dict[str, dict[str, Any]]:
    """A queue, its delayed one and that of its dead letters, with Dramatiq's arguments and the type."""
    quorum = {"x-queue-type": "quorum"}
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": xq_name(name), **quorum}
    return {name: dead, dq_name(name): dead, xq_name(name): {"x-message-ttl": DEAD_MESSAGE_TTL, **quorum}}


def waiting(settings: Settings) -> int | None:
    """Messages in the queues, by a connection for this one question; None: RabbitMQ does not answer."""
    try:
        with pika.BlockingConnection(parameters(settings)) as connection:
            return sum(_count_if_there(connection, queue) for queue in QUEUES)
    except _UNREACHABLE:
        return None


def trouble(settings: Settings) -> str:
    """What is wrong with RabbitMQ and what to do, in words, without anything secret; empty: nothing."""
    try:
        with pika.BlockingConnection(parameters(settings)) as connection:
            channel = connection.channel()
            try:
                channel.queue_declare(QUEUES[0], durable=True, passive=True)
            except AMQPChannelError:
                return ""  # it is made when it is needed
    except pika.exceptions.ProbableAuthenticationError:
        return "refuses user and password: check BROKER_URL"
    except pika.exceptions.ProbableAccessDeniedError:
        return "its user may not enter the virtual host: check the end of BROKER_URL (%2f is the host `/`)"
    except _UNREACHABLE as error:
        if "CERTIFICATE_VERIFY_FAILED" in repr(error):
            return "its certificate is not trusted: check BROKER_CA_FILE and the name in BROKER_URL"
        return "does not answer: check that it runs and BROKER_URL"
    return ""


def parameters(settings: Settings) -> list[pika.URLParameters]:
    """How to connect to each node that BROKER_URL names."""
    found = []
    for url in (settings.broker_url or "").split(";"):
        node = pika.URLParameters(url)
        node.socket_timeout = node.stack_timeout = _SOCKET_SECONDS
        node.blocked_connection_timeout = _BLOCKED_SECONDS
        if node.ssl_options is not None and settings.broker_ca_file is not None:
            context = ssl.create_default_context(cafile=str(settings.broker_ca_file))
            node.ssl_options = pika.SSLOptions(context, node.host)
        found.append(node)
    return found


def _count_if_there(connection: pika.BlockingConnection, queue: str) -> int:
    try:
        return _count(connection.channel(), queue)
    except AMQPChannelError:
        return 0  # nobody has sent or waited for a message yet


def _count(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)
