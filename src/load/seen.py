"""What people see in their chats of each thing they asked for, noted as it happens; nothing of it comes from the
system's own word. Who asks for what is `src.load.people`'s."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from src.providers.base import ASPECTS
from src.sandbox.telegram import Message, TelegramSandbox
from src.sandbox.telegram.records import Event
from src.sandbox.telegram.server import LIMITED
from src.telegram import tiles

Kind = Literal[
    "single", "album", "burst", "edit", "cancel", "heavy",
    "parameters", "again", "vary", "upscale", "reply", "references", "inline", "group",
]  # fmt: skip

_HUSHED_SECONDS = 75.0
"""The same refusal is said twice within a minute, and then not until that is over; its words may wait for a turn."""
_LATE = 5000


@dataclass(slots=True)
class Asked:
    """One wish, and what its chat showed of it. Times are seconds after `at` (unix time).

    Attributes:
        updates: each name by which the bot may know it in the ledger.
        answered: the first answer of the bot. pictures: when each picture was there.
        extra: pictures shown beyond the number asked for. calls: Bot API calls that changed what the chat shows of it.
        ended: `pictures`, `refused`, `failed` or `cancelled`; empty while it is open.
        unsaid: it was refused without words, as the same had just been said twice.
        last: the words last shown in answer to it.
    """

    person: int
    chat: int
    kind: Kind
    prompt: str
    count: int
    at: float
    updates: tuple[str, ...] = ()
    answered: float | None = None
    pictures: list[float] = field(default_factory=list)
    extra: int = 0
    calls: int = 0
    took_back: bool = False
    ended: str = ""
    unsaid: bool = False
    last: str = ""


@dataclass(slots=True)
class Watched:
    """A wish under way.

    Attributes:
        over: set at its end. shown: the message that last changed in answer to it; placeholder: the one that offers to take
            it back, or did.
    """

    asked: Asked
    over: asyncio.Event = field(default_factory=asyncio.Event)
    shown: Message | None = None
    placeholder: Message | None = None

    @property
    def can_be_taken_back(self) -> bool:
        return not self.over.is_set() and self.placeholder is not None and is_cancellable(self.placeholder)

    def end(self, how: str) -> None:
        self.asked.ended = how
        self.over.set()


class Seen:
    """Notes what chats show in answer to each wish.

    Attributes:
        besides: calls that count against Telegram's limits and showed something else than a wish's answer.
    """

    def __init__(self, telegram: TelegramSandbox, *, store: int) -> None:
        self.asked: list[Asked] = []
        self.besides = 0
        self._store = store
        self._open: dict[tuple[int, int], Watched] = {}
        self._by_update: dict[str, Watched] = {}
        self._shown: dict[tuple[int, int], Asked] = {}
        self._refused: dict[int, deque[float]] = {}
        self._album = ""
        self._tiles = _tile_hashes()
        telegram.bot.feed.listeners.add(self._see)

    def expect(self, asked: Asked, answered: Iterable[Message]) -> Watched:
        """Watch the answers to these messages; those to a message tapped before count for this wish from now on."""
        self.asked.append(asked)
        watched = Watched(asked)
        for message in answered:
            self._open[message.chat.id, message.message_id] = watched
        for update in asked.updates:
            self._by_update[update] = watched
        return watched

    def wish_of(self, picture: Message) -> Asked | None:
        """The wish that a message shows a picture of."""
        return self._shown.get((picture.chat.id, picture.message_id))

    @property
    def open(self) -> list[Asked]:
        """Wishes that wait for their end."""
        return [asked for asked in self.asked[-_LATE:] if not asked.ended]

    def not_admitted(self, updates: Iterable[str]) -> None:
        """The bot has handled these and ordered nothing: refused without words, where it may have been."""
        for update in updates:
            watched = self._by_update[update]
            asked = watched.asked
            said = self._refused.get(asked.chat, ())
            if not asked.ended and any(at > asked.at - _HUSHED_SECONDS for at in said):
                asked.unsaid = True
                watched.end("refused")

    def refuse(self, watched: Watched, words: str) -> None:
        """The bot says no in the answer to a tap."""
        watched.asked.last = words
        self._note_refusal(watched.asked.chat)
        if not watched.asked.ended:
            watched.end("refused")

    def _see(self, event: Event) -> None:
        if event.kind not in ("message", "edited"):
            return
        message: Message = event.data["message"]
        inline = message.inline_id is not None
        if not (message.from_bot or (inline and event.kind == "edited")):
            return
        answered = message.message_id if inline else message.reply_to
        watched = None if answered is None else self._open.get((message.chat.id, answered))
        if watched is None or _only_buttons(message):
            self._see_else(message)
            return
        asked = watched.asked
        asked.calls += self._is_call(message)
        watched.shown, asked.last = message, message.text
        if is_cancellable(message):
            watched.placeholder = message
        after = time.time() - asked.at
        if asked.answered is None:
            asked.answered = after
        pictured = message.has_photo or "document" in message.content
        # With words under it a tile stands where there was a preview, which can be taken back.
        instead = bool(message.text) and message.sha256 in self._tiles
        if pictured and not instead and not is_cancellable(message):
            self._see_picture(asked, message, after)
        elif not asked.ended and not is_cancellable(message):
            # Words without the button to take it back are the last ones.
            refused = event.kind == "message" or _offers_inline(message)
            asked.ended = "cancelled" if asked.took_back else "refused" if refused else "failed"
            if refused:
                self._note_refusal(asked.chat)
        if asked.ended:
            watched.over.set()

    def _see_picture(self, asked: Asked, message: Message, after: float) -> None:
        key = message.chat.id, message.message_id
        if message.sha256 is None or message.sha256 in self._tiles or key in self._shown:
            return
        self._shown[key] = asked
        asked.pictures.append(after)
        asked.extra += len(asked.pictures) > asked.count
        if len(asked.pictures) >= asked.count and not asked.ended:
            asked.ended = "pictures"

    def _see_else(self, message: Message) -> None:
        # A ping answers the picture.
        pinged = None if message.reply_to is None else self._shown.get((message.chat.id, message.reply_to))
        if pinged is not None:
            pinged.calls += 1
        elif message.chat.id != self._store:
            self.besides += self._is_call(message)

    def _is_call(self, message: Message) -> bool:
        """Whether the last change was a call that counts against Telegram's limits; of an album the first picture tells."""
        album = message.content.get("media_group_id")
        if len(message.revisions) == 1 and album is not None:
            known, self._album = self._album == album, str(album)
            return not known
        return message.revisions[-1].method in LIMITED

    def _note_refusal(self, chat: int) -> None:
        self._refused.setdefault(chat, deque(maxlen=4)).append(time.time())

    def to_json(self) -> list[dict[str, Any]]:
        """All wishes, oldest first."""
        return [asdict(asked) for asked in self.asked]


def is_cancellable(message: Message) -> bool:
    """Whether it offers to take back what it stands for."""
    return data_of(message, "r:cancel") is not None


def _offers_inline(message: Message) -> bool:
    """Whether it offers to draw what a person sent through the bot: it was not taken yet."""
    return data_of(message, "i:") is not None


def data_of(message: Message, begins: str) -> str | None:
    """What the first button sends whose data begins so."""
    sent = (str(button.get("callback_data", "")) for button in message.buttons)
    return next((data for data in sent if data.startswith(begins)), None)


def _only_buttons(message: Message) -> bool:
    """Whether the last change was one of its buttons."""
    return len(message.revisions) > 1 and message.revisions[-1].method == "editMessageReplyMarkup"


def _tile_hashes() -> frozenset[str]:
    return frozenset(
        hashlib.sha256(tiles.tile(aspect, face)).hexdigest()
        for aspect in ASPECTS
        for face in ("waiting", "failed")
    )
