"""The fal client against the stand-in, and the stand-in against fal's own client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import fal_client
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fal_client.client import FalClientHTTPError

from src.providers.base import (
    Callback,
    Done,
    ErrorKind,
    GenRequest,
    ImageBytes,
    Pending,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.fal import FalProvider
from tests.providers.conftest import KEY

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

MODEL = "google/nano-banana-2.1"
FLUX = "fal-ai/flux-2-pro"


@pytest.fixture
def fal(edge: Edge, client: httpx.AsyncClient) -> FalProvider:
    return FalProvider(edge.settings(), client)


@pytest.fixture
def sdk(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> fal_client.AsyncClient:
    """fal's own client; its address is a constant with https in it."""
    monkeypatch.setattr("fal_client.client.QUEUE_URL_FORMAT", f"{edge.base}/fal/")
    return fal_client.AsyncClient(key=KEY)


def ask(prompt: str = "a fox", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(fal: FalProvider, request: GenRequest) -> ImageBytes:
    done = await fal.poll(await fal.submit(request))
    assert isinstance(done, Done)
    return await fal.fetch(done.image)


async def refused(fal: FalProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(fal, request)
    return caught.value


async def test_fals_client_submits_follows_fetches_and_cancels(
    edge: Edge, sdk: fal_client.AsyncClient, client: httpx.AsyncClient
) -> None:
    arguments = {"prompt": "a fox", "image_size": "landscape_16_9"}
    handle = await sdk.submit(FLUX, arguments, priority="low", start_timeout=30)
    result = await handle.get(interval=0.01)
    assert (await client.get(result["images"][0]["url"])).content[:4] == b"\x89PNG"
    assert edge.fal.wishes == [{"X-Fal-Queue-Priority": "low", "X-Fal-Request-Timeout": "30.0"}]
    edge.faults.add("never_ends")
    edge.fal.tasks.durations = (30.0, 30.0)
    waiting = await sdk.submit(FLUX, arguments)
    assert await waiting.status() == fal_client.Queued(position=2)
    await waiting.cancel()
    assert await waiting.status(with_logs=True) == fal_client.Completed(
        logs=None, metrics={}, error="Request was cancelled", error_type="client_cancelled"
    )
    with pytest.raises(FalClientHTTPError) as again:
        await waiting.cancel()
    assert again.value.status_code == 400


async def test_fals_client_understands_the_refusals(edge: Edge, sdk: fal_client.AsyncClient) -> None:
    with pytest.raises(FalClientHTTPError) as missing:
        await sdk.submit("fal-ai/no-such-app", {"prompt": "a fox"})
    assert (missing.value.status_code, missing.value.message) == (404, "Application 'no-such-app' not found")
    edge.faults.add("moderated")
    with pytest.raises(FalClientHTTPError) as flagged:
        await (await sdk.submit(FLUX, {"prompt": "a fox"})).get(interval=0.01)
    assert (flagged.value.status_code, flagged.value.message[0]["type"]) == (422, "content_policy_violation")  # type: ignore[index]
    edge.faults.add("fail")
    with pytest.raises(FalClientHTTPError) as failed:
        await (await sdk.submit(FLUX, {"prompt": "a fox"})).get(interval=0.01)
    assert (failed.value.status_code, failed.value.error_type) == (500, "runner_disconnected")
    with pytest.raises(FalClientHTTPError) as extra:
        await (await sdk.submit(FLUX, {"prompt": "a fox", "size": "1K"})).get(interval=0.01)
    assert "extra_forbidden" in str(extra.value)


async def test_gets_the_picture(fal: FalProvider, edge: Edge) -> None:
    ticket = await fal.submit(ask(aspect="16:9", deadline=90.0))
    assert Ticket.from_json(json.loads(json.dumps(ticket.to_json()))) == ticket
    first, second = await fal.poll(ticket), await fal.poll(ticket)
    assert isinstance(first, Done)
    assert first == second, "a terminal state is told as often as it is asked for"
    assert (first.seed, first.seconds) == (1, 0.01)
    image = await fal.fetch(first.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert (first.cost, first.unit) == (0.08, "USD")
    assert edge.fal.asked_for_prices == 1, "a price is kept"
    assert edge.fal.audit.charged == {"a fox": 1}
    assert edge.fal.wishes == [{"X-Fal-Request-Timeout": "90.0"}]


@pytest.mark.parametrize("fault", ["500", "html", "404", "reset", "wrong_types"])
async def test_a_picture_comes_without_its_price_too(fal: FalProvider, edge: Edge, fault: str) -> None:
    edge.faults.add(fault, times=2, path="/pricing")
    done = await fal.poll(await fal.submit(ask()))
    assert isinstance(done, Done)
    assert done.costs is None


async def test_an_edit_goes_to_the_models_own_path(fal: FalProvider, edge: Edge) -> None:
    image = await made(fal, ask())
    sources = (SourceImage(image.data, image.mime),) * 2
    assert (await made(fal, ask("in snow", sources=sources))).width == 1024
    assert edge.fal.audit.sources["in snow"] == 2


async def test_low_priority_is_said(edge: Edge, client: httpx.AsyncClient) -> None:
    await FalProvider(edge.settings(fal_priority="low"), client).submit(ask())
    assert edge.fal.wishes[0]["X-Fal-Queue-Priority"] == "low"


async def test_tells_its_place_in_the_queue(fal: FalProvider, edge: Edge) -> None:
    edge.fal.tasks.durations = (30.0, 30.0)
    assert await fal.poll(await fal.submit(ask())) == Pending(queue_position=2)
    edge.fal.tasks.durations = (1e-6, 1e-6)
    for fault in ("never_ends", "unknown_state"):
        edge.faults.add(fault)
        ticket = await fal.submit(ask())
        if fault == "never_ends":
            assert await fal.poll(ticket) == Pending()


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
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
        ("empty", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
    ],
)
async def test_trouble_at_submit_has_a_kind(
    fal: FalProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path=MODEL)
    error = await refused(fal, ask())
    assert (error.kind, error.submitted, error.ended) == (kind, submitted, False)
    assert (await made(fal, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize(
    ("fault", "kind", "ended"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, True),
        ("moderated_output", ErrorKind.MODERATED_OUTPUT, True),
        ("blocked_200", ErrorKind.MODERATED_OUTPUT, True),
        ("fail", ErrorKind.UPSTREAM, True),
        ("vanish", ErrorKind.NOT_FOUND, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, False),
        ("expired_403", ErrorKind.NOT_FOUND, False),
        ("redirect_private", ErrorKind.BAD_RESULT, False),
        ("redirect_loop", ErrorKind.BAD_RESULT, False),
        ("foreign_host", ErrorKind.BAD_RESULT, False),
        ("plain_http", ErrorKind.BAD_RESULT, False),
        ("metadata_host", ErrorKind.BAD_RESULT, False),
    ],
)
async def test_a_bad_end_has_a_kind(
    fal: FalProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(fal, ask())
    assert (error.kind, error.ended, error.submitted) == (kind, ended, False)


async def test_wrong_input_shows_in_the_result(fal: FalProvider) -> None:
    error = await refused(fal, ask(model="fal-ai/flux-2-pro/edit"))
    assert (error.kind, error.ended) == (ErrorKind.INVALID_REQUEST, True)


@pytest.mark.parametrize("model", ["fal-ai/no-such-app", "fal-ai/flux-2-pro/no-such-path"])
async def test_a_model_that_is_not_there(fal: FalProvider, model: str) -> None:
    error = await refused(fal, ask(model=model))
    assert (error.kind, error.submitted) == (ErrorKind.MODEL_GONE, False)


@pytest.mark.parametrize("path", ["/status", "/requests/"])
@pytest.mark.parametrize("fault", ["500", "html", "truncated_json", "429", "reset_after_accept", "401"])
async def test_a_failed_question_is_not_a_failed_generation(
    fal: FalProvider, edge: Edge, fault: str, path: str
) -> None:
    ticket = await fal.submit(ask())
    edge.faults.add(fault, times=2 if fault == "reset_after_accept" else 1, path=path)
    with pytest.raises(ProviderError) as caught:
        await fal.poll(ticket)
    assert not caught.value.ended
    assert isinstance(await fal.poll(ticket), Done)


async def test_cancels(fal: FalProvider, edge: Edge) -> None:
    done = await fal.submit(ask())
    edge.fal.tasks.durations = (30.0, 30.0)
    waiting = await fal.submit(ask())
    assert await fal.cancel(waiting) == "cancelled"
    assert await fal.cancel(waiting) == "too_late"
    assert await fal.cancel(done) == "too_late"
    with pytest.raises(ProviderError) as caught:
        await fal.poll(waiting)
    assert caught.value.ended
    edge.faults.add("500")
    with pytest.raises(ProviderError):
        await fal.cancel(done)


@pytest.mark.parametrize(
    "wrong",
    [
        "https://queue.fal.run.example.org/x",
        "http://169.254.169.254/x",
        "https://v3.fal.media/x",
        "",
        7,
        None,
    ],
)
async def test_the_key_goes_only_to_fal_itself(edge: Edge, wrong: Any) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        urls = {f"{name}_url": f"{edge.base}/fal/x" for name in ("response", "cancel")}
        return httpx.Response(200, json={"request_id": "r", "status_url": wrong, **urls})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        fal = FalProvider(edge.settings(), client)
        with pytest.raises(ProviderError) as caught:
            await fal.submit(ask())
        assert caught.value.submitted
        with pytest.raises(ProviderError):
            await fal.poll(Ticket("fal", "r", {"status": wrong}))
    assert len(asked) == 1


async def test_half_a_character_is_an_invalid_request(fal: FalProvider) -> None:
    error = await refused(fal, ask("half a \ud83d"))
    assert (error.kind, error.submitted) == (ErrorKind.INVALID_REQUEST, False)


class TestCallbacks:
    async def test_a_genuine_one_comes_when_it_is_done(self, fal: FalProvider, edge: Edge) -> None:
        came: asyncio.Queue[Callback] = asyncio.Queue()

        async def take(request: web.Request) -> web.Response:
            await came.put(Callback(request.headers, await request.read(), request.path))
            return web.Response()

        app = web.Application()
        app.router.add_post("/callbacks/fal", take)
        async with TestServer(app) as here:
            url = str(here.make_url("/callbacks/fal?a=1&b=2"))
            for fault in (None, "moderated", "fail"):
                if fault:
                    edge.faults.add(fault)
                ticket = await fal.submit(ask(callback_url=url))
                call = await asyncio.wait_for(came.get(), 10)
                assert await fal.callback_hint(call) == ticket.external_id
                assert await fal.callback_hint(call) == ticket.external_id, "once more is the same hint"
        assert edge.fal.asked_for_keys == 1

    def call(self, edge: Edge, task: str = "r-1", age: float = 0, body: bytes | None = None) -> Callback:
        body = json.dumps({"request_id": task}).encode() if body is None else body
        return Callback(edge.fal.sign(task, str(int(time.time() - age)), body), body)

    async def test_forged_stale_or_changed(self, fal: FalProvider, edge: Edge) -> None:
        good = self.call(edge)
        assert await fal.callback_hint(good) == "r-1"
        assert await fal.callback_hint(self.call(edge, age=-200)) == "r-1", "clocks differ a little"
        changed: list[dict[str, str]] = [
            {"X-Fal-Webhook-Signature": "00" * 64},
            {"X-Fal-Webhook-Signature": "zz"},
            {"X-Fal-Webhook-Signature": ""},
            {"X-Fal-Webhook-User-Id": "another"},
            {"X-Fal-Webhook-Request-Id": "r-2"},
            {"X-Fal-Webhook-Timestamp": str(int(time.time()) + 1)},
            {"X-Fal-Webhook-Timestamp": "١٢٣"},
            {"X-Fal-Webhook-Timestamp": "9" * 400},
        ]
        for change in changed:
            assert await fal.callback_hint(Callback({**good.headers, **change}, good.body)) is None
        for call in (
            Callback({}, good.body),
            Callback(good.headers, good.body + b" "),
            self.call(edge, age=301),
            self.call(edge, age=-301),
            *(
                self.call(edge, body=body)
                for body in (b"", b"[]", b"null", b'{"request_id":null}', b"[" * 100_000)
            ),
        ):
            assert await fal.callback_hint(call) is None
        assert edge.fal.asked_for_keys == 1, "what does not fit makes nobody ask again within a minute"

    async def test_other_keys_are_learned(self, fal: FalProvider, edge: Edge) -> None:
        now = 0.0
        fal._keys._clock = lambda: now
        assert await fal.callback_hint(self.call(edge)) == "r-1"
        old = self.call(edge)
        edge.fal.rotate()
        assert await fal.callback_hint(self.call(edge)) is None, "asked a moment ago"
        now = 61.0
        assert await fal.callback_hint(self.call(edge)) == "r-1"
        assert await fal.callback_hint(old) is None
        now += 86_401.0
        assert await fal.callback_hint(self.call(edge)) == "r-1"
        assert edge.fal.asked_for_keys == 3

    async def test_without_keys_nothing_can_be_told(self, fal: FalProvider, edge: Edge) -> None:
        for _ in range(2):
            edge.faults.add("500", path="jwks")
            with pytest.raises(ProviderError):
                await fal.callback_hint(self.call(edge))
        assert edge.fal.asked_for_keys == 0, "nor is it asked for by every call"


async def test_check(edge: Edge, client: httpx.AsyncClient, fal: FalProvider) -> None:
    assert "a unit of it costs 0.04 USD" in (await fal.check()).detail
    for change, told in (
        ({"fal_api_key": "other"}, "check FAL_API_KEY"),
        ({"fal_model": "fal-ai/no-such-app"}, "set FAL_MODEL"),
        ({"fal_api_url": "http://127.0.0.1:9"}, "does not answer (connection)"),
    ):
        health = await FalProvider(edge.settings(**change), client).check()
        assert (health.ok, told in health.detail) == (False, True), health
    edge.faults.add("503")
    assert "answers with status 503" in (await fal.check()).detail
    edge.faults.add("html")
    assert "does not answer (not_fal)" in (await fal.check()).detail


async def test_a_403_that_the_prices_get_too_is_the_keys(fal: FalProvider, edge: Edge) -> None:
    edge.faults.add("403", times=2)
    assert (await refused(fal, ask())).kind is ErrorKind.AUTH
