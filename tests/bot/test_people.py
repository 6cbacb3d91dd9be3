"""What admins see of a person, and do with them: from /who to the ban and back, limits of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.jobs import keys
from src.sandbox.telegram import Message, Person
from src.telemetry import job_spans
from tests.bot.bot_world import World

SAID = {
    "en": {
        "never": "Never wrote in private",
        "tier": "Tier: ordinary",
        "first": "Tier: first",
        "seen": "Last wrote about 20",
        "left": "9 of 10 requests",
        "strike": "Strikes in the last hour: 1",
        "jobs": "In the works 1, requests kept 1",
        "cost": "Today (UTC): 1 picture. In 90 days: 1 picture",
        "credit": "Free today (UTC): 19 of 20",
        "ban": "Ban",
        "why": "Send the reason",
        "banned": "Pictures cancelled: 1",
        "card": "Banned: spam & ads",
        "lift": "Lift",
        "told": "any more. The reason:\nspam & ads",
        "refused": "can’t order",
    },
    "ru": {
        "never": "В личный чат не писал",
        "tier": "Класс: обычный",
        "first": "Класс: первый",
        "seen": "около 20",
        "left": "Запросов: 9 из 10",
        "strike": "Замечаний за час: 1",
        "jobs": "В работе 1, хранится заказов 1",
        "cost": "Сегодня (UTC): 1 картинка. За 90 дней: 1 картинка",
        "credit": "Бесплатных сегодня (UTC): 19 из 20",
        "ban": "Запретить",
        "why": "Пришлите причину",
        "banned": "Отменено открытых картинок: 1",
        "card": "Под запретом: spam & ads",
        "lift": "Снять",
        "told": "здесь картинки. Причина:\nspam & ads",
        "refused": "не можете заказывать",
    },
}


@pytest.fixture
def settings_of_world(tmp_path: Path) -> dict[str, object]:
    words = tmp_path / "words"
    words.write_text("gore\n")
    return {
        "jaeger_ui_url": "https://jaeger.example",
        "blocked_words_file": words,
        "star_packs": "50=10",
        "free_pictures_day": 20,
    }


async def _said(person: Person, text: str) -> str:
    return (await person.reply_after(await person.send_text(text))).text


async def _tapped(world: World, person: Person, message: Message, button: str) -> None:
    await (await person.tap(message, button)).answered()
    await world.settled()


@pytest.mark.parametrize("lang", ["en", "ru"])
async def test_from_who_to_the_ban_and_back(world: World, lang: str) -> None:
    said = SAID[lang]
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    anna = world.sandbox.person("Anna", language_code=lang)
    assert said["never"] in await _said(admin, "/who 4")
    await anna.reply_after(await anna.send_text("a fox"))
    await anna.reply_after(await anna.send_text("gore"))
    [job] = await world.active(anna.id)

    card = await admin.reply_after(await admin.send_text(f"/who {anna.id}"))
    for part in ("tier", "seen", "left", "strike", "jobs", "cost", "credit"):
        assert said[part] in card.text
    assert f"{anna.id} Anna" in card.text
    assert f"https://jaeger.example/trace/{job_spans.trace_id(job)}" in card.text
    assert "fox" not in card.text
    await _tapped(world, admin, card, said["first"].rpartition(": ")[2])
    assert said["first"] in card.text
    assert (await world.app.ledger.person(str(anna.id))).tier == "first"

    before = len(anna.messages)
    await _tapped(world, admin, card, said["ban"])
    await admin.wait_for(lambda m: said["why"] in m.text)
    done = await admin.reply_after(await admin.send_text("spam & ads"))
    assert said["banned"].lower() in done.text.lower()
    await world.settled()
    assert [m.text for m in anna.messages[before:]] == [
        m.text for m in anna.messages if said["told"] in m.text
    ]
    # The same ban again tells them nothing new.
    await _said(admin, f"/ban {anna.id} spam & ads")
    assert sum(said["told"] in m.text for m in anna.messages) == 1
    assert said["refused"] in await _said(anna, "a bear")

    card = await admin.reply_after(await admin.send_text(f"/who {anna.id}"))
    assert said["card"] in card.text
    await _tapped(world, admin, card, said["lift"])
    assert said["card"] not in card.text
    await anna.reply_after(await anna.send_text("a bear"))
    assert [job.spec.prompt for job in await world.active(anna.id)] == ["a bear"]
    acts = (await _said(admin, "/journal")).splitlines()[2:]
    assert [str(anna.id) in act for act in acts] == [True] * 4


async def test_who_tells_the_admin_alone_and_knows_whom_is_meant(world: World) -> None:
    admin, anna = world.sandbox.person("Root", id=77), world.sandbox.person("Anna")
    group = world.sandbox.group("Friends", [admin, anna])
    hers = await anna.send_text("/imagine a fox", chat=group)
    answer = await anna.reply_after(hers, chat=group)
    asked = f"/who@{world.sandbox.bot.username}"
    await admin.send_text(asked, chat=group, reply_to=hers)
    refused = await admin.wait_for(lambda m: "private chat only" in m.text, chat=group)
    await admin.reply_after(await admin.send_text("/start"))
    for answered in (hers, answer):
        await admin.send_text(asked, chat=group, reply_to=answered)
        card = await admin.wait_for(lambda m: m.text.startswith(f"👤 {anna.id}"))
        await admin.delete(card)
    shown = [m.text for m in group.messages.values() if m.from_bot and m.message_id > refused.message_id]
    assert not [text for text in shown if str(anna.id) in text]
    # Nobody else can ask, or tap.
    before = len(anna.messages)
    assert "👤" not in await _said(anna, "/who 77")
    await (await anna.tap_data(anna.messages[before], "wh|ban|77|")).answered()
    assert not (await world.app.ledger.person("77")).blocked


async def test_limits_of_their_own(world: World) -> None:
    admin, anna = world.sandbox.person("Root", id=77), world.sandbox.person("Anna")
    assert "/limit ID" in await _said(admin, f"/limit {anna.id} many")
    assert "2 of 2 requests" in await _said(admin, f"/limit {anna.id} 2 1")
    await anna.reply_after(await anna.send_text("a fox"))
    assert "already in the works" in await _said(anna, "a bear")
    assert "1 of 2 requests" in await _said(anna, "/limits")
    [job] = await world.active(anna.id)
    await _said(admin, f"/cancel {job.id}")
    await world.told(job)
    assert "of 10 requests" in await _said(admin, f"/limit {anna.id} -")


async def test_who_can_be_written_to_is_known(world: World) -> None:
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Борис", language_code="ru")
    for person in (anna, boris):
        await person.reply_after(await person.send_text("/start"))
    people = world.app.redis.zrange
    assert set(await people(keys.PEOPLE(), 0, -1)) == {str(anna.id), str(boris.id)}
    assert (await world.app.ledger.person(str(boris.id))).spoken == "ru"
    await boris.block()
    await world.settled()
    assert await people(keys.PEOPLE(), 0, -1) == [str(anna.id)]
    sure = await anna.reply_after(await anna.send_text("/delete_me"))
    await _tapped(world, anna, sure, "Yes, delete all")
    assert await people(keys.PEOPLE(), 0, -1) == []
