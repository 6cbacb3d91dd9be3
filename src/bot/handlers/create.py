"""Asking for pictures. In a private chat: plain words, a photo with words, an answer to a picture, and the /create
dialog (words, then format and number in one message, what else there is behind *Advanced*, then go). In every chat: the
question for other words, or for what to change, that a button asks."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiogram import Bot, F, Router
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, CommandObject, StateFilter
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import CallbackQuery, ExternalReplyInfo, ForceReply, Message, User
from aiogram.utils.formatting import BlockQuote, Code, Text, TextMention

from src.app import App
from src.bot import lineage
from src.bot.ordering import (
    NO_COMMAND,
    Asking,
    BadSource,
    alike,
    answered_by,
    first_tap,
    kept_by,
    pictures_of,
    quoted_in,
    wish_in,
    words_of,
)
from src.bot.parameters import MAX_SEED, Impossible, capabilities, quality_name, seed_in
from src.bot.styles import all_styles, style
from src.bot.till import price_lines
from src.jobs import Job, Person
from src.pipeline.admission import Wish
from src.providers.base import Capabilities
from src.telegram import keyboards
from src.telegram.client import answer_to, is_missing, is_unchanged
from src.telegram.i18n import TOAST, Translator, shorten
from src.telegram.keyboards import OfDialog, Surprise

_PRIVATE = F.chat.type == "private"
_WORDS = (F.text | F.func(words_of), NO_COMMAND)
_DIALOG_PROMPT = 500
_OLD_WORDS = 3500
_LABEL = 40
_NEGATIVE = 500
_PAGES = {
    "advanced": "dialog-advanced",
    "models": "dialog-models",
    "styles": "dialog-styles",
    "better": "dialog-better",
    "seed": "dialog-ask-seed",
    "negative": "dialog-ask-negative",
}
_TAP_SECONDS = 3


class Dialog(StatesGroup):
    """The /create dialog. Its data: `aspect`, `asked` (the aspect was chosen here), `count`, `source`,
    `references`, `model`, `quality`, `seed`, `negative`, `style`, `prompt`, `message` (the dialog's own), `page` (what that shows), `better` (words that were offered),
    `reply_to` (the person's words), `seen` (what stands there)."""

    words = State()
    choices = State()
    seed = State()
    negative = State()


class Words(StatesGroup):
    """Only the words are missing, or (`how` is `mask`) a painted photo, too. Its data: `aspect`, `count`, `source`,
    `references`, `painted`."""

    waiting = State()


# The dialog


async def begin(
    message: Message,
    command: CommandObject,
    state: FSMContext,
    asking: Asking,
    app: App,
    person: Person,
    say: Translator,
) -> None:
    await close_dialog(message, state)
    pictures = await _answered_pictures(message, app, person, say)
    if pictures is None:
        return
    await state.set_data({**kept_by(person), "negative": person.negative, **pictures})
    await state.set_state(Dialog.words)
    if words := (command.args or quoted_in(message)).strip():
        await offer_choices(message, words, state, asking, app, say)
        return
    sent = await message.answer(say("dialog-ask-words"), reply_markup=keyboards.dialog_words(say))
    await state.update_data(message=sent.message_id)


async def begin_from(message: Message, job: Job, state: FSMContext, person: Person, say: Translator) -> None:
    """The dialog with a picture to begin with."""
    await close_dialog(message, state)
    source = (job.shown or {})["file_id"]
    start = {"aspect": job.spec.aspect, "source": source, "parent": job.id, "how": "start"}
    await state.set_data({**kept_by(person), "negative": person.negative, **start})
    await state.set_state(Dialog.words)
    sent = await message.reply(say("dialog-ask-start"), reply_markup=keyboards.dialog_words(say))
    await state.update_data(message=sent.message_id)


async def begin_elsewhere(message: Message, say: Translator) -> None:
    await message.reply(say("dialog-in-groups"))


async def dialog_words(
    message: Message, state: FSMContext, asking: Asking, app: App, say: Translator, update_id: int
) -> None:
    if await asking.is_rest_of_cut(message, update_id):
        return
    await offer_choices(message, words_of(message), state, asking, app, say)


async def dialog_seed(message: Message, state: FSMContext, app: App, say: Translator) -> None:
    if (seed := seed_in(words_of(message))) is None:
        await message.reply(say("parameter-seed-bad", most=str(MAX_SEED)))
        return
    await state.set_state(Dialog.choices)
    await _redraw(message, await state.update_data(seed=seed, page="advanced"), state, app, say)


async def dialog_negative(message: Message, state: FSMContext, app: App, say: Translator) -> None:
    words = shorten(words_of(message).strip(), _NEGATIVE)
    await state.set_state(Dialog.choices)
    await _redraw(message, await state.update_data(negative=words, page="advanced"), state, app, say)


async def dialog_photo(
    message: Message,
    album: list[Message],
    state: FSMContext,
    asking: Asking,
    app: App,
    say: Translator,
    update_id: int,
) -> None:
    pictures = await _pictures_or_complaint(message, album, say)
    if pictures is None:
        return
    data = await state.get_data()
    chosen = {"aspect": data["aspect"]} if data.get("asked") else {}
    data = await state.update_data({**_together(data, pictures, update_id), **chosen})
    if words := (message.caption or "").strip() or data.get("prompt", ""):
        await offer_choices(message, words, state, asking, app, say)
    else:
        await _ask_for_missing_words(message, data, say)


async def choose(
    callback: CallbackQuery,
    callback_data: OfDialog,
    state: FSMContext,
    asking: Asking,
    app: App,
    say: Translator,
    update_id: int,
) -> None:
    data = await state.get_data()
    message = callback.message
    if not isinstance(message, Message) or data.get("message") != message.message_id:
        await _retire(callback, say)
        return
    match callback_data.what, callback_data.value:
        case "stop", _:
            await state.clear()
            await message.edit_text(say("dialog-cancelled"))
        case "aspect", value if value in _can(data, app).aspects:
            await _choose(message, state, app, say, aspect=value, asked=True)
        case "count", value if value in map(str, keyboards.counts(_can(data, app))):
            await _choose(message, state, app, say, count=int(value))
        case "take", _ if data.get("better"):
            await _choose(message, state, app, say, prompt=data["better"], better=None, page="")
        case "style", value if await style(app, value) is not None:
            left = data.get("style") == value
            await _choose(message, state, app, say, style=None if left else value, page="advanced")
        case "page", "" | "advanced" | "models" | "styles" as value if data.get("prompt"):
            await state.set_state(Dialog.choices)
            await _choose(message, state, app, say, page=value)
        case "model", value if value in app.routing.models(_sources(data)):
            await _choose(message, state, app, say, model=value, page="advanced")
        case "quality", value if value in _can(data, app).qualities:
            await _choose(message, state, app, say, quality=None if data.get("quality") == value else value)
        case ("seed" | "negative") as what, _ if data.get("prompt"):
            # What is chosen is taken back by the next tap.
            chosen = data.get(what) not in (None, "")
            await state.set_state(Dialog.choices if chosen else getattr(Dialog, what))
            page = "advanced" if chosen else what
            await _choose(message, state, app, say, page=page, **{what: None})
        case "go", _ if data.get("prompt"):
            can = _can(data, app)
            data = _fitted(data, can)
            wish = wish_in(
                message,
                callback.from_user.id,
                data["prompt"],
                data,
                say,
                update_id=update_id,
                reply_to=data.get("reply_to"),
            )
            # A dialog orders once, however often its button is tapped.
            wish = replace(wish, update=f"dialog:{message.chat.id}:{message.message_id}")
            refusal = await asking.ask(wish, say, seen=data.get("seen", ""))
            if refusal is None:
                await app.ledger.choose(str(callback.from_user.id), **_to_keep(data, can))
                await state.clear()
            await callback.answer(shorten(refusal, TOAST) if refusal else None, show_alert=bool(refusal))
            if refusal is None:
                await _remove(message)
            return
        case _:
            await callback.answer(say("toast-old"))
            return
    await callback.answer()


async def offer_choices(
    message: Message, text: str, state: FSMContext, asking: Asking, app: App, say: Translator
) -> None:
    """Show what can be chosen for these words, with what their parameters say; or what is wrong with those."""
    data = await state.get_data()
    try:
        words, said = await asking.understood(text, data.get("model"), _sources(data), say)
    except Impossible as error:
        await message.reply(error.words)
        return
    if "aspect" in said:
        said["asked"] = True
    seen = words_of(message) or message.caption or ""
    data = await state.update_data(
        {**said, "prompt": words, "reply_to": message.message_id, "seen": seen, "page": ""}
    )
    await state.set_state(Dialog.choices)
    await _redraw(message, data, state, app, say)


async def _redraw(
    message: Message, data: Mapping[str, Any], state: FSMContext, app: App, say: Translator
) -> None:
    """Show what is chosen, in the dialog's own message where it is still there."""
    if (known := data.get("message")) is not None and message.bot is not None:
        try:
            await message.bot.edit_message_text(
                chat_id=message.chat.id, message_id=known, **await choices(data, app, say, message.chat.id)
            )
        except TelegramBadRequest as error:
            if is_unchanged(error):
                return
            if not is_missing(error):
                raise
        else:
            return
    sent = await message.answer(**await choices(data, app, say, message.chat.id))
    await state.update_data(message=sent.message_id)


async def _choose(message: Message, state: FSMContext, app: App, say: Translator, **choice: Any) -> None:
    before = await state.get_data()
    data = await state.update_data(**choice)
    if data != before:
        await message.edit_text(**await choices(data, app, say, message.chat.id))


async def choices(data: Mapping[str, Any], app: App, say: Translator, chat: int) -> dict[str, Any]:
    """The dialog's message, as arguments of a call: the page that it is at. `chat`: with the person, whose number it has."""
    can, models = _can(data, app), app.routing.models(_sources(data))
    styles = [one.name for one in await all_styles(app)]
    page = _PAGES.get(data.get("page") or "", "dialog-choose-edit" if data.get("source") else "dialog-choose")
    about = [say(page)]
    match data.get("page"):
        case "advanced":
            markup = keyboards.dialog_advanced(
                say,
                can,
                model=_model_name(data, app, say) if len(models) > 1 else None,
                style=(data.get("style") or "") if styles else None,
                qualities={quality: quality_name(quality, say) for quality in can.qualities},
                quality=data.get("quality"),
                seed=data.get("seed"),
                negative=shorten(data.get("negative") or "", _LABEL),
            )
        case "models":
            about += [
                say("model-line", name=m.name.of(say.lang), good=m.good_at.of(say.lang))
                for m in models.values()
            ]
            names = {key: model.name.of(say.lang) for key, model in models.items()}
            markup = keyboards.dialog_models(say, names, _model_of(data, app))
        case "styles":
            markup = keyboards.dialog_styles(say, styles, data.get("style"))
        case "better":
            markup = keyboards.dialog_better(say)
        case "seed" | "negative":
            markup = keyboards.dialog_back(say)
        case _:
            more = len(models) > 1 or bool(styles) or bool(can.qualities) or can.seed or can.negative
            improve = app.words is not None and app.words.improves and app.switches.is_on("improve")
            about += await price_lines(app, str(chat), min(data["count"], can.counts), say)
            markup = keyboards.dialog_choices(
                say, data["aspect"], data["count"], can, advanced=more, improve=improve
            )
    better = [BlockQuote(shorten(data["better"], _DIALOG_PROMPT))] if data.get("page") == "better" else []
    text = Text(BlockQuote(shorten(data["prompt"], _DIALOG_PROMPT)), "\n", *better, "\n".join(about))
    return {**text.as_kwargs(), "reply_markup": markup}


def _sources(data: Mapping[str, Any]) -> int:
    return 1 + len(data.get("references", ())) if data.get("source") else 0


def _can(data: Mapping[str, Any], app: App) -> Capabilities:
    return capabilities(data.get("model"), _sources(data), app)


def _model_of(data: Mapping[str, Any], app: App) -> str | None:
    """The model of the catalog that will make it; None: the catalog does not have it."""
    route = app.routing.route(data.get("model"), _sources(data))
    return route and app.routing.catalog.key(*route)


def _model_name(data: Mapping[str, Any], app: App, say: Translator) -> str:
    route = app.routing.route(data.get("model"), _sources(data))
    return app.routing.catalog.shown(*route, say.lang) if route else ""


def _fitted(data: Mapping[str, Any], can: Capabilities) -> dict[str, Any]:
    """What was chosen, as far as the model that is chosen now has it."""
    quality = data.get("quality") if data.get("quality") in can.qualities else None
    return {
        **data,
        "count": min(data["count"], can.counts),
        "quality": quality,
        "seed": data.get("seed") if can.seed else None,
        "negative": data.get("negative") if can.negative else None,
    }


def _to_keep(data: Mapping[str, Any], can: Capabilities) -> dict[str, str]:
    """What a person's next wishes shall have of a dialog's; what could not be chosen stays as it was."""
    choosable = {"model": True, "quality": bool(can.qualities), "negative": can.negative}
    kept = {name: data.get(name) or "" for name, can_be in choosable.items() if can_be}
    if data.get("asked"):
        kept["aspect"] = data["aspect"]
    return kept


async def _retire(callback: CallbackQuery, say: Translator) -> None:
    """A button of a dialog that is over: say so, and take the buttons away."""
    await callback.answer(say("dialog-over"))
    if isinstance(callback.message, Message):
        with suppress(TelegramBadRequest):
            await callback.message.edit_reply_markup(reply_markup=None)


async def close_dialog(message: Message, state: FSMContext) -> None:
    """End the dialog of whoever wrote, if there is one, and take the buttons from its message."""
    known = (await state.get_data()).get("message")
    await state.clear()
    if known is not None and message.bot is not None:
        with suppress(TelegramBadRequest):
            await message.bot.edit_message_reply_markup(chat_id=message.chat.id, message_id=known)


async def _remove(message: Message) -> None:
    with suppress(TelegramBadRequest):
        await message.delete()


# Straight ways


async def missing_words(
    message: Message, state: FSMContext, asking: Asking, say: Translator, update_id: int
) -> None:
    if await asking.is_rest_of_cut(message, update_id):
        return
    data = await state.get_data()
    if await asking.ask_by(message, words_of(message), data, say, update_id):
        await state.clear()


async def plain_words(
    message: Message, app: App, asking: Asking, person: Person, say: Translator, update_id: int
) -> None:
    if await asking.is_rest_of_cut(message, update_id):
        return
    pictures = await _answered_pictures(message, app, person, say)
    if pictures is not None:
        data = {**kept_by(person), **pictures}
        await asking.ask_by(message, words_of(message), data, say, update_id)


async def photo(
    message: Message,
    album: list[Message],
    state: FSMContext,
    asking: Asking,
    app: App,
    person: Person,
    say: Translator,
    update_id: int,
) -> None:
    pictures = await _pictures_or_complaint(message, album, say)
    if pictures is None:
        return
    waits = await state.get_state() == Words.waiting.state
    before = await state.get_data() if waits else {}
    pictures = await perhaps_painted(app, person, message, pictures, before)
    masks = before.get("how") == "mask"
    if words := (message.caption or quoted_in(message)).strip():
        data = {**(before if masks else kept_by(person)), **pictures}
        if await asking.ask_by(message, words, data, say, update_id) and masks:
            await state.clear()
        return
    data = {**before, **pictures} if masks else _together(before or kept_by(person), pictures, update_id)
    await state.set_data(data)
    await state.set_state(Words.waiting)
    if masks:
        await message.reply(say("mask-ask-words"), reply_markup=expecting_words(say))
    else:
        await _ask_for_missing_words(message, data, say, reply_markup=expecting_words(say))


def _together(data: Mapping[str, Any], pictures: Mapping[str, Any], update_id: int) -> dict[str, Any]:
    """A wish's data with pictures: the first that came is changed, what comes after it is looked at for it. Those of an
    update that is handled again are there already."""
    if data.get("joined") == update_id:
        return dict(data)
    if not data.get("source"):
        return {**data, **pictures, "joined": update_id}
    more = [*data.get("references", ()), pictures["source"], *pictures["references"]]
    return {**data, "references": more, "joined": update_id}


async def _ask_for_missing_words(
    message: Message, data: Mapping[str, Any], say: Translator, **markup: Any
) -> None:
    """Ask what is to become of a photo, or of all that have come."""
    count = 1 + len(data.get("references", ()))
    await message.reply(say("photo-ask-words", count=count), **markup)


async def surprise(
    callback: CallbackQuery,
    state: FSMContext,
    asking: Asking,
    app: App,
    person: Person,
    say: Translator,
    update_id: int,
) -> None:
    message = callback.message
    if not isinstance(message, Message):
        await callback.answer(say("toast-old"))
        return
    if not await first_tap(app, callback, update_id, _TAP_SECONDS):
        await callback.answer(say("toast-already"))
        return
    # The same update draws the same words, should it be handled again.
    words = random.Random(update_id).choice(say("surprises").splitlines())
    if await state.get_state() == Dialog.words.state:
        await callback.answer()
        await offer_choices(message, words, state, asking, app, say)
        return
    wish = wish_in(
        message,
        callback.from_user.id,
        words,
        {**kept_by(person), "count": 1},
        say,
        update_id=update_id,
    )
    refusal = await asking.ask(wish, say)
    await callback.answer(shorten(refusal, TOAST) if refusal else None, show_alert=bool(refusal))


async def ask_for_words(
    bot: Bot, job: Job, state: FSMContext, say: Translator, user: User, *, change: bool = False
) -> None:
    """Let whoever pressed the button send other words for a picture, or (`change`) what to change in it; in a group
    they are called, and only they see the field for the answer opened."""
    spec = job.spec
    data: dict[str, Any] = {"aspect": spec.aspect, "count": spec.count, "source": spec.source}
    data |= {"references": spec.references, "painted": spec.painted}
    data |= {"parent": spec.parent, "how": spec.how, **_as_it_was(job)}
    # As code a name in the words calls nobody, and a tap copies them.
    told = [say("words-ask"), "\n", Code(shorten(spec.prompt, _OLD_WORDS))]
    answered = None
    if change:
        data |= {"count": 1, "source": (job.shown or {})["file_id"], "references": (), "painted": None}
        data |= {"parent": job.id, "how": "edit"}
        told, answered = [say("change-ask")], int((job.shown or {})["message"])
    await _expect_words(bot, spec.chat, spec.thread, data, told, state, say, user, answered)


async def ask_for_mask(
    bot: Bot, job: Job, state: FSMContext, person: Person, say: Translator, user: User
) -> None:
    """Say how to paint over what shall change in a picture, and take the photo for that."""
    spec, shown = job.spec, job.shown or {}
    data = {**kept_by(person), "aspect": spec.aspect, "count": 1, "source": shown["file_id"]}
    data |= {"parent": job.id, "how": "mask"}
    answered = int(shown["message"])
    await _expect_words(bot, spec.chat, spec.thread, data, [say("mask-ask")], state, say, user, answered)


async def ask_again(message: Message, wish: Wish, state: FSMContext, say: Translator, user: User) -> None:
    """Let whoever pressed the button send other words for a wish that was refused."""
    assert message.bot is not None
    kept = ("aspect", "count", "source", "references", "painted", "parent", "how", "model", "quality", "seed")
    data = {name: getattr(wish, name) for name in kept} | {"negative": wish.negative_prompt}
    told = (
        [say("words-ask"), "\n", Code(shorten(wish.prompt, _OLD_WORDS))]
        if wish.prompt
        else [say("prompt-empty")]
    )
    await _expect_words(message.bot, wish.chat, wish.thread, data, told, state, say, user)


async def _expect_words(
    bot: Bot,
    chat: int,
    thread: int | None,
    data: dict[str, Any],
    told: list[Any],
    state: FSMContext,
    say: Translator,
    user: User,
    answered: int | None = None,
) -> None:
    is_group = chat < 0
    await state.set_state(Words.waiting)
    await state.set_data(data)
    called = [TextMention(user.first_name, user=user), "\n"] if is_group else []
    text = Text(*called, *told)
    await bot.send_message(
        chat,
        message_thread_id=thread,
        reply_parameters=answer_to(answered),
        reply_markup=expecting_words(say, selective=is_group),
        **text.as_kwargs(),
    )


async def begin_with(bot: Bot, job: Job, state: FSMContext, app: App, say: Translator) -> None:
    """Begin the dialog with what a picture was made of."""
    data = {
        "aspect": job.spec.aspect,
        "asked": True,
        "count": 1,
        "source": job.spec.source,
        "references": job.spec.references,
        "painted": job.spec.painted,
        "model": app.routing.catalog.key(job.provider, job.spec.model),
        "parent": job.spec.parent,
        "how": job.spec.how,
        **_as_it_was(job),
        "prompt": job.spec.prompt,
        "page": "advanced",
    }
    sent = await bot.send_message(
        job.spec.chat, message_thread_id=job.spec.thread, **await choices(data, app, say, job.spec.chat)
    )
    await state.set_state(Dialog.choices)
    await state.set_data({**data, "message": sent.message_id})


def _as_it_was(job: Job) -> dict[str, Any]:
    spec = job.spec
    return {"quality": spec.quality, "seed": spec.seed, "negative": spec.negative_prompt}


async def _pictures_or_complaint(
    message: Message, shown: Sequence[Message | ExternalReplyInfo], say: Translator
) -> dict[str, Any] | None:
    """The pictures of what is shown, as `pictures_of`; None when the person was told what is wrong."""
    try:
        pictures = pictures_of(shown)
    except BadSource as error:
        await message.reply(say(error.key))
        return None
    if not pictures:
        await message.reply(say("only-words-or-pictures"))
    return pictures or None


async def _answered_pictures(
    message: Message, app: App, person: Person, say: Translator
) -> dict[str, Any] | None:
    """The picture of what a message answers, if that shows one; None when the person was told what is wrong with it."""
    answered = answered_by(message)
    try:
        pictures = pictures_of([answered] if answered else [])
        return pictures and {**pictures, **await edit_of(app, person, answered)}
    except BadSource as error:
        await message.reply(say(error.key))
        return None


async def perhaps_painted(
    app: App, person: Person, message: Message, pictures: dict[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What a message's pictures are for: a single photo that answers a picture of its shape may be that one, painted over
    where it shall change; one that a mask is waited for (by the data `before` it) shall be."""
    if before.get("how") == "mask":
        return {"painted": pictures["source"]}
    answered = answered_by(message)
    if answered is None or pictures["references"] or not alike(answered, message):
        return pictures
    try:
        original = pictures_of([answered])
    except BadSource:
        return pictures
    if not original:
        return pictures
    return {**original, **await edit_of(app, person, answered), "painted": pictures["source"]}


async def edit_of(app: App, person: Person, message: Message | ExternalReplyInfo | None) -> dict[str, Any]:
    """That a picture is an edit of the one a message shows, where that is one of ours."""
    parent = await lineage.job_of(app, person.id, message) if isinstance(message, Message) else None
    return {"parent": parent, "how": "edit"} if parent else {}


def expecting_words(say: Translator, *, selective: bool = False) -> ForceReply:
    """Opens the field for an answer."""
    return ForceReply(input_field_placeholder=say("words-placeholder"), selective=selective or None)


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="create")
    router.message.register(begin, Command("create"), _PRIVATE)
    router.message.register(begin_elsewhere, Command("create"))
    router.message.register(dialog_seed, Dialog.seed, _PRIVATE, *_WORDS)
    router.message.register(dialog_negative, Dialog.negative, _PRIVATE, *_WORDS)
    router.message.register(dialog_words, StateFilter(Dialog), _PRIVATE, *_WORDS)
    router.message.register(dialog_photo, StateFilter(Dialog), _PRIVATE, F.photo | F.document)
    router.callback_query.register(choose, OfDialog.filter())
    router.message.register(missing_words, Words.waiting, _PRIVATE, *_WORDS)
    router.message.register(plain_words, _PRIVATE, *_WORDS)
    router.message.register(photo, _PRIVATE, F.photo | F.document)
    router.callback_query.register(surprise, Surprise.filter())
    return router
