"""What the owner is told at once, and how often."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiogram.exceptions import TelegramForbiddenError
from aiogram.methods import SendMessage

from src.app import App, open_app
from src.jobs import keys
from src.providers.base import ErrorKind, ProviderError
from src.settings import load_settings
from src.telegram.owner import Owner


class Bot:
    """Keeps what is sent; an unreachable one refuses."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.refuses = False

    async def send_message(self, chat: int, text: str) -> None:
        if self.refuses:
            raise TelegramForbiddenError(SendMessage(chat_id=chat, text=text), "bot was blocked")
        self.sent.append(text)


@pytest.fixture
async def app(redis_url: str) -> AsyncIterator[App]:
    async with open_app(load_settings(redis_url=redis_url, admin_ids="77")) as app:
        yield app


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def owner(app: App, bot: Bot) -> Owner:
    return Owner(app, cast(Any, bot))


SPENT = ProviderError(ErrorKind.QUOTA)


async def test_once_for_all_processes_until_it_is_mended(app: App, bot: Bot, owner: Owner) -> None:
    for process in (owner, owner, Owner(app, cast(Any, bot))):
        await process.failed("openai", "m", SPENT)
    assert len(bot.sent) == 1
    assert "openai: the balance is spent" in bot.sent[0]
    await owner.failed("kie", "m", SPENT)
    assert len(bot.sent) == 2
    await owner.passed("openai", mended=True)
    await owner.failed("openai", "m", SPENT)
    assert len(bot.sent) == 3


async def test_each_reason_in_its_own_words_and_the_owners_language(app: App, bot: Bot, owner: Owner) -> None:
    await app.ledger.choose("77", lang="ru")
    await owner.failed("openai", "m", ProviderError(ErrorKind.AUTH))
    await owner.failed("openai", "gpt-image-1", ProviderError(ErrorKind.MODEL_GONE))
    await owner.failed("openai", "m", ProviderError(ErrorKind.BAD_RESULT, "foreign_host", host="cdn.example"))
    key, model, host = bot.sent
    assert "не принимает ключ" in key
    assert "gpt-image-1" in model
    assert "cdn.example" in host
    assert "PROVIDER_RESULT_HOSTS" in host


async def test_what_is_not_the_owners_is_not_told(bot: Bot, owner: Owner) -> None:
    for kind in set(ErrorKind) - {ErrorKind.QUOTA, ErrorKind.AUTH, ErrorKind.MODEL_GONE}:
        await owner.failed("openai", "m", ProviderError(kind))
    assert bot.sent == []


async def test_an_owner_who_could_not_be_reached_is_told_the_next_time(bot: Bot, owner: Owner) -> None:
    bot.refuses = True
    await owner.failed("openai", "m", SPENT)
    bot.refuses = False
    await owner.failed("openai", "m", SPENT)
    assert len(bot.sent) == 1


async def test_a_day_of_nothing_but_too_often_may_be_money(app: App, bot: Bot, owner: Owner) -> None:
    key, limited = keys.LIMITED("openai"), ProviderError(ErrorKind.RATE_LIMITED)
    await owner.failed("openai", "m", limited)
    assert bot.sent == []
    await app.redis.set(key, f"{time.time() - 90_000:.0f}")
    await owner.passed("openai", mended=False)
    await owner.failed("openai", "m", limited)
    assert bot.sent == [], "a picture came in between"
    await app.redis.set(key, f"{time.time() - 90_000:.0f}")
    await owner.failed("openai", "m", limited)
    assert len(bot.sent) == 1
    assert "too often" in bot.sent[0]
