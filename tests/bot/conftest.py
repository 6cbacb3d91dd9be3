"""The `world` in which people talk to the bot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import dramatiq
import pytest
from bot_world import OpenGates, World
from dramatiq.brokers.stub import StubBroker

from src.app import open_app
from src.bot import make_dispatcher
from src.bot.receiving import Receiver
from src.delivery import Delivery
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import load_settings
from src.telegram import make_bot
from src.texts import get_texts
from src.wake import QUEUE


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    """A bot that receives; with one provider that nobody calls."""
    broker = StubBroker()
    broker.declare_queue(QUEUE)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    async with TelegramSandbox() as sandbox:
        settings = load_settings(
            telegram_token=DEMO_TOKEN,
            telegram_api_url=sandbox.url,
            redis_url=redis_url,
            openai_api_key="sk-of-a-test",
            openai_base_url="http://127.0.0.1:9/v1",
            admin_ids="77",
            # The limits of Telegram are not what these tests are about.
            telegram_rate=100_000,
            max_active_per_user=8,
            progress_interval=1,
        )
        async with open_app(settings) as app:
            bot = make_bot(settings, OpenGates())
            delivery = Delivery(bot, app.ledger, get_texts(), settings)
            parts = make_dispatcher(app, bot, get_texts())
            made = World(settings, sandbox, app, bot, delivery, parts, Receiver(bot, parts.dispatcher))
            made.start()
            yield made
            await made.stop()
            await bot.session.close()
    dramatiq.set_broker(previous)
