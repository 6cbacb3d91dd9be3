"""The faults of the random runs: what is done to the running system, and a schedule of them from a seed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pika

from src.pipeline.queues import QUEUE_KEYS, QUEUES
from src.providers.kie import sign
from src.sandbox.telegram import Person
from src.sandbox.telegram.records import Event as Change
from tests.chaos.audit import is_picture
from tests.chaos.machine import family, full_disk, set_clock
from tests.chaos.money import OWNER, charges_of
from tests.servers import RabbitAt
from tests.system import System

KIE_KEY = b"sandbox-webhook-key"
_MONEY_SECONDS = 15.0


class Run(Protocol):
    """What a fault needs of the run it happens in."""

    system: System
    rabbitmq: RabbitAt | None
    random: random.Random
    lease: float
    collector_is_gone: bool

    async def replace(self, part: str) -> None:
        """Kill a part outright and start another."""
        ...

    async def retire(self, part: str) -> None:
        """Start another part and end this one by SIGTERM, as a rolling restart does."""
        ...

    def clock_of(self, part: str) -> Path:
        """The file that a part's clock follows."""
        ...

    def open_people(self) -> list[Person]:
        """Those whose picture has not come yet."""
        ...

    def buyers(self) -> list[Person]:
        """Those who paid for what they ask."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """A fault to come: `at` seconds from the start, for `seconds` where it lasts."""

    at: float
    kind: str
    seconds: float


def schedule(seed: int, seconds: float, every: float, kinds: Iterable[str] | None = None) -> list[Event]:
    """Faults of these kinds, or of every one that needs no RabbitMQ, for that long, one in about `every` seconds; the
    same seed gives the same ones."""
    return list(_draw(random.Random(seed), seconds, every, [*(FAULTS if kinds is None else kinds)]))


def _draw(chance: random.Random, seconds: float, every: float, all_kinds: list[str]) -> Iterator[Event]:
    kinds = [*all_kinds]
    at = every
    while at < seconds:
        if not kinds:
            kinds = [*all_kinds]
        # Each kind comes once before any comes again.
        kind = kinds.pop(chance.randrange(len(kinds)))
        yield Event(round(at, 2), kind, round(chance.uniform(0.5, 3.0), 2))
        at += chance.uniform(0.5, 1.5) * every


Fault = Callable[[Run, Event], Awaitable[None]]


def _part(run: Run, kind: str) -> str:
    """One of that kind, if there is more than one then one that has come up."""
    names = [name for name in run.system.parts if name.startswith(kind)]
    return run.random.choice([name for name in names if run.system.is_up(name)] or names)


def _killed(kind: str) -> Fault:
    async def kill(run: Run, event: Event) -> None:
        await run.replace(_part(run, kind))

    return kill


def _terminated(kind: str) -> Fault:
    async def terminate(run: Run, event: Event) -> None:
        await run.retire(_part(run, kind))

    return terminate


async def _worker_frozen(run: Run, event: Event) -> None:
    part = _part(run, "worker")
    run.system.kill(part, signal.SIGSTOP)
    await asyncio.sleep(run.lease * 1.5)
    run.system.kill(part, signal.SIGCONT)


async def _redis_killed(run: Run, event: Event) -> None:
    run.system.redis_process.kill()
    await asyncio.sleep(event.seconds)
    await asyncio.to_thread(run.system.redis_process.start)


async def _rabbitmq_killed(run: Run, event: Event) -> None:
    assert run.rabbitmq is not None
    await asyncio.to_thread(run.rabbitmq.kill)
    await asyncio.sleep(event.seconds)
    await asyncio.to_thread(run.rabbitmq.start)


async def _redis_frozen(run: Run, event: Event) -> None:
    process = run.system.redis_process.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(event.seconds * 2)
    process.send_signal(signal.SIGCONT)


def _redis_set(name: str, bad: str, good: str) -> Fault:
    async def change(run: Run, event: Event) -> None:
        await run.system.redis.config_set(name, bad)
        await asyncio.sleep(event.seconds)
        await run.system.redis.config_set(name, good)

    return change


async def _redis_paused(run: Run, event: Event) -> None:
    await run.system.redis.client_pause(round(event.seconds * 1000), all=True)


async def _disk_full(run: Run, event: Event) -> None:
    """Redis can append no more, and ends itself since it may not answer what is not on disk."""
    process = run.system.redis_process.process
    assert process is not None
    with full_disk([process.pid]):
        await asyncio.sleep(event.seconds)
    if process.poll() is not None:
        await asyncio.to_thread(run.system.redis_process.start)


async def _log_disk_full(run: Run, event: Event) -> None:
    part = _part(run, "worker")
    with full_disk([process.pid for process in family(run.system.pid(part))]):
        await asyncio.sleep(event.seconds * 2)


def _clock(seconds: int) -> Fault:
    async def step(run: Run, event: Event) -> None:
        file = run.clock_of(_part(run, run.random.choice(["worker", "bot", "api"])))
        set_clock(file, seconds)
        await asyncio.sleep(event.seconds * 2)
        set_clock(file, 0)

    return step


def _callback(*, key: bytes = KIE_KEY, age: int = 0, times: int = 1, answer: int = 200) -> Fault:
    """Somebody calls back about generations that are under way, so that none of it is true yet."""

    async def call(run: Run, event: Event) -> None:
        tasks = run.system.kie.unended()
        stamp = str(round(time.time()) - age)
        async with httpx.AsyncClient(base_url=run.system.api_url, trust_env=False) as client:
            for task in run.random.sample(tasks, min(len(tasks), 5)) * times:
                headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": sign(key, task, stamp)}
                body = {"taskId": task, "code": 200, "data": {"state": "success"}}
                try:
                    said = await client.post("/callbacks/kie", json=body, headers=headers)
                except httpx.TransportError:
                    return  # the api is away, by another fault
                # While Redis is away nothing can be noted, and its own clock may be wrong.
                assert said.status_code in (answer, 401, 500, 503), said.text
                assert answer != 401 or said.status_code == 401

    return call


def _messages(change: Callable[[Run, list[str]], list[str]]) -> Fault:
    async def meddle(run: Run, event: Event) -> None:
        """For a while, take messages as a worker would, and put others in their place."""
        if run.rabbitmq is not None:
            await asyncio.to_thread(_meddle_with_rabbitmq, run, run.rabbitmq.url, change, event.seconds)
            return
        end = time.monotonic() + event.seconds
        redis = run.system.redis
        while time.monotonic() < end:
            if (found := await redis.blpop(QUEUE_KEYS, 0.2)) is None:
                continue
            queue, first = found
            # Dramatiq's: its messages by their ids, of which the queue is the list.
            bodies = f"{queue}.msgs"
            ids = [first, *(await redis.lpop(queue, 100) or ())]
            caught = [text for text in await redis.hmget(bodies, ids) if text is not None]
            await redis.hdel(bodies, *ids)
            for text in change(run, caught):
                message = json.loads(text)
                message["options"]["redis_message_id"] = own = str(uuid.uuid4())
                await redis.hset(bodies, own, json.dumps(message))
                await redis.rpush(queue, own)
            # Now it is the workers' turn, else we would only catch our own.
            await asyncio.sleep(0.02)

    return meddle


def _meddle_with_rabbitmq(
    run: Run, url: str, change: Callable[[Run, list[str]], list[str]], seconds: float
) -> None:
    end = time.monotonic() + seconds
    try:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            while time.monotonic() < end:
                for queue in QUEUES:
                    caught, properties = [], None
                    while (found := channel.basic_get(queue, auto_ack=True))[2] is not None:
                        caught.append(found[2].decode())
                        properties = found[1]
                    for text in change(run, caught):
                        channel.basic_publish("", queue, text.encode(), properties)
                connection.sleep(0.02)
    except pika.exceptions.AMQPError:
        return  # it is away, by another fault


def _drop(run: Run, messages: list[str]) -> list[str]:
    return []


def _double(run: Run, messages: list[str]) -> list[str]:
    return messages * 2


def _shuffle(run: Run, messages: list[str]) -> list[str]:
    return run.random.sample(messages, len(messages))


def _provider(kind: str, times: int = 2, path: str = "", **options: Any) -> Fault:
    async def add(run: Run, event: Event) -> None:
        run.system.faults.add(kind, times=times, path=path, **options)

    return add


def _telegram(kind: str, method: str, times: int = 3, **options: Any) -> Fault:
    async def add(run: Run, event: Event) -> None:
        run.system.telegram.faults.add(kind, method, times=times, **options)

    return add


async def _person_blocks(run: Run, event: Event) -> None:
    if people := run.open_people():
        await run.random.choice(people).block()


async def _placeholder_deleted(run: Run, event: Event) -> None:
    placeholders = [
        (person, message)
        for person in run.open_people()
        for message in person.messages
        if message.from_bot and not is_picture(message) and message.buttons
    ]
    if placeholders:
        person, message = run.random.choice(placeholders)
        await person.delete(message)


def _as_money_comes(fault: Fault) -> Fault:
    """At the moment that Telegram takes somebody's stars: the bot has said yes, and is being told that they are paid."""

    async def wait(run: Run, event: Event) -> None:
        paid = asyncio.Event()

        def see(told: Change) -> None:
            if told.kind == "checkout" and told.data["outcome"] == "paid":
                paid.set()

        listeners = run.system.telegram.bot.feed.listeners
        listeners.add(see)
        try:
            async with asyncio.timeout(_MONEY_SECONDS):
                await paid.wait()
        except TimeoutError:
            return
        finally:
            listeners.discard(see)
        await fault(run, event)

    return wait


async def _payments_told_twice(run: Run, event: Event) -> None:
    """Telegram says again what it said of payments, as after an answer that was lost."""
    for person in run.buyers():
        for message in person.messages:
            if {"successful_payment", "refunded_payment"} & message.content.keys():
                run.system.telegram.inject("message", message.as_json(), lane=person.id)


async def _payment_refunded(run: Run, event: Event) -> None:
    """An admin gives somebody's stars back, and says it twice."""
    till = run.system.telegram.bot.till
    paid = [one for p in run.buyers() for one in charges_of(run.system, p) if not till.is_refunded(one)]
    if paid:
        charge, owner = run.random.choice(paid), run.system.telegram.person(id=OWNER)
        for _ in range(2):
            await owner.send_text(f"/refund {charge}")


async def _collector_gone(run: Run, event: Event) -> None:
    run.collector_is_gone = True
    await asyncio.sleep(event.seconds)
    run.collector_is_gone = False


_SUBMIT, _POLL, _FILE = "/createTask", "/recordInfo", "/files/"

FAULTS: dict[str, Fault] = {
    "worker killed": _killed("worker"),
    "worker terminated": _terminated("worker"),
    "worker frozen past its lease": _worker_frozen,
    "bot killed": _killed("bot"),
    "bot terminated": _terminated("bot"),
    "api killed": _killed("api"),
    "api terminated": _terminated("api"),
    "Redis killed and restarted": _redis_killed,
    "Redis frozen": _redis_frozen,
    "Redis paused": _redis_paused,
    "Redis's disk full": _disk_full,
    "Redis without replicas to write to": _redis_set("min-replicas-to-write", "1", "0"),
    "Redis out of memory": _redis_set("maxmemory", "1", "0"),
    "disk of a worker's log full": _log_disk_full,
    "a clock an hour ahead": _clock(3600),
    "a clock an hour behind": _clock(-3600),
    "messages dropped": _messages(_drop),
    "messages doubled": _messages(_double),
    "messages reordered": _messages(_shuffle),
    "provider hangs at submit": _provider("hang", 1, _SUBMIT),
    "provider resets": _provider("reset"),
    "provider 429": _provider("429", 2, _SUBMIT, retry_after=1),
    "provider 500": _provider("500"),
    "provider answers HTML": _provider("html"),
    "provider answers truncated JSON": _provider("truncated_json"),
    "provider answers wrong types": _provider("wrong_types", 3),
    "provider accepts, then resets": _provider("reset_after_accept", 1, _SUBMIT),
    "callbacks forged": _callback(key=b"another key", answer=401),
    "callbacks stale": _callback(age=900, answer=401),
    "callbacks early": _callback(),
    "callbacks doubled": _callback(times=2),
    "generation never ends": _provider("never_ends", 1),
    "generation vanishes": _provider("vanish", 1),
    "result is no image": _provider("not_an_image", 1),
    "result is huge": _provider("huge", 1),
    "result is a bomb": _provider("bomb", 1),
    "result fetch 500": _provider("500", 2, _FILE),
    "Telegram 429": _telegram("429", "*", retry_after=1),
    "Telegram 502": _telegram("502", "*"),
    "Telegram answers HTML": _telegram("html", "*"),
    "Telegram resets": _telegram("reset", "*"),
    "Telegram 400 on an edit": _telegram("400", "editMessageMedia", 1),
    "Telegram silent after an edit": _telegram("timeout_after_commit", "editMessageMedia", 2, seconds=0.5),
    "Telegram silent after a message": _telegram("timeout_after_commit", "sendMessage", 1, seconds=0.5),
    "a person blocks the bot": _person_blocks,
    "a placeholder is deleted": _placeholder_deleted,
    "collector gone": _collector_gone,
    "bot killed as money comes": _as_money_comes(_killed("bot")),
    "Redis killed as money comes": _as_money_comes(_redis_killed),
    "checkout 502": _telegram("502", "answerPreCheckoutQuery", 1),
    "checkout resets": _telegram("reset", "answerPreCheckoutQuery", 1),
    "checkout silent after yes": _telegram("timeout_after_commit", "answerPreCheckoutQuery", 1, seconds=0.5),
    "payments told twice": _payments_told_twice,
    "payment refunded": _payment_refunded,
}
RABBITMQ_FAULTS: dict[str, Fault] = {"RabbitMQ killed and restarted": _rabbitmq_killed}
"""Besides, where it carries the messages."""
KILLS = (
    "worker killed",
    "worker terminated",
    "bot killed",
    "bot terminated",
    "api killed",
    "api terminated",
    "Redis killed and restarted",
)
"""What ends processes, and breaks nothing else."""
