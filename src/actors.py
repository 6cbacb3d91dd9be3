"""The Dramatiq actors, the steps of the pipeline: `dramatiq src.actors --processes N --threads M`.

    admitted ─► submit ─► (the scheduler polls) ─► deliver

A message is only a wake-up: it says which job to look at. Whether there is anything to do is decided
by the claim, so a message that comes twice, late or never does no harm. When a step runs again is written
in the ledger, never left to Dramatiq's retries.
"""

from __future__ import annotations

import sys
from typing import Any

import dramatiq

from src.jobs import transitions
from src.limits import Refusal, provider_gates
from src.pipeline import deliver as delivery
from src.pipeline import failures, timeouts
from src.pipeline import submit as submission
from src.pipeline.queues import DELIVERIES, SUBMITS
from src.settings import SettingsError, get_settings
from src.telemetry import job_spans
from src.worker.broker import make_broker
from src.worker.process import work
from src.worker.rate_limits import Demand

try:
    settings = get_settings()
    broker = make_broker(settings)
except SettingsError as error:
    print(f"imagebot: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
dramatiq.set_broker(broker)


def submit_limits(message: Any) -> Demand:
    """What a submit takes: one request to its provider."""
    job_id, provider = message.args

    async def refused(refusal: Refusal) -> None:
        kind, near = refusal.gate.partition(":")[0], settings.job_deadline * timeouts.DEADLINE_NEARS
        defer = transitions.defer(job_id, after=refusal.seconds, gate=kind, near=near)
        late = await work().app.ledger.run(defer)
        if late or provider in work().troubled:
            await failures.move_on(work(), job_id, late=late)

    return Demand(provider_gates(settings, provider), refused)


@dramatiq.actor(queue_name=SUBMITS, priority=0, max_retries=0, limits=submit_limits)
async def submit(job_id: str, provider: str) -> None:
    """Hand a job whose turn has come to its provider."""
    app = work().app
    job = await app.ledger.run(
        transitions.claim(
            job_id, "submit", holder=app.holder, lease=app.settings.lease, attempt=job_spans.attempt()
        )
    )
    if job is not None:
        await job_spans.write_lost_attempt(app, job, "submit")
        await submission.begin(work(), job)


@dramatiq.actor(queue_name=DELIVERIES, priority=10, max_retries=0)
async def deliver(job_id: str, chat: int, group: bool) -> None:
    """Show the person the picture, or why there is none."""
    app = work().app
    claimed = await app.ledger.run(
        transitions.claim_to_show(
            job_id, holder=app.holder, lease=app.settings.lease, attempt=job_spans.attempt()
        )
    )
    if claimed is not None:
        job, request = claimed
        await job_spans.write_lost_attempt(app, job, "deliver")
        await delivery.show(work(), job, request)
