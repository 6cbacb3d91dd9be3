"""The OpenAI client against the stand-in: what contracts.md says every provider client must survive."""

from __future__ import annotations

import email.utils
import io
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from src.providers.base import Callback, ErrorKind, GenRequest, ImageRef, ProviderError, SourceImage, Ticket
from src.providers.http import make_client
from src.providers.images import source_image
from src.providers.masks import painted_over
from src.providers.openai import OpenAIProvider

if TYPE_CHECKING:
    from src.sandbox.faults import WRONG_BODIES
from src.sandbox.faults import WRONG_BODIES
from tests.providers.conftest import Edge

PROMPT = "a very private wish"


def ask(prompt: str = PROMPT, model: str = "gpt-image-2.5-flare", **more: object) -> GenRequest:
    return GenRequest(job_id="job-1", prompt=prompt, model=model, **more)  # type: ignore[arg-type]


async def refused(openai: OpenAIProvider, request: GenRequest) -> ProviderError:
    async def whole() -> None:
        done = await openai.submit(request)
        await openai.fetch(done.image)

    with pytest.raises(ProviderError) as caught:
        await whole()
    return caught.value


async def test_gets_the_picture(openai: OpenAIProvider, edge: Edge) -> None:
    done = await openai.submit(ask(aspect="16:9", user_hash="abc"))
    assert done.image.data is not None
    image = await openai.fetch(done.image)
    assert image.data == done.image.data
    assert (image.mime, image.width, image.height) == ("image/png", 1536, 864)
    assert done.tokens == (len(PROMPT) // 4 + 1, 1056)
    assert edge.openai.audit.job_ids == {"job-1": 1}


async def test_edits_a_source(openai: OpenAIProvider, edge: Edge) -> None:
    done = await openai.submit(ask())
    assert done.image.data is not None
    again = await openai.submit(
        ask("as an oil painting", sources=(SourceImage(done.image.data, "image/png"),))
    )
    assert (await openai.fetch(again.image)).width == 1024
    assert edge.openai.audit.submits["as an oil painting"] == 1


async def test_sends_several_sources_and_a_mask(openai: OpenAIProvider, edge: Edge) -> None:
    done = await openai.submit(ask())
    assert done.image.data is not None
    image = SourceImage(done.image.data, "image/png")
    photo, over = Image.new("RGB", (640, 480), "teal"), Image.new("RGB", (640, 480), "teal")
    over.paste("red", (100, 100, 300, 300))
    found = painted_over(_as_sent(photo), _as_sent(over))
    assert found is not None
    await openai.submit(ask("one picture of two", sources=(found[0], image), mask=found[1]))
    assert edge.openai.audit.sources["one picture of two"] == 2
    assert edge.openai.audit.masks["one picture of two"] == 1
    error = await refused(openai, ask("of too many", sources=(image,) * 17))
    assert (error.kind, error.submitted) == (ErrorKind.INVALID_REQUEST, False)
    assert edge.openai.audit.submits["of too many"] == 0


def _as_sent(image: Image.Image) -> SourceImage:
    out = io.BytesIO()
    image.save(out, "JPEG")
    return source_image(out.getvalue())


def _drawn(mode: str, side: int = 1024, kind: str = "PNG") -> SourceImage:
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, kind)
    return SourceImage(out.getvalue(), f"image/{kind.lower()}", side, side)


@pytest.mark.parametrize(
    ("source", "mask"),
    [
        pytest.param(_drawn("RGB"), _drawn("RGB"), id="a mask that one cannot see through"),
        pytest.param(_drawn("RGB"), _drawn("RGBA", side=1000), id="a mask of another size"),
        pytest.param(_drawn("RGB"), _drawn("RGB", kind="JPEG"), id="a mask that is no PNG"),
        pytest.param(_drawn("RGB", kind="JPEG"), _drawn("RGBA"), id="a picture of another format"),
    ],
)
async def test_a_mask_that_does_not_fit_is_refused(
    openai: OpenAIProvider, source: SourceImage, mask: SourceImage
) -> None:
    error = await refused(openai, ask("with a mask", sources=(source,), mask=mask))
    assert (error.kind, error.code) == (ErrorKind.BAD_SOURCE, "invalid_mask_image_format")


@pytest.mark.parametrize(
    ("model", "aspect", "size"),
    [
        ("gpt-image-2", "16:9", (1536, 864)),
        ("gpt-image-2.5-flare", "9:16", (864, 1536)),
        ("gpt-image-2.6-flare", "9:16", (1024, 1536)),
    ],
)
async def test_size_is_the_models(
    openai: OpenAIProvider, model: str, aspect: str, size: tuple[int, int]
) -> None:
    done = await openai.submit(GenRequest("j", "x", model, aspect=aspect))  # type: ignore[arg-type]
    image = await openai.fetch(done.image)
    assert (image.width, image.height) == size


@pytest.mark.parametrize("kind", ["url", "data_url", "redirect"])
async def test_takes_what_gateways_answer(openai: OpenAIProvider, edge: Edge, kind: str) -> None:
    edge.faults.add(kind)
    done = await openai.submit(ask())
    assert (await openai.fetch(done.image)).mime == "image/png"


@pytest.mark.parametrize(
    ("fault", "kind", "submitted", "retryable"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, False, False),
        ("moderated_output", ErrorKind.MODERATED_OUTPUT, False, False),
        ("blocked_200", ErrorKind.MODERATED_OUTPUT, False, False),
        ("400", ErrorKind.INVALID_REQUEST, False, False),
        ("401", ErrorKind.AUTH, False, False),
        ("403", ErrorKind.MODERATED_INPUT, False, False),
        ("402", ErrorKind.QUOTA, False, False),
        ("404", ErrorKind.MODEL_GONE, False, False),
        ("408", ErrorKind.TIMEOUT, True, True),
        ("insufficient_quota", ErrorKind.QUOTA, False, False),
        ("429", ErrorKind.RATE_LIMITED, False, True),
        ("500", ErrorKind.UPSTREAM, False, True),
        ("502", ErrorKind.UPSTREAM, True, True),
        ("503", ErrorKind.OVERLOADED, False, True),
        ("504", ErrorKind.TIMEOUT, True, True),
        ("reset", ErrorKind.NETWORK, True, True),
        ("reset_after_accept", ErrorKind.NETWORK, True, True),
        ("html", ErrorKind.UPSTREAM, True, True),
        ("empty", ErrorKind.UPSTREAM, True, True),
        ("truncated_json", ErrorKind.UPSTREAM, True, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False, False),
        ("bomb", ErrorKind.BAD_RESULT, False, False),
        ("huge", ErrorKind.BAD_RESULT, True, False),
        ("expired_403", ErrorKind.NOT_FOUND, False, False),
        ("redirect_private", ErrorKind.BAD_RESULT, False, False),
        ("redirect_loop", ErrorKind.BAD_RESULT, False, False),
        ("foreign_host", ErrorKind.BAD_RESULT, False, False),
        ("plain_http", ErrorKind.BAD_RESULT, False, False),
        ("metadata_host", ErrorKind.BAD_RESULT, False, False),
    ],
)
async def test_trouble_has_a_kind(
    openai: OpenAIProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool, retryable: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(openai, ask())
    assert (error.kind, error.submitted, error.retryable) == (kind, submitted, retryable)
    done = await openai.submit(ask())
    assert (await openai.fetch(done.image)).width == 1024, "the next one works again"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", ["hang", "timeout_after_accept", "drip", "never_ends"])
async def test_silence_is_a_timeout_of_unknown_fate(
    openai: OpenAIProvider, edge: Edge, fault: str, streamed: bool
) -> None:
    edge.faults.add(fault)
    preview = (lambda data: None) if streamed else None
    error = await refused(openai, ask(deadline=0.3, preview=preview))
    assert (error.kind, error.submitted) == (ErrorKind.TIMEOUT, True)


async def test_shows_the_picture_as_it_is_drawn(edge: Edge, client: httpx.AsyncClient) -> None:
    openai = OpenAIProvider(edge.settings(openai_previews=2, openai_gateway="openai"), client)
    plain = await openai.submit(ask())
    assert plain.image.data is not None
    assert edge.openai.audit.previews.total() == 0, "where nobody looks on"
    source = SourceImage(plain.image.data, "image/png")
    for sources in ((), (source,)):
        seen: list[bytes] = []
        done = await openai.submit(ask(sources=sources, preview=seen.append))
        assert done.image.data == plain.image.data
        words = len(PROMPT) // 4 + 1
        assert done.tokens == (words, 1056 + 2 * 100)
        # A preview costs, too.
        assert done.costs == (pytest.approx((words * 5 + (1056 + 2 * 100) * 30) / 1_000_000), "USD")
        drawn = [await openai.fetch(ImageRef(data=data)) for data in seen]
        assert [(image.width, image.height) for image in drawn] == [(1024, 1024)] * 2
        assert len({*seen, done.image.data}) == 3
    await openai.submit(ask(preview=seen.append, model="gpt-image-2.5-sunburst-2026-09-08"))
    none = OpenAIProvider(edge.settings(openai_previews=0), client)
    await none.submit(ask(preview=seen.append))
    assert edge.openai.audit.previews[PROMPT] == 2 * 2 + 2


@pytest.mark.parametrize(
    "fault",
    ["moderated", "moderated_output", "fail", "blocked_200", "400", "429", "500", "reset", "reset_after_accept",
     "html", "empty", "truncated_json", "not_an_image", "truncated_image", "bomb", "huge", "foreign_host"],
)  # fmt: skip
async def test_trouble_in_a_stream_means_what_it_does_without(
    openai: OpenAIProvider, edge: Edge, fault: str
) -> None:
    """So it is not paid for again where it would not be otherwise."""
    errors = []
    for preview in (None, lambda data: None):
        edge.faults.add(fault)
        error = await refused(openai, ask(preview=preview))
        errors.append((error.kind, error.submitted))
    plain, streamed = errors
    # A broken connection says so, where JSON that is cut short does not.
    assert streamed == ((ErrorKind.NETWORK, True) if fault == "truncated_json" else plain)
    assert not edge.faults.active


async def test_a_refused_connection_was_certainly_not_submitted(edge: Edge, unused_tcp_port: int) -> None:
    settings = edge.settings(openai_base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    async with make_client(settings) as client:
        provider = OpenAIProvider(settings, client)
        error = await refused(provider, ask())
        assert (error.kind, error.submitted) == (ErrorKind.NETWORK, False)
        assert not (await provider.check()).ok


async def test_retry_after_in_all_its_forms(openai: OpenAIProvider, edge: Edge) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    past = email.utils.formatdate(time.time() - 100, usegmt=True)
    for given, low, high in (
        (7, 7, 7),
        ("1.5", 1.5, 1.5),
        (date, 60, 101),
        (past, 0, 0),
        ("1e99", 86400, 86400),
    ):
        edge.faults.add("429", retry_after=given)
        seconds = (await refused(openai, ask())).retry_after
        assert seconds is not None
        assert low <= seconds <= high
    for given in (None, "soon", "nan"):
        edge.faults.add("429", retry_after=given)
        assert (await refused(openai, ask())).retry_after is None


async def test_wrong_shapes_are_upstream_errors(openai: OpenAIProvider, edge: Edge) -> None:
    edge.faults.add("wrong_types", times=len(WRONG_BODIES))
    errors = [await refused(openai, ask()) for _ in WRONG_BODIES]
    assert {error.kind for error in errors} == {ErrorKind.UPSTREAM}
    # One of them has an error of its own, and then nothing was made.
    assert sum(not error.submitted for error in errors) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "prompt_filter_results": [{"filtered": True}]},
        {"data": [{"b64_json": "AAAA", "content_filter_results": {"sexual": {"filtered": True}}}]},
        {"data": [{"b64_json": "AAAA", "finish_reason": "CONTENT_FILTERED"}]},
    ],
)
async def test_blocked_inside_a_success(edge: Edge, body: object) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        error = await refused(OpenAIProvider(edge.settings(), client), ask())
    assert (error.kind, error.submitted) == (ErrorKind.MODERATED_OUTPUT, False)


async def test_an_error_never_quotes_prompt_or_key(edge: Edge) -> None:
    key = edge.settings().openai_api_key
    assert key is not None
    secret = key.get_secret_value()

    def answer(request: httpx.Request) -> httpx.Response:
        said = {"code": secret, "type": PROMPT, "message": f"{PROMPT} {secret}", "param": secret}
        return httpx.Response(400, json={"error": said}, headers={"x-request-id": f"{PROMPT} {secret}"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        error = await refused(OpenAIProvider(edge.settings(), client), ask())
    shown = f"{error!s} {error!r} {error.code} {error.request_id} {error.__cause__!r}"
    assert secret not in shown
    assert PROMPT not in shown
    assert error.code == "http_400"


async def test_check_tells_key_from_address(
    edge: Edge, openai: OpenAIProvider, client: httpx.AsyncClient
) -> None:
    assert (await openai.check()).ok
    edge.faults.add("401")
    found = await openai.check()
    assert not found.ok
    assert "OPENAI_API_KEY" in found.detail
    edge.faults.add("404")
    assert (await openai.check()).ok
    edge.faults.add("500")
    assert "OPENAI_BASE_URL" in (await openai.check()).detail


async def test_a_key_refused_everywhere_is_the_keys_fault(openai: OpenAIProvider, edge: Edge) -> None:
    edge.faults.add("403", times=2)
    assert (await refused(openai, ask())).kind is ErrorKind.AUTH
    assert edge.faults.active == ()


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-3", "no-such-model"])
async def test_a_model_that_is_not_there_is_an_error_of_its_own(
    edge: Edge, client: httpx.AsyncClient, model: str
) -> None:
    provider = OpenAIProvider(edge.settings(openai_model=model), client)
    error = await refused(provider, GenRequest("j", PROMPT, model))
    assert (error.kind, error.code, error.submitted) == (ErrorKind.MODEL_GONE, "model_not_found", False)
    health = await provider.check()
    assert not health.ok
    assert model in health.detail
    assert "gpt-image-2.5-flare" in health.detail
    assert "OPENAI_MODEL" in health.detail


async def test_half_a_character_is_an_invalid_request(openai: OpenAIProvider) -> None:
    for request in (ask("\ud83d"), ask("\ud83d", sources=(SourceImage(b"x", "image/png"),))):
        error = await refused(openai, request)
        assert (error.kind, error.submitted) == (ErrorKind.INVALID_REQUEST, False)
        assert "ud83d" not in repr(error.__cause__)


async def test_a_key_read_with_its_line_end_works(edge: Edge, client: httpx.AsyncClient) -> None:
    assert (await OpenAIProvider(edge.settings(openai_api_key="key\n"), client).check()).ok


async def test_has_no_tasks(openai: OpenAIProvider) -> None:
    ticket = Ticket("openai", "none")
    with pytest.raises(ProviderError) as caught:
        await openai.poll(ticket)
    assert caught.value.ended
    assert await openai.cancel(ticket) == "unsupported"
    assert await openai.callback_hint(Callback({}, b"{}")) is None
    with pytest.raises(ProviderError):
        await openai.fetch(ImageRef(data=b"x" * 60_000_000))
