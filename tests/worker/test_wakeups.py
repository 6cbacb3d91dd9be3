"""The broker of wake-ups: what is sent is taken once, in order, and nothing waits in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Message, Worker
from dramatiq.errors import ConnectionClosed
from opentelemetry.trace import StatusCode
from redis.asyncio import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from observability.dramatiq import instrument_broker
from src.jobs import Wake
from src.pipeline import notify
from src.worker import wakeups
from src.worker.wakeups import WakeUps, queue_key
from tests.observability.conftest import Recorded

QUEUE = "images"


@pytest.fixture
def broker(redis_url: str) -> Iterator[WakeUps]:
    made = WakeUps(lambda: redis.Redis.from_url(redis_url))
    made.declare_queue(QUEUE)
    yield made
    made.close()


def message(number: int) -> Message[Any]:
    return Message(QUEUE, "look", (number,), {}, {})


def numbers(consumer: dramatiq.Consumer, count: int) -> list[int]:
    """The arguments of so many messages."""
    taken = [next(consumer) for _ in range(count)]
    return [one.args[0] for one in taken if one is not None]


def test_a_worker_takes_each_message_once_and_in_order(broker: WakeUps) -> None:
    seen: list[int] = []
    done = threading.Event()

    @dramatiq.actor(broker=broker, queue_name=QUEUE)
    def look(number: int) -> None:
        seen.append(number)
        if number == 99:
            done.set()

    for number in range(100):
        look.send(number)
    worker = Worker(broker, worker_threads=1)
    worker.start()
    assert done.wait(10)
    worker.stop()
    assert seen == list(range(100))
    assert broker.waiting(QUEUE) == 0


def test_no_more_is_taken_than_may_be_in_hand(broker: WakeUps) -> None:
    for number in range(5):
        broker.enqueue(message(number))
    consumer = broker.consume(QUEUE, prefetch=2, timeout=10)
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    assert next(consumer) is None
    assert broker.waiting(QUEUE) == 3
    consumer.ack(first)
    assert numbers(consumer, 1) == [2]
    assert next(consumer) is None
    # One that failed makes room too, and is gone.
    consumer.nack(second)
    assert numbers(consumer, 1) == [3]


def test_messages_of_the_consumer_before_make_no_room(broker: WakeUps) -> None:
    for number in range(6):
        broker.enqueue(message(number))
    before = next(broker.consume(QUEUE, prefetch=2, timeout=10))
    assert before is not None
    # After an outage Dramatiq opens another, and hands it what the process still had.
    consumer = broker.consume(QUEUE, prefetch=2, timeout=10)
    consumer.ack(before)
    assert numbers(consumer, 2) == [1, 2]
    assert next(consumer) is None


def test_what_a_worker_had_taken_and_not_begun_is_left_to_others(
    broker: WakeUps, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is: the first did not have to be waited for.
    monkeypatch.setattr(wakeups, "_AT_ONCE_SECONDS", 3600.0)
    for number in range(6):
        broker.enqueue(message(number))
    consumer = broker.consume(QUEUE, prefetch=6, timeout=10)
    # The first is taken alone, the next with all that are there.
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    assert broker.waiting(QUEUE) == 0
    consumer.requeue([second])
    consumer.close()
    other = broker.consume(QUEUE, prefetch=6, timeout=10)
    assert sorted(numbers(other, 5)) == [1, 2, 3, 4, 5]


def test_what_cannot_be_read_is_dropped(broker: WakeUps, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush(queue_key(QUEUE), b"\xff", b"{}", b"[]", message(1).encode())
    consumer = broker.consume(QUEUE, prefetch=6, timeout=10)
    found = [one for _ in range(4) if (one := next(consumer)) is not None]
    assert [one.args for one in found] == [(1,)]


def test_nothing_is_delayed(broker: WakeUps) -> None:
    assert broker.get_declared_queues() == {QUEUE}
    assert broker.get_declared_delay_queues() == set()
    with pytest.raises(ValueError, match="ledger"):
        broker.enqueue(message(1), delay=1000)


def test_without_redis_the_consumer_is_closed_for_dramatiq_to_open_again(broker: WakeUps) -> None:
    away = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    consumer = WakeUps(lambda: away).consume(QUEUE, timeout=10)
    with pytest.raises(ConnectionClosed):
        next(consumer)
    # Nothing may be lost by an error while it is put back: it is sent again from the ledger.
    consumer.requeue([dramatiq.MessageProxy(message(1))])


async def test_what_is_sent_from_a_loop_has_its_span_and_comes_in_order(
    broker: WakeUps, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded()
    instrument_broker(broker, tracer_provider=recorded.provider, meter_provider=recorded.meters, flush=False)
    monkeypatch.setattr(dramatiq.broker, "global_broker", broker)
    async with Redis.from_url(redis_url) as client:
        broker.loop_client = client
        await notify.send(deliver=[Wake("a", "kie", 1)], submit=[Wake("b", "kie", 1), Wake("c", "kie", 1)])
    consumer = broker.consume(QUEUE, prefetch=6, timeout=10)
    taken = [one for _ in range(3) if (one := next(consumer)) is not None]
    assert [(one.actor_name, one.args[0]) for one in taken] == [
        ("deliver", "a"),
        ("submit", "b"),
        ("submit", "c"),
    ]
    spans = {span.context.span_id: span.name for span in recorded.all()}
    for one in taken:
        _, _, span_id, _ = one.options["otel"]["traceparent"].split("-")
        assert spans[int(span_id, 16)] == f"send {one.actor_name}"


async def test_what_cannot_be_sent_from_a_loop_is_no_error(
    broker: WakeUps, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded()
    instrument_broker(broker, tracer_provider=recorded.provider, meter_provider=recorded.meters, flush=False)
    monkeypatch.setattr(dramatiq.broker, "global_broker", broker)
    async with Redis(host="127.0.0.1", port=1, retry=AsyncRetry(NoBackoff(), 0)) as client:
        broker.loop_client = client
        await notify.submit([Wake("a", "kie", 1)])
    assert recorded.one("send submit").status.status_code is StatusCode.ERROR
