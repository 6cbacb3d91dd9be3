"""From a person's words to a request with a placeholder, or to the words that say why not.

Every conversation that ends in pictures comes through here.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
import zlib
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

import structlog
from aiogram import Bot, F
from aiogram.enums import ChatType
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramRetryAfter,
)
from aiogram.types import (
    CallbackQuery,
    Document,
    ExternalReplyInfo,
    InlineKeyboardMarkup,
    Message,
    PhotoSize,
    ReactionTypeEmoji,
)
from opentelemetry import trace

from src.app import App
from src.bot.chats import Chats, speaker_of
from src.bot.estimates import Outlook
from src.bot.parameters import Impossible, capabilities, has_any, read
from src.bot.styles import all_styles, styled
from src.jobs import Admission, Person, Standing, keys
from src.jobs.estimate import Estimate
from src.pipeline import admission as intake
from src.pipeline import notify
from src.pipeline.admission import NoProvider, Wish
from src.providers.base import OF_SOURCE, nearest_aspect, same_shape
from src.settings import Settings
from src.telegram import keyboards
from src.telegram.client import Undeliverable, answer_to
from src.telegram.i18n import Translator, width
from src.telegram.messages import Messages
from src.telegram.status_text import Offer
from src.telegram.throttle import priority

log = structlog.get_logger(__name__)

NO_COMMAND = ~F.text.startswith("/")
"""Filter: the message is no command."""

# Letters and symbols of Unicode that show nothing; people send them as empty messages.
_BLANKS = frozenset("\u2800\u3164\u115f\u1160\uffa0")

# A client cuts a longer text into several messages, each of which would else be a request.
_LONGEST = 4000
_CUT_AT = 4096
_CUT_SECONDS = 2

PLACE_PATIENCE = 60.0
"""Seconds that a placeholder waits for Telegram's turn before it is left to the progress loop."""
# So long an update waits for its answer before the person's next one is handled.
_SEND_SECONDS = 1.0
_AT_ONCE_SECONDS = 2.0
# As long as a picture may take.
_TAPS_KEPT = 3600
_KEPT_SECONDS = 86_400
_REFUSALS = 2
_HEARD = "👀"
_REFUSED_SECONDS = 60

_MAX_SOURCE = 20 * 1024 * 1024
# Phones send files without a type, or with a wrong one: the name says it too, and decoding decides.
_PICTURE_NAMES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif"),
    *(".gif", ".bmp", ".tif", ".tiff"),
)


class BadSource(Exception):
    """A picture that cannot be edited; `key` names the text that says so."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Refusal(str):
    """Words that say why not; `why` is the same for the same reason, whatever the numbers in them and their plurals.
    `key`: the name of the text, or nothing where it has several."""

    why: str
    key: str

    @classmethod
    def of(cls, say: Translator, key: str, **args: Any) -> Refusal:
        """The text `key` as a refusal."""
        refusal = cls(say(key, **args))
        refusal.why = refusal.key = key
        return refusal

    def followed_by(self, words: str) -> Refusal:
        """The same with further words on a line of their own, where there are any."""
        longer = Refusal(f"{self}\n{words}" if words else self)
        longer.why, longer.key = self.why, self.key
        return longer


class Asking:
    """Takes wishes to the intake and shows what became of them."""

    def __init__(self, app: App, bot: Bot, chats: Chats, messages: Messages, outlook: Outlook) -> None:
        self._app = app
        self._bot = bot
        self._chats = chats
        self._messages = messages
        self._outlook = outlook
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, wish: Wish, say: Translator, *, seen: str = "", one: bool = False) -> Refusal | None:
        """Ask for pictures. None: accepted, and its placeholder is in the chat or on its way there; else
        what to tell the person. `seen`: what stands in the message that the placeholder answers; `one`: one picture,
        whatever the words say.

        The same wish (by its update) may come again after an error: it is admitted once.
        """
        refusal = await self._ask(wish, say, seen, one)
        return refusal and refusal.followed_by(say("counts-not"))

    async def _ask(self, wish: Wish, say: Translator, seen: str, one: bool) -> Refusal | None:
        try:
            words, said = await self.understood(
                wish.prompt, wish.model, 1 + len(wish.references) if wish.source else 0, say
            )
        except Impossible as error:
            return _as_refusal(error.words)
        if "style" in said:
            words = styled(words, said.pop("style"), await all_styles(self._app))
            if complaint := self.complaint(words, say):
                return _as_refusal(complaint)
        if "negative" in said:
            said["negative_prompt"] = said.pop("negative")
        wish = replace(wish, prompt=words, words_seen=words in seen, **said)
        if wish.group:
            wish = replace(wish, chat=await self._chats.now(wish.chat))
            rights = await self._chats.rights(wish.chat)
            if rights.lacking is not None:
                return Refusal.of(say, rights.lacking)
            wish = replace(wish, count=1 if rights.one_at_a_time else wish.count)
            rules = await self._chats.rules(wish.chat)
            if rules.admins and not await self._chats.may_ask(wish.chat, wish.user):
                return Refusal.of(say, "refused-only-admins")
            if not rules.edits and wish.source is not None:
                return Refusal.of(say, "refused-no-changes-here")
            wish = replace(wish, covered=rules.covered, hourly=rules.limits(wish.user))
        if one or wish.inline is not None:
            wish = replace(wish, count=1)
        if wish.how == "mask" and wish.painted is None:
            return Refusal.of(say, "refused-unpainted")
        if wish.painted and not capabilities(wish.model, len(wish.references) + 1, self._app).mask:
            if wish.how == "mask":
                return Refusal.of(say, "refused-no-mask")
            wish = replace(wish, source=wish.painted, painted=None, parent=None, how=None)
        try:
            admission = await intake.ask(self._app, wish)
        except NoProvider:
            if not self._app.providers:
                return Refusal.of(say, "refused-unavailable")
            if most := self.most_pictures():
                return Refusal.of(say, "refused-too-many-pictures", most=most)
            return Refusal.of(say, "refused-no-edits")
        if not admission.accepted:
            return refusal_of(say, admission, self._app.settings)
        await self._show(admission, say)
        return None

    async def ask_by(
        self, message: Message, words: str, data: Mapping[str, Any], say: Translator, update_id: int
    ) -> bool:
        """Ask for pictures by a person's message, and answer it if that is refused; True if accepted."""
        if message.from_user is None:
            return False
        user, answered = message.from_user.id, message.message_id
        wish = wish_in(message, user, words, data, say, update_id=update_id, reply_to=answered)
        refusal = await self.ask(wish, say, seen=words_of(message) or message.caption or "")
        if refusal is not None:
            await self.refuse(message, refusal, wish, say)
        return refusal is None

    def most_pictures(self) -> int:
        """How many pictures somebody here can look at for one."""
        can = [provider.capabilities for provider in self._app.providers.values()]
        return max((c.sources for c in can if c.edit), default=0)

    async def refuse(
        self, message: Message, words: str, wish: Wish | None = None, say: Translator | None = None
    ) -> None:
        """Say why not; the same (whatever its numbers) twice a minute at most, so that a flood of messages
        meets no flood of answers. In a group at once or not at all: others' talk goes on.

        Args:
            wish: what was refused, with which the buttons begin that help.
        """
        why = words.why if isinstance(words, Refusal) else words
        same = zlib.crc32(why.encode())
        key = keys.REFUSED(message.chat.id, speaker_of(message), same)
        async with self._app.redis.pipeline(transaction=False) as pipe:
            pipe.set(key, 0, nx=True, ex=_REFUSED_SECONDS)
            pipe.incr(key)
            _, said = await pipe.execute()
        if said > _REFUSALS:
            return
        markup = None
        if wish is not None and say is not None and isinstance(words, Refusal):
            markup = keyboards.refused(say, words.key, message.message_id)
        if wish is not None and markup is not None:
            await self.keep(wish, message)
        await self._send(self._reply(message, words, markup))

    async def keep(self, wish: Wish, message: Message) -> None:
        """Keep a wish that is not ordered, until a button under the answer to its message says what becomes of it."""
        key = keys.ORDER(message.chat.id, message.message_id)
        await self._app.redis.set(key, json.dumps(asdict(wish)), ex=_KEPT_SECONDS)

    async def _reply(self, message: Message, words: str, markup: InlineKeyboardMarkup | None) -> None:
        is_group = message.chat.type != ChatType.PRIVATE
        with at_once() if is_group else priority("answer", patience=PLACE_PATIENCE):
            thread = message.message_thread_id if message.is_topic_message else None
            speaker = speaker_of(message)
            await self._tell(message.chat.id, thread, message.message_id, speaker, words, markup)

    async def _tell(
        self,
        chat: int,
        thread: int | None,
        answered: int | None,
        speaker: int | str,
        words: str,
        markup: InlineKeyboardMarkup | None = None,
    ) -> None:
        """Tell a person something, in private where their group lets us write nothing."""
        reply = answer_to(answered)
        try:
            await self._bot.send_message(
                chat, words, message_thread_id=thread, reply_parameters=reply, reply_markup=markup
            )
        except TelegramRetryAfter:
            return
        except (TelegramBadRequest, TelegramForbiddenError) as error:
            if chat > 0 or not isinstance(speaker, int):
                log.info("nobody to tell", error=type(error).__name__)
                return
            # Who never wrote to the bot cannot be written to.
            with suppress(TelegramAPIError):
                await self._bot.send_message(speaker, words)

    async def understood(
        self, text: str, model: str | None, sources: int, say: Translator
    ) -> tuple[str, dict[str, Any]]:
        """A text's words, and what its parameters say, as `parameters.read`.

        Raises:
            Impossible: they cannot be drawn so.
        """
        styles = await all_styles(self._app) if has_any(text) else []
        words, said = read(text, model, sources, self._app, say, styles)
        if complaint := self.complaint(words, say):
            raise Impossible(complaint)
        return words, said

    def complaint(self, prompt: str, say: Translator) -> str | None:
        """What is wrong with a prompt, in words; None if nothing is."""
        if not any(unicodedata.category(c)[0] in "LNS" and c not in _BLANKS for c in prompt):
            return Refusal.of(say, "prompt-empty")
        limits = [provider.capabilities.max_prompt for provider in self._app.providers.values()]
        limit = min([_LONGEST, *limits[:1]])
        if len(prompt) > limit or width(prompt) >= _CUT_AT:
            return Refusal.of(say, "prompt-too-long", limit=limit)
        return None

    async def is_rest_of_cut(self, message: Message, update: int) -> bool:
        """Whether a text is a further piece of one too long, which was answered already."""
        key = keys.CUT(message.chat.id)
        if width(message.text or "") >= _CUT_AT:
            return not await first(self._app, key, update, _CUT_SECONDS)
        return bool(await self._app.redis.exists(key))

    async def _show(self, admission: Admission, say: Translator) -> None:
        standing = await self._app.ledger.standing(admission.request)
        if standing is None:
            return
        request = standing.request
        if not request.messages:
            placed = await self._send(self._place(standing, say))
            if not placed and request.words_seen and request.reply_to and request.chat > 0:
                await self._say_heard(request.chat, request.reply_to)
        elif request.inline is not None and not request.shown:
            await self._send(self._begin_inline(standing))

    async def _say_heard(self, chat: int, asked: int) -> None:
        """A sign at a person's words while the answer has to wait; one more call, so only then, and only where
        nobody else wants its turn."""
        with priority("progress"), suppress(TelegramAPIError):
            await self._bot.set_message_reaction(chat, asked, [ReactionTypeEmoji(emoji=_HEARD)])

    async def _send(self, sending: Coroutine[Any, Any, None]) -> bool:
        """Send something; True if that is soon done, else it goes on by itself. While Telegram has no turn for
        it, the person's next message can be handled."""
        task = asyncio.create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sent)
        done, _ = await asyncio.wait({task}, timeout=_SEND_SECONDS)
        for task in done:
            task.result()
        return bool(done)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("not sent", error=type(error).__name__)

    async def _begin_inline(self, standing: Standing) -> None:
        """Let what the person sent say that it is drawn."""
        estimates = await self._outlook.estimates(standing.jobs, standing.lines)
        try:
            await self._messages.progress(standing.request, standing.jobs, estimates, asked=True)
        except (Undeliverable, TelegramAPIError) as error:
            log.info("progress not shown", request_id=standing.request.id, error=type(error).__name__)

    async def _place(self, standing: Standing, say: Translator) -> None:
        request, jobs = standing.request, standing.jobs
        estimates = await self._outlook.estimates(jobs, standing.lines)
        offer = await self._outlook.offer(standing, estimates)
        if offer is not None:
            _note(offer, estimates)
        try:
            with priority("answer", patience=PLACE_PATIENCE):
                wakes = await self._messages.placeholders.place(request, jobs, estimates, offer)
            await notify.deliver(wakes)
        except Undeliverable as error:
            log.info("nobody to draw for", request_id=request.id, kind=error.kind)
            for job in jobs:
                await intake.cancel(self._app, job.id, None)
            if error.kind == "no_rights":
                await self._chats.forget(request.chat)
                speaker = int(request.user) if request.user.isdecimal() else request.user
                words = say("failed-no-rights")
                await self._tell(request.chat, request.thread, request.reply_to, speaker, words)
        except TelegramAPIError as error:
            # The request stands; the progress loop or the delivery will send the placeholder.
            log.warning("no placeholder yet", request_id=request.id, error=type(error).__name__)


@contextmanager
def at_once() -> Iterator[None]:
    """Calls inside go now, or are not made (`TelegramRetryAfter`)."""
    with priority("answer", patience=_AT_ONCE_SECONDS, chat_patience=_AT_ONCE_SECONDS):
        yield


async def first(app: App, key: str, update: int, seconds: int) -> bool:
    """Whether this update is the first to take `key` within `seconds`; being handled again it still is."""
    if await app.redis.set(key, update, nx=True, ex=seconds):
        return True
    return bool(await app.redis.get(key) == str(update))


async def first_tap(app: App, callback: CallbackQuery, update: int, seconds: int) -> bool:
    """Whether a tap is not one more on the same button, within `seconds` of the last or before what that one asked
    for has ended: whoever gets no answer taps again, and wants it once."""
    number = callback.message.message_id if callback.message else 0
    key = keys.TAP(callback.from_user.id, number, callback.data)
    before = await app.redis.get(key)
    if before is not None and before != str(update):
        recent = await app.redis.pttl(key) > 1000 * (_TAPS_KEPT - seconds)
        if recent or await _is_under_way(app, before):
            return False
    await app.redis.set(key, update, ex=_TAPS_KEPT)
    return True


async def _is_under_way(app: App, update: str) -> bool:
    """Whether what an update asked for has not ended."""
    request = await app.redis.get(keys.UPDATE(update))
    standing = await app.ledger.standing(request) if request else None
    return standing is not None and not all(job.ended for job in standing.jobs)


def words_of(message: Message) -> str:
    """What a message says: its text, or that of a rich message's blocks."""
    if message.text or message.rich_message is None:
        return message.text or ""
    return "\n".join(filter(None, map(_said, message.rich_message.blocks)))


def _said(part: Any) -> str:
    """The words of a rich text or block; of a block within others each stands on lines of its own."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_said, part))
    inner = [*(getattr(part, "blocks", None) or ()), *(getattr(part, "items", None) or ())]
    return "\n".join(filter(None, map(_said, [getattr(part, "text", None) or "", *inner])))


def answered_by(message: Message) -> Message | ExternalReplyInfo | None:
    """What a message answers, be it in another chat."""
    return message.reply_to_message or message.external_reply


def quoted_in(message: Message) -> str:
    """The words that a message answers: the part that is quoted, or all of them; none where it answers us."""
    answered = message.reply_to_message
    if answered and answered.from_user and message.bot and answered.from_user.id == message.bot.id:
        return ""
    if message.quote is not None:
        return message.quote.text
    return (words_of(answered) or answered.caption or "") if answered else ""


def pictures_of(messages: Sequence[Message | ExternalReplyInfo]) -> dict[str, Any]:
    """What a wish has of the pictures that messages show: the first is changed and gives its format, the others are
    looked at for it. Empty where they show none.

    Raises:
        BadSource: there is one that nobody can edit.
    """
    shown = [(file, message) for message in messages if (file := source_of(message)) is not None]
    if not shown:
        return {}
    (source, first_of_them), *others = shown
    return {"source": source, "aspect": shape_of(first_of_them), "references": [file for file, _ in others]}


def source_of(message: Message | ExternalReplyInfo) -> str | None:
    """File id of the picture a message shows, or None if it shows none.

    Raises:
        BadSource: it is one that nobody can edit.
    """
    file: PhotoSize | Document
    if message.photo:
        file = message.photo[-1]
    elif message.document and _is_picture(message.document):
        file = message.document
        if (file.mime_type or "").startswith("image/svg"):
            raise BadSource("photo-unsupported")
    else:
        return None
    if (file.file_size or 0) > _MAX_SOURCE:
        raise BadSource("photo-too-big")
    return file.file_id


def alike(one: Message | ExternalReplyInfo, other: Message | ExternalReplyInfo) -> bool:
    """Whether two messages may show the same picture, by its shape as far as Telegram tells."""
    first, second = _size_of(one), _size_of(other)
    return first is None or second is None or same_shape(first, second)


def shape_of(message: Message | ExternalReplyInfo) -> str:
    """The format of the picture that a message shows, as far as Telegram tells."""
    size = _size_of(message)
    return nearest_aspect(*size) if size else OF_SOURCE


def _size_of(message: Message | ExternalReplyInfo) -> tuple[int, int] | None:
    size = message.photo[-1] if message.photo else message.document and message.document.thumbnail
    return (size.width, size.height) if size and size.width and size.height else None


def _is_picture(file: Document) -> bool:
    named = (file.file_name or "").lower().endswith(_PICTURE_NAMES)
    return named or (file.mime_type or "").startswith("image/")


def kept_by(person: Person) -> dict[str, Any]:
    """What a person has chosen for all their wishes."""
    return {
        "aspect": person.aspect,
        "count": person.count,
        "model": person.model,
        "quality": person.quality,
    }


def wish_in(
    message: Message,
    user: int | str,
    prompt: str,
    data: Mapping[str, Any],
    say: Translator,
    *,
    update_id: int,
    reply_to: int | None = None,
) -> Wish:
    """A wish for the chat and topic of a message. `data`: `aspect`, `count`, and perhaps `source`,
    `references`, `painted`, `model`, `quality`, `seed`, `negative`, `style`, `parent`, `how`."""
    return Wish(
        user=user,
        chat=message.chat.id,
        # As if it were typed: it may be gone by now.
        prompt=f"{prompt.strip()}\n--style {data['style']}" if data.get("style") else prompt.strip(),
        update=str(update_id),
        aspect=data["aspect"],
        count=data["count"],
        lang=say.lang,
        source=data.get("source"),
        references=tuple(data.get("references", ())),
        painted=data.get("painted"),
        parent=data.get("parent"),
        how=data.get("how"),
        model=data.get("model"),
        quality=data.get("quality"),
        seed=data.get("seed"),
        negative_prompt=data.get("negative") or None,
        thread=message.message_thread_id if message.is_topic_message else None,
        reply_to=reply_to,
        group=message.chat.type != ChatType.PRIVATE,
    )


def _note(offer: Offer, estimates: Sequence[Estimate]) -> None:
    """Let the update's trace tell that its sender is offered not to wait."""
    facts = {"imagebot.place": 1 + max(estimate.place or 0 for estimate in estimates)}
    models = {"gen_ai.request.model": offer.faster.model} if offer.faster else {}
    trace.get_current_span().add_event("imagebot.offered", {**facts, **models})


def _as_refusal(words: str) -> Refusal:
    if isinstance(words, Refusal):
        return words
    refusal = Refusal(words)
    refusal.why, refusal.key = words, ""
    return refusal


def refusal_of(say: Translator, admission: Admission, settings: Settings) -> Refusal:
    """Why a wish was not admitted, and when it may be."""
    match admission.verdict:
        case "rate":
            return Refusal.of(say, "refused-rate", seconds=max(1, admission.number))
        case "active":
            return Refusal.of(say, "refused-active", number=admission.number)
        case "many":
            return Refusal.of(say, "refused-many", limit=admission.number)
        case "slow":
            return Refusal.of(say, "refused-slow")
        case "busy":
            return Refusal.of(say, "refused-busy", number=admission.number)
        case "full":
            return Refusal.of(say, "refused-full")
        case "forbidden":
            left = say("strikes-left", left=admission.number)
            refusal = Refusal.of(say, "refused-forbidden", left=left)
            # Each strike is said, however soon it comes after the one before.
            refusal.why += str(admission.number)
            return refusal
        case "paused":
            return Refusal.of(say, "refused-paused").followed_by(admission.why)
        case "off":
            return Refusal.of(say, "refused-off", feature=say("switch-name", feature=admission.why))
        case "cooling":
            return Refusal.of(say, "refused-cooling", minutes=-(-admission.number // 60))
        case "spent":
            return Refusal.of(say, "refused-spent", hours=_hours(admission.number))
        case "unpaid":
            share = settings.free_pictures_day
            return Refusal.of(say, "refused-unpaid", left=admission.number, share=share)
        case "unpaid-chat":
            return Refusal.of(say, "refused-unpaid-chat")
        case "here":
            return Refusal.of(say, "refused-here", minutes=-(-admission.number // 60))
        case "here-all":
            return Refusal.of(say, "refused-here-all", minutes=-(-admission.number // 60))
        case "spent-person":
            return Refusal.of(say, "refused-spent-person", hours=_hours(admission.number))
        case _:
            return Refusal.of(say, "refused-blocked")


def _hours(seconds: int) -> int:
    return -(-seconds // 3600)
