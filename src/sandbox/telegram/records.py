"""What the sandbox knows: people, chats, messages with their history, files. Plain records, no rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Content = dict[str, Any]
"""A message's own fields as the Bot API shows them: `text`, `entities`, `photo`, `caption` and so on."""


@dataclass
class PersonRecord:
    """A person with a Telegram account."""

    id: int
    first_name: str
    username: str | None = None
    language_code: str = "en"

    def as_user(self) -> dict[str, Any]:
        user: dict[str, Any] = {"id": self.id, "is_bot": False, "first_name": self.first_name}
        if self.username:
            user["username"] = self.username
        if self.language_code:
            user["language_code"] = self.language_code
        return user


@dataclass
class FileRecord:
    """A file a bot can name: each upload is a new one, even of bytes seen before."""

    file_id: str
    file_unique_id: str
    kind: str
    """`Photo`, `Document`, `Sticker` … as Telegram's complaints spell it."""
    sha256: str
    size: int
    path: str
    name: str = ""
    mime_type: str = "application/octet-stream"
    width: int = 0
    height: int = 0
    source_sha256: str = ""
    """Of the uploaded bytes a photo's size was made from."""
    photo: int = 0
    """The sizes of one photo share this number; 0: not a photo."""

    def as_json(self) -> dict[str, Any]:
        """The part every file object of the Bot API has."""
        return {"file_id": self.file_id, "file_unique_id": self.file_unique_id, "file_size": self.size}


@dataclass(frozen=True)
class Revision:
    """How a message looked from `at` (unix time) on."""

    at: float
    method: str
    content: Content
    markup: dict[str, Any] | None
    sha256: str | None
    """Of its picture or file as uploaded."""


@dataclass(frozen=True)
class Event:
    """A change in a chat: `message`, `edited`, `deleted`, `answer`, `action`, `reaction`, `person` or `inline`."""

    kind: str
    data: dict[str, Any]
    chat_id: int = 0


class Feed:
    """Tells whoever listens or waits that something changed."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self.listeners: set[Callable[[Event], None]] = set()

    def tell(self, event: Event) -> None:
        for listener in tuple(self.listeners):
            listener(event)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, check: Callable[[], T | None], seconds: float) -> T:
        """The first true value of `check`, tried now and after each change; TimeoutError when it took too long."""
        async with asyncio.timeout(seconds):
            while not (value := check()):
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
        return value


@dataclass
class Message:
    """One message of a chat and what became of it."""

    message_id: int
    chat: Chat
    sender: dict[str, Any]
    date: int
    content: Content
    markup: dict[str, Any] | None = None
    reply_to: int | None = None
    thread_id: int | None = None
    sender_chat: dict[str, Any] | None = None
    """The group or channel in whose name it was written."""
    edit_date: int | None = None
    update_id: int | None = None
    deleted: bool = False
    reaction: str | None = None
    inline_id: str | None = None
    """By which the bot can change what a person sent through it."""
    revisions: list[Revision] = field(default_factory=list)

    @property
    def from_bot(self) -> bool:
        return bool(self.sender["is_bot"]) and self.sender_chat is None

    @property
    def text(self) -> str:
        """The text, or else the caption, or nothing."""
        return str(self.content.get("text") or self.content.get("caption") or "")

    @property
    def has_photo(self) -> bool:
        return "photo" in self.content

    @property
    def media(self) -> dict[str, Any] | None:
        """The Bot API object of its largest photo size, or of its file."""
        if "photo" in self.content:
            return dict(self.content["photo"][-1])
        for kind in FILE_KINDS:
            if kind in self.content:
                return dict(self.content[kind])
        return None

    @property
    def sha256(self) -> str | None:
        """Of its picture or file, as it was uploaded."""
        return self.revisions[-1].sha256 if self.revisions else None

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """The inline buttons, row after row."""
        return [button for row in (self.markup or {}).get("inline_keyboard", []) for button in row]

    def button(self, wanted: str) -> dict[str, Any]:
        """The inline button with that data, or else with that in its text; LookupError if there is none."""
        for button in self.buttons:
            if button.get("callback_data") == wanted:
                return button
        for button in self.buttons:
            if wanted in button["text"]:
                return button
        shown = [button["text"] for button in self.buttons]
        raise LookupError(f"no button {wanted!r} among {shown}")

    @property
    def pictures(self) -> list[str]:
        """Hashes of the pictures it has shown, one after another."""
        shown: list[str] = []
        for revision in self.revisions:
            if "photo" in revision.content and revision.sha256 and shown[-1:] != [revision.sha256]:
                shown.append(revision.sha256)
        return shown

    def revise(self, method: str, sha256: str | None) -> None:
        """Adds how it looks now to its history."""
        self.revisions.append(Revision(time.time(), method, dict(self.content), self.markup, sha256))

    def as_json(self, *, with_reply: bool = True) -> dict[str, Any]:
        """The Bot API's Message object."""
        shown: dict[str, Any] = {
            "message_id": self.message_id,
            "from": self.sender,
            "chat": self.chat.as_json(),
            "date": self.date,
        }
        if self.sender_chat is not None:
            shown["sender_chat"] = self.sender_chat
        if self.thread_id is not None:
            shown |= {"message_thread_id": self.thread_id, "is_topic_message": True}
        if self.edit_date is not None:
            shown["edit_date"] = self.edit_date
        if with_reply and self.reply_to is not None:
            original = self.chat.messages.get(self.reply_to)
            if original is not None and not original.deleted:
                shown["reply_to_message"] = original.as_json(with_reply=False)
        shown |= self.content
        if self.markup and "inline_keyboard" in self.markup:
            shown["reply_markup"] = self.markup
        return shown

    def dump(self) -> dict[str, Any]:
        """Everything, for the store."""
        plain = {key: value for key, value in vars(self).items() if key not in ("chat", "revisions")}
        return {
            **plain,
            "chat_id": self.chat.id,
            "revisions": [asdict(revision) for revision in self.revisions],
        }


FILE_KINDS = ("document", "sticker", "animation", "video", "audio", "voice")
"""Kinds of content that are one file; photos are several sizes."""


@dataclass
class Chat:
    """A conversation of one bot: with a person, or a group it is a member of."""

    id: int
    type: str
    title: str
    username: str | None = None
    members: set[int] = field(default_factory=set)
    is_forum: bool = False
    topics: dict[int, str] = field(default_factory=dict)
    started: bool = True
    """False: the person has never written, so the bot may not either."""
    blocked: bool = False
    """The person blocked the bot, or the group removed it."""
    migrated_to: int | None = None
    permissions: dict[str, bool] = field(default_factory=dict)
    """What its members may not (`can_send_photos`: False, …); all that is not named they may."""
    slow_mode: int = 0
    """Seconds between two messages of who is no admin."""
    closed_topics: set[int] = field(default_factory=set)
    roles: dict[int, str] = field(default_factory=dict)
    """Status of those who are more or less than a member, the bot among them."""
    restrictions: dict[str, bool] = field(default_factory=dict)
    """What the bot may not while it is `restricted`."""
    other_bots: bool = False
    """Another bot is in it: a bare command is for the one that spoke last."""
    sent_at: float = 0.0
    """When the bot last sent something here; slow mode counts from it."""
    last_message_id: int = 0
    messages: dict[int, Message] = field(default_factory=dict)
    feed: Feed = field(default_factory=Feed)

    @property
    def is_private(self) -> bool:
        return self.type == "private"

    def as_json(self) -> dict[str, Any]:
        """The Bot API's Chat object."""
        shown: dict[str, Any] = {"id": self.id, "type": self.type}
        shown["first_name" if self.is_private else "title"] = self.title
        if self.username:
            shown["username"] = self.username
        if self.is_forum:
            shown["is_forum"] = True
        return shown

    def dump(self) -> dict[str, Any]:
        """Everything but its messages, for the store."""
        plain = {key: value for key, value in vars(self).items() if key not in ("messages", "feed")}
        return {**plain, "members": sorted(self.members), "closed_topics": sorted(self.closed_topics)}


@dataclass
class CallbackQuery:
    """A tap on an inline button, and the bot's answer to it."""

    id: str
    chat: Chat
    message_id: int
    person_id: int
    data: str
    asked_at: float
    answer: dict[str, Any] | None = None
    update_id: int | None = None
    """Of the update that told the bot of it."""
