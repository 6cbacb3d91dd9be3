"""/privacy, /export, /delete_me: for how long a person's pictures are kept, a copy of them all, and the end of everything."""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramAPIError
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.types import CallbackQuery, FSInputFile, Message

from src.app import App
from src.bot.forgetting import Receipt, forget_person
from src.bot.handling import Later
from src.bot.ordering import first
from src.jobs import Job, Person, credit, keys
from src.telegram import files, keyboards
from src.telegram.i18n import Translator
from src.telegram.keyboards import OfPrivacy
from src.telegram.photos import file_name
from src.telegram.throttle import priority

log = structlog.get_logger(__name__)

_PRIVATE = F.chat.type == ChatType.PRIVATE
_EXPORT_SECONDS = 600
# Bots may send files of up to 50 MB.
_PART_BYTES = 45_000_000
_PATIENCE = 60.0


async def privacy(message: Message, app: App, person: Person, say: Translator) -> None:
    await message.answer(**_privacy(app, person, say))


def _privacy(app: App, person: Person, say: Translator) -> dict[str, Any]:
    longest = app.settings.job_ttl_days
    days = min(person.keep or longest, longest)
    lines = [say("privacy", days=days, originals=min(app.settings.blobs_days, longest))]
    if app.settings.inline_storage_chat is not None:
        lines += ["", say("privacy-inline")]
    return {
        "text": "\n".join(lines),
        "reply_markup": keyboards.privacy(say, days, longest),
    }


async def elsewhere(message: Message, say: Translator) -> None:
    await message.reply(say("privacy-elsewhere"))


async def choose(
    callback: CallbackQuery,
    callback_data: OfPrivacy,
    app: App,
    bot: Bot,
    later: Later,
    person: Person,
    state: FSMContext,
    say: Translator,
    update_id: int,
) -> None:
    """A button of these."""
    message = callback.message
    if not isinstance(message, Message) or message.chat.type != ChatType.PRIVATE:
        await callback.answer(say("toast-old"))
        return
    match callback_data.what:
        case "keep" if callback_data.days in keyboards.days_kept(app.settings.job_ttl_days):
            await app.ledger.keep(person.id, callback_data.days)
            await callback.answer(say("toast-saved"))
            changed = await app.ledger.person(person.id)
            if changed != person:
                await message.edit_text(**_privacy(app, changed, say))
        case "export":
            await callback.answer()
            await export(message, app, bot, later, person, say, update_id)
        case "delete":
            await callback.answer()
            await delete_me(message, say)
        case "stop":
            await callback.answer()
            await message.edit_text(say("delete-not"))
        case "sure":
            receipt = await forget_person(app, bot, person.id)
            await state.clear()
            await callback.answer()
            await message.edit_text(_told(app, say, receipt))
        case _:
            await callback.answer(say("toast-old"))


async def delete_me(message: Message, say: Translator) -> None:
    await message.answer(say("delete-sure"), reply_markup=keyboards.delete_sure(say))


def _told(app: App, say: Translator, receipt: Receipt) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    lines = [
        say("delete-receipt", number=receipt.number, at=at),
        say("delete-pictures", pictures=receipt.pictures),
        say("delete-cancelled", cancelled=receipt.cancelled),
        say("delete-notes", notes=receipt.notes),
        "",
        say("delete-stays"),
    ]
    if app.settings.inline_storage_chat is not None or receipt.copies:
        lines.append(say("delete-inline", copies=receipt.copies))
    if receipt.bought or receipt.payments:
        lines.append(say("delete-payments", bought=receipt.bought, payments=receipt.payments))
    if receipt.backup_hours is None:
        lines.append(say("delete-no-backups"))
    else:
        lines.append(say("delete-backups", hours=receipt.backup_hours, days=receipt.backup_days))
    return "\n".join(lines)


async def export(
    message: Message, app: App, bot: Bot, later: Later, person: Person, say: Translator, update_id: int
) -> None:
    """Begin to send a person all that is kept of them."""
    if not await first(app, keys.EXPORT(person.id), update_id, _EXPORT_SECONDS):
        await message.answer(say("export-already"))
        return
    await message.answer(say("export-begins"))
    later(_export(app, bot, message.chat.id, person, say))


async def _export(app: App, bot: Bot, chat: int, person: Person, say: Translator) -> None:
    try:
        with (
            tempfile.TemporaryDirectory(prefix="imagebot-export-") as folder,
            priority("answer", patience=_PATIENCE, chat_patience=_PATIENCE),
        ):
            await _send_parts(app, bot, chat, person, Path(folder), say)
    except (TelegramAPIError, OSError) as error:
        log.warning("export broke off", error=type(error).__name__)
        await app.redis.delete(keys.EXPORT(person.id))
        await bot.send_message(chat, say("export-failed"))


async def _send_parts(app: App, bot: Bot, chat: int, person: Person, folder: Path, say: Translator) -> None:
    """Send the pictures in files that Telegram takes, and in the last of them all words."""
    told: list[dict[str, Any]] = []
    number, part = 1, _Part(folder, 1)
    for job in await app.ledger.all_of(person.id):
        entry = _entry(job)
        told.append(entry)
        data = await _picture(bot, job)
        if data is None:
            continue
        if part.size and part.size + len(data) > _PART_BYTES:
            await _send(bot, chat, part, say("export-part", number=number))
            number += 1
            part = _Part(folder, number)
        entry["file"] = part.add(f"{number}-{len(told):03}-{file_name(job, 'image/jpeg')}", data)
    chosen = {name: value for name, value in asdict(person).items() if name not in ("id", "blocked")}
    paid = await credit.payments(app.ledger, person.id)
    words = {
        "telegram_id": person.id,
        "settings": chosen,
        "asked_for": told,
        "bought": (await credit.balance(app.ledger, person.id, 0)).bought,
        "payments": [_payment(one) for one in paid],
    }
    part.add("words.json", json.dumps(words, ensure_ascii=False, indent=1).encode())
    await _send(bot, chat, part, say("export-done", count=len(told)))


class _Part:
    """One zip on its way."""

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"imagebot-{number}.zip"
        self.size = 0
        self._zip = zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED)

    def add(self, name: str, data: bytes) -> str:
        self._zip.writestr(name, data)
        self.size += len(data)
        return name

    def close(self) -> None:
        self._zip.close()


async def _send(bot: Bot, chat: int, part: _Part, words: str) -> None:
    part.close()
    await bot.send_document(chat, FSInputFile(part.path), caption=words)
    part.path.unlink()


async def _picture(bot: Bot, job: Job) -> bytes | None:
    """A picture as Telegram keeps it."""
    if (file_id := (job.shown or {}).get("file_id")) is None:
        return None
    try:
        return await files.download(bot, str(file_id))
    except (files.NoFile, files.NotNow) as error:
        log.info("not in the export", job_id=job.id, error=type(error).__name__)
        return None


def _payment(one: credit.Payment) -> dict[str, Any]:
    at = {name: one_at for name, one_at in (("at", one.at), ("refunded_at", one.refunded)) if one_at}
    times = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000)) for name, ms in at.items()}
    return {"charge_id": one.charge, "stars": one.stars, "pictures": one.pictures, **times}


def _entry(job: Job) -> dict[str, Any]:
    """What is told of a picture; what is not known is left out."""
    spec, shown = job.spec, job.shown or {}
    found = {
        "id": job.id,
        "asked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.created / 1000)),
        "words": spec.prompt,
        "state": str(job.state),
        "why_not": job.kind or None,
        "provider": job.provider,
        "model": spec.model,
        "format": spec.aspect,
        "seed": shown.get("seed", spec.seed),
        "cost": shown.get("cost"),
        "cost_unit": shown.get("unit"),
        "from": spec.parent,
        "how": spec.how,
    }
    return {name: value for name, value in found.items() if value is not None}


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="privacy")
    router.message.register(privacy, Command("privacy"), _PRIVATE)
    router.message.register(export, Command("export"), _PRIVATE)
    router.message.register(delete_me, Command("delete_me"), _PRIVATE)
    router.message.register(elsewhere, Command("privacy", "export", "delete_me"))
    router.callback_query.register(choose, OfPrivacy.filter())
    return router
