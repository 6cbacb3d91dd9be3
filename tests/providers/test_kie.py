"""The kie client against the stand-in: what contracts.md says every provider client must survive."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

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
from src.providers.kie import KieProvider, sign

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

KEY = b"callback-key"


def ask(prompt: str = "a fox", model: str = "nano-banana-2-1", **more: object) -> GenRequest:
    return GenRequest(job_id="job-1", prompt=prompt, model=model, **more)  # type: ignore[arg-type]


async def made(kie: KieProvider, request: GenRequest) -> ImageBytes:
    ticket = await kie.submit(request)
    done = await kie.poll(ticket)
    assert isinstance(done, Done)
    return await kie.fetch(done.image)


async def refused(kie: KieProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(kie, request)
    return caught.value


async def test_gets_the_picture(kie: KieProvider, edge: Edge) -> None:
    ticket = await kie.submit(ask(aspect="16:9"))
    assert Ticket.from_json(json.loads(json.dumps(ticket.to_json()))) == ticket
    first, second = await kie.poll(ticket), await kie.poll(ticket)
    assert isinstance(first, Done)
    assert first == second, "a terminal state is told as often as it is asked for"
    assert first.cost == 4
    image = await kie.fetch(first.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    assert edge.kie.audit.charged == {"a fox": 1}


async def test_edits_an_uploaded_source(kie: KieProvider, edge: Edge) -> None:
    image = await made(kie, ask())
    source = SourceImage(image.data, image.mime)
    again = await made(kie, ask("as an oil painting", "google/nano-banana-edit", sources=(source,)))
    assert again.width == 1024
    assert edge.kie.audit.uploads == 1


TEXT_MODELS = (
    "google/nano-banana",
    "nano-banana-2-1",
    "nano-banana-2-lite",
    "nano-banana-pro",
    "gpt-image-2-text-to-image",
    "gpt-image-2-5-flare-text-to-image",
    "flux-2/pro-text-to-image",
    "seedream/4.5-text-to-image",
    "seedream/5-pro-text-to-image",
    "bytedance/seedream-v4-text-to-image",
    "qwen/text-to-image",
)
EDIT_MODELS = (
    "google/nano-banana-edit",
    "nano-banana-2-1",
    "nano-banana-2-lite",
    "gpt-image-2-image-to-image",
    "gpt-image-2-5-flare-image-to-image",
    "flux-2/pro-image-to-image",
    "seedream/4.5-edit",
    "seedream/5-pro-image-to-image",
    "bytedance/seedream-v4-edit",
    "qwen/image-edit",
)


@pytest.mark.parametrize("model", TEXT_MODELS)
async def test_speaks_each_familys_fields(kie: KieProvider, model: str) -> None:
    assert (await made(kie, ask(model=model, aspect="9:16"))).height == 1344
    assert (await made(kie, ask(model=model, aspect="3:2"))).width in (1248, 1152)


@pytest.mark.parametrize("model", EDIT_MODELS)
async def test_sends_the_source_where_each_family_takes_it(kie: KieProvider, edge: Edge, model: str) -> None:
    image = await made(kie, ask())
    source = SourceImage(image.data, image.mime)
    again = await made(kie, ask("as an oil painting", model, sources=(source,)))
    assert (again.width, edge.kie.audit.uploads) == (1024, 1)


async def test_a_model_that_is_not_there_is_an_error_of_its_own(kie: KieProvider) -> None:
    error = await refused(kie, ask(model="no-such-model"))
    assert (error.kind, error.submitted) == (ErrorKind.MODEL_GONE, False)


async def test_tells_how_long_it_took_by_its_stamps(edge: Edge) -> None:
    record = {
        "state": "success",
        "resultJson": '{"resultUrls":["https://a/b.png"]}',
        "createTime": 1786428622000,
        "completeTime": 1786428635000,
    }
    for cost_time in (11, 11_000, None):
        found = await with_record(edge, {**record, "costTime": cost_time})
        assert isinstance(found, Done)
        assert found.seconds == 13
    found = await with_record(edge, {**record, "completeTime": 0, "costTime": 11})
    assert isinstance(found, Done)
    assert found.seconds is None


async def test_tells_progress(kie: KieProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    edge.kie.durations = (1e-6, 1e-6)
    found = await kie.poll(await kie.submit(ask()))
    assert isinstance(found, Pending)
    assert found.progress is not None
    assert 0.9 < found.progress <= 1


async def test_an_unknown_state_is_pending(edge: Edge) -> None:
    found = await with_record(edge, {"state": "warming_up", "progress": "70"})
    assert found == Pending(0.7)


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("401", ErrorKind.AUTH, False),
        ("402", ErrorKind.QUOTA, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("503", ErrorKind.OVERLOADED, False),
        ("insufficient_quota", ErrorKind.QUOTA, False),
        ("reset", ErrorKind.NETWORK, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("empty", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
    ],
)
async def test_trouble_at_submit_has_a_kind(
    kie: KieProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path="createTask")
    error = await refused(kie, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(kie, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, ErrorKind.INVALID_REQUEST),
        (401, ErrorKind.AUTH),
        (402, ErrorKind.QUOTA),
        (404, ErrorKind.MODEL_GONE),
        (408, ErrorKind.TIMEOUT),
        (433, ErrorKind.QUOTA),
        (451, ErrorKind.MODERATED_INPUT),
        (422, ErrorKind.INVALID_REQUEST),
        (429, ErrorKind.RATE_LIMITED),
        (455, ErrorKind.OVERLOADED),
        (500, ErrorKind.UPSTREAM),
        (501, ErrorKind.UPSTREAM),
        (505, ErrorKind.INVALID_REQUEST),
        ("429", ErrorKind.RATE_LIMITED),
    ],
)
async def test_business_codes_inside_http_200(
    kie: KieProvider, edge: Edge, code: int | str, kind: ErrorKind
) -> None:
    edge.faults.add("business", code=code, path="createTask", retry_after=3)
    error = await refused(kie, ask())
    assert (error.kind, error.code, error.retry_after, error.submitted) == (kind, str(code), 3, False)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (400, "The credits are insufficient, please top up", ErrorKind.QUOTA),
        (451, "Failed to fetch the image. Kindly verify any access limits", ErrorKind.BAD_SOURCE),
        (500, "Content was filtered out: prohibited use policy", ErrorKind.MODERATED_INPUT),
        (422, "The model name you specified is not supported.", ErrorKind.MODEL_GONE),
        (422, "aspect_ratio is not within the range of allowed options", ErrorKind.INVALID_REQUEST),
    ],
)
async def test_words_say_more_than_a_code(
    kie: KieProvider, edge: Edge, code: int, message: str, kind: ErrorKind
) -> None:
    edge.faults.add("business", code=code, message=message, path="createTask")
    assert (await refused(kie, ask())).kind is kind


@pytest.mark.parametrize("field", ["msg", "message"])
async def test_a_refusal_by_content_is_moderation(kie: KieProvider, edge: Edge, field: str) -> None:
    said = "Your prompt violates our content policy"
    edge.faults.add("business", code=422, message=said, message_field=field, path="createTask")
    assert (await refused(kie, ask())).kind is ErrorKind.MODERATED_INPUT


@pytest.mark.parametrize(("code", "kind"), [("501", ErrorKind.UPSTREAM), ("402", ErrorKind.QUOTA)])
async def test_money_is_a_matter_of_kies_codes_not_of_a_models_words(
    edge: Edge, code: str, kind: ErrorKind
) -> None:
    said = "The model answered: insufficient balance, please top up"
    with pytest.raises(ProviderError) as caught:
        await with_record(edge, {"state": "fail", "failCode": code, "failMsg": said})
    assert (caught.value.kind, caught.value.ended) == (kind, True)


@pytest.mark.parametrize(
    ("fault", "kind", "ended"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, True),
        ("moderated_output", ErrorKind.MODERATED_OUTPUT, True),
        ("fail", ErrorKind.UPSTREAM, True),
        ("blocked_200", ErrorKind.BAD_RESULT, True),
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
    kie: KieProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(kie, ask())
    assert (error.kind, error.ended) == (kind, ended)


async def test_webp_with_alpha_is_a_picture(kie: KieProvider, edge: Edge) -> None:
    edge.faults.add("webp")
    assert (await made(kie, ask())).mime == "image/webp"


@pytest.mark.parametrize("fault", ["500", "html", "truncated_json", "429", "reset_after_accept", "401"])
async def test_a_failed_poll_is_not_a_failed_generation(kie: KieProvider, edge: Edge, fault: str) -> None:
    ticket = await kie.submit(ask())
    # Twice: a lost connection is tried once more by the transport, as a GET may be.
    edge.faults.add(fault, times=2 if fault == "reset_after_accept" else 1, path="recordInfo")
    with pytest.raises(ProviderError) as caught:
        await kie.poll(ticket)
    assert not caught.value.ended
    assert isinstance(await kie.poll(ticket), Done)


async def test_a_task_not_yet_seen_is_pending_and_one_that_vanished_is_over(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    now = time.time()
    kie = KieProvider(edge.settings(), client, clock=lambda: now)
    edge.faults.add("vanish")
    ticket = await kie.submit(ask())
    assert await kie.poll(ticket) == Pending()
    now += 60
    with pytest.raises(ProviderError) as caught:
        await kie.poll(ticket)
    assert (caught.value.kind, caught.value.ended) == (ErrorKind.NOT_FOUND, True)


async def test_a_task_seen_late_is_pending(kie: KieProvider, edge: Edge) -> None:
    edge.faults.add("late", seconds=1000)
    assert await kie.poll(await kie.submit(ask())) == Pending()


async def test_half_a_character_is_an_invalid_request(kie: KieProvider) -> None:
    error = await refused(kie, ask("half a \ud83d"))
    assert (error.kind, error.submitted) == (ErrorKind.INVALID_REQUEST, False)


async def test_wrong_shapes_are_upstream_errors(kie: KieProvider, edge: Edge) -> None:
    ticket = await kie.submit(ask())
    for path, call in (("createTask", lambda: kie.submit(ask())), ("recordInfo", lambda: kie.poll(ticket))):
        edge.faults.add("wrong_types", times=12, path=path)
        for _ in range(12):
            with pytest.raises(ProviderError) as caught:
                await call()
            assert caught.value.kind is ErrorKind.UPSTREAM


async def test_a_failed_upload_submits_nothing(kie: KieProvider, edge: Edge) -> None:
    for fault in ("reset_after_accept", "500", "html", "wrong_types"):
        edge.faults.add(fault, path="file-stream-upload")
        error = await refused(
            kie, ask(model="google/nano-banana-edit", sources=(SourceImage(b"x", "image/png"),))
        )
        assert not error.submitted
    assert not edge.kie.audit.submits


async def with_record(edge: Edge, record: dict[str, Any]) -> Pending | Done:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"code": 200, "msg": "success", "data": record})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await KieProvider(edge.settings(), client).poll(Ticket("kie", "t"))


@pytest.mark.parametrize(
    "result",
    [
        '{"resultUrls":["https://a/b.png"]}',
        '{"resultUrls":"https://a/b.png"}',
        '["https://a/b.png"]',
        '"https://a/b.png"',
        {"resultUrls": ["https://a/b.png"]},
    ],
)
async def test_a_result_as_list_string_or_object(edge: Edge, result: object) -> None:
    found = await with_record(edge, {"state": "success", "resultJson": result})
    assert isinstance(found, Done)
    assert found.image.url == "https://a/b.png"


class TestCallbacks:
    NOW = 1_800_000_000.0

    def provider(self, edge: Edge, client: httpx.AsyncClient, **overrides: Any) -> KieProvider:
        return KieProvider(edge.settings(**overrides), client, clock=lambda: self.NOW)

    def call(self, task: str = "task_1", age: float = 0, **changes: str) -> dict[str, str]:
        stamp = str(int(self.NOW - age))
        headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": sign(KEY, task, stamp)}
        return headers | {name.replace("_", "-"): value for name, value in changes.items()}

    @pytest.mark.parametrize(
        "body",
        [{"taskId": "task_1"}, {"data": {"task_id": "task_1"}}, {"taskId": 5, "data": {"taskId": "task_1"}}],
    )
    async def test_genuine(self, edge: Edge, client: httpx.AsyncClient, body: object) -> None:
        kie = self.provider(edge, client)
        raw = json.dumps(body).encode()
        assert await kie.callback_hint(Callback(self.call(), raw)) == "task_1"
        assert await kie.callback_hint(Callback(httpx.Headers(self.call()), raw)) == "task_1"
        assert await kie.callback_hint(Callback(self.call(age=-200), raw)) == "task_1", (
            "clocks differ a little"
        )

    async def test_a_changed_body_is_still_only_a_hint(self, edge: Edge, client: httpx.AsyncClient) -> None:
        body = json.dumps({"taskId": "task_1", "code": 501, "data": {"state": "fail"}}).encode()
        assert await self.provider(edge, client).callback_hint(Callback(self.call(), body)) == "task_1"

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"taskId":null}', b"\xff", b"[" * 100_000])
    async def test_nonsense(self, edge: Edge, client: httpx.AsyncClient, body: bytes) -> None:
        assert await self.provider(edge, client).callback_hint(Callback(self.call(), body)) is None

    async def test_forged_or_stale(self, edge: Edge, client: httpx.AsyncClient) -> None:
        kie, body = self.provider(edge, client), b'{"taskId":"task_1"}'
        for headers in (
            {},
            self.call(age=301),
            self.call(age=-301),
            self.call("task_2"),
            self.call(X_Webhook_Signature=""),
            self.call(X_Webhook_Signature="ключ"),
            self.call(X_Webhook_Timestamp="-1"),
            self.call(X_Webhook_Timestamp="١٢٣"),
            self.call(X_Webhook_Timestamp="9" * 400),
        ):
            assert await kie.callback_hint(Callback(headers, body)) is None

    async def test_without_a_key_nothing_is_genuine(self, edge: Edge, client: httpx.AsyncClient) -> None:
        kie = self.provider(edge, client, kie_webhook_key=None)
        stamp = str(int(self.NOW))
        headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": sign(b"", "task_1", stamp)}
        assert await kie.callback_hint(Callback(headers, b'{"taskId":"task_1"}')) is None
        assert not kie.capabilities.callback


async def test_check_tells_what_to_do(kie: KieProvider, edge: Edge) -> None:
    assert "credits left" in (await kie.check()).detail
    edge.faults.add("business", code=401)
    assert "KIE_API_KEY" in (await kie.check()).detail
    edge.faults.add("html")
    assert "KIE_BASE_URL" in (await kie.check()).detail
    assert await kie.cancel(Ticket("kie", "t")) == "unsupported"
