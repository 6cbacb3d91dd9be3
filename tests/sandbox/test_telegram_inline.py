"""Inline mode: queries, what may answer them, and messages that are known by an `inline_message_id` only."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InlineQueryResultCachedPhoto,
    InputMediaPhoto,
    InputTextMessageContent,
)

from src.sandbox.telegram import Message, Person, TelegramSandbox
from src.sandbox.telegram.inline import Query
from tests.sandbox.conftest import Picture

BUTTONS = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Make it", callback_data="make")]])
TEXT = {"type": "article", "title": "a", "input_message_content": {"message_text": "a fox"}}


def article(number: str = "make", buttons: InlineKeyboardMarkup | None = BUTTONS) -> InlineQueryResultArticle:
    said = InputTextMessageContent(message_text="It will be here")
    return InlineQueryResultArticle(
        id=number, title="Make it", input_message_content=said, reply_markup=buttons
    )


async def asked(bot: Bot, anna: Person, words: str = "fox") -> tuple[asyncio.Task[Query], Any]:
    """Anna types; the query as the bot hears of it."""
    typing = asyncio.create_task(anna.ask_inline(words))
    updates = await bot.get_updates(timeout=5, offset=-1)
    while updates[0].inline_query is None or updates[0].inline_query.query != words:
        updates = await bot.get_updates(timeout=5, offset=updates[0].update_id + 1)
    return typing, updates[0].inline_query


async def sent(bot: Bot, anna: Person, number: str = "make") -> Message:
    typing, query = await asked(bot, anna)
    await bot.answer_inline_query(query.id, [article(), article("bare", None)], cache_time=0)
    found = await typing
    assert found.answer is not None
    return await anna.send_inline(found, found.answer.result(number))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"results": "x"}, "can't parse inline query results JSON object"),
        ({"results": [{**TEXT, "id": str(n)} for n in range(51)]}, "RESULTS_TOO_MUCH"),
        ({"results": [{**TEXT, "id": "я" * 33}]}, "RESULT_ID_INVALID"),
        ({"results": [{**TEXT, "id": ""}]}, "RESULT_ID_INVALID"),
        ({"results": [{**TEXT, "id": "1"}, {**TEXT, "id": "1"}]}, "RESULT_ID_DUPLICATE"),
        ({"results": [{"type": "photo", "id": "1", "photo_file_id": "x"}]}, "wrong file identifier"),
        ({"results": [{**TEXT, "id": "1", "title": ""}]}, 'Can\'t find field "title"'),
        ({"results": [{"type": "article", "id": "1", "title": "a"}]}, "input_message_content"),
        ({"results": [], "next_offset": "x" * 65}, "NEXT_OFFSET_INVALID"),
        ({"results": [], "button": {"text": "a"}}, "exactly one of the optional fields"),
        ({"results": [], "button": {"text": "a", "start_parameter": "a b"}}, "START_PARAM_INVALID"),
        (
            {"results": [{**TEXT, "id": "1", "reply_markup": {"keyboard": [["a"]]}}]},
            "inline keyboard expected",
        ),
        ({"results": [], "inline_query_id": "7"}, "query is too old"),
    ],
)
async def test_what_is_no_answer(
    bot: Bot, http: httpx.AsyncClient, anna: Person, fields: dict[str, Any], reason: str
) -> None:
    typing, query = await asked(bot, anna)
    answer = await http.post("answerInlineQuery", json={"inline_query_id": query.id, **fields})
    assert answer.status_code == 400
    assert reason in answer.json()["description"]
    await bot.answer_inline_query(query.id, [])
    assert (await typing).answer is not None
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await bot.answer_inline_query(query.id, [])


async def test_a_query_has_256_characters_and_its_answer_counts_for_a_while(
    bot: Bot, telegram: TelegramSandbox, anna: Person
) -> None:
    boris = telegram.person("Boris")
    typing, query = await asked(bot, anna, "x" * 256)
    assert (await bot.get_me()).supports_inline_queries
    await bot.answer_inline_query(query.id, [article()], is_personal=True, cache_time=60, next_offset="1")
    await typing
    before = telegram.bot.updates.sent
    again = await anna.ask_inline("x" * 300)
    assert again.answer is not None
    assert (again.answer.next_offset, telegram.bot.updates.sent) == ("1", before)
    typing, theirs = await asked(bot, boris, "x" * 256)
    await bot.answer_inline_query(theirs.id, [])
    assert theirs.from_user.id == boris.id
    await typing
    telegram.bot.inline.enabled = False
    with pytest.raises(ValueError, match="no inline mode"):
        await anna.ask_inline("fox")


async def test_what_is_sent_is_known_by_its_buttons(
    bot: Bot, telegram: TelegramSandbox, anna: Person
) -> None:
    bare = await sent(bot, anna, "bare")
    assert bare.inline_id is None
    assert not any("chosen_inline_result" in u.body for u in telegram.bot.updates.pending.values())
    telegram.bot.inline.feedback = True
    message = await sent(bot, anna)
    [update] = [u for u in await bot.get_updates() if u.chosen_inline_result]
    chosen = update.chosen_inline_result
    assert chosen is not None
    assert (chosen.result_id, chosen.query, chosen.inline_message_id) == ("make", "fox", message.inline_id)
    await anna.tap(message, "Make it")
    [tapped] = [u.callback_query for u in await bot.get_updates(offset=update.update_id + 1)]
    assert tapped is not None
    assert (tapped.message, tapped.inline_message_id) == (None, message.inline_id)


async def test_a_message_is_changed_by_its_inline_id_without_an_upload(
    bot: Bot, anna: Person, picture: Picture
) -> None:
    message = await sent(bot, anna)
    inline: dict[str, Any] = {"inline_message_id": message.inline_id}
    assert await bot.edit_message_text("drawing", **inline, reply_markup=BUTTONS) is True
    assert message.text == "drawing"
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await bot.edit_message_text("drawing", **inline, reply_markup=BUTTONS)
    with pytest.raises(TelegramBadRequest, match="invalid message content"):
        await bot.edit_message_media(InputMediaPhoto(media=BufferedInputFile(picture(), "a.png")), **inline)
    stored = await bot.send_photo(anna.id, BufferedInputFile(picture(), "a.png"))
    assert stored.photo
    photo = InputMediaPhoto(media=stored.photo[-1].file_id, caption="a fox")
    assert await bot.edit_message_media(photo, **inline) is True
    assert (message.has_photo, message.text, message.buttons) == (True, "a fox", [])
    # Telegram does not look what is in it: this is a picture still, with other words.
    await bot.edit_message_text("late words", **inline)
    assert (message.has_photo, message.text) == (True, "late words")
    await anna.delete(message)
    with pytest.raises(TelegramBadRequest, match="MESSAGE_ID_INVALID"):
        await bot.edit_message_caption(**inline, caption="x")


async def test_the_bot_hears_what_is_sent_through_it_where_it_is(
    bot: Bot, telegram: TelegramSandbox, anna: Person, picture: Picture
) -> None:
    group = telegram.group("Zoo", [anna])
    stored = await bot.send_photo(anna.id, BufferedInputFile(picture(), "a.png"))
    assert stored.photo
    typing, query = await asked(bot, anna)
    result = InlineQueryResultCachedPhoto(id="p", photo_file_id=stored.photo[-1].file_id)
    await bot.answer_inline_query(query.id, [result], cache_time=0)
    found = await typing
    assert found.answer is not None
    message = await anna.send_inline(found, found.answer.result("p"), chat=group)
    [told] = [u.message for u in await bot.get_updates() if u.message and u.message.chat.id == group.id]
    assert (told.message_id, told.via_bot and told.via_bot.id) == (message.message_id, bot.id)
    assert message.content["photo"][-1]["file_unique_id"] == stored.photo[-1].file_unique_id
