"""The monitoring loop of the leading bot process: samples the system, exports gauges, alerts the admins.

Every bot process has a `Monitor`; a lease in Redis lets one of them act, and the next when it is gone.
"""

from __future__ import annotations

import asyncio

import structlog
from redis.exceptions import RedisError

from src.app import App
from src.jobs import keys
from src.jobs.spending import DAY_MS
from src.ops import heartbeat, samples
from src.ops.alerts import Alerts
from src.ops.gauges import Gauges
from src.ops.leader import Leader
from src.ops.pulse import Pulse
from src.ops.snapshot import Snapshot, look

log = structlog.get_logger(__name__)


class Monitor:
    """Samples the system while this process leads."""

    def __init__(self, app: App, alerts: Alerts) -> None:
        self._app = app
        self._alerts = alerts
        self._pulse = Pulse(app.settings)
        self._gauges = Gauges(self._pulse.unheard)
        self._leader = Leader(app, "monitor", 3 * samples.EVERY)
        self._led = False

    async def run(self) -> None:
        """Sample every ten seconds until cancelled; while Redis is away samples are missing, no more."""
        while True:
            try:
                await self._turn()
            except Exception:
                log.exception("sampling failed")
            await asyncio.sleep(samples.EVERY)

    async def _turn(self) -> None:
        try:
            self._led = await self._leader.held()
            if self._led:
                await self.look()
            else:
                self._pause()
            await self._alerts.redis_back()
        except RedisError as error:
            self._pause()
            log.warning("no sample", error=type(error).__name__)
            # Who led last speaks for all.
            if self._led:
                await self._alerts.redis_away()

    def _pause(self) -> None:
        self._gauges.clear()
        self._pulse.rest()

    async def resign(self) -> None:
        """Let another process lead at once."""
        await self._pulse.aclose()
        await self._leader.resign()

    async def look(self) -> Snapshot:
        """Take one sample, keep it, export it, and send the alerts that follow from it."""
        snapshot = await look(self._app)
        await samples.keep(self._app.ledger, snapshot.sample)
        self._gauges.show(snapshot)
        await self._alerts.consider(snapshot)
        await self._pulse.beat(snapshot)
        await self._tidy(snapshot)
        return snapshot

    async def _tidy(self, snapshot: Snapshot) -> None:
        """Forget processes that are gone, and failed jobs whose record has expired."""
        redis = self._app.redis
        await heartbeat.forget(self._app.ledger, snapshot.at)
        await samples.keep_pace(self._app.ledger, snapshot.at, snapshot.store.memory)
        kept = self._app.settings.job_ttl_days * DAY_MS
        await redis.zremrangebyscore(keys.FAILED(), "-inf", snapshot.at - kept)
