"""What the ledger holds: a job, a request, a person, and the states a job goes through.

Plain data and its parsing; every change is a script in `lua/`, called through `transitions`.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from src.jobs.spending import charges, sum_of

NO_CHAT = 0
"""The chat of what other software asked for: its outcome is kept, not sent."""

SCHEMA_VERSION = 2
"""Since 2 a job has `failovers`, `refused` and `unheard`, which in version 1 stood in its story only."""


class State(StrEnum):
    """Where a job is. `failed` and `cancelled` jobs have ended once the person was told."""

    WAITING = "waiting"
    SUBMITTING = "submitting"
    RUNNING = "running"
    READY = "ready"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


How = Literal["again", "vary", "edit", "mask", "start", "upscale", "cutout"]
"""How a picture comes from another: drawn anew, varied, changed by words, changed only where it was painted over, taken as
a beginning; larger, or without its background."""
TOOLS = frozenset({"upscale", "cutout"})
"""Those of `How` that are done by a model for just that, without words."""

_STATES = {str(state): state for state in State}
ENDED = frozenset({State.DELIVERED, State.FAILED, State.CANCELLED})
PENDING = frozenset({State.WAITING, State.SUBMITTING, State.RUNNING})
"""Before there is a picture, or a reason why not."""

RECORD = (
    "state", "user", "request", "provider", "spec", "wake", "fence", "created", "deadline", "accepted", "ready", "tries",
    "deliveries", "unknown", "polls", "holder", "lost", "generation", "ticket", "result", "kind", "told", "progress", "story",
    "v", "failovers", "refused", "unheard", "uncounted",
    "strikes_left", "ahead", "drawn", "code",
)  # fmt: skip
"""The fields of a job that a script's answer holds, in this order."""

# A job is read several times on its way, and what is written once at admission stays the same.
_KEPT = 4096


def new_id() -> str:
    """An id that sorts by time: 9 characters of milliseconds, 8 at random, base 32 (Crockford)."""
    return _base32(time.time_ns() // 1_000_000, 9) + _base32(secrets.randbits(40), 8)


def _base32(number: int, width: int) -> str:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    out = ""
    for _ in range(width):
        number, rest = divmod(number, 32)
        out = digits[rest] + out
    return out


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be made, for whom and where; written once at admission.

    Attributes:
        prompt: the person's words. Never in logs or spans.
        model: the provider's model; aspect: one of `providers.base.ASPECTS`, or `OF_SOURCE`.
        index: place of the picture in its request, from 0; count: pictures in the request.
        chat, thread: where the placeholder is. lang: language of what the person is told.
        source: Telegram file id of the picture to edit, or the name of an upload (`uploads`), or None.
        references: file ids of more pictures that are looked at for it.
        painted: file id of a photo that may be the source, painted over where it shall change. Where it proves to be
            something else it is changed itself, in place of the source, unless `how` is `mask`.
        quality, seed, negative_prompt: what a model may take besides.
        instead_of: the provider that was to make it, where another does.
        parent: the job whose picture this one comes from; how: in which way (`How`).
    """

    prompt: str = field(repr=False)
    model: str
    aspect: str
    chat: int
    lang: str
    index: int = 0
    count: int = 1
    thread: int | None = None
    source: str | None = None
    references: tuple[str, ...] = ()
    painted: str | None = None
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = field(default=None, repr=False)
    instead_of: str | None = None
    parent: str | None = None
    how: How | None = None

    @property
    def pictures(self) -> tuple[str, ...]:
        """All that are given to it."""
        return () if self.source is None else (self.source, *self.references)

    def made_by(self, provider: str, model: str, instead_of: str | None) -> Spec:
        """The same for another provider; nobody stands in for themselves."""
        return replace(self, model=model, instead_of=None if instead_of == provider else instead_of)

    def dumps(self) -> str:
        given = {k: v for k, v in asdict(self).items() if v is not None and v != ()}
        return json.dumps(given, ensure_ascii=False)

    @classmethod
    @functools.lru_cache(_KEPT)
    def loads(cls, text: str) -> Spec:
        raw = json.loads(text)
        given = {k: v for k, v in raw.items() if k in cls.__dataclass_fields__}
        return cls(**{**given, "references": tuple(given.get("references", ()))})


@dataclass(frozen=True, slots=True)
class Wake:
    """What is needed to wake a worker for a job without reading the job: which limits the step will
    meet, and the trace it belongs to.

    Attributes:
        trace: the job's `SpanRef` as text; empty when tracing is off.
    """

    job: str
    provider: str
    chat: int
    group: bool = False
    trace: str = ""

    def dumps(self) -> str:
        return json.dumps([self.provider, self.chat, int(self.group), self.trace])

    @classmethod
    @functools.lru_cache(_KEPT)
    def loads(cls, job: str, text: str) -> Wake:
        # A later version may say more.
        provider, chat, group, trace, *_ = json.loads(text)
        return cls(job, provider, chat, bool(group), trace)

    @classmethod
    def from_flat(cls, flat: Iterable[str]) -> tuple[Wake, ...]:
        """From a script's answer: id, wake, id, wake, …"""
        items = iter(flat)
        return tuple(cls.loads(job, text) for job, text in zip(items, items, strict=True))


@dataclass(frozen=True, slots=True)
class Job:
    """A job as read from the ledger. Times are ms of Redis's clock; 0 where not reached.

    Attributes:
        fence: goes up with each claim; a step's changes count only while it still holds this number.
        holder: the process that has claimed it; lost: the one that had it before and fell silent; lost_attempt: the
            span of what that one was at. limited: the gate that last put a step off.
        generation: span of what the provider draws, since it was accepted; ticket: the provider's name for it (`Ticket`).
        result: where the picture is, or what is known of it; shown: where it is shown, and what by (message and file
            ids), once it is.
        kind, code: why there is no picture, in our words (`ErrorKind` and others) and the provider's. told: a job
            without a picture has ended, as its person knows.
        tries, deliveries: attempts at its submit (to this provider) and at showing its outcome.
        unknown: submits of which nobody knows whether the provider took them.
        failovers: providers that have had it, in order, once one has failed.
        refused: attempts at showing it that Telegram refused as a bad request.
        unheard: attempts at showing it whose call to Telegram may have taken effect though it failed.
        shared: its person lets others see the picture.
        uncounted: it ended before it could cost anything, or was taken back by somebody else; a request of such jobs is
            none for the limit of rate. drawn: it was taken back by somebody else when it may have been drawn.
        strikes_left: how many more such requests its person may make before they have to wait; None: it was no strike.
        progress, ahead: how much of it is done (0..1) and how many are before it in the provider's own queue, as far as
            the provider tells.
        charges: what it is charged with, in millionths by unit (`spending`), by provider: also by one that it has left
            and that may have taken it.
        story: what happened to it, for people and for the events of its span. Nothing is decided by it.
    """

    id: str
    state: State
    user: str
    request: str
    provider: str
    spec: Spec
    wake: Wake
    fence: int
    created: int
    deadline: int = 0
    accepted: int = 0
    ready: int = 0
    tries: int = 0
    deliveries: int = 0
    unknown: int = 0
    failovers: tuple[str, ...] = ()
    refused: int = 0
    unheard: int = 0
    polls: int = 0
    holder: str = ""
    lost: str = ""
    lost_attempt: str = ""
    generation: str = ""
    ticket: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    shown: dict[str, Any] | None = None
    kind: str = ""
    code: str = ""
    told: bool = False
    uncounted: bool = False
    drawn: bool = False
    strikes_left: int | None = None
    progress: float | None = None
    ahead: int | None = None
    charges: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    story: str = ""
    limited: str = ""
    shared: bool = False
    now: int = 0

    @classmethod
    def parse(cls, job_id: str, raw: Mapping[str, str]) -> Job | None:
        """A job from its hash; None where there is none (expired, or never was)."""
        if "state" not in raw or "spec" not in raw:
            return None
        return cls._read(
            job_id,
            [raw.get(name, "") for name in RECORD],
            shown=_document(raw.get("shown")),
            limited=raw.get("limited", ""),
            charges=charges(charge) if (charge := _document(raw.get("charge"))) else {},
            shared=raw.get("shared") == "1",
        )

    @classmethod
    def from_answer(cls, job_id: str, answer: Sequence[Any]) -> Job:
        """A job from a script's answer (`told` in `common.lua`): without what its worker has no use for."""
        *record, now, lost_attempt = answer
        return cls._read(job_id, record, now=int(now), lost_attempt=lost_attempt)

    @classmethod
    def _read(cls, job_id: str, record: Sequence[Any], **more: Any) -> Job:
        (state, user, request, provider, spec, wake, fence, created, deadline, accepted, ready, tries, deliveries,
         unknown, polls, holder, lost, generation, ticket, result, kind, told, progress, story,
         version, failovers, refused, unheard, uncounted, strikes_left, ahead, drawn, code) = record  # fmt: skip
        if version == "1":
            failovers, refused, unheard = _counted_in(story)
        return cls(
            id=job_id,
            state=_STATES[state],
            user=user,
            request=request,
            provider=provider,
            spec=Spec.loads(spec),
            wake=Wake.loads(job_id, wake),
            fence=int(fence or 0),
            created=int(created or 0),
            deadline=int(deadline or 0),
            accepted=int(accepted or 0),
            ready=int(ready or 0),
            tries=int(tries or 0),
            deliveries=int(deliveries or 0),
            unknown=int(unknown or 0),
            failovers=tuple(failovers.split()),
            refused=int(refused or 0),
            unheard=int(unheard or 0),
            polls=int(polls or 0),
            holder=holder,
            lost=lost,
            generation=generation,
            ticket=_document(ticket),
            result=_document(result),
            kind=kind,
            code=code,
            told=told == "1",
            uncounted=uncounted == "1",
            drawn=drawn == "1",
            strikes_left=int(strikes_left) if strikes_left else None,
            progress=float(progress) if progress else None,
            ahead=int(ahead) if ahead else None,
            story=story,
            **more,
        )

    @property
    def borderline(self) -> bool:
        """Whether its provider says that not everybody may want to see the picture."""
        return bool((self.result or self.shown or {}).get("borderline"))

    @property
    def costs(self) -> Mapping[str, int]:
        """What it is charged with in all."""
        return sum_of(self.charges.values())

    @property
    def ended(self) -> bool:
        """Nothing is left to do: delivered, or ended otherwise and the person was told."""
        return self.state is State.DELIVERED or (self.state in ENDED and self.told)


def _counted_in(story: str) -> tuple[str, int, int]:
    """What version 1 counted only in the story, where every version has noted it since."""
    notes = [entry.rpartition("@")[0] for entry in story.split()]
    moves = [note.removeprefix("failover:") for note in notes if note.startswith("failover:")]
    unheard = sum(note.startswith("retry:Telegram") for note in notes)
    return " ".join(moves), notes.count("retry:bad_request"), unheard


def _document(text: str | None) -> dict[str, Any] | None:
    return json.loads(text) if text else None


@dataclass(frozen=True, slots=True)
class Request:
    """What a person sent: one to four jobs and the messages that show them.

    Attributes:
        messages: id of the message that shows each job, in order; empty until the placeholder is sent.
        status_message: for an album, the message under it with progress and buttons.
        reply_to: the person's own message; words_seen: the words stand in it, so no caption repeats them.
        shown_at: ms of Redis's clock of the last change of the placeholder; shown: what it says.
        eta: seconds from `created` to the last picture that the person was first told; 0: never was.
        chosen: what the person chose when the line was long: `wait`, `faster`, `later`; empty: nothing.
        sendings: how many placeholders may be in the chat, of which at most one is known.
        original: the person wants the original, not a photo of it.
        changing: a change of the placeholder was on its way of which nobody knows what became.
        previewed: its message may show the unfinished picture, so that its words are under a photo.
        strays: messages that are to be deleted.
        closing: ms of Redis's clock from when its last words are tried; 0: they are not, or are said.
        inline: what Telegram calls the message where a person sent it through us; of it we know neither chat nor number.
        covered: the picture is shown to whoever taps it, as the group's admins want it.
        unplaced: who asked sends no placeholder.
    """

    id: str
    user: str
    jobs: tuple[str, ...]
    chat: int
    lang: str
    created: int
    thread: int | None = None
    reply_to: int | None = None
    messages: tuple[int, ...] = ()
    status_message: int | None = None
    shown: str = ""
    shown_at: int = 0
    group: bool = False
    eta: float = 0.0
    chosen: str = ""
    sendings: int = 0
    original: bool = False
    changing: bool = False
    previewed: bool = False
    strays: tuple[int, ...] = ()
    closing: int = 0
    inline: str | None = None
    words_seen: bool = False
    covered: bool = False
    unplaced: bool = False

    @classmethod
    def parse(cls, request_id: str, raw: Mapping[str, str]) -> Request | None:
        if "jobs" not in raw:
            return None
        return cls(
            id=request_id,
            user=raw["user"],
            jobs=tuple(raw["jobs"].split(",")),
            chat=int(raw["chat"]),
            lang=raw.get("lang", "en"),
            created=int(raw["created"]),
            thread=int(raw["thread"]) if raw.get("thread") else None,
            reply_to=int(raw["reply_to"]) if raw.get("reply_to") else None,
            messages=tuple(int(m) for m in raw["messages"].split(",")) if raw.get("messages") else (),
            status_message=int(raw["status_message"]) if raw.get("status_message") else None,
            shown=raw.get("shown", ""),
            shown_at=int(raw.get("shown_at") or 0),
            group=raw.get("group") == "1",
            eta=float(raw.get("eta") or 0),
            chosen=raw.get("chosen", ""),
            sendings=int(raw.get("sendings") or 0),
            original=raw.get("first") == "file",
            changing="changing" in raw or "previewing" in raw,
            previewed="previewed" in raw,
            strays=tuple(int(m) for m in raw["strays"].split(",")) if raw.get("strays") else (),
            closing=int(raw.get("closing") or 0),
            inline=raw.get("inline") or None,
            words_seen=raw.get("words_seen") == "1",
            covered=raw.get("covered") == "1",
            unplaced=raw.get("unplaced") == "1",
        )

    @classmethod
    def from_flat(cls, request_id: str, flat: Iterable[str]) -> Request | None:
        """A request from a script's answer: field, value, field, value, …"""
        items = iter(flat)
        return cls.parse(request_id, dict(zip(items, items, strict=True)))

    @property
    def may_have_stray(self) -> bool:
        """Whether another placeholder may stand in the chat: one that is to be deleted, or that nobody knows the id of,
        as the process that sent it died, or Telegram's answer was lost."""
        return self.sendings > 1 or bool(self.strays)

    def message_of(self, job_id: str) -> int | None:
        """Id of the message that shows a job, or None while there is no placeholder."""
        place = self.jobs.index(job_id)
        return self.messages[place] if place < len(self.messages) else None


@dataclass(frozen=True, slots=True)
class Person:
    """A person's own choices. `lang` None: Telegram's language decides; `model`, of the catalog, None: the settings do.
    `negative`: what was not to be seen the last time, for the dialog. `first`: whether they get a `photo`, or the
    original as a `file`. `keep`: days for which their pictures are kept; 0: as long as everybody's.

    What admins made of them: `tier`, `blocked` and `why`, `rate` and `active`, limits of their own (0: everybody's).
    `seen`: about when they last wrote in private, s; `spoken`: in which language they are told things."""

    id: str
    lang: str | None = None
    aspect: str = "1:1"
    count: int = 1
    first: str = "photo"
    keep: int = 0
    model: str | None = None
    quality: str | None = None
    negative: str = field(default="", repr=False)
    tier: str = "ordinary"
    blocked: bool = False
    why: str = ""
    rate: int = 0
    active: int = 0
    seen: int = field(default=0, compare=False)
    spoken: str = field(default="", compare=False)

    @classmethod
    def parse(cls, user_id: str, raw: Mapping[str, str]) -> Person:
        return cls(
            id=user_id,
            lang=raw.get("lang") or None,
            aspect=raw.get("aspect") or "1:1",
            count=int(raw.get("count") or 1),
            first=raw.get("first") or "photo",
            keep=int(raw.get("keep") or 0),
            model=raw.get("model") or None,
            quality=raw.get("quality") or None,
            negative=raw.get("negative", ""),
            tier=raw.get("tier") or "ordinary",
            blocked=raw.get("blocked") == "1",
            why=raw.get("why", ""),
            rate=int(raw.get("rate") or 0),
            active=int(raw.get("active") or 0),
            seen=int(raw.get("seen") or 0),
            spoken=raw.get("spoken", ""),
        )
