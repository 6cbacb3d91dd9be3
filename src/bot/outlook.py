"""How long it will take, for the jobs that are to be spoken of: few Redis commands for many jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from src.app import App
from src.jobs import Job, State
from src.jobs.estimate import Estimate, estimate

_DURATIONS_KEPT = 5.0


class Outlook:
    """Estimates from the ledger; what generations usually take is read anew every few seconds."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._durations: dict[tuple[str, str], tuple[float, list[float]]] = {}

    async def estimates(self, jobs: Sequence[Job], places: Mapping[str, int] | None = None) -> list[Estimate]:
        """One estimate a job, in order.

        Args:
            places: places in the line that are known already; without it they are asked for.
        """
        ledger, providers = self._app.ledger, sorted({job.provider for job in jobs})
        waiting = [] if places is not None else [job for job in jobs if job.state is State.WAITING]
        async with ledger.client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in providers:
                pipe.scard(ledger.key(f"slots:{name}"))
            for job in waiting:
                pipe.zrank(ledger.key(f"line:{job.provider}"), job.id)
            (seconds, micros), *answers = await pipe.execute()
        now = int(seconds) * 1000 + int(micros) // 1000
        running = dict(zip(providers, answers, strict=False))
        ranks = places or {
            job.id: rank
            for job, rank in zip(waiting, answers[len(providers) :], strict=True)
            if rank is not None
        }
        return [
            estimate(
                await self._usual(job.provider, job.spec.model),
                place=ranks.get(job.id) if job.state is State.WAITING else None,
                running=int(running[job.provider]),
                cap=self._app.cap(job.provider),
                elapsed=(now - job.accepted) / 1000 if job.accepted else 0.0,
            )
            for job in jobs
        ]

    async def _usual(self, provider: str, model: str) -> list[float]:
        now = time.monotonic()
        at, known = self._durations.get((provider, model), (float("-inf"), []))
        if now - at > _DURATIONS_KEPT:
            known = await self._app.ledger.durations(provider, model)
            self._durations[provider, model] = now, known
        return known
