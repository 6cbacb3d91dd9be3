"""What a chat is to the bot: who speaks in it, who may act for whom, what may be sent there, and where it went.

What Telegram says of a chat is kept for minutes in Redis, so that asking costs a call now and then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from aiogram import Bot
from aiogram.enums import ChatMemberStatus, ChatType
from aiogram.exceptions import TelegramAPIError
from aiogram.types import CallbackQuery, ChatMemberRestricted, ChatPermissions, Message

from src.app import App
from src.jobs import keys

log = structlog.get_logger(__name__)

ADMINS = frozenset({ChatMemberStatus.ADMINISTRATOR, ChatMemberStatus.CREATOR})

_KNOWN_SECONDS = 300
# Who was told what is missing allows it and tries again.
_LACKING_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Rights:
    """What the bot may send to a chat. `slow`: seconds between two messages of who is no admin."""

    text: bool = True
    photos: bool = True
    files: bool = True
    slow: int = 0

    @property
    def lacking(self) -> str | None:
        """The text that says what is missing for any picture; None: nothing is."""
        if not self.text:
            return "refused-no-text"
        return None if self.photos or self.files else "refused-no-pictures"

    @property
    def one_at_a_time(self) -> bool:
        """An album is photos, and one message more."""
        return self.slow > 0 or not self.photos


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What a group's admins allow there.

    Attributes:
        lang: in which language everybody is spoken to; None: in their own.
        admins: only they may ask. edits: pictures may be changed. covered: see `Request`.
        each, hourly: pictures that a person, and all together, may ask for within an hour; 0: any number.
    """

    lang: str | None = None
    admins: bool = False
    edits: bool = True
    covered: bool = False
    each: int = 0
    hourly: int = 0

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> GroupRules:
        return cls(
            lang=raw.get("lang") or None,
            admins=raw.get("admins") == "1",
            edits=raw.get("edits") != "0",
            covered=raw.get("covered") == "1",
            each=int(raw.get("each") or 0),
            hourly=int(raw.get("hourly") or 0),
        )

    def dump(self) -> dict[str, str | int]:
        """As it is kept."""
        return {name: "" if value is None else value for name, value in self.choices().items()} | {
            name: int(getattr(self, name)) for name in ("admins", "edits", "covered")
        }

    def choices(self) -> dict[str, Any]:
        """Each by its name."""
        return asdict(self)

    def limits(self, person: int | str) -> dict[str, int]:
        """As `transitions.admit` takes them."""
        return {who: most for who, most in ((str(person), self.each), ("all", self.hourly)) if most}


class Chats:
    """Asks Telegram about its chats."""

    def __init__(self, app: App, bot: Bot) -> None:
        self._app = app
        self._bot = bot

    async def now(self, chat: int) -> int:
        """The chat's id today: a group that becomes a supergroup gets another."""
        if chat >= 0:
            return chat
        became: str | None = await self._app.redis.get(keys.BECAME(chat))
        return int(became) if became else chat

    async def are_same(self, one: int, other: int) -> bool:
        """Whether two ids are of one chat."""
        return one == other or await self.now(one) == await self.now(other)

    async def may_act(self, callback: CallbackQuery, owner: str) -> bool:
        """Whether who tapped may do it for a person: for themselves, and a group's admins for whoever speaks
        there in a chat's name, as such a person taps under another id."""
        if owner == str(callback.from_user.id):
            return True
        _, _, group = owner.partition("@")
        if not group or callback.message is None:
            return False
        here = callback.message.chat.id
        return await self.are_same(int(group), here) and await self._is_admin(here, callback.from_user.id)

    async def owner_of(self, callback: CallbackQuery) -> str | None:
        """Whose a message of ours is (in a group: whose it answers), if whoever tapped may act for them; else None, as in
        a group everybody can tap."""
        message = callback.message
        if not isinstance(message, Message) or message.chat.type == ChatType.PRIVATE:
            return str(callback.from_user.id)
        owner = asked_by(message)
        return str(owner) if owner is not None and await self.may_act(callback, str(owner)) else None

    async def is_run_by(self, chat: int, user: int) -> bool:
        """Whether somebody is an admin of a group."""
        return await self._is_admin(chat, user)

    async def model(self, chat: int) -> str | None:
        """The model that a group's admins chose for it."""
        model: str | None = await self._app.redis.hget(keys.CHAT(await self.now(chat)), "model")
        return model or None

    async def choose_model(self, chat: int, model: str) -> None:
        """Keep a model for a group; empty: none."""
        await self._app.redis.hset(keys.CHAT(await self.now(chat)), "model", model)

    async def rules(self, chat: int) -> GroupRules:
        """What a group's admins allow there."""
        return GroupRules.parse(await self._app.redis.hgetall(keys.CHAT(await self.now(chat))))

    async def rule(self, chat: int, rules: GroupRules) -> None:
        """Keep what they allow from now on."""
        await self._app.redis.hset(keys.CHAT(await self.now(chat)), mapping=rules.dump())

    async def may_ask(self, chat: int, person: int | str) -> bool:
        """Whether somebody is among those who ask where only admins do: one, or who speaks in the group's name."""
        if isinstance(person, int):
            return await self._is_admin(chat, person)
        return await self.are_same(speaks_for(person) or 0, chat)

    async def _is_admin(self, chat: int, user: int) -> bool:
        key = keys.MEMBER(chat, user)
        status: str | None = await self._app.redis.get(key)
        if status is None:
            try:
                status = (await self._bot.get_chat_member(chat, user)).status
            except TelegramAPIError as error:
                log.info("member not known", error=type(error).__name__)
                return False
            await self._app.redis.set(
                key, status, ex=_KNOWN_SECONDS if status in ADMINS else _LACKING_SECONDS
            )
        return status in ADMINS

    async def rights(self, chat: int) -> Rights:
        """What may be sent there; everything where Telegram does not say."""
        key = keys.RIGHTS(chat)
        if (known := await self._app.redis.get(key)) is not None:
            return Rights(**json.loads(known))
        try:
            rights = await self._ask(chat)
        except TelegramAPIError as error:
            log.info("rights not known", error=type(error).__name__)
            return Rights()
        seconds = _KNOWN_SECONDS if rights == Rights() else _LACKING_SECONDS
        await self._app.redis.set(key, json.dumps(asdict(rights)), ex=seconds)
        return rights

    async def forget(self, chat: int) -> None:
        """Something has changed there."""
        await self._app.redis.delete(keys.RIGHTS(chat))

    async def _ask(self, chat: int) -> Rights:
        member, group = await asyncio.gather(
            self._bot.get_chat_member(chat, self._bot.id), self._bot.get_chat(chat)
        )
        if member.status in ADMINS:
            return Rights()
        rules: list[ChatPermissions | ChatMemberRestricted] = [group.permissions] if group.permissions else []
        if isinstance(member, ChatMemberRestricted):
            rules.append(member)

        def may(right: str) -> bool:
            return all(getattr(rule, right) is not False for rule in rules)

        return Rights(
            text=may("can_send_messages"),
            photos=may("can_send_photos"),
            files=may("can_send_documents"),
            slow=group.slow_mode_delay or 0,
        )


def speaker_of(message: Message) -> int | str:
    """The person a message is of: who sent it; or in a group the chat in whose name it was sent, as that group's own,
    because Telegram gives all anonymous admins one id, and all channels another."""
    if message.sender_chat is not None and message.chat.type != ChatType.PRIVATE:
        return f"{message.sender_chat.id}@{message.chat.id}"
    return message.from_user.id if message.from_user is not None else message.chat.id


def speaks_for(speaker: str) -> int | None:
    """The chat in whose name such a person speaks; None: it is somebody's own."""
    chat, at, _ = speaker.partition("@")
    return int(chat) if at else None


def asked_by(message: Message) -> int | str | None:
    """The person whose message one of ours answers; None: none's, or it is gone."""
    answered = message.reply_to_message
    return None if answered is None else speaker_of(answered)
