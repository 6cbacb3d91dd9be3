"""What admins know of a person and do with them: /who, /ban, /lift, /tier, /limit."""

from __future__ import annotations

import re
import time
from typing import Any

from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramAPIError
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import CallbackQuery, ForceReply, Message, MessageOriginUser

from src.app import App
from src.bot.chats import speaker_of
from src.bot.handlers.admin import ByAdmin, note
from src.bot.handlers.limits import lines_of
from src.bot.ordering import NO_COMMAND, words_of
from src.jobs import Job
from src.ops import report
from src.ops.people import Known, look_up
from src.pipeline import admission as intake
from src.telegram import admin_keyboards, keyboards
from src.telegram.admin_keyboards import OfPerson
from src.telegram.i18n import Texts, Translator, language_of, shorten
from src.telemetry import job_spans

# By number, or a chat's in a chat (`src.bot.chats.speaker_of`).
_PERSON = re.compile(r"\d+|-\d+@-\d+")
_LIMIT = re.compile(r"(\d{1,6})\s+(\d{1,6})")
_LONGEST_REASON = 500
_NO_REASON = "-"


class Banning(StatesGroup):
    """An admin bans somebody. Its data: `user`."""

    reason = State()


async def who(message: Message, command: CommandObject, app: App, bot: Bot, say: Translator) -> None:
    """What is known of a person, to the admin alone wherever they ask."""
    user = (command.args or "").strip() or await _meant(message, app)
    if not _PERSON.fullmatch(user):
        await message.answer(say("admin-usage"))
        return
    assert message.from_user is not None
    try:
        await bot.send_message(message.from_user.id, **await _card(app, bot, user, say))
    except TelegramAPIError:
        if message.chat.type == ChatType.PRIVATE:
            raise
        await message.reply(say("who-private"))


async def _meant(message: Message, app: App) -> str:
    """Whom a message without an id is about: who wrote what it answers, or for whom that was drawn."""
    answered = message.reply_to_message
    if answered is None:
        return ""
    if answered.from_user is not None and message.bot is not None and answered.from_user.id == message.bot.id:
        job = await app.ledger.job(keyboards.job_in(answered.reply_markup) or "")
        request = await app.ledger.request(keyboards.request_in(answered.reply_markup) or "")
        return job.user if job else request.user if request else ""
    if isinstance(answered.forward_origin, MessageOriginUser):
        return str(answered.forward_origin.sender_user.id)
    return str(speaker_of(answered))


async def _card(app: App, bot: Bot, user: str, say: Translator) -> dict[str, Any]:
    """The text and keyboard of /who, as arguments of a call."""
    known = await look_up(app, user)
    person = known.person
    lines = [
        f"👤 {user} {await _name(bot, user)}".rstrip(),
        say("who-tier", tier=say("tier", name=person.tier)),
        say("who-seen", at=_clock(person.seen)) if person.seen else say("who-never"),
        *await lines_of(app, person, say),
        *_rules(known, say),
        say("who-jobs", active=known.active, kept=known.kept),
        say(
            "who-cost",
            today=report.costs(say, known.today) or "–",
            lately=report.costs(say, known.lately) or "–",
        ),
        *(line for job in known.last for line in _job(app, job, say)),
    ]
    markup = admin_keyboards.person(say, user, person.tier, tuple(intake.TIERS), banned=person.blocked)
    return {"text": shorten("\n".join(lines), 4096), "reply_markup": markup}


def _rules(known: Known, say: Translator) -> list[str]:
    lines = []
    if known.person.blocked:
        lines.append(say("who-banned", why=known.person.why or "–"))
    if known.strikes:
        lines.append(say("who-strikes", strikes=known.strikes))
    if known.cooling:
        lines.append(say("who-cooling", minutes=-(-known.cooling // 60)))
    return lines


def _job(app: App, job: Job, say: Translator) -> list[str]:
    state = say("admin-state", state=str(job.state))
    why = f", {say('admin-kind', kind=job.kind)}" if job.kind else ""
    link = job_spans.jaeger_link(app.settings, job_spans.trace_id(job))
    return [f"🔎 {job.id} · {state}{why}", *([f"    {link}"] if link else [])]


async def _name(bot: Bot, user: str) -> str:
    """What a person calls themselves, where Telegram tells: it is not kept here."""
    if not user.isdecimal():
        return ""
    try:
        chat = await bot.get_chat(int(user))
    except TelegramAPIError:
        return ""
    return f"{chat.full_name} {f'@{chat.username}' if chat.username else ''}".strip()


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


async def tapped(
    callback: CallbackQuery,
    callback_data: OfPerson,
    app: App,
    bot: Bot,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    """A button of /who."""
    user = callback_data.user
    if callback_data.what == "ban":
        await callback.answer()
        await state.set_state(Banning.reason)
        await state.set_data({"user": user})
        await bot.send_message(callback.from_user.id, say("ban-why", user=user), reply_markup=ForceReply())
        return
    if callback_data.what == "lift":
        await _lift(app, callback, user, update_id)
    elif callback_data.what == "tier" and callback_data.tier in intake.TIERS:
        await _place(app, callback, user, callback_data.tier, update_id)
    await callback.answer(say("toast-saved"))
    if isinstance(callback.message, Message):
        await callback.message.edit_text(**await _card(app, bot, user, say))


async def ban(
    message: Message,
    command: CommandObject,
    app: App,
    bot: Bot,
    texts: Texts,
    say: Translator,
    update_id: int,
) -> None:
    user, _, reason = (command.args or "").strip().partition(" ")
    if not _PERSON.fullmatch(user):
        await message.answer(say("admin-usage"))
        return
    await _ban(message, app, bot, texts, user, reason.strip(), say, update_id)


async def ban_for(
    message: Message, app: App, bot: Bot, texts: Texts, state: FSMContext, say: Translator, update_id: int
) -> None:
    """The reason has been said."""
    user = (await state.get_data())["user"]
    words = words_of(message).strip()
    await _ban(message, app, bot, texts, user, "" if words == _NO_REASON else words, say, update_id)
    await state.clear()


async def _ban(
    message: Message,
    app: App,
    bot: Bot,
    texts: Texts,
    user: str,
    reason: str,
    say: Translator,
    update_id: int,
) -> None:
    """Let a person ask for nothing more, take back what they have open, and tell them once: the ban, or a new reason."""
    why = shorten(reason, _LONGEST_REASON)
    before = await app.ledger.person(user)
    await app.ledger.choose(user, blocked=1, why=why)
    endings = [await intake.cancel(app, job.id, None) for job in await app.ledger.active(user)]
    await note(app, message, update_id, "ban", user, why)
    told = before.blocked and before.why == why
    if not told and user.isdecimal():
        theirs = texts.translator(language_of(before.lang, before.spoken))
        words = theirs("banned-why", why=why) if why else theirs("banned")
        try:
            await bot.send_message(int(user), words)
            told = True
        except TelegramAPIError:
            told = False
    lines = [say("admin-blocked", user=user, number=sum(ending.done for ending in endings))]
    if not told:
        lines.append(say("ban-untold"))
    await message.answer("\n".join(lines))


async def lift(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    user = (command.args or "").strip()
    if not _PERSON.fullmatch(user):
        await message.answer(say("admin-usage"))
        return
    await _lift(app, message, user, update_id)
    await message.answer(say("admin-unblocked", user=user))


async def _lift(app: App, event: Message | CallbackQuery, user: str, update_id: int) -> None:
    await app.ledger.choose(user, blocked=0, why="")
    await note(app, event, update_id, "lift", user)


async def tier(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    user, _, name = " ".join((command.args or "").split()).partition(" ")
    if not _PERSON.fullmatch(user) or name not in intake.TIERS:
        await message.answer(say("admin-tiers", tiers=" | ".join(intake.TIERS)))
        return
    await _place(app, message, user, name, update_id)
    await message.answer(say("admin-tier", user=user, tier=say("tier", name=name)))


async def _place(app: App, event: Message | CallbackQuery, user: str, name: str, update_id: int) -> None:
    """Put a person into a tier."""
    await app.ledger.choose(user, tier=name)
    await note(app, event, update_id, "tier", user, name)


async def limit(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    """Limits of a person's own, or everybody's again."""
    user, _, said = (command.args or "").strip().partition(" ")
    numbers = _LIMIT.fullmatch(said.strip())
    if not _PERSON.fullmatch(user) or (numbers is None and said.strip() != _NO_REASON):
        await message.answer(say("limit-usage", window=app.settings.rate_window))
        return
    rate, active = (int(number) for number in numbers.groups()) if numbers else (0, 0)
    await app.ledger.choose(user, rate=rate, active=active)
    await note(app, message, update_id, "limit", user, said.strip())
    person = await app.ledger.person(user)
    placed = say("admin-tier", user=user, tier=say("tier", name=person.tier))
    await message.answer("\n".join([placed, *await lines_of(app, person, say)]))


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="people")
    router.message.register(who, Command("who"), ByAdmin())
    router.message.register(ban, Command("ban", "block"), ByAdmin())
    router.message.register(lift, Command("lift", "unblock"), ByAdmin())
    router.message.register(tier, Command("tier"), ByAdmin())
    router.message.register(limit, Command("limit"), ByAdmin())
    router.message.register(ban_for, Banning.reason, ByAdmin(), F.text, NO_COMMAND)
    router.callback_query.register(tapped, OfPerson.filter(), ByAdmin())
    return router
