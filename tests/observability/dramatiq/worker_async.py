"""The program that test_dramatiq_async runs under Dramatiq's command line: its spans go to a file, line by line."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

try:
    from observability import dramatiq as tracing
except ModuleNotFoundError:
    from opentelemetry.instrumentation import dramatiq as tracing

client = redis.Redis.from_url(os.environ["TEST_REDIS_URL"])
namespace = os.environ["TEST_NAMESPACE"]

spans = Path(os.environ["TEST_SPANS"]).open("a")  # noqa: SIM115
provider = TracerProvider(shutdown_on_exit=False)
# So late that only the end of the worker writes anything.
provider.add_span_processor(
    BatchSpanProcessor(
        ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(indent=None) + "\n"),
        schedule_delay_millis=600_000,
    )
)
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("program")

broker = RedisBroker(client=client, namespace=namespace)
broker.add_middleware(AsyncIO())
tracing.instrument_broker(broker)
dramatiq.set_broker(broker)


async def say(what: str) -> None:
    await asyncio.to_thread(client.rpush, f"{namespace}:{what}", "")


@dramatiq.actor
async def first() -> None:
    with tracer.start_as_current_span("within"):
        await say("started")
        # Another message's coroutine runs in the same loop meanwhile.
        await asyncio.to_thread(client.blpop, [f"{namespace}:release"], timeout=30)
    await asyncio.create_task(in_a_task())
    second.send()


async def in_a_task() -> None:
    with tracer.start_as_current_span("task"):
        pass


@dramatiq.actor(max_retries=1, min_backoff=1, max_backoff=2)
async def second() -> None:
    await asyncio.sleep(0)
    try:
        raise ValueError("broken")
    finally:
        await say("failed")
