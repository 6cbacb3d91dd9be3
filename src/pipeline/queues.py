"""Dramatiq's queues of ours, by name; whoever only counts what waits in them needs no Dramatiq."""

from __future__ import annotations

from src.jobs.keys import DRAMATIQ

SUBMITS, DELIVERIES = "images.submit", "images.deliver"
QUEUES = (SUBMITS, DELIVERIES)
"""One for each actor: while deliveries wait for Telegram, a submit does not stand behind them."""
NAMESPACE = DRAMATIQ.prefix
"""What the names of Dramatiq's keys in Redis begin with."""

QUEUE_KEYS = tuple(DRAMATIQ(queue) for queue in QUEUES)
"""The lists of the messages that wait, where Redis is the broker."""
