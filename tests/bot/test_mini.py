"""The Mini App: who is let in, what it does, and the page in a real browser of a phone's size."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from aiogram.types import MenuButtonWebApp, WebAppInfo
from aiohttp import web

from src.api import mini
from src.api.app import make_api
from src.jobs import credit, keys
from src.sandbox.page import ChatPage
from src.sandbox.telegram import DEMO_TOKEN, Person
from src.sandbox.telegram.control import Control
from src.sandbox.telegram.web_apps import init_data
from src.sandbox.traces import TraceSandbox
from src.sandbox.web_apps import WebApps
from src.telegram.i18n import get_texts
from tests.axe import serious
from tests.bot.bot_world import World, image
from tests.browser import CHROMIUM, chromium

MINI_APP = "https://imagebot.invalid/app"
SAID = {
    "en": {
        "title": "Your pictures",
        "again": "Again",
        "drawing": "see the chat",
        "made": "What came of it",
        "star": "⭐ Favourite",
        "close": "Close",
        "only": "Favourites only",
        "delete": "🗑 Delete",
        "sure": "Really delete?",
        "settings": "Settings",
        "empty": "No pictures here yet",
        "left": "Bought and not used: 4",
        "buy": "Buy pictures",
    },
    "ru": {
        "title": "Ваши картинки",
        "again": "Ещё раз",
        "drawing": "смотрите в чате",
        "made": "Что из неё вышло",
        "star": "⭐ В избранное",
        "close": "Закрыть",
        "only": "Только избранное",
        "delete": "🗑 Удалить",
        "sure": "Точно удалить?",
        "settings": "Настройки",
        "empty": "Здесь пока нет картинок",
        "left": "Куплено и не потрачено: 4",
        "buy": "Купить картинки",
    },
}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"star_packs": "50=2", "free_pictures_day": 3, "mini_app_url": MINI_APP}


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    api = make_api(world.app)
    api.include_router(mini.make_router(world.app, world.bot))
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_what_is_left_is_said_though_telegram_is_silent(
    world: World, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = world.sandbox.person("Anna")
    said = {"authorization": f"tma {init_data(DEMO_TOKEN, anna)}"}
    # As after a start: the bot's name is not known yet.
    monkeypatch.setattr(world.bot, "_me", None)
    world.sandbox.faults.add("500", "getMe")
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        for buy in (False, True):
            told = (await client.get("/app/left", headers=said)).json()
            assert told["lines"]
            assert bool(told["buy"]) is buy


async def drawn(world: World, person: Person, words: str, colour: str) -> str:
    await person.reply_after(await person.send_text(words))
    [job] = await world.active(person.id)
    await world.finished(job, image(400, 300, colour=colour))
    return job.id


async def test_only_whom_telegram_vouches_for_is_let_in_and_to_their_own(world: World, address: str) -> None:
    anna, eve = world.sandbox.person("Anna"), world.sandbox.person("Eve")
    job = await drawn(world, anna, "a fox", "red")
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        good = init_data(DEMO_TOKEN, anna)
        forged = good.replace(quote(f'"id":{anna.id}'), quote(f'"id":{eve.id}'))
        assert forged != good
        for shown in ("", "tma", f"Bearer {good}", f"tma {forged}", f"tma {init_data('1:x', anna)}"):
            assert (await client.get("/app/data", headers={"authorization": shown})).status_code == 401
        odd = {"authorization": "tma auth_date=1&hash=%C3%A9"}
        assert (await client.get("/app/data", headers=odd)).status_code == 401
        old = {"authorization": f"tma {init_data(DEMO_TOKEN, anna, at=time.time() - 90_000)}"}
        assert (await client.get("/app/data", headers=old)).status_code == 401

        theirs, own = {"authorization": f"tma {init_data(DEMO_TOKEN, eve)}"}, {"authorization": f"tma {good}"}
        assert (await client.get("/app/data", headers=theirs)).json()["pictures"] == []
        for method, path, body in (
            ("GET", f"/app/pictures/{job}", None),
            ("DELETE", f"/app/pictures/{job}", None),
            ("POST", f"/app/pictures/{job}/star", {"on": True}),
            ("POST", f"/app/pictures/{job}/again", {"key": "12345678"}),
        ):
            assert (await client.request(method, path, json=body, headers=theirs)).status_code == 404
        picture = await client.get(f"/app/pictures/{job}?small=true", headers=own)
        assert picture.headers["content-type"] == "image/jpeg"
        assert DEMO_TOKEN not in str(picture.headers) + (await client.get("/app")).text
        for on in (True, True, False):
            told = await client.post(f"/app/pictures/{job}/star", json={"on": on}, headers=own)
            assert told.json() == {"starred": on}
            assert await world.app.ledger.starred(str(anna.id)) == [job] * on
        # Asked twice by the same key it is drawn once.
        for _ in range(2):
            asked = await client.post(f"/app/pictures/{job}/again", json={"key": "12345678"}, headers=own)
            assert asked.status_code == 200
        [again] = await world.active(anna.id)
        assert (again.spec.parent, again.spec.how, again.spec.chat) == (job, "again", anna.id)
        first = await world.app.ledger.job(job)
        assert first is not None
        assert again.spec.model == first.spec.model
        await world.parts.progress.tick()
        assert (await world.request_of(again)).messages
        wrong = {"aspect": "7:1", "count": 99, "keep": 5, "first": "file", "lang": "ru"}
        changed = (await client.post("/app/settings", json=wrong, headers=own)).json()
        assert [changed[name][0] for name in ("aspect", "count", "keep", "first", "lang")] == [
            *("1:1", 1, 30, "file", "ru")
        ]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("lang", "width", "dark"), [("en", 390, False), ("ru", 390, True), ("ru", 1280, False)]
)
async def test_the_page_in_a_browser(
    world: World, address: str, tmp_path: Path, lang: str, width: int, dark: bool
) -> None:
    say = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    await credit.promise(world.app.ledger, "FOX", 4, 1)
    await world.app.ledger.run(credit.redeem("FOX", str(anna.id), teller="1"))
    first = await drawn(world, anna, "a red fox", "red")
    second = await drawn(world, anna, "a green owl", "green")
    await world.app.redis.hset(
        keys.JOB(second),
        "spec",
        json.dumps(
            json.loads(await world.app.redis.hget(keys.JOB(second), "spec"))
            | {"parent": first, "how": "edit"}
        ),
    )
    shown = json.loads(await world.app.redis.hget(keys.JOB(first), "shown")) | {"borderline": True}
    await world.app.redis.hset(keys.JOB(first), "shown", json.dumps(shown))
    colours = {"bg_color": "#17212b" if dark else "#ffffff"}
    url = f"{address}/app#tgWebAppData={quote(init_data(DEMO_TOKEN, anna))}&tgWebAppThemeParams={quote(json.dumps(colours))}"
    async with chromium(tmp_path) as page:
        await page.open(url, width=width, height=844, dark=dark)
        await page.wait(
            "[...document.querySelectorAll('main img')].filter((i) => i.naturalWidth > 100).length === 2"
        )
        assert await page.run("document.title") == say["title"]
        covered = (
            "[...document.querySelectorAll('main img')].map((i) => getComputedStyle(i).filter !== 'none')"
        )
        assert await page.run(covered) == [False, True]
        assert await page.run("document.documentElement.scrollWidth") <= width
        background = await page.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) is dark
        assert await serious(page) == []
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(Path(folder) / f"mini-{lang}.png")

        await page.click("a red fox")
        await page.wait(
            f"document.querySelector('#picture .body').textContent.includes({json.dumps(say['made'])})"
        )
        await page.wait("document.querySelector('#picture img').naturalWidth === 400")
        assert await serious(page) == []
        if folder:
            await page.screenshot(Path(folder) / f"mini-picture-{lang}.png")
        await page.click("a green owl")
        await page.wait("document.querySelector('#picture p').textContent === 'a green owl'")
        await page.click(say["again"])
        await page.wait(
            f"document.querySelector('[role=status]').textContent.includes({json.dumps(say['drawing'])})"
        )
        [again] = await world.active(anna.id)
        assert again.spec.parent == second
        await page.click(say["star"])
        await page.click(say["close"])
        await page.click(say["only"])
        await page.wait("document.querySelectorAll('main button').length === 1")
        await page.click("a green owl")
        await page.click(say["delete"])
        await page.click(say["sure"])
        await page.wait(f"document.querySelector('main').textContent.includes({json.dumps(say['empty'])})")
        assert await world.app.ledger.job(second) is None
        await page.click(say["settings"])
        await page.run(
            "(() => { const s = document.querySelector('#choose-first'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })()"
        )
        async with asyncio.timeout(20):
            while (await world.app.ledger.person(str(anna.id))).first != "file":
                await asyncio.sleep(0.02)
        await page.wait(f"document.querySelector('.left').textContent.includes({json.dumps(say['left'])})")
        await page.run(
            "window.told = []; window.TelegramWebviewProxy = { postEvent: (eventType, data) => "
            "window.told.push(JSON.stringify({ eventType, eventData: JSON.parse(data) })) }"
        )
        await page.click(say["buy"])
        name = (await world.bot.me()).username
        opened = {"eventType": "web_app_open_tg_link", "eventData": {"path_full": f"/{name}?start=buy"}}
        assert json.loads((await page.run("window.told"))[-1]) == opened
        if folder:
            await page.screenshot(Path(folder) / f"mini-settings-{lang}-{width}.png")
        assert await serious(page) == []
        # Nothing on the page is without a name for who cannot see it.
        nameless = "[...document.querySelectorAll('button, select, input')].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))"
        assert await page.run(f"{nameless}.length") == 0
        assert page.errors == []


@pytest.fixture
async def chat_page(world: World, address: str) -> AsyncIterator[str]:
    """The demo's page, for the people of the world."""
    app = web.Application()
    for part in (Control(world.sandbox), TraceSandbox(), ChatPage(), WebApps(address)):
        part.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
async def test_the_demo_opens_it_in_a_frame_and_has_a_group(
    world: World, chat_page: str, tmp_path: Path
) -> None:
    words = {
        "en": ("A group, as a member", "A group of your own", "does not see this message", "what a view"),
        "ru": ("Группа, вы участник", "Своя группа", "не видит этого сообщения", "какой вид"),
    }
    folder = os.environ.get("SCREENSHOTS")
    button = MenuButtonWebApp(text="All of it", web_app=WebAppInfo(url=MINI_APP))
    await world.bot.set_chat_menu_button(menu_button=button)
    async with chromium(tmp_path) as page:

        async def shown(text: str, where: str = "#messages") -> None:
            await page.wait(f"document.querySelector('{where}').textContent.includes({json.dumps(text)})")

        async def looked_at(name: str) -> None:
            assert await page.run("document.documentElement.scrollWidth") <= width
            assert await serious(page) == []
            if folder:
                await page.screenshot(Path(folder) / f"{name}-{lang}.png")

        for lang, width, dark in (("en", 360, True), ("ru", 1280, False)):
            say, (member, admin, unseen, others) = get_texts().translator(lang), words[lang]
            anna = world.sandbox.person(language_code=lang)
            await drawn(world, anna, "a red fox", "red")
            await page.open(f"{chat_page}/?person={anna.id}", width=width, height=740, dark=dark)
            await anna.send_text("/history")
            await page.click(say("button-app"))
            frame = "document.querySelector('#app iframe')?.contentDocument"
            opened = f"{frame}?.title === {json.dumps(say('app-title'))}"
            await page.wait(opened)
            await page.wait(f"[...{frame}.querySelectorAll('main img')].some((i) => i.naturalWidth > 100)")
            colours = await page.run(f"{frame}.documentElement.className")
            assert colours == ("dark" if dark else "light")
            await looked_at("frame")
            await page.run(f"{frame}.querySelector('#open-settings').click()")
            await page.wait(f"{frame}.querySelector('.left button') !== null")
            await page.run(f"{frame}.querySelector('.left button').click()")
            await page.wait("document.querySelector('#app iframe') === null")
            await shown("/start buy")
            await page.click("All of it")
            await page.wait(opened)
            await page.run("document.querySelector('#app button').click()")
            await page.wait("document.querySelector('#app iframe') === null")

            await page.run("document.querySelector('#chats').click()")
            await page.click(member)
            await page.wait("document.querySelectorAll('.message.theirs .sender').length > 0")
            # No chip offers words that nobody answers; who writes them is told so.
            assert others not in await page.run("document.querySelector('#chips').textContent")
            await page.run(f"document.querySelector('#text').value = {json.dumps(others)}")
            await page.run("document.querySelector('#form').requestSubmit()")
            await shown(others)
            await shown(unseen, "#trace-body")
            await page.click("/imagine")
            await page.wait("document.querySelectorAll('.message.own').length === 2")
            [job] = await world.active(anna.id)
            group = world.sandbox.bot.chats[job.spec.chat]
            assert (group.type, group.roles[anna.id]) == ("supergroup", "member")
            await looked_at("group")
            await page.click("/rules")
            await shown(say("rules").splitlines()[0])
            await page.run("[...document.querySelectorAll('.key')].at(-1).click()")
            await shown(say("rules-for-admins"), "#alert")
            await page.run("document.querySelector('#alert').close()")
            await page.run("document.querySelector('#chats').click()")
            await page.click(admin)
            await shown({"en": "you are an admin", "ru": "вы админ"}[lang], "#status")
            await page.click("/rules")
            await shown(say("rules").splitlines()[0])
            await page.run("[...document.querySelectorAll('.key')].at(-1).click()")
            await shown(say("toast-saved"), "#toasts")
            asked = [message.text for message in group.messages.values() if message.sender["id"] == anna.id]
            seen = [m.text for m in group.messages.values() if m.sender["id"] == anna.id and m.update_id]
            assert len(asked) == 3
            assert seen == [text for text in asked if text.startswith("/")]
        assert page.errors == []
