"""A bot's whole world: its chats, messages, files, taps and updates, and how they change.

Both sides act on it: the Bot API's methods for the bot, `people` for the persons. It holds what is
true of either; what a method accepts is the methods' affair.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import mimetypes
import time
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import Any

from src.sandbox.telegram.errors import bad_request, forbidden
from src.sandbox.telegram.inline import Inline
from src.sandbox.telegram.limits import Limits
from src.sandbox.telegram.photos import Darkroom, Size
from src.sandbox.telegram.records import (
    CallbackQuery,
    Chat,
    Content,
    Event,
    Feed,
    FileRecord,
    Message,
    PersonRecord,
    Revision,
)
from src.sandbox.telegram.store import Store
from src.sandbox.telegram.till import Till
from src.sandbox.telegram.updates import Updates

_FOLDERS = {"Photo": "photos", "Document": "documents", "Sticker": "stickers", "Video": "videos"}
_TAPS_KEPT = 10_000
_CAUSE_SECONDS = 5.0


class Bot:
    """One bot, known by its token.

    `keep_messages`: how many messages are remembered, None for all; load runs bound it.
    """

    def __init__(
        self,
        token: str,
        people: dict[int, PersonRecord],
        store: Store,
        darkroom: Darkroom,
        limits: Limits,
        *,
        username: str = "imagebot_sandbox_bot",
        first_name: str = "Image Bot",
        keep_messages: int | None = None,
        local_files: Path | None = None,
    ) -> None:
        self.token = token
        self.id = int(token.split(":")[0])
        self.username = username
        self.first_name = first_name
        self.reads_all_group_messages = False
        self.people = people
        self.darkroom = darkroom
        self.limits = limits
        self.chats: dict[int, Chat] = {}
        self.files: dict[str, FileRecord] = {}
        self.file_paths: dict[str, FileRecord] = {}
        self.unique_files: dict[str, FileRecord] = {}
        self.commands: dict[str, list[dict[str, Any]]] = {}
        self.profile: dict[str, str] = {}
        self.inline = Inline()
        self.taps: OrderedDict[str, CallbackQuery] = OrderedDict()
        self._tapped: dict[tuple[int, int], CallbackQuery] = {}
        self._wrote: dict[int, float] = {}
        self.feed = Feed()
        self.till = Till()
        self.store = store
        self.local_files = local_files
        self._keep_messages = keep_messages
        self._order: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._last_message_id = 0
        self._serial = itertools.count(1)
        self._photos = itertools.count(1)
        self._sizes: dict[int, list[FileRecord]] = {}
        self.updates = Updates(self.id, store)
        self._load()

    # Who and where

    def as_user(self) -> dict[str, Any]:
        """The bot as the sender of a message."""
        return {"id": self.id, "is_bot": True, "first_name": self.first_name, "username": self.username}

    def chat(self, chat_id: int | str) -> Chat:
        """The chat of that id or @username; raises ApiError "chat not found"."""
        if isinstance(chat_id, str) and chat_id.startswith("@"):
            found = [
                chat for chat in self.chats.values() if chat.username == chat_id[1:] and not chat.is_private
            ]
            if found:
                return found[0]
            raise bad_request("chat not found")
        if not str(chat_id).strip():
            raise bad_request("chat_id is empty")
        try:
            number = int(chat_id)
        except ValueError:
            raise bad_request("chat not found") from None
        if number in self.chats:
            return self.chats[number]
        if number in self.people:
            return self.private_chat(self.people[number], started=False)
        raise bad_request("chat not found")

    def writable_chat(self, chat_id: int | str) -> Chat:
        """The chat, if the bot may write there; raises ApiError 403 or 400 as Telegram would."""
        chat = self.chat(chat_id)
        if chat.migrated_to is not None:
            error = bad_request("group chat was upgraded to a supergroup chat")
            error.parameters = {"migrate_to_chat_id": chat.migrated_to}
            raise error
        if chat.blocked:
            if chat.is_private:
                raise forbidden("bot was blocked by the user")
            raise forbidden(
                f"bot was kicked from the {chat.type} chat".replace("group chat chat", "group chat")
            )
        if not chat.started:
            raise forbidden("bot can't initiate conversation with a user")
        return chat

    def private_chat(self, person: PersonRecord, *, started: bool = True) -> Chat:
        """The chat with a person, opened if need be."""
        chat = self.chats.get(person.id)
        if chat is None:
            chat = Chat(person.id, "private", person.first_name, person.username, started=started)
            chat.members.add(person.id)
            self.save_chat(chat)
        elif started and not chat.started:
            chat.started = True
            self.save_chat(chat)
        return chat

    def save_chat(self, chat: Chat) -> None:
        self.chats[chat.id] = chat
        self.store.put("chat", f"{self.id}:{chat.id}", {"bot_id": self.id, **chat.dump()})

    # Messages

    def add_message(
        self,
        chat: Chat,
        sender: dict[str, Any],
        content: Content,
        *,
        method: str,
        markup: dict[str, Any] | None = None,
        reply_to: int | None = None,
        thread_id: int | None = None,
        sender_chat: dict[str, Any] | None = None,
        sha256: str | None = None,
        inline_id: str | None = None,
    ) -> Message:
        """A new message in the chat. Supergroups count their own ids, all other chats share one count."""
        if chat.type == "supergroup":
            chat.last_message_id += 1
            number = chat.last_message_id
        else:
            self._last_message_id += 1
            number = self._last_message_id
        message = Message(
            message_id=number,
            chat=chat,
            sender=sender,
            date=int(time.time()),
            content=content,
            markup=markup,
            reply_to=reply_to,
            thread_id=thread_id,
            sender_chat=sender_chat,
            inline_id=inline_id,
        )
        message.revise(method, sha256)
        if not message.from_bot:
            self._wrote[chat.id] = time.time()
        elif (tap := self.tap_before(message)) is not None:
            message.update_id = tap.update_id
        chat.messages[number] = message
        self._order[chat.id, number] = None
        if self._keep_messages is not None and len(self._order) > self._keep_messages:
            (old_chat, old_number), _ = self._order.popitem(last=False)
            if old_chat in self.chats:
                self.chats[old_chat].messages.pop(old_number, None)
        self._changed("message", message)
        return message

    def edit_message(
        self,
        message: Message,
        content: Content,
        markup: dict[str, Any] | None,
        *,
        method: str,
        sha256: str | None,
    ) -> None:
        """The message now looks so."""
        message.content = content
        message.markup = markup
        message.edit_date = int(time.time())
        message.revise(method, sha256)
        self._changed("edited", message)

    def delete_message(self, message: Message) -> None:
        """The message is gone from the chat; its history stays known."""
        message.deleted = True
        self._changed("deleted", message)

    def react(self, message: Message, emoji: str | None) -> None:
        message.reaction = emoji
        self._changed("reaction", message)

    def note_update(self, message: Message, update_id: int | None) -> None:
        """Remembers which update told the bot of the message."""
        message.update_id = update_id
        self._changed("message", message)

    def tell(self, chat: Chat, kind: str, data: dict[str, Any]) -> None:
        """Tells who looks at the chat of something that is not a message."""
        event = Event(kind, data, chat.id)
        chat.feed.tell(event)
        self.feed.tell(event)

    def _changed(self, kind: str, message: Message) -> None:
        # What was sent through the bot to where it is not lasts as long as this process.
        if message.chat.id in self.chats:
            self.store.put(
                "message",
                f"{self.id}:{message.chat.id}:{message.message_id}",
                {"bot_id": self.id, **message.dump()},
            )
        self.tell(message.chat, kind, {"message": message})

    # Files

    def add_file(
        self, kind: str, data: bytes, digest: str, name: str = "", mime_type: str | None = None, **more: Any
    ) -> FileRecord:
        """Keeps the bytes, whose sha256 is `digest`, under a new file_id."""
        serial = next(self._serial)
        seed = f"{self.id}:{serial}:{digest}".encode()
        unique = base64.urlsafe_b64encode(hashlib.sha256(seed).digest()[:12]).decode()
        suffix = PurePath(name).suffix or {"Photo": ".jpg", "Sticker": ".webp"}.get(kind, "")
        record = FileRecord(
            file_id=f"{'AgAC' if kind == 'Photo' else 'BQAC'}{unique}{digest[:32]}",
            file_unique_id=unique,
            kind=kind,
            sha256=digest,
            size=len(data),
            path=f"{_FOLDERS.get(kind, 'files')}/file_{serial}{suffix}",
            name=name,
            mime_type=mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
            source_sha256=more.pop("source_sha256", digest),
            **more,
        )
        self.store.put_bytes(digest, data)
        self._keep_file(record)
        self.store.put("file", record.file_id, {"bot_id": self.id, **vars(record)})
        return record

    def add_photo(self, sizes: tuple[Size, ...], source_sha256: str) -> list[FileRecord]:
        """Keeps the sizes of one photo, smallest first."""
        photo = next(self._photos)
        return [
            self.add_file(
                "Photo",
                size.data,
                size.sha256,
                mime_type="image/jpeg",
                width=size.width,
                height=size.height,
                source_sha256=source_sha256,
                photo=photo,
            )
            for size in sizes
        ]

    def photo_sizes(self, record: FileRecord) -> list[FileRecord]:
        """All sizes of the photo that `record` is one of, smallest first."""
        return self._sizes.get(record.photo, [record])

    def file_bytes(self, record: FileRecord) -> bytes | None:
        return self.store.get_bytes(record.sha256)

    def _keep_file(self, record: FileRecord) -> None:
        self.files[record.file_id] = record
        self.file_paths[record.path] = record
        self.unique_files[record.file_unique_id] = record
        if record.photo:
            self._sizes.setdefault(record.photo, []).append(record)
        if self._keep_messages is not None and len(self.files) > 4 * self._keep_messages:
            oldest = self.files.pop(next(iter(self.files)))
            self.file_paths.pop(oldest.path, None)
            self.unique_files.pop(oldest.file_unique_id, None)
            self._sizes.pop(oldest.photo, None)

    # Taps on inline buttons

    def add_tap(self, tap: CallbackQuery) -> None:
        self.taps[tap.id] = tap
        self._tapped[tap.chat.id, tap.message_id] = self._tapped[tap.chat.id, 0] = tap
        if len(self.taps) > _TAPS_KEPT:
            _, gone = self.taps.popitem(last=False)
            for number in (gone.message_id, 0):
                if self._tapped.get((gone.chat.id, number)) is gone:
                    del self._tapped[gone.chat.id, number]

    def tap_before(self, message: Message) -> CallbackQuery | None:
        """The tap that a message of the bot comes of: the last on the message that it answers; or, where that is a
        person's own or none, the last in its chat, if that was just now and nobody has written there since."""
        chat, answered = message.chat, message.chat.messages.get(message.reply_to or 0)
        if answered is not None and answered.from_bot:
            return self._tapped.get((chat.id, answered.message_id))
        tap = self._tapped.get((chat.id, 0))
        if tap is None or not self._wrote.get(chat.id, 0.0) < tap.asked_at > time.time() - _CAUSE_SECONDS:
            return None
        return tap

    # Restart

    def save_profile(self) -> None:
        """Keeps what the bot said of itself: its commands and descriptions."""
        self.store.put(
            "profile", str(self.id), {"bot_id": self.id, "commands": self.commands, "profile": self.profile}
        )

    def _load(self) -> None:
        for record in self._stored("profile"):
            self.commands, self.profile = record["commands"], record["profile"]
        for record in self._stored("file"):
            self._keep_file(FileRecord(**record))
        for record in self._stored("chat"):
            # An older version's demo wrote fewer fields.
            for several in ("members", "closed_topics"):
                record[several] = set(record.get(several, ()))
            for numbered in ("topics", "roles"):
                record[numbered] = {int(number): value for number, value in record.get(numbered, {}).items()}
            chat = Chat(**record)
            self.chats[chat.id] = chat
        for record in self._stored("message"):
            chat = self.chats[record.pop("chat_id")]
            revisions = [Revision(**revision) for revision in record.pop("revisions")]
            message = Message(chat=chat, revisions=revisions, **record)
            chat.messages[message.message_id] = message
            if message.inline_id is not None:
                self.inline.messages[message.inline_id] = message
            if chat.type == "supergroup":
                chat.last_message_id = max(chat.last_message_id, message.message_id)
            else:
                self._last_message_id = max(self._last_message_id, message.message_id)
        self._serial = itertools.count(len(self.files) + 1)
        self._photos = itertools.count(max(self._sizes, default=0) + 1)

    def _stored(self, kind: str) -> list[dict[str, Any]]:
        records = [record for record in self.store.load(kind) if record["bot_id"] == self.id]
        for record in records:
            del record["bot_id"]
        return records
