"""A process dies in the middle and the picture still comes, once. The tests share one system."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from dramatiq.brokers.redis import RedisBroker

from src.app import open_app
from src.bot import broadcasting
from src.bot.broadcasting import Notice
from src.jobs import State, keys
from src.jobs.spending import Spent, day
from src.pipeline.queues import NAMESPACE, SUBMITS
from src.sandbox.telegram import Person
from src.sandbox.traces import orphans
from src.store.clients import make_sync_redis
from src.telemetry import job_spans
from tests.system import WAIT, System, running

STORE = 9_000_001

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running(
        tmp_path_factory.mktemp("system"), LEASE="2", PROGRESS_INTERVAL="1", INLINE_STORAGE_CHAT=str(STORE)
    ) as system:
        yield system


async def test_a_worker_killed_while_a_picture_is_made(system: System) -> None:
    system.kie.durations = (4.0, 4.0)
    ann = system.person()
    await ann.send_text("a castle")
    job_id = await _running_job(system, ann)
    await system.killed("worker")
    await system.start_worker()
    await _one_picture(system, ann, job_id)


@pytest.mark.parametrize("method", ["sendPhoto", "editMessageMedia"])
async def test_a_worker_killed_while_it_shows_an_inline_picture(system: System, method: str) -> None:
    system.kie.durations = (0.5, 1.0)
    await system.telegram.person("Store", id=STORE).send_text("/start")
    system.telegram.bot.inline.feedback = True
    ann = system.person()
    query = await ann.ask_inline("a castle")
    assert query.answer is not None
    stored = system.telegram.audit.by_method["sendPhoto"]
    # Its answer never comes: the picture is stored, or shown, and nobody knows.
    system.telegram.faults.add(method=method, kind="timeout_after_commit", seconds=30)
    message = await ann.send_inline(query, query.answer.result("make"))
    await system.until(lambda: not system.telegram.faults.active)
    await system.killed("worker")
    await system.start_worker()
    await system.until(lambda: system.all_ended(ann))
    (job,) = await system.jobs_of(ann)
    assert (job.state, len(message.pictures)) == (State.DELIVERED, 1)
    assert message.button("Draw more")
    assert system.telegram.audit.by_method["sendPhoto"] - stored <= 2
    trace = await system.whole_trace(job_spans.trace_id(job))
    assert orphans(trace) == []
    names = {span.name for span in trace}
    assert {"update chosen_inline_result", "job", "sendPhoto", "editMessageMedia"} <= names | {method}


async def test_redis_killed_and_restarted_while_a_picture_is_made(system: System) -> None:
    ann = system.person()
    await ann.send_text("a castle")
    job_id = await _running_job(system, ann)
    system.redis_process.kill()
    system.redis_process.start()
    await _one_picture(system, ann, job_id)


async def test_a_bot_killed_after_admission_loses_nothing(system: System) -> None:
    system.telegram.faults.add(method="sendMessage", kind="slow", times=1, seconds=2)
    ann = system.person()
    await ann.send_text("a castle")
    await system.until(lambda: system.ledger.history(str(ann.id)))
    await system.killed("bot")
    await system.start_bot()
    await system.picture(ann)
    assert len(await system.ledger.history(str(ann.id))) == 1


async def test_a_bot_killed_with_one_update_unfinished_and_others_done(system: System) -> None:
    ann, bob = system.person("Ann"), system.person("Bob")
    system.telegram.faults.add(method="sendMessage", kind="slow", times=1, seconds=90, chat_id=ann.id)
    helped = await ann.send_text("/help")
    await bob.send_text("a castle")
    await system.picture(bob)
    # Telegram has forgotten both; only Ann's is in the inbox.
    await system.until(lambda: not system.telegram.bot.updates.pending)
    await system.until(lambda: system.inbox(1))
    await system.killed("bot")
    await system.start_bot()
    await ann.reply_after(helped, timeout=WAIT)
    await system.until(lambda: system.inbox(0))
    assert len(await system.ledger.history(str(bob.id))) == 1
    assert sum(m.from_bot for m in bob.messages) == 1


async def test_messages_sent_while_the_bot_was_down_are_answered(system: System) -> None:
    await system.killed("bot")
    ann = system.person()
    await ann.send_text("a castle")
    await system.start_bot()
    await system.picture(ann)


async def test_a_message_of_a_killed_worker_comes_back_and_does_nothing(system: System) -> None:
    system.faults.add("hang", path="createTask", times=1)
    ann = system.person()
    await ann.send_text("a castle")
    await system.until(lambda: not system.faults.active)
    await system.killed("worker")
    queue, messages = f"{NAMESPACE}:{SUBMITS}", f"{NAMESPACE}:{SUBMITS}.msgs"
    # That one, and where the step was slow what it was told again.
    assert await system.redis.hlen(messages) > await system.redis.llen(queue)
    await system.start_worker()
    await system.picture(ann)

    async def nothing_is_queued() -> bool:
        return bool(await system.redis.llen(queue) == 0)

    await system.until(lambda: system.all_ended(ann))
    await system.until(nothing_is_queued)
    [job] = await system.jobs_of(ann)
    # Dramatiq gives it back a minute later, when some command happens to look after the queue: this one does.
    client = make_sync_redis(system.settings, decode_responses=False)
    impatient = RedisBroker(  # type: ignore[no-untyped-call]
        client=client, namespace=NAMESPACE, heartbeat_timeout=1, maintenance_chance=1_000_000, middleware=[]
    )
    await asyncio.to_thread(impatient.join, SUBMITS, timeout=60_000)
    assert await system.redis.hlen(messages) == 0
    assert [again.story for again in await system.jobs_of(ann)] == [job.story]
    assert sum(m.from_bot and m.has_photo for m in ann.messages) == 1


async def test_a_provider_without_credits_is_left_for_another(system: System) -> None:
    system.faults.add("business", path="createTask", times=1, code=402, message="no credits")
    ann, bob = system.person("Ann"), system.person("Bob")
    sent = await ann.send_text("a mill")
    assert "Made by openai instead of kie" in (await system.picture(ann)).text
    [job] = await system.jobs_of(ann)
    assert job.failovers == ("kie", "openai")
    assert (system.kie.audit.charged["a mill"], system.openai.audit.charged["a mill"]) == (0, 1)

    # All of it is one trace: the submit that failed, the move, and the one generation that was made.
    trace = await system.trace_of(sent)
    assert orphans(trace) == []
    [whole] = [span for span in trace if span.name == "job"]
    assert whole.attributes["imagebot.provider"] == "openai"
    assert [e.attributes for e in whole.events if e.name == "imagebot.failover"] == [
        {"imagebot.detail": "openai"}
    ]
    # A gate may have let one wait, and a busy worker may be told twice: such a message leaves its span and does nothing.
    submits = sorted((s for s in trace if s.name == "process submit"), key=lambda span: span.start_ns)
    errors = [span.attributes.get("error.type") for span in submits]
    assert (errors.count("quota"), errors[-1], set(errors)) == (1, None, {"quota", None})
    made = [span for span in trace if span.name.startswith("generate_content")]
    assert [span.attributes["gen_ai.provider.name"] for span in made] == ["openai"]
    assert {span.parent_id for span in (*submits, *made)} == {whole.span_id}

    # Its breaker is open now: what comes next does not even try.
    await bob.send_text("a barn")
    assert "Made by openai instead of kie" in (await system.picture(bob)).text
    assert [job.story.count("failover") for job in await system.jobs_of(bob)] == [0]


@pytest.mark.soak
@pytest.mark.asyncio(loop_scope="function")
async def test_a_worker_killed_while_a_synchronous_provider_answers(tmp_path: Path) -> None:
    async with running(tmp_path, LEASE="2", PROVIDER="openai") as system:
        system.openai.durations = (3.0, 3.5)
        ann = system.person()
        await ann.send_text("a castle")
        job_id = await _running_job(system, ann)
        await system.killed("worker")
        await system.start_worker()
        await _one_picture(system, ann, job_id)
        job = await system.ledger.job(job_id)
        assert job is not None
        assert "worker_lost" in job.story


@pytest.mark.soak
@pytest.mark.asyncio(loop_scope="function")
async def test_a_cap_under_load_is_reached_and_not_passed_whoever_is_killed(tmp_path: Path) -> None:
    """Thirty people, ten pictures: ten are made, and the sums say what the jobs say."""
    env = {"SPEND_CAP_DAY": "10 pictures", "LEASE": "2", "PROGRESS_INTERVAL": "1"}
    async with running(tmp_path, **env) as system:
        people = [system.person(f"P{n}") for n in range(30)]
        await asyncio.gather(*(person.send_text("a castle") for person in people))
        for part, start in (("worker", system.start_worker), ("bot", system.start_bot)) * 2:
            await system.until(lambda: system.redis.hget(keys.COUNTS(), "admitted"))
            await system.killed(part)
            await start()

        async def answered() -> bool:
            return all(any(m.from_bot for m in person.messages) for person in people)

        await system.until(answered)
        jobs = [job for person in people for job in await system.jobs_of(person)]
        assert len(jobs) == 10

        async def ended() -> bool:
            return all(job.ended for job in await system.ledger.jobs([job.id for job in jobs]))

        await system.until(ended)
        made = await system.ledger.jobs([job.id for job in jobs])
        assert {job.state for job in made} == {State.DELIVERED}
        assert sum(system.kie.audit.charged.values()) <= 10 + sum(job.unknown for job in made)
        sums = Spent.parse(await system.redis.hgetall(keys.SPENT(day(await system.ledger.now()))))
        assert sums.by["all"] == sums.by["kie"]
        charged: Counter[str] = Counter()
        for job in made:
            charged.update(job.costs)
        assert sums.by["all"] == {unit: value for unit, value in charged.items() if value}
        assert sums.by["all"]["pictures"] == 10_000_000
        assert sums.full


async def _running_job(system: System, person: Person) -> str:
    async def running_job() -> str:
        return next((job.id for job in await system.jobs_of(person) if job.state is State.RUNNING), "")

    found: str = await system.until(running_job)
    return found


async def _one_picture(system: System, person: Person, job_id: str) -> None:
    message = await system.picture(person)
    assert [r.method for r in message.revisions].count("editMessageMedia") == 1

    async def delivered() -> bool:
        job = await system.ledger.job(job_id)
        return job is not None and job.state is State.DELIVERED

    await system.until(delivered)
    assert sum(m.from_bot and m.has_photo for m in person.messages) == 1


async def test_a_bot_killed_amid_a_broadcast_goes_on_with_it(system: System) -> None:
    people = [system.person(name) for name in ("Ann", "Bob", "Cat")]
    for person in people:
        await person.reply_after(await person.send_text("/help"), timeout=WAIT)
    bob = people[1]
    # Telegram has sent it to Bob when the bot dies, which has not heard so.
    system.telegram.faults.add("timeout_after_commit", "sendMessage", seconds=90, chat_id=bob.id)
    async with open_app(system.settings) as app:
        await broadcasting.start(app, "a", 0, Notice({"en": {"text": "News!", "entities": []}}))
        await system.message(bob, lambda m: m.text == "News!")
        await system.killed("bot")
        # As if the half minute had gone by after which another leads.
        await system.redis.delete(keys.LEASE("broadcast"))
        await system.start_bot()

        async def is_done() -> bool:
            now = await broadcasting.progress(app)
            return now is not None and now.state == "done"

        await system.until(is_done)
    got = {person.id: sum(m.text == "News!" for m in person.messages) for person in people}
    assert got == {person.id: 1 + (person is bob) for person in people}
