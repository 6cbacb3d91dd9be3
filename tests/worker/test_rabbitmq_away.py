"""What is said and done while RabbitMQ is not there; without a server."""

from __future__ import annotations

import socket
from dataclasses import replace

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed

from src.api.probes import check
from src.app import open_app
from src.jobs import Wake
from src.ops.advice import advise
from src.ops.report import value_of
from src.ops.snapshot import Level, look
from src.pipeline import notify
from src.settings import Settings, SettingsError, load_settings
from src.telegram.i18n import get_texts
from src.worker.broker import make_broker
from src.worker.rabbitmq import QuorumBroker, trouble, waiting

AWAY = "amqp://bot:a%20secret@127.0.0.1:1/%2f"


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load_settings(redis_url=redis_url, broker_url=AWAY, kie_api_key="a key")


async def test_the_line_stands_still_and_everybody_says_why(settings: Settings) -> None:
    async with open_app(settings) as app:
        snapshot = await look(app)
        probe = await check(app)
    assert snapshot.messages is None
    assert probe["line"] == "RabbitMQ does not answer: check that it runs and BROKER_URL"
    line = next(figure for figure in snapshot.figures if figure.name == "line")
    assert line.level is Level.PROBLEM
    assert value_of(get_texts().translator("en"), line, snapshot) == "RabbitMQ does not answer"
    # Nobody beats here; were there a worker, more of them would not help.
    assert [a.key for a in advise(replace(snapshot, workers=1))] == ["advice-no-broker"]


async def test_a_wake_up_that_cannot_be_sent_is_no_error(settings: Settings) -> None:
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(make_broker(settings))
    try:
        await notify.submit([Wake("job", "kie", 1, False, "")] * 100)
    finally:
        dramatiq.broker.global_broker = before


def test_what_is_wrong_is_said(settings: Settings) -> None:
    assert trouble(settings) == "does not answer: check that it runs and BROKER_URL"
    assert waiting(settings) is None
    broker = make_broker(settings)
    assert isinstance(broker, QuorumBroker)
    with pytest.raises(ConnectionClosed):
        notify.in_queue(broker)
    unknown = settings.model_copy(update={"broker_url": "amqp://nowhere.invalid/%2f"})
    assert trouble(unknown) == "does not answer: check that it runs and BROKER_URL"


async def test_who_takes_a_connection_and_says_nothing_is_away(settings: Settings) -> None:
    """Such as one that is stopped, or a load balancer with nobody behind it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_one = settings.model_copy(
            update={"broker_url": f"amqp://bot:pw@127.0.0.1:{silent.getsockname()[1]}/%2f"}
        )
        assert trouble(silent_one) == "does not answer: check that it runs and BROKER_URL"
        async with open_app(silent_one) as app:
            assert (await look(app)).messages is None
        broker = make_broker(silent_one)
        with pytest.raises(ConnectionClosed):
            notify.in_queue(broker)
        with pytest.raises(ConnectionClosed):
            broker.consume("submit")
        await test_a_wake_up_that_cannot_be_sent_is_no_error(silent_one)


def test_the_password_of_each_node_is_secret(settings: Settings) -> None:
    both = settings.model_copy(update={"broker_url": f"{AWAY};amqps://bot:another@host/%2f"})
    assert {"a secret", "a%20secret", "another"} <= set(both.secrets())


@pytest.mark.parametrize("url", ["redis://host", "amqp://", "amqp://one;http://two"])
def test_an_address_that_cannot_be_read(url: str) -> None:
    with pytest.raises(SettingsError, match="BROKER_URL: expected an address such as"):
        load_settings(broker_url=url)
