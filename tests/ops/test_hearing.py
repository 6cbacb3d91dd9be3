"""A bot that hears nobody is red everywhere: in the figures, at the health check, and in words."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiogram.exceptions import TelegramConflictError
from aiogram.methods import GetMe
from aiogram.types import WebhookInfo

from src.api.probes import check
from src.app import open_app
from src.jobs import Ledger, keys
from src.ops import hearing as hearings
from src.ops.hearing import Hearing, webhook_trouble
from src.ops.report import deaf, report
from src.ops.snapshot import look
from src.ops.thresholds import Level
from src.settings import load_settings
from src.telegram.i18n import get_texts


async def test_a_conflict_that_lasts_is_seen_everywhere(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(hearings, "time", clock)
    async with open_app(load_settings(_env_file=None, redis_url=redis_url, kie_api_key="key")) as app:
        assert (await check(app))["telegram"] == "ok"
        hearing = Hearing(app.ledger)
        await hearing.good()
        await hearing.bad(TelegramConflictError(GetMe(), "another"))
        assert hearing.ailment == ""
        await age(app.ledger, 70)
        clock.monotonic = lambda: 1070.0
        snapshot = await look(app)
        assert {f.name: f.level for f in snapshot.figures}["telegram"] is Level.PROBLEM
        assert hearing.ailment.startswith("no updates: another program polls with this token (409)")
        assert "409" in report(get_texts().translator("ru"), snapshot)
        assert "409" in (await check(app))["telegram"]
        await hearing.good()
        assert hearing.ailment == ""
        assert (await check(app))["telegram"] == "ok"


async def age(ledger: Ledger, seconds: int) -> None:
    """As if nothing had been heard for so long."""
    await ledger.client.hset(keys.HEARD(), "at", await ledger.now() - 1000 * seconds)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"url": "https://bot.example/telegram/webhook", "pending_update_count": 0}, ""),
        ({"url": "", "pending_update_count": 3}, "taken back"),
        (
            {
                "url": "https://bot.example/telegram/webhook",
                "pending_update_count": 3,
                "last_error_message": "Connection refused",
            },
            "Connection refused",
        ),
    ],
)
def test_a_webhook_that_fails(told: dict[str, Any], wrong: str) -> None:
    # Now, not when the tests were collected.
    told = {"last_error_date": datetime.datetime.now(datetime.UTC), **told}
    info = WebhookInfo(has_custom_certificate=False, **told)
    found = deaf(get_texts().translator("en"), webhook_trouble(info, "https://bot.example"))
    assert wrong in found
    assert bool(found) == bool(wrong)
