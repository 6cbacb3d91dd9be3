"""/settings, /start, /help, the command menus and the language a person hears."""

from __future__ import annotations

import pytest
from aiogram.types import MenuButtonWebApp, WebAppInfo

from src.bot.process import show_commands
from src.telegram.i18n import get_texts, language_of
from tests.bot.bot_world import World


async def test_settings_are_shown_kept_and_used(world: World) -> None:
    anna = world.sandbox.person()
    shown = await anna.reply_after(await anna.send_text("/settings"))
    assert [b["text"] for b in shown.buttons][:3] == ["• as in Telegram", "English", "Русский"]
    for button in ("2:3", "s|count|2"):
        assert (await (await anna.tap(shown, button)).answered())["text"] == "Saved."
    await (await anna.tap(shown, "2:3")).answered()
    await world.settled()
    assert "Format: 2:3" in shown.text
    assert "Model: GPT Image 2.5 Flare" in shown.text
    assert "You get: 🖼 As a photo" in shown.text
    await world.app.ledger.choose(str(anna.id), model="nano-banana-2-1")
    await (await anna.tap(shown, "The original")).answered()
    await anna.wait_for(lambda m: m is shown and "You get: 📎 The original" in m.text)
    # Nobody here has the one that was chosen.
    assert "Model: GPT Image 2.5 Flare" in shown.text
    assert (await (await anna.tap(shown, "Русский")).answered())["text"] == "Сохранено."
    await anna.wait_for(lambda m: m is shown and "Язык: Русский" in m.text)
    placeholder = await anna.reply_after(await anna.send_text("a fox"))
    jobs = await world.active(anna.id)
    assert [(job.spec.aspect, job.spec.lang) for job in jobs] == [("2:3", "ru")] * 2
    assert placeholder.has_photo
    await anna.wait_for(lambda m: "Готово 0 из 2" in m.text)


async def test_start_and_help_in_the_persons_language(world: World) -> None:
    boris = world.sandbox.person("Борис", language_code="ru")
    assert "Здравствуйте" in (await boris.reply_after(await boris.send_text("/start"))).text
    helped = await boris.reply_after(await boris.send_text("/help"))
    assert "10 раз за 60 секунд" in helped.text


async def test_admin_commands_exist_for_admins_only(world: World) -> None:
    admin, anna = world.sandbox.person("Root", id=77), world.sandbox.person("Anna")
    await anna.reply_after(await anna.send_text("a fox"))
    for command in ("/stats", "/jobs", f"/block {anna.id}"):
        assert "don’t know that command" in (await anna.reply_after(await anna.send_text(command))).text
    stats = await admin.reply_after(await admin.send_text("/stats"))
    assert "Now waiting 0, being drawn 1" in stats.text
    assert "Asked 1" in stats.text
    assert "/ban ID" in (await admin.reply_after(await admin.send_text("/block Anna"))).text
    blocked = await admin.reply_after(await admin.send_text(f"/block {anna.id}"))
    assert "pictures cancelled: 1" in blocked.text
    assert "can’t order" in (await anna.reply_after(await anna.send_text("a bear"))).text
    await admin.reply_after(await admin.send_text(f"/unblock {anna.id}"))
    assert "Drawing" in (await anna.reply_after(await anna.send_text("a bear"))).text
    assert "No failed jobs" in (await admin.reply_after(await admin.send_text("/jobs"))).text
    [job] = await world.active(anna.id)
    await world.failed(job, "upstream")
    assert job.id in (await admin.reply_after(await admin.send_text("/jobs"))).text


async def test_the_menu_button_goes_with_its_page_and_no_other_does(world: World) -> None:
    anna = world.sandbox.person()
    page = "https://pictures.example/app"
    with_page = world.settings.model_copy(update={"mini_app_url": page})
    for url in ("https://old.example/app", page):
        await show_commands(world.bot, get_texts(), world.settings.model_copy(update={"mini_app_url": url}))
        assert (await world.bot.get_chat_menu_button(chat_id=anna.id)).web_app.url == url
    await show_commands(world.bot, get_texts(), world.settings)
    assert (await world.bot.get_chat_menu_button(chat_id=anna.id)).type != "web_app"
    by_botfather = MenuButtonWebApp(text="Shop", web_app=WebAppInfo(url="https://shop.example/"))
    await world.bot.set_chat_menu_button(menu_button=by_botfather)
    for settings in (world.settings, with_page):
        await show_commands(world.bot, get_texts(), settings)
        assert (await world.bot.get_chat_menu_button(chat_id=anna.id)).text == "Shop"


async def test_menus_are_set_for_each_language(world: World) -> None:
    anna = world.sandbox.person()
    page = "https://pictures.example/app"
    await show_commands(world.bot, get_texts(), world.settings.model_copy(update={"mini_app_url": page}))
    button = await world.bot.get_chat_menu_button(chat_id=anna.id)
    assert button.web_app.url == page
    menu = world.sandbox.bot.commands
    assert [c["command"] for c in menu["all_private_chats::ru"]][:2] == ["create", "queue"]
    assert [c["command"] for c in menu["chat:77:ru"]][:2] == ["stats", "ops"]
    assert menu["all_group_chats::"][0] == {
        "command": "imagine",
        "description": "Draw: /imagine a red fox in the snow",
    }


@pytest.mark.parametrize(
    ("chosen", "code", "lang"),
    [(None, "ru", "ru"), (None, "uk", "ru"), (None, "ru-RU", "ru"), (None, "de", "en"), (None, None, "en"),
     ("ru", "en", "ru"), ("en", "ru", "en"), ("xx", "be", "ru")],
)  # fmt: skip
def test_language(chosen: str | None, code: str | None, lang: str) -> None:
    assert language_of(chosen, code) == lang
