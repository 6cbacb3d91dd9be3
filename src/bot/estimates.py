"""How long it will take, for the jobs that are to be spoken of, and what would be faster: few Redis
commands for many jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from src.app import App
from src.jobs import TOOLS, Job, Lines, Standing
from src.jobs.estimate import FEW, Estimate, estimate
from src.routing import Route
from src.telegram.i18n import LANGUAGES
from src.telegram.status_text import Faster, Offer

_DURATIONS_KEPT = 5.0
_REALLY_SOONER = 0.75


class Outlook:
    """Estimates from the ledger; what generations usually take is read anew every few seconds."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._durations: dict[tuple[str, str], tuple[float, list[float]]] = {}

    async def estimates(self, jobs: Sequence[Job], lines: Lines) -> list[Estimate]:
        """One estimate a job, in order."""
        return [
            estimate(
                await self._usual(job.provider, job.spec.model),
                place=lines.places.get(job.id),
                running=lines.running[job.provider],
                cap=self._app.cap(job.provider),
                elapsed=(lines.now - job.accepted) / 1000 if job.accepted else 0.0,
                ahead=await self._ahead(job),
                progress=job.progress,
            )
            for job in jobs
        ]

    async def offer(self, standing: Standing, estimates: Sequence[Estimate]) -> Offer | None:
        """What a request is offered before which many others wait; None for any other, and for a person
        who has chosen."""
        place = max((estimate.place or 0 for estimate in estimates), default=0)
        if place < self._app.settings.busy_from or standing.request.chosen:
            return None
        return Offer(await self.faster(standing.jobs, estimates))

    async def faster(self, jobs: Sequence[Job], estimates: Sequence[Estimate]) -> Faster | None:
        """The model with which a request's waiting jobs would be done soonest, if that is really sooner:
        its slow end before the middle of what is usual now."""
        waiting = [pair for pair in zip(jobs, estimates, strict=True) if pair[1].place is not None]
        if not waiting:
            return None
        job, now = max(waiting, key=lambda pair: pair[1].high)
        found = [*await self._own_model(job, now), *await self._other_providers(job, now, len(waiting))]
        return min(found, key=lambda f: f.estimate.high if f.estimate else now.low, default=None)

    async def _own_model(self, job: Job, now: Estimate) -> list[Faster]:
        """The faster model of the job's own provider. Its place and its wait would be the same, so it is
        of use only where making the picture takes the most of the time."""
        model = self._app.routing.fast_model(job.provider, job.spec)
        if (
            model is None
            or model == job.spec.model
            or not self._app.routing.is_on(Route(job.provider, model))
        ):
            return []
        durations = await self._usual(job.provider, model)
        known = len(durations) >= FEW
        would = estimate(
            # Unmeasured model: assume the best, promise nothing.
            durations if known else [0.0] * FEW,
            place=now.place,
            running=await self._app.ledger.running(job.provider),
            cap=self._app.cap(job.provider),
            ahead=await self._usual(job.provider, job.spec.model),
        )
        if would.high > _REALLY_SOONER * now.high:
            return []
        return [self._faster(job.provider, model, would if known else None)]

    async def _other_providers(self, job: Job, now: Estimate, count: int) -> list[Faster]:
        """The other providers that can make the picture, at the end of their lines; none where only a tool can."""
        if job.spec.how in TOOLS:
            return []
        app, edit = self._app, job.spec.source is not None
        found = []
        for name, provider in app.providers.items():
            can = provider.capabilities.can_make(
                job.spec.prompt, sources=len(job.spec.pictures), mask=job.spec.painted is not None
            )
            able = name != job.provider and can
            if not able or await app.limiter.breaker(f"provider:{name}"):
                continue
            model = app.routing.model(name, edit=edit)
            if not app.routing.is_on(Route(name, model)):
                continue
            would = estimate(
                await self._usual(name, model),
                place=await app.ledger.waiting(name) + count - 1,
                running=await app.ledger.running(name),
                cap=app.cap(name),
            )
            if would.high < now.low:
                found.append(self._faster(name, model, would))
        return found

    def _faster(self, provider: str, model: str, would: Estimate | None) -> Faster:
        names = {lang: self._app.routing.catalog.shown(provider, model, lang) for lang in LANGUAGES}
        return Faster(provider, model, would, names)

    async def _ahead(self, job: Job) -> list[float] | None:
        """Generations of the model that those before it in the line wait for, where the job's own is
        the faster one."""
        edit = job.spec.source is not None
        if job.spec.model != self._app.routing.fast_model(job.provider, job.spec):
            return None
        return await self._usual(job.provider, self._app.routing.model(job.provider, edit=edit))

    async def _usual(self, provider: str, model: str) -> list[float]:
        now = time.monotonic()
        at, known = self._durations.get((provider, model), (float("-inf"), []))
        if now - at > _DURATIONS_KEPT:
            known = await self._app.ledger.durations(provider, model)
            self._durations[provider, model] = now, known
        return known
