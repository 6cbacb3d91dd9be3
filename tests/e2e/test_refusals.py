"""A provider says no: whose affair it is, who is told, and whether another provider is asked. One system for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from src.jobs import Job, State, keys
from src.sandbox.telegram import Person
from tests.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER = 77
Answer = Callable[[dict[str, Any]], web.Response | None]


class Gateway:
    """Stands before the images API and answers in its place what a test wants."""

    def __init__(self) -> None:
        self.answer: Answer = lambda asked: None
        self.asked: list[dict[str, Any]] = []

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def stand_before(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path.endswith("/images/generations"):
                asked = await request.json()
                self.asked.append(asked)
                if (answer := self.answer(asked)) is not None:
                    return answer
            return await handler(request)

        return stand_before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> Gateway:
    return Gateway()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    system = System(folder, {"PROVIDER": "openai", "ADMIN_IDS": str(OWNER), "PROGRESS_INTERVAL": "1"})
    system.middlewares.append(gateway.middleware)
    await system.open()
    try:
        await system.start_worker()
        await system.start_bot()
        owner = system.telegram.person("Owner", id=OWNER)
        await owner.reply_after(await owner.send_text("/help"), timeout=60)
        yield system
    finally:
        await system.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _afresh(system: System, gateway: Gateway) -> None:
    gateway.answer = lambda asked: None
    gateway.asked.clear()
    await system.redis.delete(keys.GATE("provider:openai"), keys.GATE("provider:kie"))


def refusing(status: int, message: str, **more: Any) -> Answer:
    return lambda asked: web.json_response({"error": {"message": message, **more}}, status=status)


async def ended(system: System, person: Person) -> Job:
    await system.until(lambda: system.all_ended(person))
    (job,) = await system.jobs_of(person)
    return job


async def told(system: System, words: str) -> None:
    owner = system.telegram.person(id=OWNER)
    await system.message(owner, lambda m: m.from_bot and words in m.text)


@pytest.mark.parametrize(
    ("status", "message", "more"),
    [
        (403, "Your input was flagged", {"metadata": {"reasons": ["sexual"]}}),
        (403, "Forbidden", {}),
        (400, "Your request was rejected as a result of our safety system.", {"code": "moderation_blocked"}),
        (500, "ContentPolicyViolationError: rejected as a result of our safety system.", {"code": "500"}),
    ],
)
async def test_a_refused_prompt_is_nobodys_affair_but_the_persons(
    system: System, gateway: Gateway, status: int, message: str, more: dict[str, Any]
) -> None:
    gateway.answer = refusing(status, message, **more)
    ann = system.person()
    await ann.send_text("something forbidden")
    job = await ended(system, ann)
    assert (job.state, job.kind, job.provider) == (State.FAILED, "moderated_input", "openai")
    assert len(gateway.asked) == 1
    assert not any("something forbidden" in prompt for prompt in system.kie.audit.submits)
    await system.message(ann, lambda m: m.from_bot and "safety filter" in m.text)
    assert not await system.redis.hget(keys.GATE("provider:openai"), "open")


async def test_a_spent_balance_is_told_to_the_owner_and_another_makes_the_picture(
    system: System, gateway: Gateway
) -> None:
    gateway.answer = refusing(403, "用户额度不足", code="insufficient_user_quota")
    ann = system.person()
    await ann.send_text("a mill")
    await system.picture(ann)
    assert (await ended(system, ann)).provider == "kie"
    await told(system, "openai: the balance is spent")


async def test_a_model_that_is_gone_is_told_to_the_owner_and_another_makes_the_picture(
    system: System, gateway: Gateway
) -> None:
    gateway.answer = refusing(404, "The model does not exist", code="model_not_found")
    ann = system.person()
    await ann.send_text("a barn")
    await system.picture(ann)
    assert (await ended(system, ann)).provider == "kie"
    await told(system, "openai does not have the model gpt-image-2.5-flare")
    assert await system.redis.hget(keys.GATE("provider:openai"), "open") == "1"


async def test_a_model_that_is_gone_everywhere_is_not_blamed_on_the_words(
    system: System, gateway: Gateway
) -> None:
    gateway.answer = refusing(404, "The model does not exist", code="model_not_found")
    gone = {"code": 422, "message": "The model name you specified is not supported."}
    system.faults.add("business", path="createTask", **gone)
    ann = system.person(language_code="ru")
    await ann.send_text("амбар")
    job = await ended(system, ann)
    assert (job.state, job.kind) == (State.FAILED, "model_gone")
    found = await system.message(ann, lambda m: m.from_bot and "нет этой модели" in m.text)
    assert "другие слова" not in found.text
    await told(system, "kie does not have the model gpt-image-2-5-flare-text-to-image")


async def test_a_parameter_that_a_gateway_does_not_know_costs_nobody_a_picture(
    system: System, gateway: Gateway
) -> None:
    def answer(asked: dict[str, Any]) -> web.Response | None:
        if "safety_identifier" not in asked:
            return None
        error = {"message": "Unknown parameter: 'safety_identifier'.", "param": "safety_identifier"}
        return web.json_response({"error": error}, status=400)

    gateway.answer = answer
    for person in (system.person("Ann"), system.person("Bob")):
        await person.send_text("a red fox")
        await system.picture(person)
        assert (await ended(system, person)).provider == "openai"
    assert ["safety_identifier" in asked for asked in gateway.asked] == [True, False, False]


async def test_a_person_is_a_pseudonym_to_providers(system: System, gateway: Gateway) -> None:
    ann = system.person()
    await ann.send_text("a lake")
    await system.picture(ann)
    name = await system.ledger.pseudonym(str(ann.id))
    # The parameter is left out by now where the tests above ran.
    assert all(asked.get("safety_identifier", name) == name for asked in gateway.asked)
    # A short number stands in a long hexadecimal one by chance.
    assert name != str(ann.id)
    assert "1000000000087" not in await system.ledger.pseudonym("1000000000087")
    await system.redis.delete(keys.SECRET())
    await system.reconnect()
    assert await system.ledger.pseudonym(str(ann.id)) != name
