"""The GigaChat client against the stand-in, and the SDK of GigaChat against it too. It has no callbacks, no way to cancel and
no addresses of results, so points 11, 13 to 15, 18 and 20 do not arise."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from src.providers.base import Done, ErrorKind, GenRequest, ImageBytes, Pending, ProviderError, Ticket
from src.providers.gigachat import GigaChatProvider
from tests.providers.conftest import GIGACHAT_KEY
from tests.vendors import Vendor

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

MODEL = "GigaChat-2-Max"
gigachat = Vendor("gigachat")


@pytest.fixture
def giga(edge: Edge, client: httpx.AsyncClient) -> GigaChatProvider:
    return GigaChatProvider(edge.settings(), client)


def ask(prompt: str = "лиса", model: str = MODEL, **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def made(giga: GigaChatProvider, request: GenRequest) -> ImageBytes:
    done = await giga.poll(await giga.submit(request))
    assert isinstance(done, Done)
    return await giga.fetch(done.image)


async def refused(giga: GigaChatProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(giga, request)
    return caught.value


async def test_gets_the_picture_whose_ticket_is_its_file(giga: GigaChatProvider, edge: Edge) -> None:
    ticket = await giga.submit(ask())
    ticket = Ticket.from_json(json.loads(json.dumps(ticket.to_json())))
    first, second = await giga.poll(ticket), await giga.poll(ticket)
    assert isinstance(first, Done)
    assert first == second
    assert (await giga.fetch(first.image)).mime == "image/jpeg"
    assert edge.gigachat.audit.charged == {"лиса": 1}
    assert len(edge.gigachat.tokens) == 1


async def test_a_token_is_got_once_and_again_before_it_ends_or_where_it_is_taken_back(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    now = 1000.0
    giga = GigaChatProvider(edge.settings(), client, clock=lambda: now)
    await asyncio.gather(*(made(giga, ask()) for _ in range(3)))
    assert len(edge.gigachat.tokens) == 1
    now += 1800 - 30
    await made(giga, ask())
    await made(giga, ask())
    assert len(edge.gigachat.tokens) == 2
    edge.gigachat.tokens.clear()
    await made(giga, ask())
    assert len(edge.gigachat.tokens) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("moderated", ErrorKind.MODERATED_INPUT, "blacklist"),
        ("moderated_output", ErrorKind.MODERATED_OUTPUT, "text_for_picture"),
        ("blocked_200", ErrorKind.MODERATED_OUTPUT, "text_for_picture"),
    ],
)
async def test_words_in_place_of_a_picture_are_a_refusal(
    giga: GigaChatProvider, edge: Edge, fault: str, kind: ErrorKind, code: str
) -> None:
    edge.faults.add(fault)
    error = await refused(giga, ask())
    assert (error.kind, error.code, error.submitted) == (kind, code, False)


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("400", ErrorKind.INVALID_REQUEST, False),
        ("402", ErrorKind.QUOTA, False),
        ("403", ErrorKind.MODERATED_INPUT, False),
        ("404", ErrorKind.MODEL_GONE, False),
        ("insufficient_quota", ErrorKind.QUOTA, False),
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("fail", ErrorKind.UPSTREAM, False),
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
    giga: GigaChatProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path="chat/completions")
    error = await refused(giga, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert (await made(giga, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", ErrorKind.AUTH),
        ("401", ErrorKind.AUTH),
        ("429", ErrorKind.RATE_LIMITED),
        ("500", ErrorKind.UPSTREAM),
        ("html", ErrorKind.UPSTREAM),
        ("wrong_types", ErrorKind.UPSTREAM),
        ("reset", ErrorKind.NETWORK),
    ],
)
async def test_without_a_token_nothing_is_submitted(
    giga: GigaChatProvider, edge: Edge, fault: str, kind: ErrorKind
) -> None:
    edge.faults.add(fault, path="oauth")
    error = await refused(giga, ask())
    assert (error.kind, error.submitted) == (kind, False)
    assert not edge.gigachat.audit.submits


async def test_silence_is_a_timeout_of_unknown_fate(giga: GigaChatProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    error = await refused(giga, ask(deadline=0.3))
    assert (error.kind, error.submitted) == (ErrorKind.TIMEOUT, True)


@pytest.mark.parametrize(
    ("fault", "kind", "ended"),
    [
        ("vanish", ErrorKind.NOT_FOUND, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, False),
    ],
)
async def test_a_bad_file_has_a_kind(
    giga: GigaChatProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(giga, ask())
    assert (error.kind, error.ended) == (kind, ended)


@pytest.mark.parametrize("fault", ["500", "429", "503"])
async def test_a_failed_poll_is_not_a_failed_generation(
    giga: GigaChatProvider, edge: Edge, fault: str
) -> None:
    ticket = await giga.submit(ask())
    edge.faults.add(fault, path="/files/")
    with pytest.raises(ProviderError) as caught:
        await giga.poll(ticket)
    assert not caught.value.ended
    assert not isinstance(await giga.poll(ticket), Pending)


async def test_check(edge: Edge, client: httpx.AsyncClient) -> None:
    async def told(**settings: Any) -> str:
        return (await GigaChatProvider(edge.settings(**settings), client).check()).detail

    assert "has GigaChat-2-Max" in await told()
    assert "set GIGACHAT_MODEL" in await told(gigachat_model="GigaChat-9")
    for wrong in ("d3Jvbmc=", "no base64!"):
        assert "check GIGACHAT_API_KEY and GIGACHAT_SCOPE" in await told(gigachat_api_key=wrong)
    assert "GIGACHAT_SCOPE" in await told(gigachat_scope="EVERYTHING")
    assert "check GIGACHAT_AUTH_URL" in await told(gigachat_auth_url="http://127.0.0.1:9")


async def test_gigachats_sdk_speaks_to_the_stand_in(edge: Edge) -> None:
    """It is held to the original by the vendor's own client."""

    def all_of_it() -> tuple[str, bytes, str]:
        with gigachat.GigaChat(
            credentials=GIGACHAT_KEY,
            base_url=f"{edge.base}/gigachat/api/v1",
            auth_url=f"{edge.base}/gigachat-auth/api/v2/oauth",
            model=MODEL,
        ) as sdk:
            assert sdk.get_token()
            chat: Any = {"messages": [{"role": "user", "content": "Нарисуй: маяк"}], "function_call": "auto"}
            drawn = sdk.chat(chat).choices[0].message.content
            data = sdk.get_image(drawn.partition('src="')[2].partition('"')[0]).content
            words = (
                sdk.chat({"messages": [{"role": "user", "content": "Нарисуй: маяк"}]})
                .choices[0]
                .message.content
            )
            with pytest.raises(gigachat.exceptions.GigaChatException):
                sdk.chat({**chat, "model": "GigaChat-9"})
            with pytest.raises(gigachat.exceptions.GigaChatException):
                sdk.get_image("none")
            return drawn, base64.b64decode(data), words

    drawn, data, words = await asyncio.to_thread(all_of_it)
    assert drawn.startswith("<img src=")
    assert data.startswith(b"\xff\xd8\xff")
    assert "<img" not in words, "it draws only where it may call its functions"
