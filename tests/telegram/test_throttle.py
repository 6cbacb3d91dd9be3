"""The pace of Bot API calls: gates that all processes share, and flood control obeyed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramRetryAfter
from redis.asyncio import Redis

from src.limits import Limiter, telegram_gates
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import Settings, load_settings
from src.telegram.client import make_bot
from src.telegram.throttle import GateClosed, Priority, before_leaving, priority
from tests.limits.busy import busy


@pytest.fixture
async def sandbox() -> AsyncIterator[TelegramSandbox]:
    async with TelegramSandbox() as running:
        yield running


def _settings(sandbox: TelegramSandbox, **more: Any) -> Settings:
    return load_settings(telegram_token=DEMO_TOKEN, telegram_api_url=sandbox.url, **more)


@pytest.fixture
async def bot(sandbox: TelegramSandbox, redis_client: Any) -> AsyncIterator[Bot]:
    # All chats together may send faster than the four at once that one of them may.
    made = make_bot(_settings(sandbox, telegram_rate=150), Limiter(redis_client), patience=0)
    yield made
    await made.session.close()


async def test_a_chat_told_to_wait_is_left_alone_by_every_process(
    sandbox: TelegramSandbox, bot: Bot, redis_client: Any
) -> None:
    anna, boris = sandbox.person("Anna"), sandbox.person("Boris")
    for person in (anna, boris):
        await person.send_text("hello")
    sandbox.faults.add("429", "sendMessage", retry_after=40)
    with pytest.raises(TelegramRetryAfter):
        await bot.send_message(anna.id, "one")
    other = make_bot(_settings(sandbox), Limiter(redis_client), patience=0)
    with pytest.raises(TelegramRetryAfter) as refused:
        await other.send_message(anna.id, "two")
    await other.session.close()
    assert 30 < refused.value.retry_after <= 40
    await bot.send_message(boris.id, "three")
    assert sandbox.audit.by_method["sendMessage"] == 2


async def test_a_second_flooded_chat_closes_all_for_a_moment(sandbox: TelegramSandbox, bot: Bot) -> None:
    people = [sandbox.person(f"P{n}") for n in range(3)]
    for person in people:
        await person.send_text("hello")
    sandbox.faults.add("429", "sendMessage", retry_after=40, times=2)
    for person in people[:2]:
        with pytest.raises(TelegramRetryAfter):
            await bot.send_message(person.id, "one")
    with pytest.raises(TelegramRetryAfter) as refused:
        await bot.send_message(people[2].id, "two")
    # Five seconds and the first turn after them, in whole seconds; not the forty of the one chat.
    assert refused.value.retry_after <= 6
    assert sandbox.audit.by_method["sendMessage"] == 2


async def test_429_without_its_parameters_is_understood(sandbox: TelegramSandbox, bot: Bot) -> None:
    anna = sandbox.person()
    await anna.send_text("hello")
    sandbox.faults.add("bare_429", "sendMessage")
    with pytest.raises(TelegramRetryAfter):
        await bot.send_message(anna.id, "one")
    with pytest.raises(TelegramRetryAfter):
        await bot.send_message(anna.id, "two")
    assert sandbox.audit.by_method["sendMessage"] == 1


async def test_what_telegram_said_is_told_though_redis_is_away(
    sandbox: TelegramSandbox, tmp_path: Path
) -> None:
    away = Redis.from_url(f"unix://{tmp_path / 'nothing.sock'}")
    made = make_bot(_settings(sandbox), Limiter(away), patience=0)
    sandbox.faults.add("429", "getUpdates", retry_after=2)
    with pytest.raises(TelegramRetryAfter):
        await made.get_updates()
    await made.session.close()
    await away.aclose()


async def test_progress_gives_way_and_what_changes_no_chat_is_not_held_up(
    sandbox: TelegramSandbox, bot: Bot
) -> None:
    anna = sandbox.person()
    await anna.send_text("hello")
    sent = [await bot.send_message(anna.id, str(n)) for n in range(4)]
    with priority("progress"), pytest.raises(TelegramRetryAfter):
        await bot.edit_message_text("changed", chat_id=anna.id, message_id=sent[0].message_id)
    with pytest.raises(TelegramRetryAfter):
        await bot.delete_messages(anna.id, [sent[0].message_id])
    await bot.send_chat_action(anna.id, "upload_photo")


async def test_results_refused_by_their_chat_are_told_to_come_one_by_one(
    sandbox: TelegramSandbox, bot: Bot
) -> None:
    anna, boris = sandbox.person("Anna"), sandbox.person("Boris")
    for person in (anna, boris):
        await person.send_text("hello")
    told = []

    async def send() -> None:
        try:
            await bot.send_message(anna.id, "a picture")
        except GateClosed as closed:
            told.append(closed.seconds)

    with priority("result", patience=30, comes_again=True):
        await asyncio.gather(*(send() for _ in range(10)))
        # Who has filled their chat keeps nobody else waiting.
        await bot.send_message(boris.id, "a picture")
    sent = sandbox.audit.by_method["sendMessage"] - 1
    assert sent + len(told) == 10
    assert 4 <= sent <= 5
    assert [round(later - earlier, 1) for earlier, later in itertools.pairwise(sorted(told))] == [1.0] * (
        len(told) - 1
    )


async def test_a_crowd_of_results_keeps_to_telegrams_rate_and_loses_nothing(redis_client: Any) -> None:
    async with TelegramSandbox(limits=True) as sandbox:
        people = [sandbox.person(f"P{n}") for n in range(100)]
        for person in people:
            await person.send_text("hello")
        bots = [make_bot(_settings(sandbox), Limiter(redis_client)) for _ in range(2)]
        try:
            with priority("result", patience=30, comes_again=True):
                await asyncio.gather(
                    *(bots[n % 2].send_message(person.id, "a picture") for n, person in enumerate(people))
                )
        finally:
            for bot in bots:
                await bot.session.close()
        assert sandbox.audit.by_method["sendMessage"] == 100


async def test_answers_let_results_go_first(sandbox: TelegramSandbox, redis_client: Any) -> None:
    made = make_bot(
        _settings(sandbox, telegram_rate=5), Limiter(redis_client), priority="answer", patience=30
    )
    people = [sandbox.person(f"P{n}") for n in range(4)]
    for person in people:
        await person.send_text("hello")
    order: list[str] = []

    async def send(name: str, chat: int, of: Priority) -> None:
        with priority(of):
            await made.send_message(chat, name)
        order.append(name)

    # The turns of the next second are other processes' results'.
    await busy(redis_client, 3)
    answers = [asyncio.create_task(send(f"answer {n}", people[n].id, "answer")) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.gather(*(send("result", people[3].id, "result") for _ in range(3)))
    await asyncio.gather(*answers)
    assert order[:3] == ["result"] * 3
    assert sorted(order[3:]) == ["answer 0", "answer 1", "answer 2"]
    await made.session.close()


async def test_an_answer_that_waits_behind_others_is_counted_when_it_goes(
    sandbox: TelegramSandbox, redis_client: Any
) -> None:
    settings, limiter = _settings(sandbox), Limiter(redis_client)
    made = make_bot(settings, limiter, priority="answer", patience=30)
    anna = sandbox.person()
    await anna.send_text("hello")
    # A second and a half of Telegram's turns is others', and the chat's gate forgets a call in one.
    await busy(redis_client, 1.5)
    await made.send_message(anna.id, "waited")
    gates = telegram_gates(settings, anna.id)[1:]
    assert [await limiter.take(gates) for _ in range(3)] == [None] * 3
    assert await limiter.take(gates) is not None
    await made.session.close()


async def test_an_answer_that_has_become_useless_while_it_waited_takes_no_turn(
    sandbox: TelegramSandbox, redis_client: Any
) -> None:
    class Useless(Exception):
        pass

    async def useful() -> None:
        raise Useless

    async def goes() -> None:
        raise AssertionError

    made = make_bot(_settings(sandbox), Limiter(redis_client), priority="answer", patience=30)
    people = [sandbox.person(f"P{n}") for n in range(2)]
    for person in people:
        await person.send_text("hello")
    await busy(redis_client, 3)
    first = asyncio.create_task(made.send_message(people[0].id, "first"))
    async with asyncio.timeout(40):
        while not await redis_client.hget(f"imagebot:gate:chat:{people[0].id}", "used"):
            await asyncio.sleep(0.01)
    with before_leaving(goes, useful=useful), pytest.raises(Useless):
        await made.send_message(people[1].id, "second")
    await first
    assert sandbox.audit.by_method["sendMessage"] == 1
    await made.session.close()


async def test_an_answer_whose_turn_is_too_far_is_refused(
    sandbox: TelegramSandbox, redis_client: Any
) -> None:
    made = make_bot(_settings(sandbox), Limiter(redis_client), priority="answer", patience=1)
    anna = sandbox.person()
    await anna.send_text("hello")
    await Limiter(redis_client).shut("telegram", 40)
    with pytest.raises(TelegramRetryAfter) as refused:
        await made.send_message(anna.id, "one")
    assert refused.value.retry_after > 30
    await made.session.close()
