"""What pictures cost: charged at admission, settled by what the provider says, returned where nothing was made; and
caps that nobody passes, however many ask at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from src.app import open_app
from src.jobs import Admission, Job, Ledger, keys, transitions
from src.jobs.spending import Costs, day, sums, worded
from src.pipeline import admission, failures, submit
from src.pipeline.admission import Wish
from src.pipeline.leases import Work
from src.providers.base import Capabilities, Done, ErrorKind, GenRequest, ImageRef, Provider, ProviderError
from src.routing import Route
from src.settings import SettingsError, load_settings
from tests.jobs.states import claimed

CATALOG = """
[big]
name = { en = "Big", ru = "Big" }
good_at = { en = "much", ru = "much" }
[[big.by]]
provider = "kie"
id = "nano-banana-2-1"
price = { amount = 0.3, day = 2026-11-30, source = "test" }
[[big.by]]
provider = "openai"
id = "big"
price = { amount = 0.6, unit = "second", day = 2026-11-30, source = "test" }
usual_seconds = 2

[small]
name = { en = "Small", ru = "Small" }
good_at = { en = "little", ru = "little" }
[[small.by]]
provider = "kie"
id = "small"
price = { amount = 0.2, day = 2026-11-30, source = "test" }

[smallest]
name = { en = "Smallest", ru = "Smallest" }
good_at = { en = "less", ru = "less" }
[[smallest.by]]
provider = "kie"
id = "smallest"
price = { amount = 0.1, day = 2026-11-30, source = "test" }
"""


class Painter:
    """A provider that answers at once, or refuses."""

    capabilities = Capabilities()

    def __init__(self, answer: Done | ProviderError | None = None) -> None:
        self.answer = answer

    async def submit(self, request: GenRequest) -> Done:
        if isinstance(self.answer, ProviderError):
            raise self.answer
        assert self.answer is not None
        return self.answer


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    file = tmp_path / "models.toml"
    file.write_text(CATALOG, "utf-8")
    return file


@pytest.fixture
def settings_of_work(catalog: Path) -> dict[str, Any]:
    return {"models_file": catalog, "spend_cap_day": "1 USD", "kie_concurrency": 100}


@pytest.fixture
def work(work: Work) -> Work:
    return _with(work, kie=Painter())


def _with(work: Work, **providers: Painter) -> Work:
    return replace(work, app=replace(work.app, providers=cast(dict[str, Provider], providers)))


def _capped(work: Work, **settings: Any) -> Work:
    known = work.app.settings.model_dump() | {"spend_cap_day": None} | settings
    return replace(work, app=replace(work.app, settings=load_settings(**known)))


async def _ask(work: Work, user: int = 1, **wish: Any) -> Admission:
    update = str(await work.app.redis.incr("updates"))
    return await admission.ask(work.app, Wish(user, user, "a fox", update, **wish))


async def _jobs(work: Work) -> list[Job]:
    found = [key.rpartition(":")[2] async for key in work.app.redis.scan_iter(keys.JOB("*"))]
    return await work.app.ledger.jobs(sorted(found))


async def _spent(work: Work, key: keys.Key = keys.SPENT) -> dict[str, dict[str, int]]:
    return sums(await work.app.redis.hgetall(key(day(await work.app.ledger.now()))))


async def _all(work: Work) -> Costs:
    return (await _spent(work)).get("all", {})


def test_what_a_picture_is_expected_to_cost(work: Work) -> None:
    def costs(provider: str, model: str) -> str:
        return worded(work.app.routing.charge(Route(provider, model)).costs)

    assert costs("kie", "nano-banana-2-1") == "1 pictures, 0.3 USD"
    assert costs("openai", "big") == "1 pictures, 1.2 USD"
    assert costs("kie", "unheard-of") == "1 pictures"


@pytest.mark.parametrize(("cap", "able"), [("2 USD", False), ("2 pictures", True)])
def test_no_tool_without_a_price_passes_a_cap_in_money(work: Work, cap: str, able: bool) -> None:
    routing = _capped(work, models_file=None, spend_cap_day=cap).app.routing
    assert (routing.tool("upscale") is not None) is able


@pytest.mark.parametrize(
    ("gateway", "quality", "cost"),
    [
        ("openai", None, "1 pictures, 0.053 USD"),
        ("openai", "max", "1 pictures, 0.211 USD"),
        ("azure", "low", "1 pictures, 0.006 USD"),
        # Its price is its own.
        ("proxyapi", None, "1 pictures"),
    ],
)
def test_a_quality_costs_what_it_costs_at_that_gateway(
    work: Work, gateway: str, quality: str | None, cost: str
) -> None:
    routing = _capped(work, models_file=None, openai_gateway=gateway, spend_cap_day="20 USD").app.routing
    charge = routing.charge(Route("openai", "gpt-image-2.5-flare"), quality)
    assert worded(charge.costs) == cost


async def test_a_cap_that_cannot_be_kept_stops_the_start(redis_url: str, catalog: Path) -> None:
    known: dict[str, Any] = {"redis_url": redis_url, "models_file": catalog, "kie_api_key": "k"}
    settings = load_settings(**known, kie_model="unheard-of", spend_cap_person_day="2 usd")
    with pytest.raises(SettingsError, match="no price in USD for kie's unheard-of"):
        async with open_app(settings):
            pass
    # Pictures can always be counted.
    async with open_app(load_settings(**known, kie_model="unheard-of", spend_cap_day="2 pictures")):
        pass


@pytest.mark.parametrize("said", ["20", "USD", "-3 USD", "20 dollars", "1e3 USD"])
def test_a_cap_is_an_amount_and_its_unit(said: str) -> None:
    with pytest.raises(SettingsError, match="SPEND_CAP_DAY: expected an amount and its unit"):
        load_settings(spend_cap_day=said)


async def test_many_at_once_are_charged_up_to_the_cap_and_not_past_it(work: Work) -> None:
    asked = await asyncio.gather(*(_ask(work, user) for user in range(1, 61)))
    verdicts = Counter(one.verdict for one in asked)
    assert verdicts == {"ok": 3, "spent": 57}
    assert await _all(work) == {"pictures": 3_000_000, "USD": 900_000}
    assert {worded(job.costs) for job in await _jobs(work)} == {"1 pictures, 0.3 USD"}
    refused = next(one for one in asked if one.verdict == "spent")
    assert 0 < refused.number <= 86_400
    # One comes back: there is room for one again.
    first = (await _jobs(work))[0]
    assert (await admission.cancel(work.app, first.id, None)).done
    again = await asyncio.gather(*(_ask(work, user) for user in range(1, 9)))
    assert Counter(one.verdict for one in again) == {"ok": 1, "spent": 7}
    assert await _all(work) == {"pictures": 3_000_000, "USD": 900_000}


async def test_an_album_fits_whole_or_not_at_all(work: Work) -> None:
    assert (await _ask(work, count=4)).verdict == "spent"
    assert await _all(work) == {}
    assert (await _ask(work, count=3)).verdict == "ok"


async def test_the_next_cheaper_model_makes_what_still_fits(work: Work) -> None:
    work = _capped(work, spend_cap_day="1 USD", spend_cap_then="cheaper")
    verdicts = [(await _ask(work)).verdict for _ in range(5)]
    assert verdicts == ["ok"] * 4 + ["spent"]
    made = Counter(job.spec.model for job in await _jobs(work))
    assert made == {"nano-banana-2-1": 3, "smallest": 1}
    assert (await _all(work))["USD"] == 1_000_000


async def test_one_persons_cap_is_theirs_alone(work: Work) -> None:
    work = _capped(work, spend_cap_person_day="2 pictures")
    assert [(await _ask(work, user)).verdict for user in (1, 1, 1, 2)] == ["ok", "ok", "spent-person", "ok"]
    await work.app.ledger.choose("1", tier="unlimited")
    assert (await _ask(work)).verdict == "ok"
    people = await _spent(work, keys.SPENDER)
    assert {user: costs["pictures"] for user, costs in people.items()} == {"1": 3_000_000, "2": 1_000_000}


@pytest.mark.parametrize(
    ("cost", "unit", "charged"),
    [
        (0.04, "USD", "1 pictures, 0.04 USD"),
        (0.0, "USD", "1 pictures, 0 USD"),
        # What another unit is worth nobody knows: both are kept.
        (4, "credits", "1 pictures, 0.3 USD, 4 credits"),
        (None, "", "1 pictures, 0.3 USD"),
    ],
)
async def test_what_the_provider_says_it_cost_counts(
    work: Work, sync_redis: redis.Redis, cost: float | None, unit: str, charged: str
) -> None:
    done = Done(ImageRef(url="https://example.com/a.png"), cost=cost, unit=unit)
    job = await _submitted(_with(work, kie=Painter(done)), sync_redis)
    assert (job.state, worded(job.costs)) == ("ready", charged)
    assert await _all(work) == {u: amount for u, amount in job.costs.items() if amount}


async def _submitted(work: Work, sync_redis: redis.Redis) -> Job:
    assert (await _ask(work)).accepted
    return await _again(work, sync_redis)


async def _again(work: Work, sync_redis: redis.Redis) -> Job:
    """The next submit of the one job there is."""
    (waiting,) = await _jobs(work)
    await submit.begin(work, claimed(Ledger(sync_client=sync_redis), waiting.id, "submit"))
    (job,) = await _jobs(work)
    return job


@pytest.mark.parametrize("kind", [ErrorKind.MODERATED_INPUT, ErrorKind.INVALID_REQUEST, ErrorKind.QUOTA])
async def test_a_failure_returns_it(work: Work, sync_redis: redis.Redis, kind: ErrorKind) -> None:
    job = await _submitted(_with(work, kie=Painter(ProviderError(kind))), sync_redis)
    assert (job.state, dict(job.costs)) == ("failed", {})
    assert await _all(work) == {}


async def test_what_may_be_paid_for_is_not_returned(work: Work, sync_redis: redis.Redis) -> None:
    work = _capped(work, submit_unknown="fail")
    doubtful = ProviderError(ErrorKind.NETWORK, submitted=True)
    job = await _submitted(_with(work, kie=Painter(doubtful)), sync_redis)
    assert (job.kind, worded(job.costs)) == ("submit_unknown", "1 pictures, 0.3 USD")


async def test_a_submit_of_unknown_fate_at_the_deadline_is_not_returned(
    work: Work, sync_redis: redis.Redis
) -> None:
    await _ask(work)
    (waiting,) = await _jobs(work)
    job = claimed(Ledger(sync_client=sync_redis), waiting.id, "submit")
    await failures.fail(work, job, "timeout", "submit_unknown")
    (job,) = await _jobs(work)
    assert (job.state, worded(job.costs)) == ("failed", "1 pictures, 0.3 USD")


async def test_what_another_would_cost_beyond_the_cap_is_not_made_there(
    work: Work, sync_redis: redis.Redis
) -> None:
    broke = Painter(ProviderError(ErrorKind.QUOTA))
    two = _with(work, kie=broke, openai=Painter())
    job = await _submitted(_capped(two, spend_cap_day="1 USD", openai_model="big"), sync_redis)
    assert (job.provider, job.state, job.kind) == ("kie", "failed", "quota")
    assert await _all(work) == {}
    await work.app.redis.flushall()
    job = await _submitted(_capped(two, spend_cap_day="2 USD", openai_model="big"), sync_redis)
    assert (job.provider, job.state, worded(job.costs)) == ("openai", "submitting", "1 pictures, 1.2 USD")
    assert set(await _spent(work)) == {"all", "openai"}


@pytest.mark.parametrize("then", [None, ErrorKind.INVALID_REQUEST])
async def test_one_that_may_have_made_it_stays_charged_when_another_is_asked(
    work: Work, sync_redis: redis.Redis, then: ErrorKind | None
) -> None:
    first, second = Painter(ProviderError(ErrorKind.NETWORK, submitted=True)), Painter()
    work = _capped(_with(work, kie=first, openai=second), spend_cap_day="2 USD", openai_model="big")
    await _submitted(work, sync_redis)
    first.answer = ProviderError(ErrorKind.QUOTA)
    job = await _again(work, sync_redis)
    assert (job.provider, job.unknown, worded(job.costs)) == ("openai", 1, "2 pictures, 1.5 USD")
    second.answer = ProviderError(then) if then else Done(ImageRef(url="https://example.com/a.png"))
    job = await _again(work, sync_redis)
    # What the second certainly did not make comes back, what the first may have does not.
    assert worded(job.costs) == ("1 pictures, 0.3 USD" if then else "2 pictures, 1.5 USD")
    assert job.charges == {who: costs for who, costs in (await _spent(work)).items() if who != "all"}
    assert await _all(work) == job.costs


async def test_the_cap_counts_what_the_first_may_want(work: Work, sync_redis: redis.Redis) -> None:
    first = Painter(ProviderError(ErrorKind.NETWORK, submitted=True))
    work = _capped(_with(work, kie=first, openai=Painter()), spend_cap_day="1.4 USD", openai_model="big")
    await _submitted(work, sync_redis)
    first.answer = ProviderError(ErrorKind.QUOTA)
    job = await _again(work, sync_redis)
    assert (job.provider, job.state, worded(job.costs)) == ("kie", "failed", "1 pictures, 0.3 USD")


async def test_a_second_try_that_comes_to_nothing_does_not_return_the_first(
    work: Work, sync_redis: redis.Redis
) -> None:
    painter = Painter(ProviderError(ErrorKind.NETWORK, submitted=True))
    work = _with(work, kie=painter)
    await _submitted(work, sync_redis)
    (waiting,) = await _jobs(work)
    ledger = Ledger(sync_client=sync_redis)
    claim = claimed(ledger, waiting.id, "submit")
    ledger.run_sync(transitions.accepted(claim.id, claim.fence, ticket={"external_id": "t"}, after=60))
    await failures.fail(work, claim, ErrorKind.UPSTREAM)
    (job,) = await _jobs(work)
    assert (job.state, worded(job.costs)) == ("failed", "1 pictures, 0.3 USD")


async def test_a_faster_model_beyond_the_cap_is_not_taken(work: Work) -> None:
    held = replace(
        work, app=replace(work.app, settings=work.app.settings.model_copy(update={"kie_concurrency": 0}))
    )
    held = _with(held, kie=Painter(), openai=Painter())
    assert (await _ask(held, count=2)).accepted
    jobs = await _jobs(held)
    request = await held.app.ledger.request(jobs[0].request)
    assert request is not None
    assert await admission.switch(held.app, request, jobs, "openai", "big") == 0
    assert await admission.switch(held.app, request, jobs, "kie", "smallest") == 2
    assert await _all(held) == {"pictures": 2_000_000, "USD": 200_000}


async def test_past_its_deadline_a_running_picture_stays_charged_and_a_waiting_one_does_not(
    work: Work, sync_redis: redis.Redis
) -> None:
    ledger = Ledger(sync_client=sync_redis)
    assert (await _ask(work, count=2)).accepted
    running, waiting = await _jobs(work)
    claim = claimed(ledger, running.id, "submit")
    ledger.run_sync(transitions.accepted(running.id, claim.fence, ticket={"external_id": "t"}, after=60))
    for job in (running, waiting):
        await failures.fail(work, job, ErrorKind.TIMEOUT, anyone=True)
    assert [worded(job.costs) for job in await _jobs(work)] == ["1 pictures, 0.3 USD", ""]
    assert await _all(work) == {"pictures": 1_000_000, "USD": 300_000}
