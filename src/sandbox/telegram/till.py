"""The till of one bot: invoices, checkouts under way, and what was paid and given back. Plain records, kept in memory."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from src.sandbox.telegram.records import Chat

MONTH = 2_592_000
"""Seconds of the only period that a subscription may have."""
CHECKOUT_SECONDS = 10.0
"""Within which a bot must answer, or the payment is off."""


@dataclass(frozen=True)
class Invoice:
    """What may be paid: by the message that shows it, or by its link. `period`: of a subscription, in seconds."""

    title: str
    payload: str
    stars: int
    period: int = 0


@dataclass
class Checkout:
    """Somebody has pressed Pay. `outcome`: empty until the bot has answered, then `paid` or its words why not."""

    id: str
    invoice: Invoice
    person: dict[str, Any]
    chat: Chat
    told: bool
    asked_at: float = field(default_factory=time.time)
    outcome: str = ""
    charge: str = ""


@dataclass
class Subscription:
    """What is paid each month, by its first charge."""

    person_id: int
    invoice: Invoice
    until: int
    canceled: bool = False


class Till:
    """What has gone through a bot's hands."""

    def __init__(self) -> None:
        self.links: dict[str, Invoice] = {}
        self.checkouts: dict[str, Checkout] = {}
        self.transactions: list[dict[str, Any]] = []
        self.subscriptions: dict[str, Subscription] = {}

    def take(self, invoice: Invoice, person: dict[str, Any]) -> str:
        """The person pays; the charge id."""
        charge = f"stx{secrets.token_urlsafe(24)}"
        partner: dict[str, Any] = {"type": "user", "transaction_type": "invoice_payment", "user": person}
        partner["invoice_payload"] = invoice.payload
        if invoice.period:
            partner["subscription_period"] = invoice.period
        self._add(charge, invoice.stars, source=partner)
        return charge

    def give_back(self, charge: str, person: dict[str, Any]) -> None:
        """The same stars go back."""
        paid = next(t for t in self.transactions if t["id"] == charge)
        partner = {"type": "user", "transaction_type": "invoice_payment", "user": person}
        self._add(charge, paid["amount"], receiver=partner)

    def paid_by(self, charge: str, person_id: int) -> dict[str, Any] | None:
        """A payment of that person's."""
        for one in self.transactions:
            if one["id"] == charge and one.get("source", {}).get("user", {}).get("id") == person_id:
                return one
        return None

    def is_refunded(self, charge: str) -> bool:
        return any(one["id"] == charge and "receiver" in one for one in self.transactions)

    @property
    def balance(self) -> int:
        """Stars that the bot has."""
        return sum(one["amount"] if "source" in one else -one["amount"] for one in self.transactions)

    def _add(self, charge: str, stars: int, **partner: Any) -> None:
        self.transactions.append({"id": charge, "amount": stars, "date": int(time.time()), **partner})
