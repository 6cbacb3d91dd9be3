"""The people of a load run: what they ask for, when, and what they see in their chats.

They do what people do: think, write, wait for the picture, sometimes ask for several, send a photo to
be changed, take something back, or write a handful of wishes in one breath. A heavy one keeps hundreds
of jobs open. What they see is noted as it happens; nothing of it comes from the system's own word.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from PIL import Image

from src.providers.base import ASPECTS
from src.sandbox.telegram import Message, Person, TelegramSandbox
from src.sandbox.telegram.records import Event
from src.telegram import tiles

Kind = Literal["single", "album", "burst", "edit", "cancel", "heavy"]

_SUBJECTS = ("a red fox in snow", "a boat at sunset", "a cat in the city at night", "mountains at dawn")
_EDITS = ("make it night", "in winter", "as a watercolour")
_PATIENCE = 900.0
_GENERATION = 30.0
_ALBUM_SHARE = 0.1
_ALBUM = 4
_HEAVY_OPEN = 300
_HEAVY_AHEAD = 75


@dataclass(slots=True)
class Asked:
    """One message with a wish, and what its chat showed of it. Times are seconds after `at` (unix time).

    Attributes:
        answered: the first answer of the bot. pictures: when each picture was there.
        extra: pictures shown beyond the number asked for.
        ended: `pictures`, `refused`, `failed` or `cancelled`; empty while it is open.
    """

    person: int
    kind: Kind
    prompt: str
    count: int
    at: float
    answered: float | None = None
    pictures: list[float] = field(default_factory=list)
    extra: int = 0
    took_back: bool = False
    ended: str = ""


class Seen:
    """Notes what chats show in answer to each wish."""

    def __init__(self, telegram: TelegramSandbox) -> None:
        self.asked: list[Asked] = []
        self._open: dict[tuple[int, int], tuple[Asked, asyncio.Event]] = {}
        self._shown: set[tuple[int, int]] = set()
        self._tiles = _tile_hashes()
        telegram.bot.feed.listeners.add(self._see)

    def expect(self, message: Message, asked: Asked) -> asyncio.Event:
        """Watch the answers to a message; the event is set when it is over."""
        self.asked.append(asked)
        over = asyncio.Event()
        self._open[message.chat.id, message.message_id] = asked, over
        return over

    @property
    def open(self) -> int:
        """Wishes that wait for their end."""
        return sum(not asked.ended for asked in self.asked[-5000:])

    def _see(self, event: Event) -> None:
        if event.kind not in ("message", "edited"):
            return
        message: Message = event.data["message"]
        if not message.from_bot or message.reply_to is None:
            return
        known = self._open.get((message.chat.id, message.reply_to))
        if known is None:
            return
        asked, over = known
        after = time.time() - asked.at
        if asked.answered is None:
            asked.answered = after
        pictured = message.has_photo or "document" in message.content
        # With words under it a tile stands where there was a preview, which can be taken back.
        instead = bool(message.text) and message.sha256 in self._tiles
        if pictured and not instead and not _is_cancellable(message):
            self._see_picture(asked, message, after)
        elif not asked.ended and not _is_cancellable(message):
            # Words without the button to take it back are the last ones.
            asked.ended = (
                "cancelled" if asked.took_back else "refused" if event.kind == "message" else "failed"
            )
        if asked.ended:
            over.set()

    def _see_picture(self, asked: Asked, message: Message, after: float) -> None:
        key = message.chat.id, message.message_id
        if message.sha256 is None or message.sha256 in self._tiles or key in self._shown:
            return
        self._shown.add(key)
        asked.pictures.append(after)
        asked.extra += len(asked.pictures) > asked.count
        if len(asked.pictures) >= asked.count and not asked.ended:
            asked.ended = "pictures"

    def to_json(self) -> list[dict[str, Any]]:
        """All wishes, oldest first."""
        return [asdict(asked) for asked in self.asked]


class People:
    """Everybody of a run.

    Args:
        think: mean seconds between a picture and the next wish.
        scale: real seconds in one of the people's seconds; below 1 for short tests.
    """

    def __init__(
        self, telegram: TelegramSandbox, seen: Seen, *, seed: int, think: float, scale: float
    ) -> None:
        self.heavy: list[Person] = []
        self.ordinary: list[Person] = []
        self._telegram = telegram
        self._seen = seen
        self._chance = random.Random(f"people:{seed}")
        self._think = think
        self._scale = scale
        self._serial = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def gather(self, users: int, heavy: int) -> None:
        """Make the people known to Telegram, before anybody speaks."""
        names = ("Ann", "Борис", "Chen", "Dana", "Егор", "Fay")
        for number in range(users):
            name = f"{names[number % len(names)]} {number}"
            person = self._telegram.person(name, language_code="ru" if number % 2 else "en")
            (self.heavy if number < heavy else self.ordinary).append(person)

    def begin(self) -> None:
        """Let everybody come, spread over the time from one wish to the next."""
        loop = asyncio.get_running_loop()
        lives = [self._live(person) for person in self.ordinary]
        lives += [self._flood(person) for person in self.heavy]
        self._tasks = [loop.create_task(life) for life in lives]

    async def end(self, seconds: float) -> None:
        """Nobody asks any more; wait that long for what was asked."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, person: Person) -> None:
        album = self._chance.random() < _ALBUM_SHARE
        # As they would come in the middle of a day: not all at once.
        await self._pause(self._chance.uniform(0, self._think + _GENERATION))
        if album:
            await self._prefer(person, _ALBUM)
        while not self._stopping.is_set():
            await self._one_wish(person, _ALBUM if album else 1)
            await self._pause(min(self._chance.expovariate(1 / self._think), 6 * self._think))

    async def _one_wish(self, person: Person, count: int) -> None:
        draw = self._chance.random()
        if count > 1:
            await _over(await self._ask(person, "album", count))
        elif draw < 0.05:
            overs = []
            for _ in range(3):
                overs.append(await self._ask(person, "burst"))
                await self._pause(self._chance.uniform(0.5, 2))
            await asyncio.gather(*map(_over, overs))
        elif draw < 0.10:
            await _over(await self._ask(person, "edit"))
        elif draw < 0.15:
            await self._ask_and_take_back(person)
        else:
            await _over(await self._ask(person, "single"))

    async def _ask(self, person: Person, kind: Kind, count: int = 1) -> asyncio.Event:
        words = self._chance.choice(_EDITS if kind == "edit" else _SUBJECTS)
        prompt = f"{words}, no. {next(self._serial)}"
        asked = Asked(person.id, kind, prompt, count, time.time())
        if kind == "edit":
            message = await person.send_photo(_photo(), prompt)
        else:
            message = await person.send_text(prompt)
        return self._seen.expect(message, asked)

    async def _ask_and_take_back(self, person: Person) -> None:
        over = await self._ask(person, "cancel")
        asked = self._seen.asked[-1]
        await self._pause(self._chance.uniform(2, 25))
        if over.is_set():
            return
        shown = next((m for m in reversed(person.messages) if m.from_bot and _is_cancellable(m)), None)
        if shown is not None:
            asked.took_back = True
            await person.tap(shown, "r:cancel")
        await _over(over)

    async def _prefer(self, person: Person, count: int) -> None:
        """Choose the number of pictures in /settings, by its buttons."""
        sent = await person.send_text("/settings")
        try:
            shown = await person.reply_after(sent, timeout=60)
            tap = await person.tap(shown, f"s|count|{count}")
            await tap.answered(60)
        except (TimeoutError, LookupError):
            return

    async def _flood(self, person: Person) -> None:
        """Keep hundreds of jobs open, four at a time, without waiting for answers."""
        await self._pause(self._think + _GENERATION)
        await self._prefer(person, _ALBUM)
        mine: list[tuple[Asked, asyncio.Event]] = []
        while not self._stopping.is_set():
            mine = [(asked, over) for asked, over in mine if not over.is_set()]
            unanswered = sum(asked.answered is None for asked, _ in mine)
            if len(mine) * _ALBUM < _HEAVY_OPEN and unanswered < _HEAVY_AHEAD:
                over = await self._ask(person, "heavy", _ALBUM)
                mine.append((self._seen.asked[-1], over))
            await self._pause(0.1)
        await asyncio.gather(*(_over(over) for _, over in mine))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * self._scale):
                await self._stopping.wait()
        except TimeoutError:
            return


async def _over(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await event.wait()
    except TimeoutError:
        return


def _is_cancellable(message: Message) -> bool:
    return any(str(b.get("callback_data", "")).startswith("r:cancel") for b in message.buttons)


def _photo() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 480), (120, 160, 90)).save(out, "JPEG")
    return out.getvalue()


def _tile_hashes() -> frozenset[str]:
    return frozenset(
        hashlib.sha256(tiles.tile(aspect, face)).hexdigest()
        for aspect in ASPECTS
        for face in ("waiting", "failed")
    )
