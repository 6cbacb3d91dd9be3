"""The whole system on the servers of the guide's 'More machines': from message to picture."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from src.ops.backup import backup, restore
from src.sandbox.telegram import Message, Person
from tests.servers import (
    RABBITMQ_SERVER,
    Certificates,
    RabbitAt,
    RedisAt,
    Sentinels,
    free_port,
    serving,
    user_options,
)
from tests.system import System, running


@pytest.mark.soak
async def test_redis_over_tls_with_a_user_of_few_rights(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    port = free_port()
    options = [*certificates.of_redis(port), *user_options("imagebot", "secret word")]
    url = f"rediss://imagebot:secret%20word@localhost:{port}/0"
    server = RedisAt(tmp_path / "redis", url, *options, port=port)
    async with running(tmp_path, server=server, REDIS_CA_FILE=str(certificates.authority)) as system:
        ann = system.person()
        await ann.send_text("a lighthouse")
        await system.picture(ann)
        made = await backup(system.settings, tmp_path / "now.backup")
        assert await restore(system.settings, tmp_path / "now.backup", force=True) == made
        said = system.log_of("worker") + system.log_of("bot")
    assert "permission" not in said
    assert "secret" not in said


@pytest.mark.soak
async def test_a_failover_by_sentinels_in_the_middle_of_a_job(tmp_path: Path) -> None:
    """The master is killed while the provider works: the picture comes once, and the next one too."""
    sentinels = Sentinels(tmp_path)
    async with running(tmp_path, server=sentinels) as system:
        ann = system.person()
        for number in (1, 2, 3):
            await ann.send_text(f"a lighthouse, number {number}")
            if number == 2:
                await submitted(system, "a lighthouse, number 2")
                old = sentinels.master()
                old.kill()
                await asyncio.to_thread(sentinels.fail_over, old)
            await system.until(lambda n=number: len(pictures(ann)) == n, 60)
            if number == 2:
                old.start()
        assert set(system.kie.audit.submits.values()) == {1}


@pytest.mark.soak
@pytest.mark.skipif(not RABBITMQ_SERVER.exists(), reason="needs Debian's rabbitmq-server")
async def test_rabbitmq_as_the_broker_while_worker_and_broker_die(tmp_path: Path) -> None:
    """Each picture comes once: in peace, when the worker is killed, when RabbitMQ is, and afterwards."""
    rabbitmq = RabbitAt(tmp_path / "rabbitmq")
    with serving(rabbitmq):
        async with running(tmp_path, BROKER_URL=rabbitmq.url, LEASE="2") as system:
            ann = system.person()
            await ann.send_text("in peace")
            await system.picture(ann)

            await ann.send_text("while the worker dies")
            await submitted(system, "while the worker dies")
            await system.killed("worker")
            await system.start_worker()
            await system.until(lambda: len(pictures(ann)) == 2)

            await ann.send_text("while RabbitMQ dies")
            await submitted(system, "while RabbitMQ dies")
            rabbitmq.kill()

            async def four_jobs() -> bool:
                return len(await system.jobs_of(ann)) == 4

            # Admitted without it, and not forgotten.
            await ann.send_text("without RabbitMQ")
            await system.until(four_jobs)
            await asyncio.to_thread(rabbitmq.start)
            await system.until(lambda: len(pictures(ann)) == 4, 60)
            assert set(system.kie.audit.submits.values()) == {1}
            assert await system.redis.exists("imagebot:dramatiq:images") == 0
            assert await system.stop("worker") == 0
            assert await system.stop("bot") == 0


async def submitted(system: System, prompt: str) -> None:
    """Wait until the provider has been asked."""
    await system.until(lambda: system.kie.audit.submits[prompt])


def pictures(person: Person) -> list[Message]:
    """What the person sees that is a picture of the bot's."""
    return [message for message in person.messages if message.from_bot and message.has_photo]
