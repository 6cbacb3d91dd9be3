"""RabbitMQ as the broker, by the real server of Debian's package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq import Message
from dramatiq.brokers.rabbitmq import DEAD_MESSAGE_TTL
from pika.exceptions import ChannelClosedByBroker

from src.app import open_app
from src.ops.snapshot import look
from src.pipeline.notify import SUBMITS as QUEUE
from src.pipeline.notify import in_queue
from src.settings import Settings, load_settings
from src.worker.broker import make_broker
from src.worker.rabbitmq import QuorumBroker, trouble, waiting
from tests.servers import RABBITMQ_SERVER, RabbitAt, serving

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not RABBITMQ_SERVER.exists(), reason="needs Debian's rabbitmq-server"),
]


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitAt]:
    server = RabbitAt(tmp_path_factory.mktemp("rabbitmq"))
    with serving(server):
        yield server


@pytest.fixture
def settings(rabbitmq: RabbitAt, redis_url: str) -> Settings:
    return load_settings(redis_url=redis_url, broker_url=rabbitmq.url)


async def test_wake_ups_wait_in_quorum_queues_and_are_counted(settings: Settings) -> None:
    assert waiting(settings) == 0  # there is no queue yet
    broker = make_broker(settings)
    assert isinstance(broker, QuorumBroker)
    for number in range(3):
        broker.enqueue(Message(QUEUE, "submit", (f"job{number}", "kie"), {}, {}))
    assert broker.get_queue_message_counts(QUEUE) == (3, 0, 0)
    assert in_queue(broker) == waiting(settings) == 3
    assert trouble(settings) == ""
    async with open_app(settings) as app:
        assert (await look(app)).messages == 3
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{QUEUE}.XQ"}
    for queue, arguments in (
        (QUEUE, dead),
        (f"{QUEUE}.DQ", dead),
        (f"{QUEUE}.XQ", {"x-message-ttl": DEAD_MESSAGE_TTL}),
    ):
        # Only what is the same may be declared again.
        with pytest.raises(ChannelClosedByBroker, match="current is the value 'quorum'"):
            broker.channel.queue_declare(queue, durable=True, arguments=arguments)
        del broker.connection
    broker.flush(QUEUE)
    broker.close()


def test_it_says_what_is_wrong(settings: Settings) -> None:
    def said(url: str) -> str:
        return trouble(settings.model_copy(update={"broker_url": url}))

    good = str(settings.broker_url)
    assert said(good) == ""
    assert said(good.replace(":guest@", ":wrong@")).startswith("refuses user and password")
    assert said(good.replace("%2f", "nowhere")).startswith("its user may not enter the virtual host")
    # Of several nodes one is enough.
    assert said(f"amqp://guest:guest@127.0.0.1:1/%2f;{good}") == ""
