"""Paying, as a person has it: see, buy, ask, get a picture or the credit back, be refunded; in both languages."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from aiogram.types import Update

from src.bot.handling import chat_of
from src.bot.till import Reconciling
from src.jobs import credit
from src.sandbox.telegram import Message, Person
from src.telegram.i18n import get_texts
from src.telegram.keyboards import OfDialog
from tests.bot.bot_world import World, image

SAID = {
    "en": {
        "free": "Free today (UTC): 1 of 1",
        "few": "You have no pictures left. More are in /buy. 1 free one comes each day",
        "price": "It takes 1 picture of the 2 you have.",
        "buy": "Buy pictures",
        "pack": "2 pictures for ⭐ 50",
        "paid": "2 pictures are yours to ask for. Bought and not used: 2.",
        "left": "Bought and not used: 1",
        "support": "Passed on to the owner",
        "refunded": "2 pictures are no longer yours to ask for",
        "owed": "1 picture that you had was refunded",
        "stays": "For that, and for the accounts, your number stays with 1 payment",
    },
    "ru": {
        "free": "Бесплатных сегодня (UTC): 1 из 1",
        "few": "Картинок у вас больше нет. Ещё — в /buy. Каждый день (UTC) 1 бесплатная.",
        "price": "Уйдёт 1 картинка из ваших 2.",
        "buy": "Купить",
        "pack": "2 картинки за ⭐ 50",
        "paid": "Можно попросить ещё 2 картинки. Куплено и не потрачено: 2.",
        "left": "Куплено и не потрачено: 1",
        "support": "Передал владельцу",
        "refunded": "больше нельзя попросить: 2",
        "owed": "За 1 полученную картинку звёзды вернулись",
        "stays": "Ради этого и ради учёта остаётся ваш номер при платежах, их 1",
    },
}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"star_packs": "50=2,200=10", "star_monthly": "300=20", "free_pictures_day": 1}


async def said(person: Person, text: str) -> Message:
    return await person.reply_after(await person.send_text(text))


async def bought(world: World, person: Person) -> int:
    await world.settled()
    return (await credit.balance(world.app.ledger, str(person.id), 0)).bought


async def invoice(person: Person, button: str) -> Message:
    """The invoice for a pack."""
    shop = await said(person, "/buy")
    await (await person.tap(shop, button)).answered()
    return await person.wait_for(lambda m: "invoice" in m.content and m.message_id > shop.message_id)


@pytest.mark.parametrize("lang", SAID)
async def test_from_the_first_free_picture_to_a_refund(world: World, lang: str) -> None:
    say = SAID[lang]
    anna, admin = world.sandbox.person(language_code=lang), world.sandbox.person("Root", id=77)
    assert say["free"] in (await said(anna, "/balance")).text
    await said(anna, "a free fox")
    [job] = await world.active(anna.id)
    await world.finished(job, image())

    refused = await said(anna, "one fox more")
    assert say["few"] in refused.text
    assert await world.active(anna.id) == []
    await (await anna.tap(refused, say["buy"])).answered()
    shop = await anna.reply_after(refused)
    await (await anna.tap(shop, say["pack"])).answered()
    bill = await anna.wait_for(lambda m: "invoice" in m.content)
    assert bill.content["invoice"]["total_amount"] == 50
    checkout = await anna.pay(bill)
    assert checkout.outcome == "paid"
    thanks = await anna.wait_for(lambda m: say["paid"] in m.text)

    # The same payment is told again, by another update.
    told = next(m for m in anna.messages if "successful_payment" in m.content)
    world.sandbox.inject("message", told.as_json(), lane=anna.id)
    await world.settled()
    assert anna.messages[-1] is thanks

    dialog = await said(anna, "/create a fox in snow")
    assert say["price"] in dialog.text
    await (await anna.tap(dialog, OfDialog(what="go").pack())).answered()
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    assert say["left"] in (await said(anna, "/limits")).text
    await said(anna, "a fox that fails")
    [job] = await world.active(anna.id)
    assert await bought(world, anna) == 0
    await world.failed(job, "upstream")
    assert await bought(world, anna) == 1

    await said(admin, "/start")
    assert say["support"] in (await said(anna, "/paysupport I want it back")).text
    asked = await admin.wait_for(lambda m: "I want it back" in m.text)
    assert f"/refund {checkout.charge}" in asked.text
    assert "⭐ 50 went back" in (await said(admin, f"/refund {checkout.charge}")).text
    await anna.wait_for(lambda m: say["refunded"] in m.text)
    # Once more changes nothing: Telegram says that it is done.
    assert "⭐ 50 went back" in (await said(admin, f"/refund {checkout.charge}")).text
    assert await bought(world, anna) == -1
    assert say["owed"] in (await said(anna, "/balance")).text
    assert world.sandbox.bot.till.balance == 0
    assert "⭐ Paid 50, given back 50" in (await said(admin, "/stats")).text

    sure = await said(anna, "/delete_me")
    await (await anna.tap(sure, sure.buttons[0]["callback_data"])).answered()
    await world.settled()
    assert say["stays"] in sure.text
    assert await bought(world, anna) == -1


async def test_what_is_no_longer_sold_is_not_paid_for(world: World) -> None:
    anna = world.sandbox.person()
    bill = await invoice(anna, "2 pictures for")
    till = world.sandbox.bot.till
    place = f"{anna.chat.id}:{bill.message_id}"
    true = till.links[place]
    for payload in ("pack:50:3", "pack:50:2:1", "month:50:2", "nothing", "pack:200:10"):
        till.links[place] = type(true)(true.title, payload, true.stars)
        assert (await anna.pay(bill)).outcome.startswith("This offer has changed")
    till.links[place] = true
    await world.app.ledger.choose(str(anna.id), blocked=1)
    assert "can’t order pictures" in (await anna.pay(bill)).outcome
    assert till.balance == 0


def test_a_checkout_does_not_wait_for_its_chat() -> None:
    anna: dict[str, Any] = {"id": 7, "is_bot": False, "first_name": "Anna"}
    asked = {"id": "1", "from": anna, "currency": "XTR", "total_amount": 50, "invoice_payload": "pack:50:2"}
    checkout = Update.model_validate({"update_id": 1, "pre_checkout_query": asked})
    chat = {"id": 7, "type": "private", "first_name": "Anna"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": anna, "text": "/help"}
    assert chat_of(checkout) != chat_of(Update.model_validate({"update_id": 2, "message": message}))


async def test_what_no_message_told_is_found_in_the_accounts(world: World) -> None:
    anna, admin = world.sandbox.person(), world.sandbox.person("Root", id=77)
    till = world.sandbox.bot.till
    lost = await anna.pay(await invoice(anna, "10 pictures for"), told=False)
    told = await anna.pay(await invoice(anna, "2 pictures for"))
    assert await bought(world, anna) == 2
    accounts = Reconciling(world.app, world.bot, get_texts())
    # A message may still be on its way.
    assert await accounts.look() == 0
    for transaction in till.transactions:
        transaction["date"] -= 600
    assert await accounts.look() == 1
    await anna.wait_for(lambda m: "only now come to my notice" in m.text and "10 pictures" in m.text)
    assert await accounts.look() == 0
    assert await bought(world, anna) == 12
    # Somebody refunds by another program.
    till.give_back(lost.charge, anna.record.as_user())
    till.transactions[-1]["date"] -= 600
    assert await accounts.look() == 1
    assert await bought(world, anna) == 2
    found = await credit.payments(world.app.ledger, str(anna.id))
    assert {one.charge: one.refunded > 0 for one in found} == {lost.charge: True, told.charge: False}
    assert "no such payment" in (await said(admin, "/refund stx-of-nobody")).text
    assert "no such payment" in (await said(admin, "/refund")).text


async def test_a_subscription_brings_pictures_each_month_until_it_is_stopped(world: World) -> None:
    anna = world.sandbox.person()
    shop = await said(anna, "/buy")
    first = await anna.pay(str(shop.button("a month for ⭐ 300")["url"]))
    assert await bought(world, anna) == 20
    await anna.pay_next_month(first)
    assert await bought(world, anna) == 40
    shop = await said(anna, "/buy")
    assert "goes on by itself" in shop.text
    await (await anna.tap(shop, "Stop the subscription")).answered()
    await world.settled()
    assert "Your subscription ends on" in shop.text
    assert world.sandbox.bot.till.subscriptions[first.charge].canceled
    update: dict[str, Any] = {"user": anna.record.as_user(), "invoice_payload": "month:300:20"}
    world.sandbox.inject("subscription", {**update, "state": "active"}, lane=anna.id)
    assert "goes on by itself" in (await said(anna, "/buy")).text
    world.sandbox.inject("subscription", {**update, "state": "failed"}, lane=anna.id)
    await anna.wait_for(lambda m: "could not take the stars" in m.text)


async def test_nobody_pays_two_subscriptions_nor_for_one_that_was_refunded(world: World) -> None:
    anna, admin = world.sandbox.person(), world.sandbox.person("Root", id=77)
    till = world.sandbox.bot.till
    link = str((await said(anna, "/buy")).button("a month for ⭐ 300")["url"])
    first = await anna.pay(link)
    assert await bought(world, anna) == 20
    assert "have a subscription already" in (await anna.pay(link)).outcome
    assert list(till.subscriptions) == [first.charge]
    following = await anna.pay_next_month(first)
    assert await bought(world, anna) == 40
    told = await said(admin, f"/refund {following.charge}")
    assert "subscription is stopped" in told.text
    assert till.subscriptions[first.charge].canceled
    await anna.wait_for(lambda m: "no longer yours" in m.text)
    assert "Your subscription ends on" in (await said(anna, "/buy")).text
    till.subscriptions.clear()
    assert "could not be stopped" in (await said(admin, f"/refund {first.charge}")).text
    await said(admin, "/promo SPRING 5 2")
    journal = (await said(admin, "/journal")).text
    assert "code SPRING: 5 × 2\n" in journal
    assert f"refunded {anna.id}: ⭐ 300 {first.charge}" in journal
    assert f"refunded {anna.id}: ⭐ 300 {following.charge}" in journal


async def test_a_chat_has_no_free_share_of_its_own(world: World) -> None:
    """Each group would give whoever makes it another one."""
    anna = world.sandbox.person()
    zoo = world.sandbox.group("Zoo", [anna])
    asked = await anna.send_text("/imagine a fox", chat=zoo, as_chat=zoo)
    refused = await anna.reply_after(asked, chat=zoo)
    assert "Write as yourself" in refused.text
    assert refused.buttons == []
    assert await world.active(anna.id) == []
    await anna.reply_after(await anna.send_text("/imagine a fox", chat=zoo), chat=zoo)
    assert len(await world.active(anna.id)) == 1


async def test_a_code_gives_pictures_once_a_person(world: World) -> None:
    anna, boris, admin = (world.sandbox.person(name) for name in ("Anna", "Boris", "Root"))
    admin = world.sandbox.person("Root", id=77)
    assert "Usage" in (await said(admin, "/promo x")).text
    made = await said(admin, "/promo spring 5 2")
    link = made.text.rpartition("start=")[2]
    assert "don’t know this command" not in (await said(anna, "/redeem")).text
    assert "5 pictures are yours" in (await said(anna, f"/start {link}")).text
    assert "You have had" in (await said(anna, "/redeem SPRING")).text
    assert "5 pictures are yours" in (await said(boris, "/redeem spring")).text
    assert "as often as it may" in (await said(world.sandbox.person("Eve"), "/redeem spring")).text
    for n in range(5):
        assert "don’t know this code" in (await said(anna, f"/redeem guess-{n}")).text
    assert "Too many codes" in (await said(anna, "/redeem guess-6")).text
    assert (await bought(world, anna), await bought(world, boris)) == (5, 5)
    assert "gives nothing" in (await said(admin, "/promo SPRING 0")).text


async def test_all_that_was_paid_is_in_the_export(world: World) -> None:
    anna = world.sandbox.person()
    checkout = await anna.pay(await invoice(anna, "2 pictures for"))
    await world.settled()
    await said(anna, "/export")
    file = await anna.wait_for(lambda m: "document" in m.content)
    with zipfile.ZipFile(io.BytesIO(world.sandbox.bot.store.get_bytes(file.sha256 or "") or b"")) as archive:
        words = json.loads(archive.read("words.json"))
    assert words["bought"] == 2
    [paid] = words["payments"]
    assert (paid["charge_id"], paid["stars"], paid["pictures"]) == (checkout.charge, 50, 2)


async def test_nobody_pays_who_has_no_limits(world: World) -> None:
    anna = world.sandbox.person()
    await world.app.ledger.choose(str(anna.id), tier="unlimited")
    for _ in range(3):
        await said(anna, "a red fox")
    assert len(await world.active(anna.id)) == 3
    assert "no limits" in (await said(anna, "/balance")).text
