"""Updates in and Bot API calls out, through aiogram's own dispatcher and session and a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import ClientDecodeError, TelegramAPIError
from aiogram.types import CallbackQuery, ErrorEvent, Message, Update
from aiohttp import web
from opentelemetry.trace import SpanKind, StatusCode

from observability.aiogram import instrument_bot, instrument_dispatcher
from observability.spans import context_of, reserve_span
from tests.observability.conftest import Recorded

TOKEN = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOpp"
MESSAGE = {"message_id": 5, "date": 0, "chat": {"id": 7, "type": "private"}, "text": "hi"}

Answer = Callable[[str], Awaitable[web.StreamResponse]]


class Telegram:
    """A Bot API server that gives one answer to everything."""

    def __init__(self) -> None:
        self.status = 200
        self.body: dict[str, Any] = {"ok": True, "result": True}

    async def handle(self, request: web.Request) -> web.Response:
        return web.json_response(self.body, status=self.status)

    def refuse(self, status: int, description: str, **parameters: int) -> None:
        self.status = status
        self.body = {"ok": False, "error_code": status, "description": description, "parameters": parameters}


@pytest.fixture
async def telegram() -> AsyncIterator[tuple[Telegram, str]]:
    server = Telegram()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield server, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def bot(telegram: tuple[Telegram, str], recorded: Recorded) -> AsyncIterator[Bot]:
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(telegram[1])))
    instrument_bot(bot, tracer_provider=recorded.provider, meter_provider=recorded.meters)
    yield bot
    # Not the session's own close, which sleeps.
    if bot.session._session is not None:
        await bot.session._session.close()


@pytest.fixture
def dispatcher(recorded: Recorded) -> Dispatcher:
    dispatcher = Dispatcher()
    instrument_dispatcher(dispatcher, tracer_provider=recorded.provider)
    return dispatcher


def update(number: int = 1) -> Update:
    return Update.model_validate({"update_id": number, "message": MESSAGE})


async def test_an_update_is_the_root_and_its_calls_lie_under_it(
    bot: Bot, dispatcher: Dispatcher, recorded: Recorded
) -> None:
    @dispatcher.message()
    async def handle(message: Message, bot: Bot) -> None:
        await bot.delete_message(message.chat.id, message.message_id)

    with recorded.tracer.start_as_current_span("polling"):
        await dispatcher.feed_update(bot, update(77))
    root, call = recorded.one("update message"), recorded.one("deleteMessage")
    assert root.kind is SpanKind.SERVER
    assert root.parent is None
    assert dict(root.attributes) == {
        "telegram.update.id": 77,
        "telegram.update.type": "message",
        "telegram.chat.type": "private",
    }
    assert call.kind is SpanKind.CLIENT
    assert call.parent.span_id == root.context.span_id
    assert dict(call.attributes) == {"telegram.method": "deleteMessage"}
    assert call.status.status_code is StatusCode.UNSET


async def test_an_update_is_named_by_what_it_is(bot: Bot, dispatcher: Dispatcher, recorded: Recorded) -> None:
    @dispatcher.callback_query()
    async def handle(query: CallbackQuery) -> None: ...

    person = {"id": 7, "is_bot": False, "first_name": "A"}
    query = {"id": "1", "from": person, "chat_instance": "1", "data": "x", "message": MESSAGE}
    await dispatcher.feed_update(bot, Update.model_validate({"update_id": 1, "callback_query": query}))
    await dispatcher.feed_update(bot, Update.model_validate({"update_id": 2}))
    assert recorded.one("update callback_query").attributes["telegram.chat.type"] == "private"
    assert recorded.one("update unknown").parent is None


async def test_a_webhooks_context_becomes_the_parent(
    bot: Bot, dispatcher: Dispatcher, recorded: Recorded
) -> None:
    with recorded.tracer.start_as_current_span("request"):
        parent = reserve_span()
    await dispatcher.feed_update(bot, update(), trace_parent=context_of(parent))
    assert recorded.one("update message").parent.span_id == parent.span_id


async def test_a_handlers_error_is_on_the_update_even_if_handled(
    bot: Bot, dispatcher: Dispatcher, recorded: Recorded
) -> None:
    @dispatcher.message()
    async def handle(message: Message) -> None:
        raise ValueError(f"at /bot{TOKEN}/sendMessage")

    @dispatcher.errors()
    async def apologise(event: ErrorEvent, bot: Bot) -> bool:
        return await bot.delete_message(7, 5)

    await dispatcher.feed_update(bot, update())
    root = recorded.one("update message")
    assert root.status.status_code is StatusCode.ERROR
    assert root.attributes["error.type"] == "ValueError"
    assert TOKEN not in root.to_json()
    assert recorded.one("deleteMessage").parent.span_id == root.context.span_id


async def test_long_polling_makes_no_span(
    bot: Bot, telegram: tuple[Telegram, str], recorded: Recorded
) -> None:
    telegram[0].body = {"ok": True, "result": []}
    assert await bot.get_updates() == []
    assert recorded.all() == []


@pytest.mark.parametrize(
    ("status", "description", "parameters", "attributes"),
    [
        (
            429,
            "Too Many Requests: retry after 7",
            {"retry_after": 7},
            {"error.type": "429", "telegram.error_code": 429, "telegram.retry_after": 7},
        ),
        (400, "Bad Request: chat not found", {}, {"error.type": "400", "telegram.error_code": 400}),
        (403, "Forbidden: bot was blocked", {}, {"error.type": "403", "telegram.error_code": 403}),
        (502, "Bad Gateway", {}, {"error.type": "500", "telegram.error_code": 500}),
    ],
)
async def test_a_refused_call_shows_why(
    bot: Bot,
    telegram: tuple[Telegram, str],
    recorded: Recorded,
    status: int,
    description: str,
    parameters: dict[str, int],
    attributes: dict[str, Any],
) -> None:
    telegram[0].refuse(status, description, **parameters)
    with pytest.raises(TelegramAPIError):
        await bot.send_message(7, "a secret prompt")
    call = recorded.one("sendMessage")
    assert call.status.status_code is StatusCode.ERROR
    assert dict(call.attributes) == {"telegram.method": "sendMessage"} | attributes
    (point,) = recorded.points("imagebot.telegram.errors")
    assert dict(point.attributes) == {
        "telegram.method": "sendMessage",
        "error.type": attributes["error.type"],
    }
    waits = [point.value for point in recorded.points("imagebot.telegram.retry_after")]
    assert waits == ([7] if status == 429 else [])


async def test_what_an_unreadable_answer_says_is_in_no_span(
    bot: Bot, dispatcher: Dispatcher, telegram: tuple[Telegram, str], recorded: Recorded
) -> None:
    @dispatcher.message()
    async def handle(message: Message, bot: Bot) -> None:
        await bot.send_message(7, "a secret prompt")

    telegram[0].body = {"ok": True, "result": {"message_id": "none", "text": "a secret prompt"}}
    with pytest.raises(ClientDecodeError):
        await dispatcher.feed_update(bot, update())
    root = recorded.one("update message")
    assert root.status.status_code is StatusCode.ERROR
    assert "secret" not in root.to_json()
    call = recorded.one("sendMessage")
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == "the answer cannot be read: ValidationError"
    assert call.attributes["error.type"] == "ClientDecodeError"
    assert "secret" not in call.to_json()


async def test_an_edit_without_a_change_did_not_fail(
    bot: Bot, telegram: tuple[Telegram, str], recorded: Recorded
) -> None:
    telegram[0].refuse(400, "Bad Request: message is not modified: it is the same")
    with pytest.raises(TelegramAPIError):
        await bot.edit_message_text("same", chat_id=7, message_id=1)
    call = recorded.one("editMessageText")
    assert call.status.status_code is StatusCode.UNSET
    assert call.attributes["telegram.not_modified"] is True
    assert recorded.points("imagebot.telegram.errors") == []


async def test_the_token_is_in_no_span_of_a_broken_connection(recorded: Recorded) -> None:
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(f"http://127.0.0.1:1/{TOKEN}")))
    instrument_bot(bot, tracer_provider=recorded.provider)
    with pytest.raises(TelegramAPIError):
        await bot.send_message(7, "hi")
    await bot.session.close()
    exported = json.dumps([json.loads(span.to_json()) for span in recorded.all()])
    assert "TelegramNetworkError" in exported
    assert TOKEN not in exported
