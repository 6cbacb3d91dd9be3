"""/pause, /resume and /switches: whether new wishes are taken, and which features and models there are for everybody."""

from __future__ import annotations

from typing import Any

from aiogram import F, Router
from aiogram.enums import ChatType
from aiogram.filters import Command, CommandObject
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.bot.handlers.admin import ByAdmin, note
from src.jobs.switches import FEATURES
from src.telegram import admin_keyboards
from src.telegram.admin_keyboards import OfSwitch
from src.telegram.i18n import Translator, shorten

_LONGEST_REASON = 500


async def pause(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    why = shorten((command.args or "").strip(), _LONGEST_REASON)
    await app.switches.pause(why)
    await note(app, message, update_id, "pause", how=why)
    waiting = sum([await app.ledger.waiting(provider) for provider in app.providers])
    running = sum([await app.ledger.running(provider) for provider in app.providers])
    await message.answer(
        say("pause-now", told=paused(say, why), waiting=waiting, running=running),
        reply_markup=admin_keyboards.resume(say),
    )


def paused(say: Translator, why: str) -> str:
    """What people are told."""
    return f"{say('refused-paused')}\n{why}" if why else say("refused-paused")


async def resume(message: Message, app: App, say: Translator, update_id: int) -> None:
    await app.switches.resume()
    await note(app, message, update_id, "resume")
    await message.answer(say("pause-over"))


async def switches(message: Message, app: App, say: Translator) -> None:
    await message.answer(**_features(app, say))


async def tapped(
    callback: CallbackQuery, callback_data: OfSwitch, app: App, say: Translator, update_id: int
) -> None:
    what, name, on = callback_data.what, callback_data.name, callback_data.on
    models = app.routing.every_model()
    feature = next((feature for feature in FEATURES if feature == name), None)
    if what == "pause":
        await (app.switches.resume() if on else app.switches.pause(""))
        await note(app, callback, update_id, "resume" if on else "pause")
    elif what == "feature" and feature is not None:
        await app.switches.turn(feature, on=on)
        await note(app, callback, update_id, "on" if on else "off", feature)
    elif what == "model" and name in models:
        await app.switches.turn_model(name, on=on)
        await note(app, callback, update_id, "on" if on else "off", name)
    await callback.answer(say("toast-saved") if what != "page" else None)
    if isinstance(callback.message, Message):
        of_models = what == "model" or (what, name) == ("page", "models")
        await callback.message.edit_text(**(_models if of_models else _features)(app, say))


def _features(app: App, say: Translator) -> dict[str, Any]:
    """The text and keyboard of /switches, as arguments of a call."""
    state = say("switches-open") if app.switches.paused is None else paused(say, app.switches.paused)
    names: dict[str, str] = {feature: say("switch-name", feature=feature) for feature in FEATURES}
    on = {feature for feature in FEATURES if app.switches.is_on(feature)}
    markup = admin_keyboards.switches(say, names, on, paused=app.switches.paused is not None)
    return {"text": f"{say('switches-title')}\n\n{state}", "reply_markup": markup}


def _models(app: App, say: Translator) -> dict[str, Any]:
    """The same for the models."""
    models = app.routing.every_model()
    names = {key: model.name.of(say.lang) for key, model in models.items()}
    on = {key for key in models if app.switches.has_model(key)}
    return {"text": say("switches-models"), "reply_markup": admin_keyboards.model_switches(say, names, on)}


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="switches")
    private = F.chat.type == ChatType.PRIVATE
    router.message.register(pause, Command("pause"), ByAdmin(), private)
    router.message.register(resume, Command("resume"), ByAdmin(), private)
    router.message.register(switches, Command("switches"), ByAdmin(), private)
    router.callback_query.register(tapped, OfSwitch.filter(), ByAdmin())
    return router
