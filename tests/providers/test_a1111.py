"""The client of Stable Diffusion web UI against the stand-in, and webuiapi against it too. It has no keys to spend, no
filter, no tasks and no callbacks, so points 2, 3, 6, 11 to 14 and 20 do not arise."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import webuiapi
from pydantic import SecretStr

from src.providers import a1111 as module
from src.providers.a1111 import A1111Provider
from src.providers.base import ErrorKind, GenRequest, ImageBytes, ProviderError, SourceImage, Ticket
from src.providers.images import inspect
from src.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from tests.providers.conftest import Edge


@pytest.fixture
def web_ui(edge: Edge, client: httpx.AsyncClient) -> A1111Provider:
    return A1111Provider(edge.settings(), client)


def ask(prompt: str = "a fox", model: str = "loaded", **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(web_ui: A1111Provider, request: GenRequest) -> ImageBytes:
    return await web_ui.fetch((await web_ui.submit(request)).image)


async def refused(web_ui: A1111Provider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(web_ui, request)
    return caught.value


async def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0)


async def test_gets_the_picture_and_its_seed(web_ui: A1111Provider, edge: Edge) -> None:
    done = await web_ui.submit(ask(aspect="16:9", seed=5, negative_prompt="fog"))
    assert done.seed == 5
    image = await web_ui.fetch(done.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert (await web_ui.submit(ask())).seed, "the one that it chose"
    edge.faults.add("data_url")
    assert (await made(web_ui, ask())).width == 1024
    assert edge.a1111.audit.charged == {"a fox": 3}


async def test_edits_a_source_and_asks_for_a_checkpoint(web_ui: A1111Provider, edge: Edge) -> None:
    image = await made(web_ui, ask(model="juggernautXL_v9"))
    await made(web_ui, ask("in snow", sources=(SourceImage(image.data, image.mime),)))
    assert edge.a1111.audit.sources["in snow"] == 1


async def test_progress_is_told_while_it_waits(
    web_ui: A1111Provider, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", 0.0)
    edge.a1111.durations = (0.2, 0.2)
    told: list[float] = []
    await web_ui.submit(ask(told=told.append))
    assert told
    assert told == sorted(told)
    assert 0 < told[-1] <= 1


async def test_a_picture_is_seen_as_it_is_drawn(
    web_ui: A1111Provider, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", 0.0)
    seen: list[bytes] = []
    edge.faults.add("never_ends")
    task = asyncio.ensure_future(web_ui.submit(ask(told=lambda _: None, preview=seen.append)))
    # Whoever shows them may not have taken the first.
    await until(lambda: len(seen) > 1)
    await web_ui.cancel(Ticket("a1111", ""))
    await task
    assert {inspect(data).width for data in seen} == {128}


async def test_what_nobody_waits_for_any_more_is_interrupted(web_ui: A1111Provider, edge: Edge) -> None:
    """Else the next picture would wait for it: the web UI does not notice that its client is gone."""
    edge.faults.add("never_ends", times=3)
    task = asyncio.ensure_future(web_ui.submit(ask("taken back")))
    await until(lambda: edge.a1111.running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    error = await refused(web_ui, ask("too late", deadline=0.3))
    assert (error.kind, error.submitted) == (ErrorKind.TIMEOUT, True)
    task = asyncio.ensure_future(web_ui.submit(ask("cancelled")))
    await until(lambda: edge.a1111.running == "cancelled")
    assert await web_ui.cancel(Ticket("a1111", "")) == "cancelled"
    await task
    assert edge.a1111.interrupted == ["taken back", "too late", "cancelled"]
    assert (await made(web_ui, ask())).width == 1024


def test_an_instance_has_one_picture_at_a_time() -> None:
    with pytest.raises(SettingsError, match="A1111_CONCURRENCY"):
        load_settings(a1111_base_url="http://gpu:7860", a1111_concurrency=2)


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("400", ErrorKind.INVALID_REQUEST, False),
        ("401", ErrorKind.AUTH, False),
        ("404", ErrorKind.MODEL_GONE, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("502", ErrorKind.UPSTREAM, True),
        ("503", ErrorKind.OVERLOADED, False),
        ("504", ErrorKind.TIMEOUT, True),
        ("fail", ErrorKind.UPSTREAM, False),
        ("reset", ErrorKind.NETWORK, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("empty", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, True),
    ],
)
async def test_trouble_has_a_kind(
    web_ui: A1111Provider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path="txt2img")
    error = await refused(web_ui, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(web_ui, ask())).width == 1024, "the next one works again"


async def test_webp_is_a_picture(web_ui: A1111Provider, edge: Edge) -> None:
    edge.faults.add("webp")
    assert (await made(web_ui, ask())).mime == "image/webp"


async def test_check(edge: Edge, client: httpx.AsyncClient) -> None:
    async def told(**settings: Any) -> str:
        return (await A1111Provider(edge.settings(**settings), client).check()).detail

    assert "draws with loaded (checkpoints there: 2)" in await told()
    assert "draws with juggernautXL_v9" in await told(a1111_model="juggernautXL_v9")
    assert "set A1111_MODEL" in await told(a1111_model="gone")
    assert "does not answer" in await told(a1111_base_url="http://127.0.0.1:9")
    edge.a1111.auth = "fox:secret"
    assert "check A1111_AUTH" in await told()
    assert "draws with" in await told(a1111_auth=SecretStr("fox:secret"))
    edge.a1111.api = False
    assert "start it with --api" in await told()


async def test_webuiapi_speaks_to_the_stand_in(edge: Edge) -> None:
    """It is held to the original by a client that others wrote."""
    edge.a1111.auth = "fox:secret"

    def all_of_it() -> tuple[Any, Any, Any]:
        api = webuiapi.WebUIApi(
            baseurl=f"{edge.base}/a1111/sdapi/v1", sampler="Euler a", username="fox", password="secret"
        )
        first = api.txt2img(prompt="a lighthouse", seed=3, width=512, height=768)
        second = api.img2img([first.image], prompt="in snow", steps=10)
        with pytest.raises(RuntimeError, match="Sampler not found"):
            api.txt2img(prompt="x", sampler_name="Nothing")
        with pytest.raises(RuntimeError, match="422"):
            api.txt2img(prompt="x", steps=0)
        assert api.get_progress()["progress"] == 0
        assert api.interrupt() == {}
        assert len(api.util_get_model_names()) == 2
        assert "Euler a" in api.util_get_sampler_names()
        return first, second, api.get_options()

    first, second, options = await asyncio.to_thread(all_of_it)
    assert (first.image.size, first.info["seed"]) == ((512, 768), 3)
    assert second.image.size == (512, 512)
    assert "sd_xl_base" in options["sd_model_checkpoint"]
