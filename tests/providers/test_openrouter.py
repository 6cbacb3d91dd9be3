"""The OpenRouter client against the stand-in: what contracts.md says every provider client must survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from src.providers.base import ErrorKind, GenRequest, ImageBytes, ProviderError, SourceImage, Ticket
from src.providers.openrouter import OpenRouterProvider

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

MODEL = "bytedance-seed/seedream-4.5"


@pytest.fixture
def router(edge: Edge, client: httpx.AsyncClient) -> OpenRouterProvider:
    return OpenRouterProvider(edge.settings(), client)


def ask(prompt: str = "a fox", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(router: OpenRouterProvider, request: GenRequest) -> ImageBytes:
    return await router.fetch((await router.submit(request)).image)


async def refused(router: OpenRouterProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(router, request)
    return caught.value


async def test_gets_the_picture_and_its_price(router: OpenRouterProvider, edge: Edge) -> None:
    done = await router.submit(ask(aspect="16:9", seed=5, quality="high", negative_prompt="fog"))
    assert (done.cost, done.unit) == (0.04, "USD")
    image = await router.fetch(done.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert edge.openrouter.audit.charged == {"a fox": 1}


async def test_edits_a_source(router: OpenRouterProvider, edge: Edge) -> None:
    image = await made(router, ask())
    await made(router, ask("in snow", sources=(SourceImage(image.data, image.mime),)))
    assert edge.openrouter.audit.sources["in snow"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, False),
        ("blocked_200", ErrorKind.MODERATED_OUTPUT, False),
        ("400", ErrorKind.INVALID_REQUEST, False),
        ("401", ErrorKind.AUTH, False),
        ("402", ErrorKind.QUOTA, False),
        ("403", ErrorKind.MODERATED_INPUT, False),
        ("insufficient_quota", ErrorKind.QUOTA, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("502", ErrorKind.UPSTREAM, True),
        ("503", ErrorKind.OVERLOADED, False),
        ("504", ErrorKind.TIMEOUT, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, True),
        ("foreign_host", ErrorKind.BAD_RESULT, False),
        ("metadata_host", ErrorKind.BAD_RESULT, False),
    ],
)
async def test_trouble_has_a_kind(
    router: OpenRouterProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(router, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(router, ask())).width == 1024, "the next one works again"


async def test_silence_is_a_timeout_of_unknown_fate(router: OpenRouterProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    error = await refused(router, ask(deadline=0.3))
    assert (error.kind, error.submitted) == (ErrorKind.TIMEOUT, True)


async def test_a_model_that_is_not_there(router: OpenRouterProvider) -> None:
    assert (await refused(router, ask(model="no/such"))).kind is ErrorKind.MODEL_GONE


async def test_a_403_that_the_list_gets_too_is_the_keys(router: OpenRouterProvider, edge: Edge) -> None:
    edge.faults.add("403", times=2)
    assert (await refused(router, ask())).kind is ErrorKind.AUTH


async def test_a_403_stays_the_prompts_where_the_list_cannot_be_had(
    router: OpenRouterProvider, edge: Edge
) -> None:
    edge.faults.add("403")
    edge.faults.add("reset", times=5)
    error = await refused(router, ask())
    assert (error.kind, error.submitted) == (ErrorKind.MODERATED_INPUT, False)


async def test_check(edge: Edge, client: httpx.AsyncClient, router: OpenRouterProvider) -> None:
    assert (await router.check()).ok
    other = OpenRouterProvider(edge.settings(openrouter_model="no/such"), client)
    assert "set OPENROUTER_MODEL" in (await other.check()).detail
    edge.faults.add("401")
    assert "OPENROUTER_API_KEY" in (await router.check()).detail
    nowhere = OpenRouterProvider(edge.settings(openrouter_base_url="http://127.0.0.1:9/v1"), client)
    assert "does not answer" in (await nowhere.check()).detail


async def test_has_no_tasks(router: OpenRouterProvider) -> None:
    with pytest.raises(ProviderError):
        await router.poll(Ticket("openrouter", "x"))
    assert await router.cancel(Ticket("openrouter", "x")) == "unsupported"
