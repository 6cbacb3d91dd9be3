"""The method by which a bot answers an inline query, with Telegram's checks of what it offers."""

from __future__ import annotations

import time
from typing import Any

from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.content import read_caption, read_file, read_photo, read_text
from src.sandbox.telegram.errors import ApiError, bad_request
from src.sandbox.telegram.inline import Answer, Result
from src.sandbox.telegram.keyboards import read_markup
from src.sandbox.telegram.methods import method
from src.sandbox.telegram.wire import Call

_MOST_RESULTS = 50
_LONGEST_ID = 64
_CACHE_SECONDS = 300


@method("answerInlineQuery")
async def answer_inline_query(bot: Bot, call: Call) -> bool:
    query = bot.inline.queries.get(call.text("inline_query_id"))
    if query is None or query.is_over:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    items = call.structure("results", "inline query results")
    if not isinstance(items, list):
        raise bad_request("expected an Array of inline query results")
    if len(items) > _MOST_RESULTS:
        raise bad_request("RESULTS_TOO_MUCH")
    next_offset = call.text("next_offset")
    if len(next_offset.encode()) > _LONGEST_ID:
        raise bad_request("NEXT_OFFSET_INVALID")
    results = [await _result(bot, item) for item in items]
    if len({result.id for result in results}) < len(results):
        raise bad_request("RESULT_ID_DUPLICATE")
    until = time.time() + max(0, call.integer("cache_time", _CACHE_SECONDS))
    answer = Answer(results, next_offset, _button(call), call.flag("is_personal"), until)
    bot.inline.answer(bot, query, answer)
    return True


async def _result(bot: Bot, item: Any) -> Result:
    if not isinstance(item, dict):
        raise _unreadable("expected an Object")
    number, kind = str(item.get("id") or ""), item.get("type")
    if not 1 <= len(number.encode()) <= _LONGEST_ID:
        raise bad_request("RESULT_ID_INVALID")
    markup, said = read_markup(Call("", item), None, inline_only=True), item.get("input_message_content")
    if kind in ("article", "document") and not item.get("title"):
        raise _unreadable('Can\'t find field "title"')
    if isinstance(said, dict):
        part = read_text(Call("", {**said, "text": said.get("message_text")}))
        return Result(number, item, part.content, part.sha256, markup)
    match item:
        case {"type": "article"}:
            raise _unreadable('Can\'t find field "input_message_content"')
        case {"type": "photo", "photo_file_id": str(file_id)}:
            part = await read_photo(bot, file_id)
        case {"type": "document", "document_file_id": str(file_id)}:
            part = await read_file(bot, "document", file_id)
        case _:
            # The sandbox reaches nothing outside itself, and knows no other kinds.
            raise _unreadable(f'type "{kind}" is unsupported')
    return Result(number, item, {**part.content, **read_caption(item)}, part.sha256, markup)


def _button(call: Call) -> dict[str, Any] | None:
    button = call.structure("button", "inline query results button")
    if button is None:
        return None
    if not isinstance(button, dict) or not button.get("text"):
        raise _unreadable('Can\'t find field "text"')
    start = str(button.get("start_parameter") or "")
    if bool(start) == bool(button.get("web_app")):
        raise _unreadable("exactly one of the optional fields of its button must be used")
    if start and (len(start) > _LONGEST_ID or not start.replace("_", "").replace("-", "").isalnum()):
        raise bad_request("START_PARAM_INVALID")
    return button


def _unreadable(why: str) -> ApiError:
    return bad_request(f"can't parse inline query result: {why}")
