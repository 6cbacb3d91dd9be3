"""Another provider makes a picture that the first cannot: which one, when, and never one that may be paid for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import redis

from src.jobs import Job, Ledger, Spec, State, Wake, keys, new_id, transitions
from src.ops import job_reports
from src.pipeline import admission, failures
from src.pipeline.admission import Wish
from src.pipeline.leases import Work
from src.providers.base import Capabilities, Provider
from src.routing import Route
from tests.jobs.states import CAP, LIMITS, admitted, claimed, in_state


class Painter:
    """A provider that is not asked here."""

    def __init__(self, **capabilities: Any) -> None:
        self.capabilities = Capabilities(**capabilities)


@pytest.fixture
def work(work: Work) -> Work:
    """The same with three providers, of which one makes edits."""
    return _with(work, kie=Painter(), openrouter=Painter(), openai=Painter(edit=True))


def _with(work: Work, **providers: Painter) -> Work:
    return replace(work, app=replace(work.app, providers=cast(dict[str, Provider], providers)))


def _spec(model: str, **more: Any) -> Spec:
    return Spec(more.pop("prompt", "a fox"), model, "1:1", 1, "en", **more)


def test_the_same_model_comes_first_and_then_what_others_make(work: Work) -> None:
    settings = work.app.settings
    others = work.app.routing.others("kie", _spec("gpt-image-2-text-to-image"))
    assert others[0] == Route("openai", "gpt-image-2")
    assert others[1:] == (Route("openrouter", settings.openrouter_model),)  # type: ignore[attr-defined]
    seedream = work.app.routing.others("kie", _spec("seedream/4.5-text-to-image"))
    assert [route.provider for route in seedream] == ["openrouter", "openai"]
    assert seedream[0].model == "bytedance-seed/seedream-4.5"


def test_a_gateway_without_edits_is_asked_for_none(work: Work) -> None:
    """The catalog has them, of the same model at OpenAI's own address."""
    model = "gpt-image-2-5-flare"
    for address, most in (("https://polza.ai/api/v1", 0), ("https://api.together.xyz/v1", 1)):
        settings = work.app.settings.model_copy(update={"openai_base_url": address})
        there = replace(work.app, settings=settings).routing
        edits = [[offer.provider for offer in there.offers(model, n)] for n in (0, 1, 2)]
        assert edits == [["openai", "kie"] if n <= most else ["kie"] for n in range(3)]
        job = _spec("gpt-image-2-5-flare-image-to-image", source="file", references=("other",))
        assert Route("openai", "gpt-image-2.5-flare") not in there.others("kie", job)
        kie_less = replace(there, providers={"openai": there.providers["openai"]})
        assert (kie_less.can(model, 1) is not None) == (most > 0)
        assert (model in kie_less.models(1)) == (most > 0)


def test_who_cannot_make_it_is_not_asked(work: Work) -> None:
    edit = work.app.routing.others("kie", _spec("nano-banana-2-1", source="file"))
    assert [route.provider for route in edit] == ["openai"]
    # The same model edits there, whatever its provider does by the settings.
    edit = work.app.routing.others("openai", _spec("gpt-image-2", source="file"))
    assert edit == (Route("kie", "gpt-image-2-image-to-image"),)
    assert work.app.routing.others("openai", _spec("gpt-image-2", prompt="x" * 6000)) == ()
    off = replace(work.app, settings=work.app.settings.model_copy(update={"failover": False}))
    assert off.routing.others("kie", _spec("nano-banana-2-1")) == ()


async def _job(work: Work, job_id: str) -> Job:
    job = await work.app.ledger.job(job_id)
    assert job is not None
    return job


async def test_an_open_breaker_sends_on_what_nobody_has_taken(work: Work, sync_redis: redis.Redis) -> None:
    ledger = Ledger(sync_client=sync_redis)
    submitting, waiting = admitted(ledger, cap=1), admitted(ledger, cap=1)
    await failures.move_on(work, submitting[0], late=False)
    assert (await _job(work, submitting[0])).provider == "kie", "its breaker is closed"

    await work.app.limiter.failed("provider:kie", at_once=True)
    for job_id in (*submitting, *waiting):
        await failures.move_on(work, job_id, late=False)
        job = await _job(work, job_id)
        assert (job.provider, job.state, job.spec.instead_of) == ("openrouter", State.SUBMITTING, "kie")
        assert job.failovers == ("kie", "openrouter")
    assert sync_redis.exists(keys.LINE("kie"), keys.SLOTS("kie"), keys.TAGS("kie")) == 0

    # Then to the next, and never back.
    for provider in ("openrouter", "openai"):
        await work.app.limiter.failed(f"provider:{provider}", at_once=True)
        await failures.move_on(work, submitting[0], late=False)
    job = await _job(work, submitting[0])
    assert (job.provider, job.spec.instead_of) == ("openai", "kie")
    assert job.failovers == ("kie", "openrouter", "openai")


async def test_nobody_stands_in_for_themselves(work: Work, sync_redis: redis.Redis) -> None:
    """A picture that comes back to the provider that was to make it."""
    wish = Wish(user=1, chat=1, prompt="a fox", update="1")
    await work.app.limiter.failed("provider:kie", at_once=True)
    admitted_ = await admission.ask(work.app, wish)
    (job_id,) = (await work.app.ledger.request(admitted_.request)).jobs  # type: ignore[union-attr]
    assert (await _job(work, job_id)).spec.instead_of == "kie"
    await work.app.limiter.passed("provider:kie")
    await work.app.limiter.failed("provider:openrouter", at_once=True)
    await failures.move_on(work, job_id, late=False)
    job = await _job(work, job_id)
    assert (job.provider, job.spec.instead_of) == ("kie", None)

    # Nor where its person chooses that one while it waits.
    (job_id,) = admitted(Ledger(sync_client=sync_redis), cap=0)
    job = await _job(work, job_id)
    request = await work.app.ledger.request(job.request)
    assert request is not None
    job = replace(job, spec=replace(job.spec, instead_of="openai"))
    assert await admission.switch(work.app, request, [job], "openai", "gpt-image-2") == 1
    job = await _job(work, job_id)
    assert (job.provider, job.spec.instead_of) == ("openai", None)


async def test_what_may_be_paid_for_stays(work: Work, sync_redis: redis.Redis) -> None:
    ledger = Ledger(sync_client=sync_redis)
    held, _ = in_state(ledger, State.SUBMITTING, held=True)
    running, _ = in_state(ledger, State.RUNNING)
    dead, _ = in_state(ledger, State.SUBMITTING, held=True)
    sync_redis.zadd(keys.DUE(), {dead: 1})
    ledger.run_sync(transitions.due(10, lease=15, holder="w"))
    assert (await _job(work, dead)).lost, "its process died over the submit"
    doubtful, fence = in_state(ledger, State.SUBMITTING, held=True)
    ledger.run_sync(transitions.retry(doubtful, fence, after=60_000, note="submit_unknown", counts="unknown"))
    await work.app.limiter.failed("provider:kie", at_once=True)
    for job_id in (held, running, dead, doubtful):
        await failures.move_on(work, job_id, late=True)
        assert (await _job(work, job_id)).provider == "kie"


async def test_a_job_whose_deadline_nears_in_line_goes_where_there_is_room(
    work: Work, sync_redis: redis.Redis
) -> None:
    ledger = Ledger(sync_client=sync_redis)
    job_id = new_id()
    wish = [(Spec("a fox", "m", "1:1", 1, "en"), Wake(job_id, "kie", 1))]
    ledger.run_sync(
        transitions.admit(
            request=new_id(),
            user="1",
            provider="kie",
            cap=0,
            jobs=wish,
            limits=LIMITS,
            deadline=600,
            near=600,
            ttl=60,
        )
    )
    rows, _ = ledger.run_sync(transitions.due(10, lease=15, holder="w"))
    assert [(row.what, row.id) for row in rows] == [("late", job_id)]
    await failures.move_on(work, job_id, late=True)
    assert (await _job(work, job_id)).provider == "openrouter"


def test_a_gate_that_stays_closed_until_the_deadline_nears_is_told(sync_redis: redis.Redis) -> None:
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    defer = transitions.defer(job_id, after=10, gate="provider", near=100)
    assert not ledger.run_sync(defer)
    assert ledger.run_sync(replace(defer, args=[job_id, 510_000, "provider", 100_000]))
    ready, _ = in_state(ledger, State.READY)
    assert not ledger.run_sync(transitions.defer(ready, after=590, gate="telegram", near=100))


async def test_a_doubtful_submit_is_remembered_by_the_next_provider(
    work: Work, sync_redis: redis.Redis
) -> None:
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    fence = claimed(ledger, job_id, "submit").fence
    ledger.run_sync(transitions.retry(job_id, fence, after=0, note="submit_unknown", counts="unknown"))
    job = claimed(ledger, job_id, "submit")
    wake = replace(job.wake, provider="openai")
    ledger.run_sync(transitions.reroute(job_id, job.fence, spec=job.spec, wake=wake, cap=CAP, other_cap=CAP))
    assert claimed(ledger, job_id, "submit").unknown == 1


async def test_who_asks_while_the_first_is_away_gets_the_next(work: Work) -> None:
    wish = Wish(user=1, chat=1, prompt="a fox", update="1")
    await work.app.limiter.failed("provider:kie", at_once=True)
    admitted = await admission.ask(work.app, wish)
    (job_id,) = (await work.app.ledger.request(admitted.request)).jobs  # type: ignore[union-attr]
    job = await _job(work, job_id)
    assert (job.provider, job.spec.instead_of, job.failovers) == ("openrouter", "kie", ())
    told = next(line for line in job_reports.story(job, work.app.settings) if line.startswith("made by"))
    assert told.startswith("made by   openrouter, ")
    assert told.endswith(", instead of kie")

    for provider in ("openrouter", "openai"):
        await work.app.limiter.failed(f"provider:{provider}", at_once=True)
    admitted = await admission.ask(work.app, replace(wish, update="2"))
    (job_id,) = (await work.app.ledger.request(admitted.request)).jobs  # type: ignore[union-attr]
    job = await _job(work, job_id)
    assert (job.provider, job.spec.instead_of) == ("kie", None)


async def test_who_cancels_what_moves_meanwhile_reads_it_again(
    work: Work, sync_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = admitted(Ledger(sync_client=sync_redis), cap=0)
    job = await _job(work, job_id)
    reads = iter([replace(job, provider="openai"), job])

    async def read(_: str) -> Job:
        return next(reads)

    monkeypatch.setattr(work.app.ledger, "job", read)
    assert (await admission.cancel(work.app, job_id, "1")).done
    assert next(reads, None) is None
