"""The till: what an invoice is for, and what Telegram says was paid and given back, counted once however often it says so.

Telegram tells of each payment by a message, and keeps accounts; what is only in those (its message was lost, or a
backup of before was restored) is found by looking through them.
"""

from __future__ import annotations

import asyncio
import re
from typing import Literal, NamedTuple

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError
from aiogram.types import StarTransaction, TransactionPartnerUser
from redis.exceptions import RedisError

from src.app import App
from src.bot.chats import speaks_for
from src.jobs import Person, credit, keys
from src.jobs.credit import Counted
from src.ops.leader import Leader
from src.settings import Pack
from src.telegram.i18n import Texts, Translator, language_of

log = structlog.get_logger(__name__)

STARS = "XTR"
"""Telegram Stars, as a currency."""
_PAYLOAD = re.compile(r"(pack|month):(\d{1,6}):(\d{1,6})")
_EVERY_SECONDS = 600.0
_PAGE = 100
# Its message is on the way.
_FRESH_MS = 120_000


class Sale(NamedTuple):
    """What an invoice is for, as its payload says."""

    kind: Literal["pack", "month"]
    pack: Pack

    @property
    def payload(self) -> str:
        return f"{self.kind}:{self.pack.stars}:{self.pack.pictures}"

    @classmethod
    def parse(cls, payload: str) -> Sale | None:
        """None: it is no invoice of ours."""
        said = _PAYLOAD.fullmatch(payload)
        return said and cls("pack" if said[1] == "pack" else "month", Pack(int(said[2]), int(said[3])))


def is_offered(app: App, sale: Sale) -> bool:
    """Whether it is sold now, for that."""
    if sale.kind == "month":
        return sale.pack == app.settings.star_monthly
    return sale.pack in app.settings.star_packs


async def balance_lines(app: App, person: Person, say: Translator) -> list[str]:
    """What a person can still have; nothing where pictures are not sold, or not to them."""
    if not app.settings.sells or person.tier == "unlimited" or speaks_for(person.id) is not None:
        return []
    share = app.settings.free_pictures_day
    found = await credit.balance(app.ledger, person.id, share)
    lines = [say("balance-free", free=found.free, share=share)] if share else []
    if found.bought < 0:
        return [*lines, say("balance-owed", number=-found.bought)]
    return [*lines, say("balance-bought", bought=found.bought)]


async def price_lines(app: App, user: str, count: int, say: Translator) -> list[str]:
    """What so many pictures take of what a person has; nothing where they pay nothing."""
    if not app.settings.sells or (await app.ledger.person(user)).tier == "unlimited":
        return []
    found = await credit.balance(app.ledger, user, app.settings.free_pictures_day)
    return [say("dialog-price", count=count, left=found.left)]


async def count_paid(
    app: App,
    charge: str,
    user: str,
    stars: int,
    sale: Sale | None,
    *,
    teller: str,
    until: int = 0,
    begins: bool | None = None,
) -> Counted:
    """Count a payment. One that is for nothing we know counts too: it can be refunded."""
    pictures = sale.pack.pictures if sale and sale.pack.stars == stars else 0
    if not pictures:
        log.error("paid for what is not sold", charge_id=charge, stars=stars)
    paid = credit.paid(
        charge, user, stars=stars, pictures=pictures, teller=teller, until=until, begins=begins
    )
    counted = await app.ledger.commit(paid)
    if counted.first:
        log.info("paid", charge_id=charge, stars=stars, pictures=pictures)
    return counted


class Reconciling:
    """Looks through Telegram's accounts while this process is the one that does."""

    def __init__(self, app: App, bot: Bot, texts: Texts) -> None:
        self._app = app
        self._bot = bot
        self._texts = texts
        self._leader = Leader(app, "payments", 2 * _EVERY_SECONDS)

    async def run(self) -> None:
        """Look every ten minutes until cancelled."""
        while True:
            try:
                if await self._leader.held():
                    await self.look()
            except (RedisError, TelegramAPIError) as error:
                log.warning("payments not looked through", error=type(error).__name__)
            except Exception:
                log.exception("payments not looked through")
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> int:
        """Count what nobody told us of; how much that was."""
        key = keys.RECONCILED(self._bot.id)
        offset, found = int(await self._app.redis.get(key) or 0), 0
        fresh = await self._app.ledger.now() - _FRESH_MS
        while True:
            answer = await self._bot.get_star_transactions(offset=offset, limit=_PAGE)
            for transaction in answer.transactions:
                if transaction.date.timestamp() * 1000 > fresh:
                    return found
                found += await self._count(transaction)
                offset += 1
                await self._app.redis.set(key, offset)
            if len(answer.transactions) < _PAGE:
                return found

    async def resign(self) -> None:
        """Let another process look at once."""
        await self._leader.resign()

    async def _count(self, transaction: StarTransaction) -> bool:
        paid, returned = transaction.source, transaction.receiver
        if isinstance(paid, TransactionPartnerUser) and paid.transaction_type == "invoice_payment":
            user, period = paid.user, paid.subscription_period or 0
            counted = await count_paid(
                self._app,
                transaction.id,
                str(user.id),
                transaction.amount,
                Sale.parse(paid.invoice_payload or ""),
                teller="accounts",
                until=int(transaction.date.timestamp()) + period if period else 0,
            )
            key = "paid-late"
        elif isinstance(returned, TransactionPartnerUser) and returned.transaction_type == "invoice_payment":
            user = returned.user
            refunded = credit.refunded(
                transaction.id, str(user.id), stars=transaction.amount, teller="accounts"
            )
            counted, key = await self._app.ledger.commit(refunded), "refunded"
        else:
            return False
        if counted.first:
            person = await self._app.ledger.person(str(user.id))
            say = self._texts.translator(language_of(person.lang, user.language_code))
            try:
                await self._bot.send_message(
                    user.id, say(key, pictures=counted.pictures, bought=counted.bought)
                )
            except TelegramAPIError as error:
                log.info("nobody to tell of a payment", error=type(error).__name__)
        return counted.first
