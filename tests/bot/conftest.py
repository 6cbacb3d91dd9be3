"""The `world` in which people talk to the bot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dramatiq
import pytest
import redis
from dramatiq.brokers.stub import StubBroker

from src.app import open_app
from src.bot.inbox import Inbox
from src.bot.process import make_dispatcher
from src.pipeline.notify import QUEUES
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import load_settings
from src.telegram.client import make_bot
from src.telegram.i18n import get_texts
from src.telegram.messages import Messages
from tests.bot.bot_world import OpenGates, World
from tests.jobs.states import wrong


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    """Settings that a module's tests need otherwise."""
    return {}


@pytest.fixture
async def world(redis_url: str, settings_of_world: dict[str, object]) -> AsyncIterator[World]:
    """A bot that receives; with one provider that nobody calls. Whatever it has left in Redis is as the table says."""
    broker = StubBroker()
    for queue in QUEUES:
        broker.declare_queue(queue)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    async with TelegramSandbox() as sandbox:
        given: dict[str, object] = {
            "telegram_token": DEMO_TOKEN,
            "telegram_api_url": sandbox.url,
            "redis_url": redis_url,
            "openai_api_key": "sk-of-a-test",
            "openai_base_url": "http://127.0.0.1:9/v1",
            "admin_ids": "77",
            "progress_interval": 1,
        }
        settings = load_settings(**{**given, **settings_of_world})
        async with open_app(settings) as app:
            bot = make_bot(settings, OpenGates())
            messages = Messages(bot, app.ledger, get_texts(), settings, edits=app.routing.offered().edit)
            parts = make_dispatcher(app, bot, get_texts())
            made = World(settings, sandbox, app, bot, messages, parts, Inbox(app))
            made.start()
            yield made
            await made.stop()
            # Not `bot.session.close()`: aiogram sleeps a quarter of a second in it, for TLS.
            if bot.session._session is not None:
                await bot.session._session.close()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert wrong(client) == [], "see src/jobs/keys.py"
    dramatiq.set_broker(previous)
