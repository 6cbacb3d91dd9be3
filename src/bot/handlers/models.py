"""/models: what can draw here, what each is good at, its price and usual time. The choice is kept for a person; in a
group its admins choose for everybody there."""

from __future__ import annotations

from typing import Any

from aiogram import Router
from aiogram.enums import ChatType
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot.chats import Chats
from src.jobs import Person
from src.jobs.estimate import FEW, usual
from src.providers.catalog import Offer
from src.routing import Route
from src.telegram import admin_keyboards, keyboards
from src.telegram.i18n import Translator
from src.telegram.keyboards import OfModel
from src.telegram.status_text import span, time_left


async def models(message: Message, app: App, chats: Chats, person: Person, say: Translator) -> None:
    if message.chat.type == ChatType.PRIVATE:
        shown = await _models(app, person.model, say)
        if message.from_user is not None and message.from_user.id in app.settings.admin_ids:
            shown["reply_markup"] = admin_keyboards.with_switches(say, shown["reply_markup"])
        await message.answer(**shown)
    else:
        chosen = await chats.model(message.chat.id)
        await message.reply(**await _models(app, chosen, say, group=True))


async def choose(
    callback: CallbackQuery,
    callback_data: OfModel,
    app: App,
    chats: Chats,
    person: Person,
    say: Translator,
) -> None:
    message, key = callback.message, callback_data.key
    if not isinstance(message, Message) or (key and key not in app.routing.models()):
        await callback.answer(say("toast-old"))
        return
    group = message.chat.type != ChatType.PRIVATE
    if group and not await chats.is_run_by(message.chat.id, callback.from_user.id):
        await callback.answer(say("models-for-admins"), show_alert=True)
        return
    before = await chats.model(message.chat.id) if group else person.model
    if group:
        await chats.choose_model(message.chat.id, key)
    else:
        await app.ledger.choose(person.id, model=key)
    await callback.answer(say("toast-saved"))
    if (before or "") != key:
        await message.edit_text(**await _models(app, key or None, say, group=group))


async def _models(app: App, chosen: str | None, say: Translator, *, group: bool = False) -> dict[str, Any]:
    """The text and keyboard of /models, as arguments of a call."""
    models = app.routing.models()
    lines = [say("models-of-chat" if group else "models-title")]
    for key, model in models.items():
        offers = app.routing.offers(key, 0) or app.routing.offers(key, 1)
        facts = [say("model-line", name=model.name.of(say.lang), good=model.good_at.of(say.lang))]
        facts += filter(None, [_price(offers[0], say), await _time(app, offers[0], say)])
        lines.append("\n    ".join(facts))
    usual_one = model_named(None, app, say)
    names = {key: model.name.of(say.lang) for key, model in models.items()}
    markup = keyboards.models(say, names, chosen if chosen in models else None, usual_one)
    return {"text": "\n\n".join(lines), "reply_markup": markup}


def model_named(chosen: str | None, app: App, say: Translator) -> str:
    """What people see as the name of the model that draws for who has chosen that one, or none."""
    route = app.routing.route(chosen, 0)
    return app.routing.catalog.shown(*route, say.lang) if route else "–"


def _price(offer: Offer, say: Translator) -> str:
    if (price := offer.price) is None:
        return say("model-price-unknown")
    return say("model-price", amount=f"{price.amount:g}", currency=price.currency, unit=price.unit)


async def _time(app: App, offer: Offer, say: Translator) -> str | None:
    """How long it has taken of late, else how long it usually takes, where that is known."""
    route = Route(offer.provider, str(offer.id or offer.edit_id))
    durations = await app.ledger.durations(*route)
    if len(durations) >= FEW:
        low, high = usual(durations)
    elif offer.usual_seconds is not None:
        low = high = offer.usual_seconds
    else:
        return None
    return say("model-time", time=time_left(say, *span(low, high)))


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="models")
    router.message.register(models, Command("models"))
    router.callback_query.register(choose, OfModel.filter())
    return router
