"""The other side of the chat: people who write to the bot, tap its buttons and wait for what it says.

One class serves the tests, the chat page and the load generator. Nothing here sleeps or polls: waiting
is woken by changes of the chat.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from src.sandbox.telegram import entities
from src.sandbox.telegram.bot import Bot
from src.sandbox.telegram.content import file_json
from src.sandbox.telegram.inline import LONGEST_QUERY, Query, Result
from src.sandbox.telegram.payments import tell_paid
from src.sandbox.telegram.records import CallbackQuery, Chat, Content, Message, PersonRecord
from src.sandbox.telegram.till import CHECKOUT_SECONDS, Checkout

T = TypeVar("T")

WAIT = 30.0
"""Seconds a wait lasts unless told otherwise."""


@dataclass
class Tap:
    """A tap on an inline button."""

    query: CallbackQuery
    update_id: int | None
    """Of the update that told the bot of it."""

    @property
    def answer(self) -> dict[str, Any] | None:
        """`text`, `show_alert` and `url` of the bot's answer, None until it comes."""
        return self.query.answer

    async def answered(self, timeout: float = WAIT) -> dict[str, Any]:  # noqa: ASYNC109
        """Waits for the bot's answer; raises TimeoutError."""
        return await self.query.chat.feed.until(lambda: self.query.answer, timeout)


class Person:
    """Someone with a Telegram account, in the world of one bot.

    Methods that take `chat` mean a group when it is given, else the private chat with the bot.
    """

    def __init__(self, record: PersonRecord, bot: Bot) -> None:
        self.record = record
        self._bot = bot

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def chat(self) -> Chat:
        """The private chat with the bot; writing there starts it."""
        return self._bot.private_chat(self.record, started=False)

    @property
    def messages(self) -> list[Message]:
        """What the private chat shows now, oldest first."""
        return visible(self.chat)

    # What a person does

    async def send_text(
        self,
        text: str,
        *,
        chat: Chat | None = None,
        reply_to: Message | None = None,
        thread_id: int | None = None,
        as_chat: Chat | None = None,
    ) -> Message:
        """Writes a message, in the name of `as_chat` where it is given: of the group, as its admins may, or of
        a channel; raises ValueError for a text no client lets through (empty, over 4096)."""
        text, found = entities.parse(text, "", None)
        if not text or entities.utf16_length(text) > entities.MAX_TEXT:
            raise ValueError("a message has 1 to 4096 UTF-16 units of text")
        content: Content = {"text": text}
        if found:
            content["entities"] = found
        return self._write(content, chat, reply_to, thread_id, as_chat=as_chat)

    async def send_photo(
        self,
        data: bytes,
        caption: str = "",
        *,
        chat: Chat | None = None,
        reply_to: Message | None = None,
        thread_id: int | None = None,
        as_is: bool = False,
        album: str | None = None,
    ) -> Message:
        """Sends a photo, recompressed as Telegram does; raises ApiError for one it would not take.

        `as_is` keeps the bytes whatever they are: a photo that is broken, or no photo at all.
        """
        digest = _sha256(data)
        if as_is:
            sizes = [self._bot.add_file("Photo", data, digest, width=1280, height=960)]
        else:
            sizes = self._bot.add_photo(await self._bot.darkroom.develop(data, digest), digest)
        photo = [{**size.as_json(), "width": size.width, "height": size.height} for size in sizes]
        content: Content = {"photo": photo, **_caption(caption)}
        if album:
            content["media_group_id"] = album
        return self._write(content, chat, reply_to, thread_id, sha256=sizes[-1].source_sha256)

    async def send_album(
        self, photos: Sequence[bytes], caption: str = "", *, chat: Chat | None = None
    ) -> list[Message]:
        """Sends photos as one album, the caption on the first."""
        album = str(secrets.randbelow(10**17) + 10**16)
        captions = [caption, *[""] * (len(photos) - 1)]
        return [
            await self.send_photo(data, text, chat=chat, album=album)
            for data, text in zip(photos, captions, strict=True)
        ]

    async def send_document(
        self,
        data: bytes,
        name: str = "picture.png",
        caption: str = "",
        *,
        mime_type: str | None = None,
        chat: Chat | None = None,
        reply_to: Message | None = None,
    ) -> Message:
        """Sends a file as it is."""
        record = self._bot.add_file("Document", data, _sha256(data), name, mime_type)
        return self._write(
            {"document": file_json(record), **_caption(caption)}, chat, reply_to, None, sha256=record.sha256
        )

    async def send_sticker(
        self, data: bytes = b"sticker", *, animated: bool = False, chat: Chat | None = None
    ) -> Message:
        """Sends a sticker."""
        record = self._bot.add_file(
            "Sticker", data, _sha256(data), "sticker.tgs" if animated else "sticker.webp"
        )
        sticker = {**file_json(record), "is_animated": animated, "emoji": "🦊"}
        return self._write({"sticker": sticker}, chat, None, None, sha256=record.sha256)

    async def send_content(self, content: Content, *, chat: Chat | None = None) -> Message:
        """Sends a message of any other kind: `content` are its fields as the Bot API shows them."""
        return self._write(content, chat, None, None)

    async def tap(self, message: Message, button: str) -> Tap:
        """Taps an inline button, meant by its callback data or by a part of its text.

        Raises LookupError if the message has no such button; see `tap_data` for a stale one.
        """
        return await self.tap_data(message, str(message.button(button)["callback_data"]))

    async def tap_data(self, message: Message, data: str) -> Tap:
        """Sends a callback query with any data, as an outdated or forged client could."""
        query = CallbackQuery(
            id=str(secrets.randbelow(10**18) + 10**17),
            chat=message.chat,
            message_id=message.message_id,
            person_id=self.id,
            data=data,
            asked_at=time.time(),
        )
        self._bot.add_tap(query)
        update = {
            "id": query.id,
            "from": self.record.as_user(),
            "chat_instance": str(message.chat.id),
            "data": data,
        }
        # Of what was sent through a bot it is told no more.
        update |= (
            {"message": message.as_json()}
            if message.inline_id is None
            else {"inline_message_id": message.inline_id}
        )
        query.update_id = self._bot.updates.push("callback_query", update, self.id)
        return Tap(query, query.update_id)

    async def ask_inline(self, words: str, *, offset: str = "", chat_type: str = "group") -> Query:
        """Types `@bot words` in a chat of that type, and waits for what the bot offers; raises ValueError where inline
        mode is off."""
        if not self._bot.inline.enabled:
            raise ValueError("the bot has no inline mode")
        query = self._bot.inline.ask(self._bot, self.record, words[:LONGEST_QUERY], offset, chat_type)
        await self._bot.feed.until(lambda: query.answer, WAIT)
        return query

    async def send_inline(self, query: Query, result: Result, *, chat: Chat | None = None) -> Message:
        """Sends what the bot offered, in a chat that the bot is not in or in this one."""
        where = chat or self._bot.inline.elsewhere(self.record)
        message = self._bot.inline.send(self._bot, query, result, where)
        if where.id in self._bot.chats and self._bot_sees(message, None):
            update = self._bot.updates.push("message", message.as_json(), where.id)
            if message.update_id is None:
                self._bot.note_update(message, update)
        return message

    async def pay(self, invoice: Message | str, *, told: bool = True) -> Checkout:
        """Presses Pay under an invoice, or follows its link, and waits until the bot has answered.

        `told`: False: the update that tells the bot of the payment is lost.

        Raises TimeoutError when the bot does not answer in time, and LookupError for what is no invoice.
        """
        chat, name = self.chat, invoice
        if isinstance(invoice, Message):
            chat, name = invoice.chat, f"{invoice.chat.id}:{invoice.message_id}"
        wanted = self._bot.till.links[str(name)]
        checkout = Checkout(
            str(secrets.randbelow(10**18) + 10**17), wanted, self.record.as_user(), chat, told
        )
        self._bot.till.checkouts[checkout.id] = checkout
        query = {
            "id": checkout.id,
            "from": checkout.person,
            "currency": "XTR",
            "total_amount": wanted.stars,
            "invoice_payload": wanted.payload,
        }
        self._bot.updates.push("pre_checkout_query", query, self.id)
        await self._until(lambda: checkout.outcome, CHECKOUT_SECONDS, chat)
        return checkout

    async def pay_next_month(self, checkout: Checkout) -> Checkout:
        """Telegram takes the next month's stars of a subscription by itself."""
        following = replace(checkout, told=True)
        following.charge = self._bot.till.take(checkout.invoice, checkout.person)
        tell_paid(self._bot, following, first=False)
        return following

    async def edit_text(self, message: Message, text: str) -> None:
        """Edits an own message."""
        text, found = entities.parse(text, "", None)
        content: Content = {"text": text, **({"entities": found} if found else {})}
        self._bot.edit_message(message, content, None, method="person", sha256=None)
        self._bot.updates.push("edited_message", message.as_json(), message.chat.id)

    async def delete(self, message: Message) -> None:
        """Deletes a message for both sides; Telegram tells the bot nothing."""
        self._bot.delete_message(message)

    async def block(self) -> None:
        """Blocks the bot."""
        self._set_blocked(True)

    async def unblock(self) -> None:
        """Lets the bot write again."""
        self._set_blocked(False)

    async def use_language(self, language_code: str) -> None:
        """Changes the language of the person's Telegram client."""
        self.record.language_code = language_code
        self._bot.store.put("person", str(self.id), vars(self.record))
        self._bot.tell(self.chat, "person", {"person_id": self.id})

    # What a person waits for

    async def wait_for(
        self,
        wanted: Callable[[Message], object],
        timeout: float = WAIT,  # noqa: ASYNC109
        *,
        chat: Chat | None = None,
    ) -> Message:
        """The newest visible message that is `wanted`, now or as soon as there is one.

        Raises TimeoutError with the end of the conversation after `timeout` seconds.
        """
        where = chat or self.chat

        def newest() -> Message | None:
            return next((m for m in reversed(where.messages.values()) if not m.deleted and wanted(m)), None)

        return await self._until(newest, timeout, where)

    async def wait_until(
        self,
        check: Callable[[list[Message]], object],
        timeout: float = WAIT,  # noqa: ASYNC109
        *,
        chat: Chat | None = None,
    ) -> list[Message]:
        """The visible messages once `check` holds for them; raises TimeoutError like `wait_for`."""
        where = chat or self.chat

        def shown() -> list[Message] | None:
            messages = visible(where)
            return messages if check(messages) else None

        return await self._until(shown, timeout, where)

    async def reply_after(
        self,
        message: Message,
        timeout: float = WAIT,  # noqa: ASYNC109
        *,
        chat: Chat | None = None,
    ) -> Message:
        """The bot's first message after that one."""
        where = chat or self.chat

        def first() -> Message | None:
            later = (m for m in where.messages.values() if m.message_id > message.message_id)
            return next((m for m in later if m.from_bot and not m.deleted), None)

        return await self._until(first, timeout, where)

    async def _until(self, check: Callable[[], T | None], timeout: float, chat: Chat) -> T:  # noqa: ASYNC109
        try:
            return await chat.feed.until(check, timeout)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout:g} s; the chat ends so:\n{transcript(chat)}") from None

    # How the bot hears of it

    def _write(
        self,
        content: Content,
        chat: Chat | None,
        reply_to: Message | None,
        thread_id: int | None,
        sha256: str | None = None,
        as_chat: Chat | None = None,
    ) -> Message:
        where = chat or self._bot.private_chat(self.record)
        if where.blocked and where.is_private:
            raise ValueError("the person has blocked the bot; unblock it first")
        if where.migrated_to is not None or self.id not in where.members:
            raise ValueError("the person is not in that chat")
        message = self._bot.add_message(
            where,
            self.record.as_user() if as_chat is None else shared_sender(as_chat),
            content,
            method="person",
            reply_to=reply_to.message_id if reply_to else None,
            thread_id=thread_id,
            sender_chat=None if as_chat is None else as_chat.as_json(),
            sha256=sha256,
        )
        if self._bot_sees(message, reply_to):
            self._bot.note_update(message, self._bot.updates.push("message", message.as_json(), where.id))
        return message

    def _bot_sees(self, message: Message, reply_to: Message | None) -> bool:
        """Privacy mode: in groups a bot that is no admin gets only commands that may be meant for it, mentions of
        it and replies to it."""
        chat, bot = message.chat, self._bot
        if chat.blocked:
            return False
        if chat.is_private or bot.reads_all_group_messages or chat.roles.get(bot.id) == "administrator":
            return True
        if "via_bot" in message.content or (reply_to is not None and reply_to.sender["id"] == bot.id):
            return True
        if f"@{bot.username}".lower() in re.findall(r"(?<!\w)@\w+", message.text.lower()):
            return True
        if not message.text.startswith("/"):
            return False
        _, _, addressed = message.text.split(maxsplit=1)[0].partition("@")
        if addressed:
            return addressed.lower() == bot.username.lower()
        last = next((m for m in reversed(chat.messages.values()) if m.from_bot), None)
        return not chat.other_bots or (last is not None and last.sender["id"] == bot.id)

    def _set_blocked(self, blocked: bool) -> None:
        chat = self.chat
        if chat.blocked == blocked:
            return
        chat.blocked = blocked
        self._bot.save_chat(chat)
        status = {True: "kicked", False: "member"}
        user = self._bot.as_user()
        update = {
            "chat": chat.as_json(),
            "from": self.record.as_user(),
            "date": int(time.time()),
            "old_chat_member": {"user": user, "status": status[not blocked], "until_date": 0},
            "new_chat_member": {"user": user, "status": status[blocked], "until_date": 0},
        }
        self._bot.updates.push("my_chat_member", update, chat.id)
        self._bot.tell(chat, "person", {"person_id": self.id})


def shared_sender(chat: Chat) -> dict[str, Any]:
    """Who writes, by the Bot API, what is written in a chat's name: for a channel's one account, for all groups'
    anonymous admins another."""
    if chat.type == "channel":
        return {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"}
    return {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}


def visible(chat: Chat) -> list[Message]:
    """The messages a chat shows, oldest first."""
    return [message for message in chat.messages.values() if not message.deleted]


def transcript(chat: Chat, last: int = 12) -> str:
    """The end of a conversation in plain lines, for a failed test to show."""
    lines = []
    for message in visible(chat)[-last:]:
        kinds = [kind for kind in message.content if kind in ("photo", "document", "sticker")]
        who = "bot" if message.from_bot else str(message.sender["first_name"])
        buttons = " ".join(f"[{button['text']}]" for button in message.buttons)
        lines.append(f"  {message.message_id} {who}: {' '.join([*kinds, repr(message.text), buttons])}")
    return "\n".join(lines) or "  (empty)"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _caption(text: str) -> Content:
    if not text:
        return {}
    text, found = entities.parse(text, "", None)
    if entities.utf16_length(text) > entities.MAX_CAPTION:
        raise ValueError("a caption has at most 1024 UTF-16 units")
    return {"caption": text, **({"caption_entities": found} if found else {})}
