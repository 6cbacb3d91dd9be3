"""A long line: what people are offered, and that nobody loses a place by what they press."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast
from unittest.mock import AsyncMock

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from src.bot.estimates import Outlook
from src.jobs import How, Job, Standing, State, keys
from src.pipeline import admission
from src.routing import Route
from src.sandbox.telegram import Message, Person
from src.telegram.i18n import LANGUAGES
from src.telegram.status_text import Faster, Offer
from src.telemetry import metrics
from tests.bot.bot_world import World, image

Counted = Callable[[], dict[tuple[str, object], int]]

OFFERED = ["🕐 Wait", "🔔 Tell me later", "⚡ A faster model", "✖️ Cancel"]


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {
        "provider": "openai",
        "openai_concurrency": 1,
        "kie_api_key": "key-of-a-test",
        "kie_base_url": "http://127.0.0.1:9",
        "busy_from": 3,
        "max_active_per_user": 100,
    }


@pytest.fixture
async def crowd(world: World) -> list[Job]:
    """Four people's jobs: one is being made, three wait."""
    people = [world.sandbox.person(f"P{number}") for number in range(4)]
    for person in people:
        await person.reply_after(await person.send_text("a fox"))
    return [job for person in people for job in await world.active(person.id)]


@pytest.fixture
def counted() -> Counted:
    """How often each metric of waiting was counted since the test began, with its attribute."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    for counter in (metrics.wait_offers, metrics.wait_choices):
        counter.on_meter_set(meter)

    def points() -> dict[tuple[str, object], int]:
        data = reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return {
            (metric.name, *point.attributes.values()): point.value
            for metric in found
            for point in metric.data.data_points
        }

    return points


async def _ask(world: World, person: Person, words: str = "a bear") -> tuple[list[Job], Message]:
    await person.reply_after(await person.send_text(words))
    jobs = await world.active(person.id)
    request = await world.request_of(jobs[0])
    shown = request.status_message or request.messages[0]
    return jobs, next(m for m in person.messages if m.message_id == shown)


async def _standing(world: World, job: Job) -> Standing:
    found = await world.app.ledger.standing(job.request)
    assert found is not None
    return found


async def _line(world: World, provider: str = "openai") -> list[str]:
    return await world.app.ledger.line(provider)


def _labels(message: Message) -> list[str]:
    return [button["text"] for button in message.buttons]


async def test_only_who_has_many_before_them_is_offered_a_choice(
    world: World, crowd: list[Job], counted: Counted
) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Борис", language_code="ru")
    for job in crowd[1:]:
        request = await world.request_of(job)
        assert "offer" not in request.shown
    _, placeholder = await _ask(world, anna)
    assert placeholder.text.splitlines()[0] == "🕐 You’re number 4 in line. Ready in about 1–3 min."
    assert placeholder.text.splitlines()[2] == "⚡ Nano Banana 2.1 would be ready in about 20–45 s."
    assert _labels(placeholder) == OFFERED
    _, russian = await _ask(world, boris)
    assert "Место за вами" in russian.text
    assert _labels(russian)[:3] == ["🕐 Подожду", "🔔 Сообщить потом", "⚡ Модель побыстрее"]
    assert [len(m.revisions) for m in (placeholder, russian)] == [1, 1]
    assert counted() == {("imagebot.wait.offers", True): 2}


async def test_who_waits_keeps_the_place_and_is_asked_no_more(
    world: World, crowd: list[Job], counted: Counted
) -> None:
    anna = world.sandbox.person("Anna")
    [job], placeholder = await _ask(world, anna)
    before = await _line(world)
    assert "place is kept" in (await (await anna.tap(placeholder, "Wait")).answered())["text"]
    await anna.wait_for(lambda m: m is placeholder and len(m.buttons) == 1)
    assert placeholder.text == "🕐 You’re number 4 in line. Ready in about 1–3 min."
    assert await _line(world) == before
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
    await world.parts.progress.tick()
    assert _labels(placeholder) == ["✖️ Cancel"]
    await (await anna.tap_data(placeholder, f"w:wait:{job.request}")).answered()
    assert counted() == {("imagebot.wait.offers", True): 1, ("imagebot.wait.choices", "wait"): 1}


async def test_who_wants_to_be_told_is_left_in_peace(
    world: World, crowd: list[Job], counted: Counted
) -> None:
    anna = world.sandbox.person("Anna")
    [job], placeholder = await _ask(world, anna)
    before = await _line(world)
    assert "when it’s done" in (await (await anna.tap(placeholder, "later")).answered())["text"]
    await anna.wait_for(lambda m: m is placeholder and "I’ll write here" in m.text)
    assert _labels(placeholder) == ["✖️ Cancel"]
    assert await _line(world) == before
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
    await world.finished(crowd[0], image())
    await world.parts.progress.tick()
    assert [r.method for r in placeholder.revisions] == ["sendMessage", "editMessageText"]
    kept = await world.app.ledger.job(job.id)
    assert kept is not None
    assert " chose:later@" in kept.story
    assert counted() == {("imagebot.wait.offers", True): 1, ("imagebot.wait.choices", "later"): 1}


async def test_an_offer_counts_when_it_is_shown_whoever_shows_it(
    world: World, crowd: list[Job], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    await world.parts.progress.tick()
    # The loop sends the placeholder of one, and finds that the other's line has grown.
    world.sandbox.faults.add("500", "sendMessage")
    await anna.send_text("a red fox")
    await world.settled()
    [unplaced] = await world.active(anna.id)
    with monkeypatch.context() as short:
        short.setattr(world.parts.progress._outlook, "offer", AsyncMock(return_value=None))
        [placed], placeholder = await _ask(world, boris)
    assert _labels(placeholder) == ["✖️ Cancel"]
    assert counted() == {}
    await world.app.redis.hset(keys.REQUEST(unplaced.request), "created", 1)
    await world.app.redis.hset(keys.REQUEST(placed.request), "shown_at", 0)
    await world.parts.progress.tick()
    assert _labels(anna.messages[-1]) == _labels(placeholder) == OFFERED
    assert counted() == {("imagebot.wait.offers", True): 2}
    await world.app.redis.hset(keys.REQUEST(placed.request), "shown_at", 0)
    await world.parts.progress.tick()
    assert counted() == {("imagebot.wait.offers", True): 2}


async def test_a_change_that_crosses_the_choice_does_not_hide_it(world: World, crowd: list[Job]) -> None:
    anna = world.sandbox.person("Anna")
    [job], placeholder = await _ask(world, anna)
    await world.app.redis.hset(keys.REQUEST(job.request), "shown_at", 0)
    before = await _standing(world, job)
    stale = replace(before, request=replace(before.request, shown="other words"))
    await (await anna.tap(placeholder, "later")).answered()
    await anna.wait_for(lambda m: m is placeholder and "I’ll write here" in m.text)
    # The loop had read the request before, and found that its words have changed.
    assert await world.parts.progress._bring_up_to_date(stale)
    assert "I’ll write here" in placeholder.text


async def test_a_faster_model_makes_all_of_an_album_that_waits(
    world: World, crowd: list[Job], counted: Counted
) -> None:
    anna = world.sandbox.person("Anna")
    await world.app.ledger.choose(str(anna.id), count=3)
    jobs, status = await _ask(world, anna)
    assert _labels(status) == OFFERED
    answer = await (await anna.tap(status, "faster")).answered()
    assert answer["text"] == "Nano Banana 2.1 will draw it."
    await anna.wait_for(lambda m: m is status and "Drawing" in m.text)
    assert _labels(status) == ["✖️ Cancel"]
    switched = await world.app.ledger.jobs([job.id for job in jobs])
    assert {job.provider for job in switched} == {job.wake.provider for job in switched} == {"kie"}
    assert {job.spec.model for job in switched} == {"nano-banana-2-1"}
    assert {job.state for job in switched} == {State.SUBMITTING}
    assert all(" faster:kie@" in job.story for job in switched)
    assert await _line(world) == [job.id for job in crowd[1:]]
    assert (
        "Already" in (await (await anna.tap_data(status, f"w:faster:{jobs[0].request}")).answered())["text"]
    )
    assert counted() == {("imagebot.wait.offers", True): 1, ("imagebot.wait.choices", "faster"): 1}


async def test_nothing_is_called_faster_that_is_not(world: World, crowd: list[Job], counted: Counted) -> None:
    anna = world.sandbox.person("Anna")
    redis = world.app.redis
    [job], placeholder = await _ask(world, anna)
    assert _labels(placeholder) == OFFERED
    await redis.rpush(keys.TOOK("kie", "nano-banana-2-1"), *[300_000] * 5)
    await redis.expire(keys.TOOK("kie", "nano-banana-2-1"), 1000)
    world.parts.progress._outlook._durations.clear()
    told = await (await anna.tap(placeholder, "faster")).answered()
    assert told["text"] == "No other model would be sooner now. Your place is kept."
    await anna.wait_for(lambda m: m is placeholder and _labels(m) == [*OFFERED[:2], OFFERED[3]])
    await redis.delete(keys.TOOK("kie", "nano-banana-2-1"))
    world.parts.progress._outlook._durations.clear()
    outlook, standing = world.parts.progress._outlook, await _standing(world, job)
    estimates = await outlook.estimates(standing.jobs, standing.lines)
    for on in (False, True):
        await world.app.switches.turn_model(
            str(world.app.routing.catalog.key("kie", "nano-banana-2-1")), on=on
        )
        assert (await outlook.faster(standing.jobs, estimates) is not None) is on
    # Another provider edits, but only a tool does this.
    for how, can in (("edit", True), ("upscale", False), ("cutout", False)):
        spec = replace(job.spec, source="first", how=cast(How, how))
        assert (await outlook.faster([replace(job, spec=spec)], estimates) is not None) is can
    await world.app.limiter.failed("provider:kie", at_once=True)
    world.parts.progress._outlook._durations.clear()
    outlook, standing = world.parts.progress._outlook, await _standing(world, job)
    estimates = await outlook.estimates(standing.jobs, standing.lines)
    assert await outlook.faster(standing.jobs, estimates) is None
    await _ask(world, anna)
    assert counted() == {("imagebot.wait.offers", True): 1, ("imagebot.wait.offers", False): 1}


async def test_the_providers_own_faster_model_keeps_the_place(world: World, crowd: list[Job]) -> None:
    anna = world.sandbox.person("Anna")
    [job], _ = await _ask(world, anna)
    await world.app.limiter.failed("provider:kie", at_once=True)
    # With so many slots it is the generation that takes the time, not the line.
    roomy = world.settings.model_copy(
        update={"openai_concurrency": 50, "openai_fast_model": "gpt-image-2.6-flare"}
    )
    outlook = Outlook(replace(world.app, settings=roomy))
    standing = await _standing(world, job)
    now = await outlook.estimates(standing.jobs, standing.lines)
    names = dict.fromkeys(LANGUAGES, "GPT Image 2.6 Flare")
    assert await outlook.offer(standing, now) == Offer(Faster("openai", "gpt-image-2.6-flare", None, names))
    took = keys.TOOK("openai", "gpt-image-2.6-flare")
    for seconds, sooner in ((35, False), (3, True)):
        await world.app.redis.delete(took)
        await world.app.redis.rpush(took, *[seconds * 1000] * 5)
        await world.app.redis.expire(took, 1000)
        outlook = Outlook(replace(world.app, settings=roomy))
        faster = await outlook.faster([job], now)
        assert (faster is not None) is sooner

    # It is not offered for more pictures than it takes, or longer words.
    many = replace(job.spec, source="first", references=("other",) * 16)
    for spec in (many, replace(job.spec, prompt="fox " * 9000)):
        assert await outlook.faster([replace(job, spec=spec)], now) is None

    # Nor for what only a tool does.
    for how, can in (("edit", True), ("upscale", False), ("cutout", False)):
        spec = replace(job.spec, source="first", how=cast(How, how))
        assert (await outlook.faster([replace(job, spec=spec)], now) is not None) is can

    before, request = await _line(world), await world.request_of(job)
    # An admin may have switched it off since it was offered.
    fast = Route("openai", "gpt-image-2.6-flare")
    key = str(world.app.routing.catalog.key(*fast))
    for on in (False, True):
        await world.app.switches.turn_model(key, on=on)
        assert await admission.switch(world.app, request, [job], *fast) == int(on)
    assert await _line(world) == before
    after = await _standing(world, job)
    [switched] = after.jobs
    assert switched.spec.model == "gpt-image-2.6-flare"
    assert " faster:gpt-image-2.6-flare@" in switched.story
    # Those before it are drawn by the slower model all the same.
    [estimate] = await outlook.estimates([switched], after.lines)
    assert faster is not None
    assert estimate == faster.estimate


@pytest.mark.parametrize(
    ("state", "what", "said"),
    [
        ("running", "wait", "being drawn already"),
        ("running", "faster", "being drawn already"),
        ("running", "later", "when it’s done"),
        ("delivered", "wait", "already ended"),
        ("delivered", "faster", "already ended"),
        ("delivered", "later", "already ended"),
    ],
)
async def test_pressed_too_late(world: World, state: str, what: str, said: str) -> None:
    anna = world.sandbox.person("Anna")
    [job], placeholder = await _ask(world, anna)
    if state == "running":
        await world.accepted(job)
    else:
        await world.finished(job, image())
    tap = await anna.tap_data(placeholder, f"w:{what}:{job.request}")
    assert said in (await tap.answered())["text"]


async def test_others_cannot_choose(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    [job], placeholder = await _ask(world, anna)
    tap = await boris.tap_data(placeholder, f"w:later:{job.request}")
    assert "someone else" in (await tap.answered())["text"]
    gone = await anna.tap_data(placeholder, "w:later:00000000000000000")
    assert "too old" in (await gone.answered())["text"]
