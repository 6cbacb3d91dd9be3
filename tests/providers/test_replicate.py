"""The Replicate client against the stand-in, and the stand-in against the `replicate` package."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import replicate
from aiohttp import web
from aiohttp.test_utils import TestServer
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import Webhooks

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
from src.providers.replicate import ReplicateProvider
from tests.providers.conftest import KEY

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

MODEL = "black-forest-labs/flux-2-pro"
QUICK = "black-forest-labs/flux-schnell"
VERSION = f"{QUICK}:{'a' * 64}"


@pytest.fixture
def theirs(edge: Edge, client: httpx.AsyncClient) -> ReplicateProvider:
    return ReplicateProvider(edge.settings(), client)


@pytest.fixture
def sdk(edge: Edge) -> replicate.Client:
    made = replicate.Client(api_token=KEY, base_url=f"{edge.base}/replicate")
    made.poll_interval = 0.01
    return made


def ask(prompt: str = "a fox", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(theirs: ReplicateProvider, request: GenRequest) -> ImageBytes:
    answer = await theirs.submit(request)
    done = await theirs.poll(answer) if isinstance(answer, Ticket) else answer
    assert isinstance(done, Done)
    return await theirs.fetch(done.image)


async def submitted(theirs: ReplicateProvider, request: GenRequest) -> Ticket:
    answer = await theirs.submit(request)
    assert isinstance(answer, Ticket)
    return answer


async def refused(theirs: ReplicateProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(theirs, request)
    return caught.value


async def test_replicates_client_runs_follows_and_cancels(
    edge: Edge, sdk: replicate.Client, client: httpx.AsyncClient
) -> None:
    url = await sdk.async_run(MODEL, {"prompt": "a fox", "aspect_ratio": "16:9"}, use_file_output=False)
    assert (await client.get(url)).content[:4] == b"\x89PNG"
    (quick,) = await sdk.async_run(QUICK, {"prompt": "a fox"}, use_file_output=False)
    assert quick.endswith(".png")
    edge.replicate.tasks.durations = (30.0, 30.0)
    slow = await sdk.models.predictions.async_create(MODEL, {"prompt": "a fox"})
    assert slow.status == "starting"
    await slow.async_cancel()
    await slow.async_reload()
    assert slow.status == "canceled"
    edge.replicate.tasks.durations = (1e-6, 1e-6)
    edge.faults.add("never_ends")
    running = await sdk.models.predictions.async_create(MODEL, {"prompt": "a fox"})
    await running.async_reload()
    assert running.progress is not None
    assert (running.status, running.progress.percentage) == ("processing", 0.95)
    file = await sdk.files.async_create(io.BytesIO(b"\x89PNG"))
    assert file.size == 4
    secret = await sdk.webhooks.default.async_secret()
    body = json.dumps({"id": "p"})
    headers = edge.replicate.sign("msg_1", str(int(time.time())), body.encode())
    Webhooks.validate(headers=headers, body=body, secret=secret, tolerance=300)


async def test_replicates_client_understands_the_refusals(edge: Edge, sdk: replicate.Client) -> None:
    for model, given, status, told in (
        ("no/such", {"prompt": "a fox"}, 404, "could not be found"),
        (MODEL, {"prompt": "a fox", "size": "1K"}, 422, "Additional property size is not allowed"),
        (MODEL, {}, 422, "prompt is required"),
        (f"{QUICK}:{'b' * 64}", {"prompt": "a fox"}, 422, "version does not exist"),
    ):
        with pytest.raises(ReplicateError, match=told) as caught:
            await sdk.async_run(model, given)
        assert caught.value.status == status
    edge.faults.add("moderated")
    with pytest.raises(ModelError, match="E005"):
        await sdk.async_run(MODEL, {"prompt": "a fox"}, wait=False)
    stranger = replicate.Client(api_token="other", base_url=f"{edge.base}/replicate")
    with pytest.raises(ReplicateError, match="Unauthenticated"):
        await stranger.async_run(MODEL, {"prompt": "a fox"})


async def test_gets_the_picture(theirs: ReplicateProvider, edge: Edge) -> None:
    ticket = await submitted(theirs, ask(aspect="16:9", seed=5, deadline=90.0))
    assert Ticket.from_json(json.loads(json.dumps(ticket.to_json()))) == ticket
    first, second = await theirs.poll(ticket), await theirs.poll(ticket)
    assert isinstance(first, Done)
    assert first == second, "a terminal state is told as often as it is asked for"
    assert first.seconds == 0.01
    image = await theirs.fetch(first.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert edge.replicate.audit.charged == {"a fox": 1}
    assert edge.replicate.wishes == [{"Cancel-After": "90s"}]
    await theirs.submit(ask(deadline=1.0))
    assert edge.replicate.wishes[1] == {"Cancel-After": "5s"}, "the least it takes"


@pytest.mark.parametrize("model", [QUICK, VERSION])
async def test_a_quick_model_is_waited_for(theirs: ReplicateProvider, edge: Edge, model: str) -> None:
    done = await theirs.submit(ask(model=model))
    assert isinstance(done, Done)
    assert (await theirs.fetch(done.image)).width == 1024
    assert edge.replicate.wishes[0]["Prefer"] == "wait=30"
    assert edge.replicate.audit.polls == 0
    assert theirs.capabilities.synchronous, "so it is not awaited in an actor"


async def test_a_small_source_is_in_the_request_and_a_large_one_is_uploaded(
    theirs: ReplicateProvider, edge: Edge
) -> None:
    image = await made(theirs, ask())
    assert len(image.data) > 256_000
    small = SourceImage(b"\x89PNG\r\n\x1a\n", "image/png")
    await theirs.submit(ask("in snow", sources=(small, SourceImage(image.data, image.mime))))
    assert (edge.replicate.audit.sources["in snow"], edge.replicate.audit.uploads) == (2, 1)
    for fault in ("reset_after_accept", "500", "html", "wrong_types"):
        edge.faults.add(fault, path="/files")
        error = await refused(theirs, ask("in rain", sources=(SourceImage(image.data, image.mime),)))
        assert not error.submitted
    assert not edge.replicate.audit.submits["in rain"]


async def test_tells_progress(theirs: ReplicateProvider, edge: Edge) -> None:
    edge.replicate.tasks.durations = (30.0, 30.0)
    assert await theirs.poll(await submitted(theirs, ask())) == Pending()
    edge.replicate.tasks.durations = (1e-6, 1e-6)
    edge.faults.add("never_ends")
    assert await theirs.poll(await submitted(theirs, ask())) == Pending(0.95)


@pytest.mark.parametrize(
    ("fault", "kind", "unknown"),
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
    theirs: ReplicateProvider, edge: Edge, fault: str, kind: ErrorKind, unknown: bool
) -> None:
    edge.faults.add(fault, path="/predictions")
    error = await refused(theirs, ask())
    assert (error.kind, error.submitted, error.ended) == (kind, unknown, False)
    assert (await made(theirs, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize(
    ("fault", "kind", "ended"),
    [
        ("moderated", ErrorKind.MODERATED_OUTPUT, True),
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
        ("foreign_host", ErrorKind.BAD_RESULT, False),
        ("plain_http", ErrorKind.BAD_RESULT, False),
        ("metadata_host", ErrorKind.BAD_RESULT, False),
    ],
)
async def test_a_bad_end_has_a_kind(
    theirs: ReplicateProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(theirs, ask())
    assert (error.kind, error.ended, error.submitted) == (kind, ended, False)


async def test_what_it_made_is_gone_after_an_hour(theirs: ReplicateProvider, edge: Edge) -> None:
    now = 0.0
    edge.replicate.tasks.clock = lambda: now
    ticket = await submitted(theirs, ask())
    now = 1.0
    done = await theirs.poll(ticket)
    assert isinstance(done, Done)
    now = 3601.0
    with pytest.raises(ProviderError) as caught:
        await theirs.fetch(done.image)
    assert caught.value.kind is ErrorKind.NOT_FOUND
    with pytest.raises(ProviderError) as caught:
        await theirs.poll(ticket)
    assert (caught.value.kind, caught.value.ended) == (ErrorKind.NOT_FOUND, True)
    assert theirs.capabilities.result_ttl == 3600


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("no/such", ErrorKind.MODEL_GONE),
        (f"{QUICK}:{'b' * 64}", ErrorKind.MODEL_GONE),
        ("google/nano-banana-pro", None),
    ],
)
async def test_a_model_that_is_not_there(
    theirs: ReplicateProvider, model: str, kind: ErrorKind | None
) -> None:
    if kind is None:
        assert (await made(theirs, ask(model=model))).width == 1024
    else:
        error = await refused(theirs, ask(model=model))
        assert (error.kind, error.submitted) == (kind, False)


@pytest.mark.parametrize("fault", ["500", "html", "truncated_json", "429", "reset_after_accept", "401"])
async def test_a_failed_poll_is_not_a_failed_generation(
    theirs: ReplicateProvider, edge: Edge, fault: str
) -> None:
    ticket = await submitted(theirs, ask())
    edge.faults.add(fault, times=2 if fault == "reset_after_accept" else 1, path="/predictions/")
    with pytest.raises(ProviderError) as caught:
        await theirs.poll(ticket)
    assert not caught.value.ended
    assert isinstance(await theirs.poll(ticket), Done)


async def polled(edge: Edge, **prediction: Any) -> Pending | Done:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "p", **prediction})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await ReplicateProvider(edge.settings(), client).poll(Ticket("replicate", "p"))


URL = "https://replicate.delivery/a/b.png"


@pytest.mark.parametrize("output", [URL, [URL], [None, URL], {"image": URL}, {"images": [URL]}])
async def test_an_output_in_every_form_it_comes_in(edge: Edge, output: object) -> None:
    found = await polled(edge, status="succeeded", output=output)
    assert isinstance(found, Done)
    assert found.image.url == URL


async def test_an_output_that_holds_the_picture(edge: Edge) -> None:
    found = await polled(edge, status="succeeded", output="data:image/png;base64,iVBORw0KGgo=")
    assert isinstance(found, Done)
    assert found.image.data == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        (
            {"status": "failed", "error": "NSFW content detected. Try another prompt."},
            ErrorKind.MODERATED_INPUT,
        ),
        ({"status": "failed", "error": "CUDA out of memory"}, ErrorKind.UPSTREAM),
        (
            {"status": "failed", "error": "ValueError: out of credits, insufficient balance"},
            ErrorKind.UPSTREAM,
        ),
        ({"status": "failed", "error": None}, ErrorKind.UPSTREAM),
        ({"status": "aborted"}, ErrorKind.TIMEOUT),
        ({"status": "canceled"}, ErrorKind.TIMEOUT),
        ({"status": "succeeded", "output": None}, ErrorKind.BAD_RESULT),
        ({"status": "succeeded", "output": 7}, ErrorKind.BAD_RESULT),
    ],
)
async def test_ends_without_a_picture(edge: Edge, prediction: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as caught:
        await polled(edge, **prediction)
    assert (caught.value.kind, caught.value.ended, caught.value.submitted) == (kind, True, False)


async def test_a_deadline_is_kept_there_too(theirs: ReplicateProvider, edge: Edge) -> None:
    now = 0.0
    edge.replicate.tasks.clock = lambda: now
    edge.replicate.tasks.durations = (30.0, 30.0)
    ticket = await submitted(theirs, ask(deadline=10.0))
    assert await theirs.poll(ticket) == Pending()
    now = 11.0
    with pytest.raises(ProviderError) as caught:
        await theirs.poll(ticket)
    assert (caught.value.kind, caught.value.code, caught.value.ended) == (ErrorKind.TIMEOUT, "canceled", True)


async def test_an_unknown_status_is_pending(edge: Edge) -> None:
    assert await polled(edge, status="warming", logs=" 40%|##   | 4/10\r 50%|##   | 5/10") == Pending(0.5)


async def test_cancels(theirs: ReplicateProvider, edge: Edge) -> None:
    done = await submitted(theirs, ask())
    edge.replicate.tasks.durations = (30.0, 30.0)
    waiting = await submitted(theirs, ask())
    assert await theirs.cancel(waiting) == "cancelled"
    assert await theirs.cancel(done) == "too_late"
    assert await theirs.cancel(Ticket("replicate", "nobodys")) == "too_late"
    with pytest.raises(ProviderError) as caught:
        await theirs.poll(waiting)
    assert caught.value.ended
    edge.faults.add("500")
    with pytest.raises(ProviderError):
        await theirs.cancel(done)


class TestCallbacks:
    async def test_a_genuine_one_comes_when_it_is_done(self, theirs: ReplicateProvider, edge: Edge) -> None:
        came: asyncio.Queue[Callback] = asyncio.Queue()

        async def take(request: web.Request) -> web.Response:
            await came.put(Callback(request.headers, await request.read(), request.path))
            return web.Response()

        app = web.Application()
        app.router.add_post("/callbacks/replicate", take)
        async with TestServer(app) as here:
            url = str(here.make_url("/callbacks/replicate"))
            for fault in (None, "moderated"):
                if fault:
                    edge.faults.add(fault)
                ticket = await submitted(theirs, ask(callback_url=url))
                call = await asyncio.wait_for(came.get(), 10)
                assert await theirs.callback_hint(call) == ticket.external_id
                assert await theirs.callback_hint(call) == ticket.external_id, "once more is the same hint"
        assert edge.replicate.asked_for_secret == 1

    async def test_forged_stale_or_changed(self, theirs: ReplicateProvider, edge: Edge) -> None:
        def call(age: float = 0, body: bytes = b'{"id":"p1"}', **changes: str) -> Callback:
            headers = edge.replicate.sign("msg_1", str(int(time.time() - age)), body)
            changed = {name.replace("_", "-"): value for name, value in changes.items()}
            return Callback({**headers, **changed}, body)

        good = call()
        assert await theirs.callback_hint(good) == "p1"
        assert await theirs.callback_hint(call(age=-200)) == "p1", "clocks differ a little"
        for bad in (
            Callback({}, good.body),
            Callback(good.headers, b'{"id":"p2"}'),
            call(age=301),
            call(age=-301),
            call(webhook_id="msg_2"),
            call(webhook_id=""),
            call(webhook_signature=""),
            call(webhook_signature="v1,ключ"),
            call(webhook_signature=good.headers["webhook-signature"].replace("v1,", "v2,")),
            call(webhook_timestamp="١٢٣"),
            call(webhook_timestamp="9" * 400),
            *(
                call(body=body)
                for body in (b"", b"[]", b"null", b'{"id":null}', b'{"id":"../x"}', b"[" * 100_000)
            ),
        ):
            assert await theirs.callback_hint(bad) is None
        assert edge.replicate.asked_for_secret == 1

    async def test_an_empty_secret_signs_nothing(self, theirs: ReplicateProvider, edge: Edge) -> None:
        for secret in ("", "whsec_", "whsec_?"):
            edge.replicate.secret = secret
            headers = {
                "webhook-id": "m",
                "webhook-timestamp": str(int(time.time())),
                "webhook-signature": "v1,YQ==",
            }
            with pytest.raises(ProviderError):
                await theirs.callback_hint(Callback(headers, b'{"id":"p1"}'))


async def test_check(edge: Edge, client: httpx.AsyncClient, theirs: ReplicateProvider) -> None:
    assert (await theirs.check()).ok
    for change, told in (
        ({"replicate_model": "no/such"}, "set REPLICATE_MODEL"),
        ({"replicate_api_key": "other"}, "check REPLICATE_API_KEY"),
        ({"replicate_base_url": "http://127.0.0.1:9"}, "does not answer (connection)"),
    ):
        health = await ReplicateProvider(edge.settings(**change), client).check()
        assert (health.ok, told in health.detail) == (False, True), health
    edge.faults.add("html")
    assert "does not answer as Replicate" in (await theirs.check()).detail
