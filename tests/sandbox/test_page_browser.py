"""The chat page in a real browser: phone and desktop, both languages, light and dark."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiogram import Bot
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultCachedPhoto,
    InputMediaPhoto,
    LabeledPrice,
    PreCheckoutQuery,
    ReactionTypeEmoji,
    ReplyParameters,
)
from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from src.sandbox.page import ChatPage
from src.sandbox.telegram import TelegramSandbox
from src.sandbox.traces import TraceSandbox
from tests.axe import serious
from tests.browser import CHROMIUM, chromium
from tests.sandbox.conftest import Picture

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSandbox]:
    """With its page and the traces, as the demo has it."""
    sandbox, app = TelegramSandbox(), web.Application()
    sandbox.add_to(app)
    TraceSandbox().add_to(app)
    ChatPage().add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sandbox.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield sandbox
    await runner.cleanup()


async def receive(telegram: TelegramSandbox, update: int | None) -> None:
    """A trace of an update comes to the receiver."""
    exporter = OTLPSpanExporter(endpoint=f"{telegram.url}/v1/traces")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def spans() -> None:
        about = {"telegram.update.id": update or 0}
        with (
            tracer.start_as_current_span("update callback_query", kind=SpanKind.SERVER, attributes=about),
            tracer.start_as_current_span("sendPhoto", kind=SpanKind.CLIENT),
        ):
            pass
        provider.shutdown()

    await asyncio.to_thread(spans)


@pytest.mark.parametrize(
    ("lang", "width", "dark"),
    [("en", 1280, False), ("ru", 1280, True), ("en", 390, True), ("ru", 390, False)],
)
async def test_a_conversation(
    telegram: TelegramSandbox,
    bot: Bot,
    picture: Picture,
    tmp_path: Path,
    lang: str,
    width: int,
    dark: bool,
) -> None:
    anna = telegram.person(language_code=lang)
    await bot.set_my_commands([BotCommand(command="start", description="Hello")])
    asked = await anna.send_text("a red fox in snow")
    keys = [[InlineKeyboardButton(text="🔁 Again", callback_data="again")]]
    markup = InlineKeyboardMarkup(inline_keyboard=keys)
    shown = await bot.send_photo(
        anna.id,
        BufferedInputFile(picture(), "a.png"),
        caption="🖌 A model · 1:1",
        reply_markup=markup,
        reply_parameters=ReplyParameters(message_id=asked.message_id),
    )
    await bot.send_media_group(
        anna.id,
        [InputMediaPhoto(media=BufferedInputFile(picture(colour=c), "a.png")) for c in ("red", "blue")],
    )
    await bot.send_document(anna.id, BufferedInputFile(picture(), "fox.png"))
    await bot.send_message(anna.id, "/start https://example.org @somebody")
    await bot.set_message_reaction(anna.id, asked.message_id, [ReactionTypeEmoji(emoji="👀")])
    async with chromium(tmp_path) as page:
        await page.open(f"{telegram.url}/?person={anna.id}", width=width, height=844, dark=dark)
        await page.wait("document.querySelectorAll('.picture img').length === 3")
        await page.wait("[...document.querySelectorAll('.picture img')].every((i) => i.naturalWidth > 0)")
        assert await page.run("document.documentElement.lang") == lang
        assert await page.run("document.documentElement.scrollWidth") <= width
        assert await serious(page) == []
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(Path(folder) / f"page-{lang}-{width}.png")
        # What came of a tap shows the tap's trace. Its answer may come before its number does.
        await page.run(
            "(() => { const real = fetch, held = new Promise((go) => (window.go = go)); window.fetch = async (...what) => "
            "{ const answer = await real(...what); if (what[0].endsWith('/taps')) await held; return answer; }; })()"
        )
        await page.click("🔁 Again")
        await page.wait("document.querySelector('.key.pressed') !== null")
        async with asyncio.timeout(30):
            while not telegram.bot.taps:
                await asyncio.sleep(0.02)
        tap = next(iter(telegram.bot.taps.values()))
        await bot.answer_callback_query(tap.id, text="At once")
        await page.wait("document.querySelector('#toasts').textContent.includes('At once')")
        await page.run("window.go()")
        await page.wait("document.querySelector('.key.pressed') === null")
        again = await bot.send_photo(
            anna.id,
            BufferedInputFile(picture(colour="green"), "b.png"),
            reply_parameters=ReplyParameters(message_id=shown.message_id),
        )
        number = again.message_id
        assert telegram.bot.chats[anna.id].messages[number].update_id == tap.update_id != asked.update_id
        await receive(telegram, tap.update_id)
        await page.wait(f"document.querySelector('[data-key=m{number}] .meta') !== null")
        await page.run(f"document.querySelector('[data-key=m{number}] .meta').click()")
        if width < 700:
            await page.run("document.querySelector('#show-trace').click()")
        await page.wait("document.querySelectorAll('.wf-row').length === 2")
        told = await page.run("document.querySelector('.wf').textContent")
        assert {"en": "your tap reaches the bot", "ru": "ваше нажатие приходит боту"}[lang] in told
        assert {"en": "something arrives", "ru": "что-то приходит"}[lang] in told
        assert await serious(page) == []
        if folder:
            await page.screenshot(Path(folder) / f"page-trace-{lang}-{width}.png")
        if width < 700:
            # On a touch screen one button has all that a pointer finds elsewhere.
            await page.run("document.querySelector('#show-chat').click()")
            await page.run(f"document.querySelector('[data-key=m{asked.message_id}] .quick').click()")
            words = await page.wait("document.querySelector('[role=menu]')?.textContent")
            assert {"en": "Copy text", "ru": "Копировать текст"}[lang] in words
            assert {"en": "Reply", "ru": "Ответить"}[lang] in words
            assert await serious(page) == []
        assert page.errors == []


async def test_inline_mode_is_tried_in_the_chat(
    telegram: TelegramSandbox, bot: Bot, picture: Picture, tmp_path: Path
) -> None:
    anna = telegram.person()
    await anna.send_text("/start")
    sent = await bot.send_photo(anna.id, BufferedInputFile(picture(), "a.png"))
    assert sent.photo
    more = InlineKeyboardButton(text="Draw more", switch_inline_query_current_chat="a fox again")
    photo = InlineQueryResultCachedPhoto(
        id="p",
        photo_file_id=sent.photo[-1].file_id,
        title="a fox of old",
        reply_markup=InlineKeyboardMarkup(inline_keyboard=[[more]]),
    )

    async def answer() -> None:
        """To the first query."""
        (update,) = await bot.get_updates(timeout=30)
        assert update.inline_query is not None
        await update.inline_query.answer([photo])

    telegram.bot.updates.drop_all()
    async with chromium(tmp_path) as page:
        await page.open(f"{telegram.url}/?person={anna.id}", width=1280, height=844, dark=False)
        await page.wait("document.querySelectorAll('.picture img').length === 1")
        answering = asyncio.create_task(answer())
        await page.run(
            "(() => { const field = document.getElementById('text'); "
            "field.value = '@imagebot_sandbox_bot a fox'; field.dispatchEvent(new Event('input')); })()"
        )
        await answering
        await page.wait("document.querySelector('#commands img')?.naturalWidth > 0")
        assert await serious(page) == []
        await page.click("a fox of old")
        await page.wait("document.querySelectorAll('.picture img').length === 2")
        await page.click("Draw more")
        assert await page.run("document.getElementById('text').value") == "@imagebot_sandbox_bot a fox again"
        assert page.errors == []


@pytest.mark.parametrize(("lang", "width"), [("en", 1280), ("ru", 390)])
async def test_an_invoice_is_paid_by_its_button_and_by_its_link(
    telegram: TelegramSandbox, bot: Bot, tmp_path: Path, lang: str, width: int
) -> None:
    words = {
        "en": {"pay": "Pay", "paid": "Paid ⭐ 50", "cancel": "Cancel"},
        "ru": {"pay": "Заплатить", "paid": "Оплачено ⭐ 50", "cancel": "Отмена"},
    }[lang]
    anna = telegram.person(language_code=lang)
    await anna.send_text("/buy")
    sold: dict[str, Any] = {
        "title": "5 pictures",
        "description": "Drawn for you.",
        "currency": "XTR",
        "prices": [LabeledPrice(label="5 pictures", amount=50)],
    }
    await bot.send_invoice(anna.id, payload="pack", **sold)
    link = await bot.create_invoice_link(payload="month", subscription_period=2_592_000, **sold)
    name = (await bot.me()).username
    keys = [
        [InlineKeyboardButton(text="Each month", url=link)],
        [InlineKeyboardButton(text="To the bot", url=f"https://t.me/{name}?start=buy")],
    ]
    markup = InlineKeyboardMarkup(inline_keyboard=keys)
    await bot.send_message(anna.id, "The shop", reply_markup=markup)
    telegram.bot.updates.drop_all()

    async def asked() -> PreCheckoutQuery:
        (update,) = await bot.get_updates(timeout=30)
        telegram.bot.updates.drop_all()
        assert update.pre_checkout_query is not None
        return update.pre_checkout_query

    async with chromium(tmp_path) as page:
        await page.open(f"{telegram.url}/?person={anna.id}", width=width, height=844, dark=False)
        pressed = f"{words['pay']} ⭐ 50"
        await page.click(pressed)
        await page.wait("document.querySelector('#pay').open")
        assert await serious(page) == []
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(Path(folder) / f"page-pay-{lang}.png")
        await page.click(words["cancel"])
        assert telegram.bot.till.checkouts == {}
        await page.click(pressed)
        await page.wait("document.querySelector('#pay').open")
        await page.click(pressed)
        query = await asked()
        assert query.invoice_payload == "pack"
        await query.answer(ok=True)
        await page.wait(
            f"document.querySelector('#messages').textContent.includes({json.dumps(words['paid'])})"
        )
        telegram.bot.updates.drop_all()  # that it was paid
        await page.click("Each month")
        await page.wait("document.querySelector('#pay').open")
        await page.click(words["pay"])
        query = await asked()
        assert query.invoice_payload == "month"
        await query.answer(ok=False, error_message="You have one")
        await page.wait("document.querySelector('#alert').textContent.includes('You have one')")
        assert [one["amount"] for one in telegram.bot.till.transactions] == [50]
        await page.run("document.querySelector('#alert button').click()")
        await page.click("To the bot")
        await page.wait("document.querySelector('#messages').textContent.includes('/start buy')")
        assert await serious(page) == []
        assert page.errors == []
