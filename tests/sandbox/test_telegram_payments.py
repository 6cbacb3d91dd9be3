"""Payments in Stars are as strict as Telegram's: invoices, the ten seconds of a checkout, refunds, accounts."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import LabeledPrice, PreCheckoutQuery, TransactionPartnerUser

from src.sandbox.telegram import Person, TelegramSandbox

FIELDS: dict[str, Any] = {
    "title": "2 pictures",
    "description": "Made here",
    "payload": "pack:50:2",
    "currency": "XTR",
    "provider_token": "",
    "prices": [{"label": "2 pictures", "amount": 50}],
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"title": ""}, "INVOICE_TITLE_INVALID"),
        ({"title": "x" * 33}, "INVOICE_TITLE_INVALID"),
        ({"description": "x" * 256}, "INVOICE_DESCRIPTION_INVALID"),
        ({"payload": "я" * 65}, "INVOICE_PAYLOAD_INVALID"),
        ({"payload": ""}, "INVOICE_PAYLOAD_INVALID"),
        ({"prices": []}, "there must be at least one price"),
        ({"prices": FIELDS["prices"] * 2}, "STARS_INVOICE_INVALID"),
        ({"prices": [{"label": "x", "amount": 0}]}, "CURRENCY_TOTAL_AMOUNT_INVALID"),
        ({"prices": [{"label": "x", "amount": 10_001}]}, "CURRENCY_TOTAL_AMOUNT_INVALID"),
        ({"max_tip_amount": 5}, "STARS_INVOICE_INVALID"),
        ({"provider_token": "a-token"}, "PAYMENT_PROVIDER_INVALID"),
        ({"currency": "USD"}, "PAYMENT_PROVIDER_INVALID"),
        ({"subscription_period": 60}, "SUBSCRIPTION_PERIOD_INVALID"),
    ],
)
async def test_what_is_no_invoice_is_refused(
    http: httpx.AsyncClient, anna: Person, changed: dict[str, Any], reason: str
) -> None:
    answer = (await http.post("createInvoiceLink", json={**FIELDS, **changed})).json()
    assert answer == {"ok": False, "error_code": 400, "description": f"Bad Request: {reason}"}
    if "subscription_period" not in changed:
        answer = (await http.post("sendInvoice", json={**FIELDS, **changed, "chat_id": anna.id})).json()
        assert answer["description"] == f"Bad Request: {reason}"


async def asked(bot: Bot, offset: int = 0) -> tuple[PreCheckoutQuery, int]:
    """The next checkout, and the offset behind it."""
    while True:
        for update in await bot.get_updates(offset=offset, timeout=10):
            offset = update.update_id + 1
            if update.pre_checkout_query is not None:
                return update.pre_checkout_query, offset


async def test_from_the_invoice_to_the_accounts(bot: Bot, telegram: TelegramSandbox, anna: Person) -> None:
    prices = [LabeledPrice(label="2 pictures", amount=50)]
    bill = await bot.send_invoice(anna.id, "2 pictures", "Made here", "pack:50:2", "XTR", prices)
    assert bill.invoice is not None
    shown = await anna.wait_for(lambda m: m.message_id == bill.message_id)

    refused = asyncio.create_task(anna.pay(shown))
    query, offset = await asked(bot)
    with pytest.raises(TelegramBadRequest, match="ERROR_TEXT_EMPTY"):
        await bot.answer_pre_checkout_query(query.id, ok=False)
    await bot.answer_pre_checkout_query(query.id, ok=False, error_message="gone")
    assert (await refused).outcome == "gone"

    late = asyncio.create_task(anna.pay(shown))
    query, offset = await asked(bot, offset)
    telegram.bot.till.checkouts[query.id].asked_at -= 11
    for name in (query.id, "1"):
        with pytest.raises(TelegramBadRequest, match="query is too old"):
            await bot.answer_pre_checkout_query(name, ok=True)
    late.cancel()
    assert telegram.bot.till.balance == 0

    paying = asyncio.create_task(anna.pay(shown))
    query, offset = await asked(bot, offset)
    await bot.answer_pre_checkout_query(query.id, ok=True)
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await bot.answer_pre_checkout_query(query.id, ok=True)
    charge = (await paying).charge
    [told] = await bot.get_updates(offset=offset, timeout=10)
    assert told.message is not None
    assert told.message.successful_payment is not None
    assert told.message.successful_payment.telegram_payment_charge_id == charge

    for user, unknown in ((anna.id, "stx-of-nobody"), (telegram.person("Boris").id, charge)):
        with pytest.raises(TelegramBadRequest, match="CHARGE_NOT_FOUND"):
            await bot.refund_star_payment(user, unknown)
    await bot.refund_star_payment(anna.id, charge)
    with pytest.raises(TelegramBadRequest, match="CHARGE_ALREADY_REFUNDED"):
        await bot.refund_star_payment(anna.id, charge)
    [told] = await bot.get_updates(offset=told.update_id + 1, timeout=10)
    assert told.message is not None
    assert told.message.refunded_payment is not None

    accounts = (await bot.get_star_transactions()).transactions
    assert [one.id for one in accounts] == [charge, charge]
    paid, back = accounts[0].source, accounts[1].receiver
    assert isinstance(paid, TransactionPartnerUser)
    assert isinstance(back, TransactionPartnerUser)
    assert (paid.invoice_payload, paid.user.id, back.user.id) == ("pack:50:2", anna.id, anna.id)
    assert [one.id for one in (await bot.get_star_transactions(offset=1, limit=1)).transactions] == [charge]
    with pytest.raises(TelegramBadRequest):
        await bot.get_star_transactions(limit=101)
    assert (await bot.get_my_star_balance()).amount == 0
