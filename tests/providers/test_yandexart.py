"""The YandexART client against the stand-in, which reads bodies by Yandex's own messages. It has no callbacks, no edits and
no addresses of results, so points 13 to 16 and 20 do not arise."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from src.providers.base import Done, ErrorKind, GenRequest, ImageBytes, Pending, ProviderError, Ticket
from src.providers.http import ROOM
from src.providers.yandexart import YandexARTProvider
from src.sandbox.yandexart import FOLDER, messages
from src.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

MODEL = "yandex-art/latest"


@pytest.fixture
def yandex(edge: Edge, client: httpx.AsyncClient) -> YandexARTProvider:
    return YandexARTProvider(edge.settings(), client)


def ask(prompt: str = "a fox", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def ended(yandex: YandexARTProvider, ticket: Ticket) -> Done:
    until = time.monotonic() + 10
    while isinstance(found := await yandex.poll(ticket), Pending):
        assert time.monotonic() < until
    return found


async def made(yandex: YandexARTProvider, request: GenRequest) -> ImageBytes:
    return await yandex.fetch((await ended(yandex, await yandex.submit(request))).image)


async def refused(yandex: YandexARTProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(yandex, request)
    return caught.value


async def test_gets_the_picture_and_its_seed(yandex: YandexARTProvider, edge: Edge) -> None:
    ticket = await yandex.submit(ask(aspect="16:9", seed=5))
    ticket = Ticket.from_json(json.loads(json.dumps(ticket.to_json())))
    first, second = await ended(yandex, ticket), await yandex.poll(ticket)
    assert first == second, "an end is told as often as it is asked for"
    assert first.seed == 5
    image = await yandex.fetch(first.image)
    assert image.mime == "image/jpeg"
    assert image.width / image.height == pytest.approx(16 / 9, rel=0.01)
    assert edge.yandexart.audit.charged == {"a fox": 1}


async def test_a_picture_in_an_answer_waits_for_room_and_a_small_answer_does_not(
    yandex: YandexARTProvider, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many pictures are in memory at once as there is room for, however many are polled."""
    asked = []
    monkeypatch.setattr("src.providers.http._SMALL", 10_000)

    async def room() -> None:
        asked.append(1)

    outer = ROOM.set(room)
    try:
        edge.yandexart.durations = (1000, 1000)
        waits = await yandex.submit(ask())
        edge.yandexart.durations = (0, 0)
        ready = await yandex.submit(ask("много деталей"))
        assert isinstance(await yandex.poll(waits), Pending)
        assert asked == []
        assert isinstance(await yandex.poll(ready), Done)
        assert asked == [1]
    finally:
        ROOM.reset(outer)


async def test_cancels_while_it_runs_and_not_after(yandex: YandexARTProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    ticket = await yandex.submit(ask())
    assert await yandex.poll(ticket) == Pending()
    assert await yandex.cancel(ticket) == "cancelled"
    with pytest.raises(ProviderError) as caught:
        await yandex.poll(ticket)
    assert (caught.value.code, caught.value.ended) == ("grpc_1", True)
    done = await yandex.submit(ask("done"))
    await ended(yandex, done)
    assert await yandex.cancel(done) == "too_late"
    assert await yandex.cancel(Ticket("yandexart", "fbvnone")) == "too_late"


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
    ],
)
async def test_a_bad_end_has_a_kind(
    yandex: YandexARTProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(yandex, ask())
    assert (error.kind, error.ended) == (kind, ended)


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("401", ErrorKind.AUTH, False),
        ("402", ErrorKind.QUOTA, False),
        ("insufficient_quota", ErrorKind.QUOTA, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("502", ErrorKind.UPSTREAM, True),
        ("503", ErrorKind.OVERLOADED, False),
        ("504", ErrorKind.TIMEOUT, True),
        ("reset", ErrorKind.NETWORK, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("empty", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
        ("wrong_types", ErrorKind.UPSTREAM, True),
    ],
)
async def test_trouble_at_submit_has_a_kind(
    yandex: YandexARTProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path="imageGenerationAsync")
    error = await refused(yandex, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(yandex, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize("fault", ["500", "html", "truncated_json", "429", "wrong_types", "401"])
async def test_a_failed_poll_is_not_a_failed_generation(
    yandex: YandexARTProvider, edge: Edge, fault: str
) -> None:
    ticket = await yandex.submit(ask())
    edge.faults.add(fault, path="/operations/")
    with pytest.raises(ProviderError) as caught:
        await yandex.poll(ticket)
    assert not caught.value.ended
    assert isinstance(await yandex.poll(ticket), Done)


@pytest.mark.parametrize(
    ("request_", "settings", "kind"),
    [
        (ask("x" * 501), {}, ErrorKind.INVALID_REQUEST),
        (ask(model="no-such/latest"), {}, ErrorKind.MODEL_GONE),
        (ask(), {"yandexart_folder": "b1gofanother"}, ErrorKind.AUTH),
        (ask(), {"yandexart_api_key": "wrong"}, ErrorKind.AUTH),
    ],
)
async def test_what_is_refused_and_why(
    edge: Edge, client: httpx.AsyncClient, request_: GenRequest, settings: dict[str, str], kind: ErrorKind
) -> None:
    error = await refused(YandexARTProvider(edge.settings(**settings), client), request_)
    assert (error.kind, error.submitted) == (kind, False)


async def test_check(edge: Edge, client: httpx.AsyncClient, yandex: YandexARTProvider) -> None:
    assert (await yandex.check()).ok
    for settings, told in (
        ({"yandexart_api_key": "wrong"}, "check YANDEXART_API_KEY"),
        ({"yandexart_operations_url": "http://127.0.0.1:9"}, "does not answer"),
    ):
        assert told in (await YandexARTProvider(edge.settings(**settings), client).check()).detail
    with pytest.raises(SettingsError, match="YANDEXART_FOLDER: is needed"):
        YandexARTProvider(load_settings(yandexart_api_key="k"), client)


async def test_the_stand_in_refuses_what_yandexs_messages_do_not_have(edge: Edge) -> None:
    """Field names and types are those of yandex-cloud/cloudapi; JSON is read as protobuf says."""
    good = {
        "modelUri": f"art://{FOLDER}/yandex-art/latest",
        "generationOptions": {
            "seed": "7",
            "mimeType": "image/jpeg",
            "aspectRatio": {"widthRatio": "2", "heightRatio": 1},
        },
        "messages": [{"weight": "1", "text": "a fox"}],
    }
    url = f"{edge.base}/yandexart/foundationModels/v1/imageGenerationAsync"
    headers = {"Authorization": f"Api-Key {edge.settings().yandexart_api_key.get_secret_value()}"}  # type: ignore[attr-defined]
    async with httpx.AsyncClient(headers=headers) as http:
        assert (await http.post(url, json=good)).status_code == 200
        for wrong in (
            {**good, "n": 1},
            {**good, "messages": "a fox"},
            {**good, "messages": [{"weight": "one", "text": "a fox"}]},
            {**good, "messages": []},
            {**good, "generationOptions": {"seed": 1.5}},
            {**good, "generationOptions": {"mimeType": "image/png"}},
            {**good, "generationOptions": {"aspectRatio": "2:1"}},
        ):
            answer = await http.post(url, json=wrong)
            assert (answer.status_code, answer.json()["code"]) == (400, 3)
    fields = messages()["ImageGenerationRequest"].DESCRIPTOR.fields_by_name
    assert {name: field.number for name, field in fields.items()} == {
        "model_uri": 1,
        "messages": 2,
        "generation_options": 3,
    }
