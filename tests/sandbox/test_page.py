"""The chat page's side over HTTP, and the whole sandbox as the process the demo starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from aiogram import Bot
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultCachedPhoto,
)
from aiohttp import web

from src.sandbox.__main__ import build
from src.sandbox.page import ChatPage
from src.sandbox.telegram import DEMO_STORE, DEMO_TOKEN, Person, TelegramSandbox
from src.sandbox.telegram.store import FolderStore
from tests.sandbox.conftest import Picture

PAGE = Path(__file__).parents[2] / "src" / "sandbox" / "page"


@pytest.fixture
async def page(telegram: TelegramSandbox) -> Any:
    async with httpx.AsyncClient(base_url=f"{telegram.url}/sandbox/") as client:
        yield client


async def events(telegram: TelegramSandbox, person: Person) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{telegram.url}/sandbox/people/{person.id}/events") as socket,
    ):
        async for message in socket:
            body = json.loads(message.data)
            yield body["event"], body["data"]


async def test_a_conversation_as_the_page_has_it(
    telegram: TelegramSandbox, bot: Bot, page: httpx.AsyncClient, picture: Picture
) -> None:
    made = (await page.post("people", json={"first_name": "Вера", "language_code": "ru"})).json()
    person = telegram.person(id=made["id"])
    await bot.set_my_commands([BotCommand(command="start", description="Начать")], language_code="ru")
    stream = events(telegram, person)
    async with asyncio.timeout(40):
        kind, data = await anext(stream)
        assert kind == "snapshot"
        assert data["messages"] == []
        assert data["person"]["commands"] == [{"command": "start", "description": "Начать"}]

        sent = (await page.post(f"people/{person.id}/messages", json={"text": "лиса"})).json()
        assert (await anext(stream))[1]["text"] == "лиса"
        assert (await anext(stream))[1]["update_id"] == sent["update_id"]

        key = InlineKeyboardButton(text="Отмена", callback_data="no")
        placeholder = await bot.send_message(
            person.id, "жду", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[key]])
        )
        assert (await anext(stream))[1]["reply_markup"]["inline_keyboard"][0][0]["text"] == "Отмена"
        tapped = await page.post(
            f"people/{person.id}/taps", json={"message_id": placeholder.message_id, "data": "no"}
        )
        query = (await bot.get_updates())[-1].callback_query
        assert query
        assert query.id == tapped.json()["query_id"]
        await query.answer("Отменено").as_(bot)
        assert await anext(stream) == (
            "answer",
            {
                "query_id": query.id,
                "person_id": person.id,
                "text": "Отменено",
                "show_alert": False,
                "url": "",
            },
        )
        await bot.edit_message_text("готово", chat_id=person.id, message_id=placeholder.message_id)
        kind, data = await anext(stream)
        assert (kind, data["text"], data["revision"]) == ("edited", "готово", 2)
        await page.delete(f"people/{person.id}/messages/{placeholder.message_id}")
        assert (await anext(stream))[0] == "deleted"

        answer = await page.post(
            f"people/{person.id}/messages",
            data={"text": "сделай зиму", "reply_to": str(sent["message_id"])},
            files={"photo": ("a.png", picture())},
        )
        unique = answer.json()["photo"][-1]["file_unique_id"]
        shown = await page.get(f"files/{unique}")
        assert (shown.headers["content-type"], shown.content[:2]) == ("image/jpeg", b"\xff\xd8")
        assert answer.json()["reply_to_message"]["text"] == "лиса"
    await stream.aclose()


async def test_language_blocking_and_others(
    telegram: TelegramSandbox, bot: Bot, page: httpx.AsyncClient, anna: Person
) -> None:
    ben = telegram.person("Ben")
    await ben.send_text("hi")
    stream = events(telegram, anna)
    async with asyncio.timeout(40):
        await anext(stream)
        await bot.send_message(ben.id, "for Ben")
        assert await anext(stream) == ("activity", {"chat_id": ben.id})
        await page.patch(f"people/{anna.id}", json={"language_code": "ru", "blocked": True})
        assert (await anext(stream))[0] == "person"
    await stream.aclose()
    assert anna.record.language_code == "ru"
    assert anna.chat.blocked
    assert [person["first_name"] for person in (await page.get("people")).json()] == ["Anna", "Ben"]


async def test_a_file_of_a_stranger_cannot_act_as_a_page(page: httpx.AsyncClient, anna: Person) -> None:
    upload = await page.post(
        f"people/{anna.id}/messages",
        files={"document": ("evil.html", b"<script>alert(1)</script>", "text/html")},
    )
    unique = upload.json()["document"]["file_unique_id"]
    shown = await page.get(f"files/{unique}")
    assert shown.headers["content-type"] == "application/octet-stream"
    assert shown.headers["content-disposition"] == "attachment"


async def test_other_sites_may_not_act(page: httpx.AsyncClient, anna: Person) -> None:
    answer = await page.post(
        f"people/{anna.id}/messages", json={"text": "x"}, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert len(anna.messages) == 1


async def test_faults_calls_and_raw_updates_over_http(
    telegram: TelegramSandbox, bot: Bot, page: httpx.AsyncClient, anna: Person
) -> None:
    added = await page.post("faults", json={"method": "sendMessage", "kind": "500", "times": 3})
    assert added.status_code == 201
    assert (await page.get("faults")).json()[0]["times"] == 3
    for wrong in ({"kind": "gremlins"}, {"kind": "500", "colour": "red"}, {}):
        assert (await page.post("faults", json=wrong)).status_code == 400
    await page.delete("faults")
    await bot.send_message(anna.id, "x")
    calls = (await page.get("calls", params={"chat_id": anna.id})).json()
    assert [call["method"] for call in calls["calls"]] == ["sendMessage"]
    injected = await page.post("updates", json={"poll": {"id": "1"}})
    assert injected.json()["update_id"] in telegram.bot.updates.pending


async def test_nonsense_is_told_so(page: httpx.AsyncClient, anna: Person) -> None:
    for method, path, body in (
        ("POST", "people", {}),
        ("GET", "people/x/chat", None),
        ("GET", "people/5/chat", None),
        ("POST", f"people/{anna.id}/messages", {"text": "  "}),
        ("POST", f"people/{anna.id}/taps", {"message_id": 99, "data": "x"}),
        ("DELETE", f"people/{anna.id}/messages/99", None),
        ("GET", "files/none", None),
        ("GET", f"people/{anna.id}/chat?chat=-100", None),
        ("POST", f"people/{anna.id}/group", {"role": "creator"}),
        ("POST", f"people/{anna.id}/web_app", {"url": "https://nobody.offered.it"}),
    ):
        answer = await page.request(method, path, json=body)
        assert answer.status_code in (400, 404), path


async def test_every_file_the_page_asks_for_is_served() -> None:
    app = web.Application()
    ChatPage().add_to(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            index = await client.get("/")
            assert "default-src 'self'" in index.headers["content-security-policy"]
            seen: set[str] = set()
            wanted = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', index.text))
            while wanted:
                path = wanted.pop()
                seen.add(path)
                answer = await client.get(path)
                assert answer.status_code == 200, path
                wanted |= set(re.findall(r'from "(/page/[^"]+)"', answer.text)) - seen
            assert {f"/page/{file.name}" for file in PAGE.glob("*.js")} <= seen
    finally:
        await runner.cleanup()


def test_the_page_never_makes_markup_of_text() -> None:
    for script in PAGE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", script.read_text())


def test_both_languages_have_the_same_words() -> None:
    text = (PAGE / "labels.js").read_text()
    languages = re.findall(r"= \{(.*?)\};", text, re.S)
    english, russian = (re.findall(r"\b([a-z]\w*): (?=\"[^,]|\[)", language, re.A) for language in languages)
    assert {"people", "welcome", "traceOff", "prompts"} <= set(english)
    assert english == russian


async def test_the_sandbox_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.sandbox", "--port", "0", "--data", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        async with asyncio.timeout(30):
            url = json.loads(await process.stdout.readline())["url"]
            async with httpx.AsyncClient(base_url=url) as client:
                me = await client.get(f"/bot{DEMO_TOKEN}/getMe")
                assert me.json()["result"]["username"] == "imagebot_sandbox_bot"
                for path in ("/", "/traces/waterfall.js"):
                    assert (await client.get(path)).status_code == 200
                polling = asyncio.create_task(
                    client.get(f"/bot{DEMO_TOKEN}/getUpdates", params={"timeout": 50}, timeout=60)
                )
                calls = await client.get("/sandbox/calls")
                assert calls.status_code == 200
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                await asyncio.gather(polling, return_exceptions=True)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_the_bot_offers_inline_is_sent_from_the_page(
    telegram: TelegramSandbox, bot: Bot, page: httpx.AsyncClient, anna: Person, picture: Picture
) -> None:
    telegram.bot.inline.feedback = True
    sent = await bot.send_photo(anna.id, BufferedInputFile(picture(), "fox.png"))
    assert sent.photo
    telegram.bot.updates.drop_all()
    typing = asyncio.create_task(page.post(f"people/{anna.id}/inline", json={"query": "fox"}))
    (update,) = await bot.get_updates(timeout=30)
    query = update.inline_query
    assert query is not None
    key = InlineKeyboardButton(text="Make it", callback_data="make")
    photo = InlineQueryResultCachedPhoto(
        id="p",
        photo_file_id=sent.photo[-1].file_id,
        title="a fox",
        reply_markup=InlineKeyboardMarkup(inline_keyboard=[[key]]),
    )
    await query.answer([photo], cache_time=0)
    offered = (await typing).json()
    (result,) = offered["results"]
    assert (result["title"], result["photo"]) == ("a fox", sent.photo[0].file_unique_id)
    assert (await page.get(f"files/{result['photo']}")).status_code == 200
    path = f"people/{anna.id}/inline/{offered['query_id']}"
    assert (await page.post(path, json={"result": "nothing"})).status_code == 404
    shown = (await page.post(path, json={"result": "p"})).json()
    assert shown["reply_markup"]["inline_keyboard"][0][0]["text"] == "Make it"
    told = await bot.get_updates(offset=update.update_id + 1)
    assert shown["update_id"] in [u.update_id for u in told if u.chosen_inline_result]
    telegram.bot.inline.enabled = False
    refused = await page.post(f"people/{anna.id}/inline", json={"query": "fox"})
    assert (refused.status_code, refused.text) == (400, "the bot has no inline mode")


def test_the_demo_has_a_store(tmp_path: Path) -> None:
    for _ in range(2):
        build(data=tmp_path)
    with contextlib.closing(FolderStore(tmp_path / "telegram")) as store:
        assert [chat["id"] for chat in store.load("chat")] == [DEMO_STORE]
