"""The rate-limit middleware under Dramatiq's own worker: a refused message is skipped, and others run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from src.limits import Gate, Limiter, Refusal
from src.worker.rate_limits import Demand, RateLimits


class Actors:
    """A broker with an actor that takes gates and one that does not, and what became of their messages."""

    def __init__(self, limits: Callable[[Any], Demand | None], client: Callable[[], Any]) -> None:
        self.counted: list[Refusal] = []
        self.put_off: list[Refusal] = []
        self.ran: list[str] = []
        self.broker = StubBroker(
            middleware=[AsyncIO(), RateLimits(lambda: Limiter(client()), self.counted.append)]
        )

        @dramatiq.actor(broker=self.broker, limits=limits)
        async def limited() -> None:
            self.ran.append("limited")

        @dramatiq.actor(broker=self.broker)
        async def free() -> None:
            self.ran.append("free")

        self.limited, self.free = limited, free

    async def refused(self, refusal: Refusal) -> None:
        self.put_off.append(refusal)

    def work_off(self) -> None:
        """Let a worker do what was sent."""
        with _working(self.broker) as worker:
            self.broker.join("default", timeout=20_000)
            worker.join()


@contextmanager
def _working(broker: StubBroker) -> Iterator[Worker]:
    worker = Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def test_a_message_takes_the_gates_of_its_actor(redis_url: str) -> None:
    client = Redis.from_url(redis_url, decode_responses=True)
    actors = Actors(lambda message: Demand([Gate("g", rate=0.1, burst=2)], actors.refused), lambda: client)
    for _ in range(3):
        actors.limited.send()
    actors.free.send()
    actors.work_off()
    assert sorted(actors.ran) == ["free", "limited", "limited"]
    assert [refusal.gate for refusal in actors.put_off] == ["g"]
    assert actors.counted == actors.put_off


def test_none_and_no_gates_let_everything_through() -> None:
    def client() -> Any:
        raise AssertionError

    found = iter([None, Demand([], lambda refusal: pytest.fail("refused"))])
    actors = Actors(lambda message: next(found), client)
    actors.limited.send()
    actors.limited.send()
    actors.work_off()
    assert actors.ran == ["limited", "limited"]


@pytest.mark.parametrize("broken", ["the limiter is away", "the limits cannot be read"])
def test_without_its_gates_a_step_does_not_run(broken: str) -> None:
    def limits(message: Any) -> Demand:
        if broken == "the limits cannot be read":
            raise ValueError(broken)
        return Demand([Gate("g", 1)], actors.refused)

    away = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    actors = Actors(limits, lambda: away)
    actors.limited.send()
    actors.free.send()
    actors.work_off()
    assert actors.ran == ["free"]
    assert actors.put_off == []
