"""Paying with Telegram Stars: /buy, /balance, what a checkout asks and a payment says, codes that give pictures, and
what people and admins do when something about money is wrong."""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, CommandObject, CommandStart, Filter
from aiogram.types import (
    BotSubscriptionUpdated,
    CallbackQuery,
    LabeledPrice,
    Message,
    PreCheckoutQuery,
    TelegramObject,
)
from aiogram.utils.deep_linking import create_start_link

from src.app import App
from src.bot.handlers.admin import ByAdmin, note
from src.bot.ordering import first
from src.bot.till import STARS, Sale, balance_lines, count_paid, is_offered
from src.jobs import Person, credit, keys
from src.settings import Pack
from src.telegram import keyboards
from src.telegram.client import says
from src.telegram.i18n import Translator, shorten
from src.telegram.keyboards import OfShop
from src.telegram.owner import tell_admins

log = structlog.get_logger(__name__)

_PRIVATE = F.chat.type == ChatType.PRIVATE
BUY = "buy"
GIFT = "gift_"
"""What links to the bot say: `?start=buy`, and before a code."""
_MONTH_SECONDS = 2_592_000
# So near its end a subscription may be being renewed.
_ENDS_SECONDS = 86_400
_CODE = re.compile(r"[A-Z0-9_-]{3,32}")
_GUESSES = 5
_GUESS_SECONDS = 3600
_SUPPORT_SECONDS = 60
_LONGEST = 1500
_RECENT = 5


class Sells(Filter):
    """Passes where pictures are sold."""

    async def __call__(self, event: TelegramObject, app: App) -> bool:
        return app.settings.sells


async def buy(message: Message, app: App, bot: Bot, person: Person, say: Translator) -> None:
    await message.answer(**await _shop(app, bot, person, say))


async def elsewhere(message: Message, bot: Bot, say: Translator) -> None:
    await message.reply(say("buy-elsewhere", link=await create_start_link(bot, BUY)))


async def _shop(app: App, bot: Bot, person: Person, say: Translator) -> dict[str, Any]:
    """What is sold, as arguments of a call."""
    month = app.settings.star_monthly
    subscription = await credit.subscription(app.ledger, person.id)
    lines = [say("buy"), *await balance_lines(app, person, say)]
    link = None
    if subscription is not None:
        until = time.strftime("%Y-%m-%d", time.gmtime(subscription.until))
        lines.append(say("month-stopped" if subscription.stopped else "month-goes-on", until=until))
    elif month is not None:
        try:
            link = await _link(bot, month, say)
        except TelegramBadRequest as error:
            log.error("no subscription can be sold", error=type(error).__name__)
    markup = keyboards.shop(say, app.settings.star_packs, month, link, subscription)
    return {"text": "\n".join(lines), "reply_markup": markup}


async def _link(bot: Bot, month: Pack, say: Translator) -> str:
    return await bot.create_invoice_link(
        **_invoice(Sale("month", month), say), subscription_period=_MONTH_SECONDS
    )


def _invoice(sale: Sale, say: Translator) -> dict[str, Any]:
    title = say("invoice", pictures=sale.pack.pictures)
    return {
        "title": title,
        "description": say("invoice-about"),
        "payload": sale.payload,
        "provider_token": "",
        "currency": STARS,
        "prices": [LabeledPrice(label=title, amount=sale.pack.stars)],
    }


async def pressed(
    callback: CallbackQuery, callback_data: OfShop, app: App, bot: Bot, person: Person, say: Translator
) -> None:
    message = callback.message
    if not app.settings.sells or not isinstance(message, Message):
        await callback.answer(say("toast-old"))
        return
    if message.chat.type != ChatType.PRIVATE:
        await callback.answer(url=await create_start_link(bot, BUY))
        return
    match callback_data.what:
        case "show":
            await callback.answer()
            await buy(message, app, bot, person, say)
        case "pack":
            pack = next((p for p in app.settings.star_packs if p.stars == callback_data.stars), None)
            if pack is None:
                await callback.answer(say("checkout-changed"), show_alert=True)
                return
            await callback.answer()
            # A copy that is sent on leads to the bot; else others could pay by it, in any chat.
            await message.answer_invoice(**_invoice(Sale("pack", pack), say), start_parameter=BUY)
        case "stop" | "go on":
            await _change_subscription(callback, app, bot, person, say, stopped=callback_data.what == "stop")
            await message.edit_text(**await _shop(app, bot, person, say))


async def _change_subscription(
    callback: CallbackQuery, app: App, bot: Bot, person: Person, say: Translator, *, stopped: bool
) -> None:
    known = await credit.subscription(app.ledger, person.id)
    if known is None or known.stopped == stopped:
        await callback.answer(say("toast-old"))
        return
    await bot.edit_user_star_subscription(callback.from_user.id, known.charge, is_canceled=stopped)
    await credit.stop(app.ledger, person.id, known, stopped=stopped)
    await callback.answer(say("toast-saved"))


async def balance(message: Message, app: App, person: Person, say: Translator) -> None:
    lines = await balance_lines(app, person, say) or [say("limits-none")]
    await message.reply("\n".join(lines), reply_markup=keyboards.buy(say))


async def checkout(query: PreCheckoutQuery, app: App, person: Person, say: Translator) -> None:
    """Somebody is about to pay: it is still sold, for that, and to them."""
    sale = Sale.parse(query.invoice_payload)
    fits = sale is not None and sale.pack.stars == query.total_amount and query.currency == STARS
    if sale is None or not fits or not is_offered(app, sale):
        await query.answer(ok=False, error_message=say("checkout-changed"))
    elif person.blocked:
        await query.answer(ok=False, error_message=say("refused-blocked"))
    elif sale.kind == "month" and await _has_month(app, person):
        await query.answer(ok=False, error_message=say("checkout-month"))
    else:
        await query.answer(ok=True)


async def _has_month(app: App, person: Person) -> bool:
    """Whether who buys a subscription would pay two: the link of an earlier message still works."""
    known = await credit.subscription(app.ledger, person.id)
    return known is not None and known.until * 1000 > await app.ledger.now() + 1000 * _ENDS_SECONDS


async def paid(message: Message, app: App, say: Translator, update_id: int) -> None:
    """Somebody has paid, also for what is sold no more."""
    told, user = message.successful_payment, message.from_user
    assert told is not None
    assert user is not None
    counted = await count_paid(
        app,
        told.telegram_payment_charge_id,
        str(user.id),
        told.total_amount,
        Sale.parse(told.invoice_payload),
        teller=str(update_id),
        until=told.subscription_expiration_date or 0,
        begins=bool(told.is_first_recurring),
    )
    if counted.first:
        await message.answer(say("paid", pictures=counted.pictures, bought=counted.bought))


async def refunded(message: Message, app: App, say: Translator, update_id: int) -> None:
    """Telegram says that a payment was given back."""
    told = message.refunded_payment
    assert told is not None
    counted = await app.ledger.commit(
        credit.refunded(
            told.telegram_payment_charge_id,
            str(message.chat.id),
            stars=told.total_amount,
            teller=str(update_id),
        )
    )
    await message.answer(say("refunded", pictures=counted.pictures, bought=counted.bought))


async def subscription(
    event: BotSubscriptionUpdated, app: App, bot: Bot, person: Person, say: Translator
) -> None:
    """Somebody has stopped their subscription in Telegram, or lets it go on; or it could not be paid."""
    known = await credit.subscription(app.ledger, person.id)
    if known is not None and event.state in ("canceled", "active"):
        await credit.stop(app.ledger, person.id, known, stopped=event.state == "canceled")
    if event.state == "failed":
        await bot.send_message(event.user.id, say("month-failed"), reply_markup=keyboards.buy(say))


async def terms(message: Message, app: App, say: Translator) -> None:
    await message.answer(say("terms", share=app.settings.free_pictures_day))


async def support(
    message: Message,
    command: CommandObject,
    app: App,
    bot: Bot,
    person: Person,
    say: Translator,
    update_id: int,
) -> None:
    """What a person writes about their payments goes to the admins, with what they paid of late."""
    words = shorten((command.args or "").strip(), _LONGEST)
    if not words:
        await message.answer(say("paysupport"))
        return
    key = keys.REFUSED(message.chat.id, person.id, "paysupport")
    if not await first(app, key, update_id, _SUPPORT_SECONDS):
        await message.answer(say("paysupport-later"))
        return
    paid = [f"{_line(one)}\n/refund {one.charge}" for one in await _recent(app, person)]

    def told(to: Translator) -> str:
        return "\n".join([to("paysupport-from", user=person.id), words, "", *paid])

    if await tell_admins(app, bot, told):
        await message.answer(say("paysupport-sent"))
    else:
        await app.redis.delete(key)
        await message.answer(say("paysupport-later"))


async def _recent(app: App, person: Person) -> list[credit.Payment]:
    return (await credit.payments(app.ledger, person.id))[:_RECENT]


def _line(one: credit.Payment) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.at / 1000))
    return f"{at} ⭐ {one.stars} → {one.pictures}{' ↩️' if one.refunded else ''}"


async def redeem(
    message: Message, command: CommandObject, app: App, person: Person, say: Translator, update_id: int
) -> None:
    """A person says a code, or follows a link with one."""
    code = (command.args or "").removeprefix(GIFT).strip().upper()
    if not _CODE.fullmatch(code):
        await message.answer(say("redeem-how"))
        return
    guesses = keys.GUESSES(person.id)
    if int(await app.redis.get(guesses) or 0) >= _GUESSES:
        await message.answer(say("redeem-later"))
        return
    gift = await app.ledger.run(credit.redeem(code, person.id, teller=str(update_id)))
    if gift.verdict == "unknown":
        async with app.redis.pipeline() as pipe:
            pipe.incr(guesses)
            pipe.expire(guesses, _GUESS_SECONDS)
            await pipe.execute()
    match gift.verdict:
        case "ok":
            await message.answer(say("redeem-ok", pictures=gift.pictures, bought=gift.bought))
        case "known":
            await message.answer(say("redeem-known"))
        case "gone":
            await message.answer(say("redeem-gone"))
        case _:
            await message.answer(say("redeem-unknown"))


# Admins


async def promo(
    message: Message, command: CommandObject, app: App, bot: Bot, say: Translator, update_id: int
) -> None:
    """Make a code: `/promo CODE PICTURES [TIMES]`; none: take it back."""
    code, number, *times = [*(command.args or "").upper().split(), "", ""]
    most = times[0] if times else ""
    if (
        not _CODE.fullmatch(code)
        or not re.fullmatch(r"\d{1,4}", number)
        or not re.fullmatch(r"\d{0,6}", most)
    ):
        await message.answer(say("promo-usage"))
        return
    await credit.promise(app.ledger, code, int(number), int(most) if most else None)
    await note(app, message, update_id, "promo", code, " × ".join(filter(None, (number, most))))
    if int(number):
        link = await create_start_link(bot, GIFT + code)
        await message.answer(say("promo-made", code=code, pictures=int(number), link=link))
    else:
        await message.answer(say("promo-dropped", code=code))


async def refund(
    message: Message, command: CommandObject, app: App, bot: Bot, say: Translator, update_id: int
) -> None:
    """Give a payment back, and take its pictures: `/refund CHARGE_ID`. Telegram first: should we die in between, it tells
    us, and so do its accounts."""
    charge = (command.args or "").strip()
    known = await credit.payment(app.ledger, charge) if charge else None
    if known is None:
        await message.answer(say("refund-unknown"))
        return
    try:
        await bot.refund_star_payment(int(known.user), charge)
    except TelegramBadRequest as error:
        if not says(error, "charge_already_refunded"):
            log.warning("not refunded", charge_id=charge, error=type(error).__name__)
            await message.answer(say("refund-not"))
            return
    back = credit.refunded(charge, known.user, stars=known.stars, teller=f"admin {update_id}")
    counted = await app.ledger.commit(back)
    log.info("refunded", charge_id=charge, stars=known.stars, pictures=counted.pictures)
    await note(app, message, update_id, "refund", known.user, f"⭐ {known.stars} {charge}")
    said = {"stars": known.stars, "user": known.user, "pictures": counted.pictures, "bought": counted.bought}
    lines = [say("refund-done", **said)]
    if known.of:
        stopped = await _stop_for(app, bot, known)
        lines.append(say("refund-stopped" if stopped else "refund-goes-on"))
    await message.answer("\n".join(lines))


async def _stop_for(app: App, bot: Bot, paid: credit.Payment) -> bool:
    """Stop the subscription that a payment was for, which else is paid again; whether that could be."""
    try:
        await bot.edit_user_star_subscription(int(paid.user), paid.of, is_canceled=True)
    except TelegramBadRequest as error:
        log.warning("subscription not stopped", charge_id=paid.of, error=type(error).__name__)
        return False
    known = await credit.subscription(app.ledger, paid.user)
    if known is not None and known.charge == paid.of:
        await credit.stop(app.ledger, paid.user, known, stopped=True)
    return True


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="paying")
    # What is told of money counts, whether or not anything is sold now.
    router.pre_checkout_query.register(checkout)
    router.message.register(paid, F.successful_payment)
    router.message.register(refunded, F.refunded_payment)
    router.subscription.register(subscription)
    router.message.register(refund, Command("refund"), ByAdmin())
    router.message.register(promo, Command("promo"), ByAdmin(), Sells())
    opened = CommandStart(deep_link=True, magic=F.args == BUY)
    router.message.register(buy, opened, _PRIVATE, Sells())
    router.message.register(
        redeem, CommandStart(deep_link=True, magic=F.args.startswith(GIFT)), _PRIVATE, Sells()
    )
    router.message.register(buy, Command("buy"), _PRIVATE, Sells())
    router.message.register(balance, Command("balance"), _PRIVATE, Sells())
    router.message.register(terms, Command("terms"), _PRIVATE, Sells())
    router.message.register(support, Command("paysupport"), _PRIVATE)
    router.message.register(redeem, Command("redeem"), _PRIVATE, Sells())
    router.message.register(elsewhere, Command("buy", "balance", "redeem", "paysupport", "terms"), Sells())
    router.callback_query.register(pressed, OfShop.filter())
    return router
