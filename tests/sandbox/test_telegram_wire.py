"""The wire shapes other clients use, by hand and through two more client libraries."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from src.sandbox.telegram import DEMO_TOKEN, Person, TelegramSandbox
from tests.sandbox.conftest import Picture
from tests.vendors import Vendor

ptb, telebot = Vendor("telegram"), Vendor("telebot")
telebot_client, helper = Vendor("telebot.async_telebot"), Vendor("telebot.asyncio_helper")


def result(answer: httpx.Response) -> dict:
    body = answer.json()
    assert body["ok"], body
    return body["result"]


async def test_a_file_part_named_as_its_parameter(
    http: httpx.AsyncClient, anna: Person, picture: Picture
) -> None:
    sent = await http.post(
        "sendPhoto", data={"chat_id": anna.id, "caption": "c"}, files={"photo": ("a.png", picture())}
    )
    assert result(sent)["photo"][-1]["width"] == 640
    assert anna.messages[-1].sha256 == hashlib.sha256(picture()).hexdigest()


async def test_a_file_part_of_any_name(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    fields = {"chat_id": str(anna.id), "photo": "attach://k3j4"}
    await http.post("sendPhoto", data=fields, files={"k3j4": ("a.png", picture())})
    assert anna.messages[-1].sha256 == hashlib.sha256(picture()).hexdigest()


async def test_parameters_in_the_query(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    query = {"chat_id": anna.id, "caption": "from the query"}
    await http.post("sendPhoto", params=query, files={"photo": ("a.png", picture())})
    assert anna.messages[-1].text == "from the query"


async def test_json_forms_and_get_in_any_case(http: httpx.AsyncClient, anna: Person) -> None:
    markup = {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}
    await http.post("sendmessage", json={"chat_id": anna.id, "text": "one", "reply_markup": markup})
    await http.post(
        "SENDMESSAGE", data={"chat_id": anna.id, "text": "two", "reply_markup": json.dumps(markup)}
    )
    await http.get("sendMessage", params={"chat_id": anna.id, "text": "three"})
    assert [message.text for message in anna.messages[1:]] == ["one", "two", "three"]
    assert anna.messages[1].markup == anna.messages[2].markup == markup


async def test_python_telegram_bot(telegram: TelegramSandbox, anna: Person, picture: Picture) -> None:
    async with ptb.Bot(
        DEMO_TOKEN, base_url=f"{telegram.url}/bot", base_file_url=f"{telegram.url}/file/bot"
    ) as client:
        placeholder = await client.send_message(anna.id, "wait")
        edited = await client.edit_message_media(
            ptb.InputMediaPhoto(picture(), caption="done"), chat_id=anna.id, message_id=placeholder.message_id
        )
        assert isinstance(edited, ptb.Message)
        file = await client.get_file(edited.photo[-1].file_id)
        assert len(await file.download_as_bytearray()) == edited.photo[-1].file_size
        album = await client.send_media_group(
            anna.id, [ptb.InputMediaPhoto(picture()), ptb.InputMediaPhoto(edited.photo[-1].file_id)]
        )
        assert len(album) == 2
        updates = await client.get_updates(timeout=1)
        assert updates[0].message
        assert updates[0].message.text == "/start"
        telegram.faults.add("429", "sendMessage", retry_after=4)
        with pytest.raises(ptb.error.RetryAfter):
            await client.send_message(anna.id, "x")
        with pytest.raises(ptb.error.BadRequest, match="Message is not modified"):
            await client.edit_message_caption(anna.id, placeholder.message_id, caption="done")
        await anna.block()
        with pytest.raises(ptb.error.Forbidden):
            await client.send_photo(anna.id, picture())


async def test_telebot(
    telegram: TelegramSandbox, anna: Person, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telebot.asyncio_helper.API_URL", telegram.url + "/bot{0}/{1}")
    monkeypatch.setattr("telebot.asyncio_helper.FILE_URL", telegram.url + "/file/bot{0}/{1}")
    client = telebot_client.AsyncTeleBot(DEMO_TOKEN)
    try:
        sent = await client.send_photo(anna.id, picture(), caption="hi")
        info = await client.get_file(sent.photo[-1].file_id)
        assert len(await client.download_file(info.file_path)) == sent.photo[-1].file_size
        media = telebot.types.InputMediaPhoto(picture(colour="red"))
        await client.edit_message_media(media, anna.id, sent.message_id)
        assert len(anna.messages[-1].pictures) == 2
        updates = await client.get_updates(timeout=1)
        assert updates[0].message.text == "/start"
        with pytest.raises(helper.ApiTelegramException, match="chat not found"):
            await client.send_message(5, "x")
    finally:
        await client.close_session()
