"""The people of a load run: what they ask for and when. What they see of it is `src.load.seen`'s.

They do what people do: think, write, wait for the picture, sometimes ask for several, send a photo to be changed, take
something back, or write a handful of wishes in one breath; by the mix `all` they also use everything else there is
(`_SHARES`, `_BESIDES`). A heavy one keeps hundreds of jobs open.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import time
from collections import Counter

from PIL import Image

from src.load import Mix
from src.load.seen import Asked, Kind, Seen, Watched, data_of
from src.sandbox.telegram import Chat, Message, Person, TelegramSandbox

_SUBJECTS = ("a red fox in snow", "a boat at sunset", "a cat in the city at night", "mountains at dawn")
_CHANGES = ("make it night", "in winter", "as a watercolour")
_PARAMETERS = (("--ar 16:9", 1), ("--ar 9:16", 1), ("--n 2", 2), ("--ar 3:2 --n 2", 2))
# Of a hundred wishes; those who like albums ask for nothing else.
_SHARES: dict[Mix, dict[Kind, int]] = {
    "words": {"single": 85, "burst": 5, "edit": 5, "cancel": 5},
    "all": {
        "single": 44,
        "burst": 4,
        "edit": 5,
        "cancel": 4,
        "parameters": 10,
        "again": 8,
        "vary": 5,
        "upscale": 3,
        "reply": 5,
        "references": 2,
        "inline": 5,
        "group": 5,
    },
}
# What is done of a hundred times between two wishes.
_BESIDES = {"history": 10, "models": 5, "limits": 3}
_PATIENCE = 900.0
_ANSWER = 60.0
_GENERATION = 30.0
_ALBUM_SHARE = 0.1
_ALBUM = 4
_REFERENCES = 3
_IN_A_GROUP = 12
_LOOK_SECONDS = 3.0
_HEAVY_OPEN = 300
_HEAVY_AHEAD = 75


class People:
    """Everybody of a run.

    Args:
        think: mean seconds between a picture and the next wish.
        scale: real seconds in one of the people's seconds; below 1 for short tests.

    Attributes:
        bought: packs that were paid for. vain: what people tried besides wishes and got no answer to.
    """

    def __init__(
        self, telegram: TelegramSandbox, seen: Seen, *, seed: int, think: float, scale: float, mix: Mix
    ) -> None:
        self.heavy: list[Person] = []
        self.ordinary: list[Person] = []
        self.bought = 0
        self.vain: Counter[str] = Counter()
        self._groups: dict[int, Chat] = {}
        self._telegram = telegram
        self._seen = seen
        self._chance = random.Random(f"people:{seed}")
        self._think = think
        self._scale = scale
        self._mix = mix
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
        if self._mix == "all":
            for start in range(0, len(self.ordinary), _IN_A_GROUP):
                members = self.ordinary[start : start + _IN_A_GROUP]
                group = self._telegram.group(f"Group {start}", members)
                self._groups |= {person.id: group for person in members}

    def begin(self) -> None:
        """Let everybody come, spread over the time from one wish to the next."""
        loop = asyncio.get_running_loop()
        lives = [self._live(person) for person in self.ordinary]
        lives += [self._flood(person) for person in self.heavy]
        self._tasks = [loop.create_task(life) for life in lives]

    def stop(self) -> None:
        """Nobody asks for more; what was asked for is waited for."""
        self._stopping.set()

    async def leave(self) -> list[str]:
        """Nobody waits any more; what broke somebody's life off before, in words."""
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        return [repr(end) for end in ends if isinstance(end, Exception)]

    # Lives

    async def _live(self, person: Person) -> None:
        album = self._chance.random() < _ALBUM_SHARE
        # As they would come in the middle of a day: not all at once.
        await self._pause(self._chance.uniform(0, self._think + _GENERATION))
        while not self._stopping.is_set():
            for watched in await self._one_wish(person, "album" if album else self._kind()):
                await _over(watched)
                if self._is_to_pay(watched):
                    await self._besides(person, "buy")
            await self._pause(_LOOK_SECONDS)
            if self._mix == "all":
                for what, share in _BESIDES.items():
                    if self._chance.random() * 100 < share and not self._stopping.is_set():
                        await self._besides(person, what)
            await self._pause(min(self._chance.expovariate(1 / self._think), 6 * self._think))

    async def _flood(self, person: Person) -> None:
        """Keep hundreds of jobs open, four at a time, without waiting for answers; and block the bot in the end: a chat
        takes one message a second, so what is open would come for a quarter of an hour."""
        await self._pause(self._think + _GENERATION)
        mine: list[Watched] = []
        while not self._stopping.is_set():
            mine = [watched for watched in mine if not watched.over.is_set()]
            unanswered = sum(watched.asked.answered is None for watched in mine)
            if len(mine) * _ALBUM < _HEAVY_OPEN and unanswered < _HEAVY_AHEAD:
                mine.append(await self._write(person, "heavy", count=_ALBUM))
            await self._pause(0.1)
        await person.block()
        for watched in mine:
            if not watched.over.is_set():
                watched.end("cancelled")

    # Wishes

    def _kind(self) -> Kind:
        shares = _SHARES[self._mix]
        (kind,) = self._chance.choices(tuple(shares), tuple(shares.values()))
        return kind

    async def _one_wish(self, person: Person, kind: Kind) -> list[Watched]:
        """Ask for something: one wish, but for bursts."""
        match kind:
            case "album":
                return [await self._write(person, kind, count=_ALBUM)]
            case "burst":
                found = []
                for _ in range(3):
                    found.append(await self._write(person, kind))
                    await self._pause(self._chance.uniform(0.5, 2))
                return found
            case "cancel":
                return [await self._ask_and_take_back(person)]
            case "parameters":
                more, count = self._chance.choice(_PARAMETERS)
                return [await self._write(person, kind, count=count, more=more)]
            case "edit" | "references":
                return [await self._send_photos(person, kind, 1 if kind == "edit" else _REFERENCES)]
            case "inline":
                found = await self._ask_inline(person)
            case "group":
                return [await self._write(person, kind, chat=self._groups[person.id])]
            case "again" | "vary" | "upscale" | "reply":
                found = await self._ask_of_picture(person, kind)
            case _:
                found = []
        return found or [await self._write(person, "single")]

    async def _write(
        self, person: Person, kind: Kind, *, count: int = 1, more: str = "", chat: Chat | None = None
    ) -> Watched:
        prompt = self._words(_SUBJECTS)
        name = f"@{self._telegram.bot.username} " if chat is not None else ""
        many = f" --n {count}" if count > 1 and not more else ""
        message = await person.send_text(f"{name}{prompt}{many} {more}".strip(), chat=chat)
        return self._expect(person, kind, prompt, [message], count=count)

    async def _send_photos(self, person: Person, kind: Kind, photos: int) -> Watched:
        prompt = self._words(_CHANGES)
        if photos == 1:
            return self._expect(person, kind, prompt, [await person.send_photo(_photo(), prompt)])
        return self._expect(person, kind, prompt, await person.send_album([_photo()] * photos, prompt))

    async def _ask_of_picture(self, person: Person, kind: Kind) -> list[Watched]:
        """Ask for something made of the last picture; nothing where there is none."""
        found = (m for m in reversed(person.messages) if data_of(m, "j:more:") or data_of(m, "j:less:"))
        picture = next(found, None)
        if picture is None or (parent := self._seen.wish_of(picture)) is None:
            return []
        if kind == "reply":
            prompt = self._words(_CHANGES)
            message = await person.send_text(prompt, reply_to=picture)
            return [self._expect(person, kind, prompt, [message])]
        wanted = f"j:{kind}:"
        if data_of(picture, wanted) is None:
            # What is wanted less often stands behind More, and the rest behind Less.
            await person.tap_data(picture, str(data_of(picture, "j:more:") or data_of(picture, "j:less:")))
            try:
                await person.wait_for(lambda m: m is picture and data_of(m, wanted), _ANSWER)
            except TimeoutError:
                self.vain[kind] += 1
                return []
        tap = await person.tap_data(picture, str(data_of(picture, wanted)))
        watched = self._expect(person, kind, parent.prompt, [picture], update=tap.update_id)
        answer = await tap.answered(_ANSWER)
        if answer.get("show_alert"):
            self._seen.refuse(watched, str(answer.get("text", "")))
        return [watched]

    async def _ask_inline(self, person: Person) -> list[Watched]:
        """Ask in a chat that the bot is not in."""
        prompt = self._words(_SUBJECTS)
        try:
            query = await person.ask_inline(prompt)
            assert query.answer is not None
            message = await person.send_inline(query, query.answer.result("make"))
        except (TimeoutError, LookupError):
            self.vain["inline"] += 1
            return []
        return [self._expect(person, "inline", prompt, [message], update=f"make:{message.inline_id}")]

    async def _ask_and_take_back(self, person: Person) -> Watched:
        watched = await self._write(person, "cancel")
        await self._pause(self._chance.uniform(2, 25))
        await self._take_back(person, watched)
        return watched

    async def _take_back(self, person: Person, watched: Watched) -> None:
        if watched.can_be_taken_back and (placeholder := watched.placeholder) is not None:
            watched.asked.took_back = True
            await person.tap_data(placeholder, str(data_of(placeholder, "r:cancel:")))

    def _words(self, some: tuple[str, ...]) -> str:
        return f"{self._chance.choice(some)}, no. {next(self._serial)}"

    def _expect(
        self,
        person: Person,
        kind: Kind,
        prompt: str,
        messages: list[Message],
        *,
        count: int = 1,
        update: int | str | None = None,
    ) -> Watched:
        updates = [message.update_id for message in messages] if update is None else [update]
        chat = messages[0].chat.id
        known = tuple(str(one) for one in updates if one is not None)
        return self._seen.expect(Asked(person.id, chat, kind, prompt, count, time.time(), known), messages)

    # Besides wishes

    async def _besides(self, person: Person, what: str) -> None:
        try:
            match what:
                case "buy":
                    self.bought += await buy(person, _ANSWER)
                case "history":
                    await self._turn_pages(person)
                case "models":
                    await self._choose_model(person)
                case _:
                    await self._say(person, f"/{what}")
        except (TimeoutError, LookupError):
            self.vain[what] += 1

    def _is_to_pay(self, watched: Watched) -> bool:
        return watched.asked.ended == "refused" and (
            watched.shown is not None and data_of(watched.shown, "p:show") is not None
        )

    async def _say(self, person: Person, command: str) -> Message:
        """Say a command; the answer."""
        said = await person.send_text(command)
        # What answers an earlier message is about a picture.
        return await person.wait_for(
            lambda m: m.from_bot and m.message_id > said.message_id and m.reply_to in (None, said.message_id),
            _ANSWER,
        )

    async def _turn_pages(self, person: Person) -> None:
        """Look at one's pictures, and at a few of the older ones."""
        shown = await self._say(person, "/history")
        for _ in range(self._chance.randint(1, 3)):
            older = next((b["callback_data"] for b in shown.buttons if b["text"] == "▶️"), None)
            if older is None:
                return
            await self._pause(_LOOK_SECONDS)
            await (await person.tap_data(shown, str(older))).answered(_ANSWER)

    async def _choose_model(self, person: Person) -> None:
        shown = await self._say(person, "/models")
        button = self._chance.choice([b for b in shown.buttons if "callback_data" in b])
        await (await person.tap_data(shown, str(button["callback_data"]))).answered(_ANSWER)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * self._scale):
                await self._stopping.wait()
        except TimeoutError:
            return


async def buy(person: Person, patience: float) -> bool:
    """Buy the smallest pack; whether it was paid for.

    Raises:
        TimeoutError: no answer came within these seconds.
    """
    said = await person.send_text("/buy")
    # Thanks for the pack before may come first.
    shop = await person.wait_for(
        lambda m: m.message_id > said.message_id and data_of(m, "p:pack:") is not None, patience
    )
    await person.tap_data(shop, str(data_of(shop, "p:pack:")))
    invoice = await person.wait_for(
        lambda m: "invoice" in m.content and m.message_id > shop.message_id, patience
    )
    return (await person.pay(invoice)).outcome == "paid"


async def _over(watched: Watched) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await watched.over.wait()
    except TimeoutError:
        return


def _photo() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 480), (120, 160, 90)).save(out, "JPEG")
    return out.getvalue()
