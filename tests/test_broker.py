"""The broker carries wake-ups and nothing that waits."""

from __future__ import annotations

import pytest
from dramatiq import Message

from src.broker import make_broker
from src.settings import Settings


def test_no_message_is_ever_delayed(redis_url: str) -> None:
    broker = make_broker(Settings(redis_url=redis_url))
    broker.declare_queue("images")
    assert broker.get_declared_queues() == {"images"}
    assert broker.get_declared_delay_queues() == set()
    with pytest.raises(ValueError, match="ledger"):
        broker.enqueue(Message("images", "submit", (), {}, {}), delay=1000)
    broker.close()
