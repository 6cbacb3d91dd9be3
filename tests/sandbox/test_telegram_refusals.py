"""What Telegram refuses is refused, in the words clients match on."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from src.sandbox.telegram import Person, TelegramSandbox, entities
from tests.sandbox.conftest import Picture


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": ""}, "message text is empty"),
        ({"text": " \n "}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "😀" * 2049}, "message is too long"),
        ({"text": "<b>x</b>", "parse_mode": "HTML"}, "unsupported parse_mode"),
        ({"text": "x", "reply_markup": "[1]"}, "object expected as reply markup"),
        ({"text": "x", "reply_markup": "{"}, "can't parse reply keyboard markup JSON object"),
        (
            {"text": "x", "reply_markup": {"inline_keyboard": [{}]}},
            'field "inline_keyboard" must be an Array of Arrays',
        ),
        (
            {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (
            {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "я" * 33}]]}},
            "BUTTON_DATA_INVALID",
        ),
        ({"text": "\u200b \u200e"}, "message text is empty"),
        *(
            ({"text": "fox", "entities": [entity]}, reason)
            for entity, reason in (
                (
                    {"type": "rainbow", "offset": 0, "length": 1},
                    "can't parse MessageEntity: Unsupported type specified",
                ),
                (
                    {"type": "text_link", "offset": 0, "length": 1},
                    "can't parse MessageEntity: Can't find field \"url\"",
                ),
                ({"type": "bold", "offset": -1, "length": 1}, "receive an entity with incorrect offset -1"),
                (
                    {"type": "bold", "offset": 1, "length": 3},
                    "entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 4",
                ),
            )
        ),
        *(
            ({"text": "x", "reply_markup": {"inline_keyboard": rows}}, "reply markup is too long")
            for rows in (
                [[{"text": "a", "callback_data": "b"}]] * 101,
                [[{"text": "a" * 120, "callback_data": "b"}]] * 99,
            )
        ),
        (
            {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "Pay", "pay": True}]]}},
            "BUTTON_TYPE_INVALID",
        ),
        (
            {"text": "x", "reply_markup": {"force_reply": True, "input_field_placeholder": "x" * 65}},
            "REPLY_MARKUP_PLACEHOLDER_TOO_LONG",
        ),
        ({"text": "x", "message_effect_id": "1"}, "EFFECT_ID_INVALID"),
        ({"text": "x", "chat_id": ""}, "chat_id is empty"),
        ({"text": "x", "chat_id": 1}, "chat not found"),
    ],
)
async def test_a_message(http: httpx.AsyncClient, anna: Person, fields: dict, reason: str) -> None:
    answer = await http.post("sendMessage", json={"chat_id": anna.id, **fields})
    assert answer.status_code == 400
    assert answer.json() == {"ok": False, "error_code": 400, "description": f"Bad Request: {reason}"}
    assert len(anna.messages) == 1


async def test_the_longest_texts_pass(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    longest = {"chat_id": anna.id, "text": "😀" * 2048}
    assert (await http.post("sendMessage", json=longest)).status_code == 200
    form = {"chat_id": str(anna.id), "caption": "x" * 1024}
    files = {"photo": ("a.png", picture())}
    assert (await http.post("sendPhoto", data=form, files=files)).status_code == 200
    over = await http.post("sendPhoto", data={**form, "caption": "x" * 1025}, files=files)
    assert over.json()["description"] == "Bad Request: message caption is too long"


def test_entities_are_found_and_move_with_the_trimmed_text() -> None:
    given = [{"type": "bold", "offset": 4, "length": 4}]
    text, found = entities.parse(" 😀 bold https://e.org?a=1 /cmd ", "", given)
    assert text == "😀 bold https://e.org?a=1 /cmd"
    assert found == [
        {"type": "bold", "offset": 3, "length": 4},
        {"type": "url", "offset": 8, "length": 17},
        {"type": "bot_command", "offset": 26, "length": 4},
    ]


async def test_what_is_the_servers_own_to_find_is_dropped(http: httpx.AsyncClient, anna: Person) -> None:
    found = [{"type": "url", "offset": 0, "length": 3}, {"type": "bold", "offset": 0, "length": 3}]
    answer = await http.post("sendMessage", json={"chat_id": anna.id, "text": "fox", "entities": found})
    assert answer.json()["result"]["entities"] == [found[1]]


async def test_effects_and_app_buttons_are_for_private_chats(
    telegram: TelegramSandbox, http: httpx.AsyncClient, anna: Person
) -> None:
    group = telegram.group("Painters", [anna])
    app = {"inline_keyboard": [[{"text": "Open", "web_app": {"url": "https://bot.example/app"}}]]}
    for more, reason in (
        ({"message_effect_id": "5046509860389126442"}, "EFFECT_ID_INVALID"),
        ({"reply_markup": app}, "BUTTON_TYPE_INVALID"),
    ):
        here = await http.post("sendMessage", json={"chat_id": anna.id, "text": "x", **more})
        assert here.status_code == 200
        there = await http.post("sendMessage", json={"chat_id": group.id, "text": "x", **more})
        assert there.json()["description"] == f"Bad Request: {reason}"
    sent = anna.messages[1]
    same = {"chat_id": anna.id, "message_id": sent.message_id, "text": "x"}
    assert "not modified" in (await http.post("editMessageText", json=same)).json()["description"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://bot.example/hook", "bad webhook: An HTTPS URL must be provided for webhook"),
        (
            "https://bot.example:8080/hook",
            "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        ),
        ("bot.example", "invalid webhook URL specified"),
    ],
)
async def test_webhooks_are_https(http: httpx.AsyncClient, url: str, reason: str) -> None:
    answer = await http.post("setWebhook", json={"url": url})
    assert answer.json()["description"] == f"Bad Request: {reason}"


async def test_methods_the_bot_does_without(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    async def ask(method: str, **fields: object) -> Any:
        return (await http.post(method, json=fields)).json().get("result")

    photo = await anna.send_photo(picture(), "words")
    sources = [anna.messages[0].message_id, 999, photo.message_id]
    copies = await ask("copyMessages", chat_id=anna.id, from_chat_id=anna.id, message_ids=sources)
    assert [m.text for m in anna.messages[-2:]] == ["/start", "words"]
    assert [copy["message_id"] for copy in copies] == [m.message_id for m in anna.messages[-2:]]
    place = await ask("sendLocation", chat_id=anna.id, latitude=55.7, longitude=37.6)
    assert place["location"] == {"latitude": 55.7, "longitude": 37.6}
    assert await ask("sendLocation", chat_id=anna.id, latitude=155, longitude=0) is None
    assert (await ask("getUserProfilePhotos", user_id=anna.id))["total_count"] == 0
    app = {"type": "web_app", "text": "App", "web_app": {"url": "https://bot.example/app"}}
    assert await ask("setChatMenuButton", menu_button=app)
    assert await ask("getChatMenuButton", chat_id=anna.id) == app
    assert await ask("setChatMenuButton", menu_button={**app, "web_app": {"url": "http://x"}}) is None
    assert await ask("close")
    assert await ask("logOut")


async def test_an_album_of_one_is_a_message(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    media = json.dumps([{"type": "photo", "media": "attach://one"}])
    form = {"chat_id": str(anna.id), "media": media}
    answer = await http.post("sendMediaGroup", data=form, files={"one": ("a.png", picture())})
    [message] = answer.json()["result"]
    assert "media_group_id" not in message


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


async def test_photos_that_are_none(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    noise = io.BytesIO()
    Image.effect_noise((600, 600), 80).save(noise, "PNG")
    for data, reason in (
        (b"", "file must be non-empty"),
        (b"no picture at all", "IMAGE_PROCESS_FAILED"),
        (_cut(noise.getvalue()), "IMAGE_PROCESS_FAILED"),
        (picture(5001, 5000, "JPEG"), "PHOTO_INVALID_DIMENSIONS"),
        (picture(2100, 100), "PHOTO_INVALID_DIMENSIONS"),
        (
            bytes(10 * 1024 * 1024 + 1),
            "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes",
        ),
    ):
        answer = await http.post("sendPhoto", data={"chat_id": anna.id}, files={"photo": ("a.png", data)})
        assert answer.json()["description"] == f"Bad Request: {reason}"
    assert len(anna.messages) == 1


async def test_files_named_wrongly(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    document = await anna.send_document(picture())
    for name, reason in (
        (document.content["document"]["file_id"], "can't use file of type Document as Photo"),
        ("nonsense", "wrong file identifier/HTTP URL specified"),
        ("attach://lost", "wrong file identifier/HTTP URL specified"),
        ("", "there is no photo in the request"),
    ):
        answer = await http.post("sendPhoto", json={"chat_id": anna.id, "photo": name})
        assert answer.json()["description"] == f"Bad Request: {reason}"


async def test_edits(http: httpx.AsyncClient, anna: Person, picture: Picture) -> None:
    await http.post("sendPhoto", data={"chat_id": anna.id}, files={"photo": ("a.png", picture())})
    photo, own = anna.messages[1].message_id, anna.messages[0].message_id
    await http.post("sendMessage", json={"chat_id": anna.id, "text": "t"})
    text = anna.messages[2].message_id
    for method, number, reason in (
        ("editMessageText", photo, "there is no text in the message to edit"),
        ("editMessageCaption", text, "there is no caption in the message to edit"),
        ("editMessageText", own, "message can't be edited"),
        ("editMessageText", 999, "message to edit not found"),
        ("editMessageText", None, "message identifier is not specified"),
        ("editMessageReplyMarkup", text, "message is not modified"),
    ):
        fields = {"chat_id": anna.id, "message_id": number, "text": "new"}
        answer = await http.post(method, json=fields)
        assert reason in answer.json()["description"]


async def test_what_the_url_says(telegram: TelegramSandbox, http: httpx.AsyncClient) -> None:
    unknown = await http.get("sendTelepathy")
    assert (unknown.status_code, unknown.json()["description"]) == (404, "Not Found: method not found")
    stranger = await http.get(f"{telegram.url}/bot1:nobody/getMe")
    assert (stranger.status_code, stranger.json()["description"]) == (401, "Unauthorized")
    broken = await http.post("sendMessage", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 400
    parts = await http.post(
        "sendPhoto", content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"}
    )
    assert parts.status_code == 400


async def test_a_group_that_moved_says_where_to(
    telegram: TelegramSandbox, http: httpx.AsyncClient, anna: Person
) -> None:
    old = telegram.group("Painters", [anna], type="group")
    new = telegram.migrate(old)
    answer = await http.post("sendMessage", json={"chat_id": old.id, "text": "x"})
    assert json.loads(answer.content)["parameters"] == {"migrate_to_chat_id": new.id}
    assert (await http.post("sendMessage", json={"chat_id": new.id, "text": "x"})).status_code == 200
