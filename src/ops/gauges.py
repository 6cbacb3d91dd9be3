"""The gauges that describe the whole system, from the last snapshot of the leading bot process.

Other processes report none of them, so none is reported twice. What is not there is 0; what is not known, absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from observability.dramatiq.messaging import SCHEMA_URL
from src.jobs.spending import amount
from src.ops.snapshot import ProviderHealth, Snapshot
from src.telemetry.metrics import VERSION


class Gauges:
    """Exports a snapshot until the next; `clear` when another process leads.

    Args:
        unheard: seconds for which calls of HEARTBEAT_URL have failed.
    """

    def __init__(self, unheard: Callable[[], float]) -> None:
        self._snapshot: Snapshot | None = None
        meter = metrics.get_meter("imagebot", VERSION, schema_url=SCHEMA_URL)

        def gauge(name: str, unit: str, text: str, read: Callable[[Snapshot], Iterable[Observation]]) -> None:
            def observe(_: CallbackOptions) -> Iterable[Observation]:
                return read(self._snapshot) if self._snapshot is not None else ()

            meter.create_observable_gauge(name, [observe], unit, text)

        gauge("imagebot.jobs.waiting", "{job}", "Jobs in line", _each(lambda p: p.waiting))
        gauge("imagebot.jobs.running", "{job}", "Jobs that hold a slot", _each(lambda p: p.running))
        gauge("imagebot.jobs.oldest_waiting", "s", "Age of the oldest waiting job", _one(lambda s: s.oldest))
        gauge("imagebot.jobs.failed_kept", "{job}", "Failed jobs kept", _one(lambda s: s.failed_kept))
        gauge("imagebot.workers", "{process}", "Worker processes alive", _one(lambda s: s.workers))
        gauge("imagebot.telegram.deaf", "s", "Since Telegram gave updates", _one(lambda s: s.deaf or 0.0))
        gauge("imagebot.provider.breaker", "{state}", "Circuit breaker", _each(lambda p: p.breaker))

        gauge("imagebot.machine.cpu", "1", "Of the busiest machine's cores", _one(lambda s: s.load))
        gauge("imagebot.machine.disk", "1", "Of the fullest disk", _one(lambda s: s.disk))
        gauge("imagebot.redis.full_in", "d", "Until Redis is full", _one(lambda s: s.store.days))
        gauge("imagebot.backup.age", "s", "Of the newest backup", _one(lambda s: s.backup.age))
        gauge("imagebot.backup.interval", "s", "Between backups", _one(lambda s: s.backup.every))
        gauge(
            "imagebot.backup.failed", "{failure}", "Last one failed", _one(lambda s: int(bool(s.backup.why)))
        )
        gauge("imagebot.originals.room", "By", "For pictures in answers", _one(lambda s: s.room))
        gauge("imagebot.originals.used", "By", "By pictures in answers", _one(lambda s: s.kept))
        gauge("imagebot.heartbeat.unheard", "s", "HEARTBEAT_URL fails", _one(lambda _: unheard()))

        gauge("imagebot.spent", "{unit}", "What today's pictures cost", _spent)
        gauge("imagebot.spent.share", "1", "Of the day's cap", _one(lambda s: (s.spent_share or 0.0) / 100))

        gauge("imagebot.stars", "{star}", "Telegram Stars of all payments, and of refunds", _stars)

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def clear(self) -> None:
        self._snapshot = None


def _spent(snapshot: Snapshot) -> list[Observation]:
    return [
        Observation(amount(value), {"imagebot.provider": whose, "imagebot.unit": unit})
        for whose, costs in snapshot.spent.by.items()
        if whose != "all"
        for unit, value in costs.items()
    ]


def _stars(snapshot: Snapshot) -> list[Observation]:
    directions = {"in": "stars", "back": "refunded"}
    return [
        Observation(snapshot.takings.get(field, 0), {"imagebot.direction": name})
        for name, field in directions.items()
    ]


def _one(read: Callable[[Snapshot], float | None]) -> Callable[[Snapshot], Iterable[Observation]]:
    return lambda snapshot: [Observation(value) for value in [read(snapshot)] if value is not None]


def _each(read: Callable[[ProviderHealth], float]) -> Callable[[Snapshot], Iterable[Observation]]:
    return lambda snapshot: [
        Observation(read(provider), {"imagebot.provider": provider.name}) for provider in snapshot.providers
    ]
