"""Methods about payments in Telegram Stars: invoices, checkouts, refunds, subscriptions, and the bot's accounts."""

from __future__ import annotations

import secrets
import time
from typing import Any

from src.sandbox.telegram import rights
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.entities import utf16_length
from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.keyboards import read_markup
from src.sandbox.telegram.methods import method
from src.sandbox.telegram.records import Chat
from src.sandbox.telegram.till import CHECKOUT_SECONDS, MONTH, Checkout, Invoice, Subscription
from src.sandbox.telegram.wire import Call

_MOST_STARS = 10_000
_TOO_LATE = "query is too old and response timeout expired or query ID is invalid"


def _invoice(call: Call) -> Invoice:
    title, about, payload = (call.text(name) for name in ("title", "description", "payload"))
    if not 1 <= utf16_length(title) <= 32:
        raise bad_request("INVOICE_TITLE_INVALID")
    if not 1 <= utf16_length(about) <= 255:
        raise bad_request("INVOICE_DESCRIPTION_INVALID")
    if not 1 <= len(payload.encode()) <= 128:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    prices = call.structure("prices", "prices")
    if not isinstance(prices, list) or not prices:
        raise bad_request("there must be at least one price")
    # Other currencies need a provider, which this bot does not have.
    if call.text("currency") != "XTR" or call.text("provider_token"):
        raise bad_request("PAYMENT_PROVIDER_INVALID")
    more = ("max_tip_amount", "need_name", "need_email", "need_phone_number", "is_flexible")
    if len(prices) != 1 or any(call.text(name) not in ("", "false", "0") for name in more):
        raise bad_request("STARS_INVOICE_INVALID")
    stars = int(prices[0].get("amount") or 0)
    if not prices[0].get("label") or not 1 <= stars <= _MOST_STARS:
        raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
    period = call.integer("subscription_period")
    if period not in (0, MONTH):
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    return Invoice(title, payload, stars, period)


@method("sendInvoice")
async def send_invoice(bot: Bot, call: Call) -> dict[str, Any]:
    chat = bot.writable_chat(call.text("chat_id"))
    if call.integer("subscription_period"):
        raise bad_request("SUBSCRIPTION_EXPORT_MISSING")
    invoice = _invoice(call)
    shown: dict[str, Any] = {
        "title": invoice.title,
        "description": call.text("description"),
        "currency": "XTR",
    }
    shown |= {"total_amount": invoice.stars, "start_parameter": call.text("start_parameter")}
    content = {"invoice": shown}
    rights.check_sending(bot, chat, [content], None)
    message = bot.add_message(
        chat, bot.as_user(), content, method=call.method, markup=read_markup(call, chat, invoice=True)
    )
    bot.till.links[f"{chat.id}:{message.message_id}"] = invoice
    return message.as_json()


@method("createInvoiceLink")
async def create_invoice_link(bot: Bot, call: Call) -> str:
    link = f"https://t.me/$sandbox{secrets.token_urlsafe(9)}"
    bot.till.links[link] = _invoice(call)
    return link


@method("answerPreCheckoutQuery")
async def answer_pre_checkout_query(bot: Bot, call: Call) -> bool:
    checkout = bot.till.checkouts.get(call.text("pre_checkout_query_id"))
    if checkout is None or checkout.outcome or time.time() - checkout.asked_at > CHECKOUT_SECONDS:
        raise bad_request(_TOO_LATE)
    if not call.flag("ok"):
        if not call.text("error_message"):
            raise bad_request("ERROR_TEXT_EMPTY")
        checkout.outcome = call.text("error_message")
    else:
        invoice = checkout.invoice
        checkout.charge = bot.till.take(invoice, checkout.person)
        checkout.outcome = "paid"
        if invoice.period:
            until = int(time.time()) + invoice.period
            bot.till.subscriptions[checkout.charge] = Subscription(checkout.person["id"], invoice, until)
        tell_paid(bot, checkout, first=True)
    bot.tell(checkout.chat, "checkout", {"query_id": checkout.id, "outcome": checkout.outcome})
    return True


def tell_paid(bot: Bot, checkout: Checkout, *, first: bool) -> None:
    """The service message of a payment, and its update, where that is not lost."""
    invoice = checkout.invoice
    paid = {
        "currency": "XTR",
        "total_amount": invoice.stars,
        "invoice_payload": invoice.payload,
        "telegram_payment_charge_id": checkout.charge,
        "provider_payment_charge_id": "",
    }
    if invoice.period:
        paid |= {"subscription_expiration_date": int(time.time()) + invoice.period, "is_recurring": True}
        if first:
            paid["is_first_recurring"] = True
    message = bot.add_message(checkout.chat, checkout.person, {"successful_payment": paid}, method="person")
    if checkout.told:
        bot.note_update(message, bot.updates.push("message", message.as_json(), checkout.chat.id))


@method("refundStarPayment")
async def refund_star_payment(bot: Bot, call: Call) -> bool:
    charge, person = call.text("telegram_payment_charge_id"), bot.people.get(call.integer("user_id"))
    if person is None:
        raise bad_request("invalid user_id specified")
    paid = bot.till.paid_by(charge, person.id)
    if paid is None:
        raise bad_request("CHARGE_NOT_FOUND")
    if bot.till.is_refunded(charge):
        raise bad_request("CHARGE_ALREADY_REFUNDED")
    bot.till.give_back(charge, person.as_user())
    told = {
        "currency": "XTR",
        "total_amount": paid["amount"],
        "invoice_payload": paid["source"]["invoice_payload"],
        "telegram_payment_charge_id": charge,
    }
    _tell_refunded(bot, bot.private_chat(person), person.as_user(), told)
    return True


def _tell_refunded(bot: Bot, chat: Chat, person: dict[str, Any], told: dict[str, Any]) -> None:
    message = bot.add_message(chat, person, {"refunded_payment": told}, method="person")
    bot.note_update(message, bot.updates.push("message", message.as_json(), chat.id))


@method("getStarTransactions")
async def get_star_transactions(bot: Bot, call: Call) -> dict[str, Any]:
    offset, limit = call.integer("offset"), call.integer("limit", 100)
    if offset < 0 or not 1 <= limit <= 100:
        raise bad_request("invalid offset or limit specified")
    return {"transactions": bot.till.transactions[offset : offset + limit]}


@method("getMyStarBalance")
async def get_my_star_balance(bot: Bot, call: Call) -> dict[str, Any]:
    return {"amount": bot.till.balance}


@method("editUserStarSubscription")
async def edit_user_star_subscription(bot: Bot, call: Call) -> bool:
    known = bot.till.subscriptions.get(call.text("telegram_payment_charge_id"))
    if known is None or known.person_id != call.integer("user_id"):
        raise bad_request("SUBSCRIPTION_NOT_FOUND")
    known.canceled = call.flag("is_canceled")
    return True
