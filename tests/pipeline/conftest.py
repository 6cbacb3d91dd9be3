"""The `world` of the bot's tests, and what a worker process shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from src.app import open_app
from src.pipeline.leases import Work
from src.pipeline.notify import QUEUES
from src.settings import load_settings
from src.telegram.client import make_bot
from src.telegram.i18n import get_texts
from src.telegram.messages import Messages
from tests.bot.bot_world import World
from tests.bot.conftest import settings_of_world, world

__all__ = ["settings_of_world", "world"]


@pytest.fixture
def settings_of_work() -> dict[str, Any]:
    """Further settings of `work`; for tests to override."""
    return {}


@pytest.fixture
async def work(redis_url: str, settings_of_work: dict[str, Any]) -> AsyncIterator[Work]:
    """What a worker process shares, without its Telegram."""
    broker = StubBroker()
    for queue in QUEUES:
        broker.declare_queue(queue)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    async with open_app(load_settings(redis_url=redis_url, **settings_of_work)) as app:
        yield Work(app, cast(Any, None), cast(Any, None))
    dramatiq.set_broker(previous)


@pytest.fixture
async def worker(world: World) -> AsyncIterator[Callable[[Any], Work]]:
    """Makes what a worker process shares, with the limiter that is given."""
    bots = []

    def make(limiter: Any) -> Work:
        bots.append(bot := make_bot(world.settings, limiter, patience=0))
        return Work(world.app, bot, Messages(bot, world.app.ledger, get_texts(), world.settings))

    yield make
    for bot in bots:
        # As in the `world`: aiogram's own `close` sleeps.
        if bot.session._session is not None:
            await bot.session._session.close()
