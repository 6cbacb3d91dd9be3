"""Jobs that end without a picture: their end at the provider."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import cast

import pytest
import redis
from PIL import Image

from src.jobs import Ledger, State
from src.jobs.uploads import name_of, new_upload
from src.pipeline import failures, submit
from src.pipeline.leases import Work
from src.providers.base import Capabilities, ErrorKind, GenRequest, Provider, ProviderError, Ticket
from src.store.blobs import UPLOADS
from tests.jobs.states import admitted, claimed, in_state


class Stoppable:
    """A provider whose generations can be stopped."""

    name = "kie"
    capabilities = Capabilities(cancel=True)

    def __init__(self) -> None:
        self.stopped: list[str] = []

    async def cancel(self, ticket: Ticket) -> str:
        self.stopped.append(ticket.external_id)
        return "cancelled"


@pytest.fixture
def work(work: Work) -> Work:
    """The same with a provider whose generations can be stopped."""
    return replace(work, app=replace(work.app, providers={"kie": cast(Provider, Stoppable())}))


async def test_past_its_deadline_a_generation_is_stopped_at_its_provider(
    work: Work, sync_redis: redis.Redis
) -> None:
    job_id, _ = in_state(Ledger(sync_client=sync_redis), State.RUNNING)
    await failures.expire(work, job_id)
    job = await work.app.ledger.job(job_id)
    assert job is not None
    assert (job.state, job.kind) == (State.FAILED, "timeout")
    assert cast(Stoppable, work.app.providers["kie"]).stopped == ["t"]
    # Said twice it changes nothing.
    await failures.expire(work, job_id)
    assert cast(Stoppable, work.app.providers["kie"]).stopped == ["t"]


class Refusing(Stoppable):
    """A provider that refuses every submit in one way."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__()
        self.error = error

    async def submit(self, request: GenRequest) -> Ticket:
        raise self.error


async def _submitted(
    work: Work, ledger: Ledger, error: ProviderError, *prompts: str, edit: bool = False
) -> int:
    """The breaker's state after a submit of each prompt came to nothing."""
    work = replace(work, app=replace(work.app, providers={"kie": cast(Provider, Refusing(error))}))
    for number, prompt in enumerate(prompts):
        # Each of a person of their own: what is refused is a strike.
        (job_id,) = admitted(ledger, str(number + 1))
        job = claimed(ledger, job_id, "submit")
        source = (await ledger_upload(work)) if edit else None
        spec = replace(job.spec, prompt=prompt, source=source)
        await submit.begin(work, replace(job, spec=spec))
    return await work.app.limiter.breaker("provider:kie")


async def ledger_upload(work: Work) -> str:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    source = new_upload(out.getvalue())
    await work.app.blobs.put(f"{UPLOADS}/{name_of(source)}", out.getvalue())
    return source


@pytest.mark.parametrize(
    "kind", [ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT, ErrorKind.INVALID_REQUEST]
)
async def test_a_refused_prompt_never_opens_the_breaker(
    work: Work, sync_redis: redis.Redis, kind: ErrorKind
) -> None:
    prompts = [f"a fox {n}" for n in range(8)]
    assert await _submitted(work, Ledger(sync_client=sync_redis), ProviderError(kind), *prompts) == 0


async def test_one_prompt_at_which_a_provider_stumbles_does_not_open_it_but_many_do(
    work: Work, sync_redis: redis.Redis
) -> None:
    ledger, error = Ledger(sync_client=sync_redis), ProviderError(ErrorKind.UPSTREAM)
    assert await _submitted(work, ledger, error, *["the same fox"] * 8) == 0
    assert await _submitted(work, ledger, error, *(f"a fox {n}" for n in range(5))) == 2


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.MODEL_GONE])
async def test_what_does_not_mend_itself_opens_it_at_once(
    work: Work, sync_redis: redis.Redis, kind: ErrorKind
) -> None:
    assert await _submitted(work, Ledger(sync_client=sync_redis), ProviderError(kind), "a fox") == 2


async def test_a_model_that_changes_no_pictures_goes_on_making_them(
    work: Work, sync_redis: redis.Redis
) -> None:
    gone = ProviderError(ErrorKind.MODEL_GONE)
    assert await _submitted(work, Ledger(sync_client=sync_redis), gone, "in snow", edit=True) == 0
