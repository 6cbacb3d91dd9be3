"""What an image provider is to the pipeline: submit, poll, fetch, cancel, callback hint.

Not here: when a step runs (`src.pipeline.scheduler`), and what happens after an error
(`src.pipeline.retry_policy`). A provider client holds no state of a job: everything it must remember
between two steps is in the `Ticket`, which the ledger stores as JSON before anything else happens.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, get_args, runtime_checkable

Aspect = Literal["1:1", "3:2", "2:3", "16:9", "9:16", "4:3", "3:4", "4:5", "21:9"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
OF_SOURCE = "auto"
"""The format of a job whose source's shape is not known before it is decoded; it is one of `ASPECTS` then."""
_PIECE = 65_536
_ROUNDED = 0.03


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do; the pipeline chooses its way by these, never by the provider's name.

    Attributes:
        aspects: formats it makes, of those we know. counts: most pictures that are asked for at once.
        synchronous: `submit` may take as long as a picture (10-180 s), so it is awaited beside the actor, which
            ends before. Whether it then answers with the picture or with a ticket is seen when it does.
        callback: the provider can call `callback_url` when the generation has ended.
        edit: a source picture can be given. sources: most pictures that can. mask: it can be said what of it may change.
        cancel: a running generation can be stopped.
        idempotent_submit: a repeated submit with the same idempotency key is billed once.
        max_prompt: longest prompt, in characters.
        qualities, seed, negative: what else can be asked for.
        previews: models of it show pictures as they are drawn, while `submit` waits.
        result_ttl: seconds the provider keeps a result; None when the result is in the answer.
    """

    aspects: tuple[Aspect, ...] = ASPECTS
    counts: int = 4
    synchronous: bool = False
    callback: bool = False
    edit: bool = False
    sources: int = 1
    mask: bool = False
    cancel: bool = False
    idempotent_submit: bool = False
    max_prompt: int = 4000
    qualities: tuple[str, ...] = ()
    seed: bool = False
    negative: bool = False
    previews: bool = False
    result_ttl: int | None = None

    @property
    def inline(self) -> bool:
        """Whether its pictures come in answers, so that we have to keep them."""
        return self.result_ttl is None

    def takes(self, sources: int, mask: bool = False) -> bool:
        """Whether so many pictures can be given (0: words alone), and a mask of the first."""
        return sources <= (self.sources if self.edit else 0) and (self.mask or not mask)

    def can_make(self, prompt: str, *, sources: int, mask: bool = False) -> bool:
        """Whether a picture may be asked for here in these words, of so many others."""
        return self.takes(sources, mask) and len(prompt) <= self.max_prompt


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A picture the person sent to be edited: checked, decoded once, its type known from its bytes."""

    data: bytes = field(repr=False)
    mime: str
    width: int = 1
    height: int = 1


def nearest_aspect(width: int, height: int) -> Aspect:
    """The format that a picture of that size has, or nearly has."""

    def off(aspect: Aspect) -> float:
        across, _, down = aspect.partition(":")
        return abs(math.log(width * int(down) / (height * int(across))))

    return min(ASPECTS, key=off)


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes may be of the same picture, scaled: its sides are rounded then."""
    first, second = one[0] * other[1], other[0] * one[1]
    return abs(first - second) <= _ROUNDED * max(first, second)


class Room(Protocol):
    """A place among the few answers with pictures that are in memory at once."""

    async def __call__(self) -> None:
        """Wait for it; at once where it is had already."""
        ...

    def leave(self) -> None:
        """Give it back, to wait for it anew when more comes."""
        ...


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One picture to make.

    Attributes:
        job_id: our id; the idempotency key where the provider takes one.
        prompt: the person's words; never logged.
        model: the provider's model name.
        aspect: one of `ASPECTS`; each provider maps it to its own sizes.
        sources: pictures to edit; none: text to image. mask: what of the first may change.
        quality, seed, negative_prompt: left out where the model takes none.
        user_hash: salted hash of the person for the provider's abuse reports.
        callback_url: where the provider may report the end, or None.
        deadline: seconds from now after which nobody waits any more.
        room: awaited when an answer proves to be large: the caller lets only so many be in memory.
        told: to be called with how far the picture is (0..1), where `submit` waits for it and learns that.
        preview: to be called with the picture as far as it is drawn, where the model shows it while `submit` waits;
            None: nobody would see it.
    """

    job_id: str
    prompt: str = field(repr=False)
    model: str
    aspect: Aspect = "1:1"
    sources: tuple[SourceImage, ...] = ()
    mask: SourceImage | None = None
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = field(default=None, repr=False)
    user_hash: str | None = None
    callback_url: str | None = None
    deadline: float = 600.0
    room: Room | None = field(default=None, repr=False, compare=False)
    told: Callable[[float], None] | None = field(default=None, repr=False, compare=False)
    preview: Callable[[bytes], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where the finished picture is: exactly one of `url` and `data` is set.

    `borderline`: its provider let it pass, and says that not everybody may want to see it.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    borderline: bool = False


class Picture(Protocol):
    """A finished picture whose head was checked: `mime` is what its magic bytes say. `size` is in bytes."""

    @property
    def mime(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def size(self) -> int: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes, from the beginning at each call.

        Raises:
            ProviderError: it cannot be had any more, or proves to be cut short.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """A picture in memory: its magic bytes were checked, `mime` is what they say."""

    data: bytes = field(repr=False)
    mime: str
    width: int
    height: int

    @property
    def size(self) -> int:
        return len(self.data)

    async def pieces(self) -> AsyncIterator[bytes]:
        view = memoryview(self.data)
        for start in range(0, len(view), _PIECE):
            yield bytes(view[start : start + _PIECE])


@dataclass(frozen=True, slots=True)
class Ticket:
    """All that is needed to follow a generation from any process; JSON-able.

    Attributes:
        provider: name of the provider that issued it.
        external_id: the provider's task id.
        meta: provider's own extras (poll, cancel and result addresses).
    """

    provider: str
    external_id: str
    meta: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Ticket:
        return cls(str(raw["provider"]), str(raw["external_id"]), dict(raw.get("meta") or {}))


@dataclass(frozen=True, slots=True)
class Pending:
    """The generation goes on.

    Attributes:
        progress: 0..1 where the provider tells, else None.
        queue_position: how many are before it in the provider's own queue, where it tells, else None.
    """

    progress: float | None = None
    queue_position: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The picture exists. `seed`, `cost`, `finish_reason` and `tokens` where the provider tells them.

    `unit`: what `cost` is counted in (USD, credits). `seconds`: how long it says the picture took. `tokens`: it
    counted for what was asked, and for the answer.
    """

    image: ImageRef
    seed: int | None = None
    cost: float | None = None
    unit: str = ""
    finish_reason: str | None = None
    seconds: float | None = None
    tokens: tuple[int, int] | None = None

    @property
    def costs(self) -> tuple[float, str] | None:
        """What it cost, and the unit, where the provider tells."""
        return None if self.cost is None or not self.unit else (self.cost, self.unit)

    def told(self) -> dict[str, Any]:
        """What is kept of it in the job's record, beside the picture."""
        found = {"seed": self.seed, "cost": self.cost, "unit": self.unit or None}
        found["borderline"] = self.image.borderline or None
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Callback:
    """A call of a provider's to us, as it came. `path` and `query` are those it was made to."""

    headers: Mapping[str, str]
    body: bytes
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The value of a header whose name is given in lower case; empty where it is not there."""
        return {known.lower(): value for known, value in self.headers.items()}.get(name, "")


class ErrorKind(StrEnum):
    """Why a step failed, in the pipeline's words; the person's text is chosen by it.

    In brackets the HTTP statuses that mean it where the body says nothing more (`refusals.kind_of_status`).

    MODERATED_INPUT, MODERATED_OUTPUT: the provider's filter refused the words or a picture given, or what was drawn.
    INVALID_REQUEST: it does not take the request as it is (other 4xx). BAD_SOURCE: it, or we, cannot read a picture given.
    BAD_MASK: the photo that was to say what may change does not.
    AUTH: it does not take our key (401, 403). QUOTA: our balance there is spent (402).
    MODEL_GONE: it does not have the model, or not where the settings say.
    RATE_LIMITED: we ask too often (429). OVERLOADED: it has too much to do (409, 425, 503, 529).
    TIMEOUT: no answer in time, from it or from a server on the way (408, 504, 524).
    NOT_FOUND: it does not know the task or the result, or no longer (404).
    UPSTREAM: it failed (other 3xx, 5xx). NETWORK: it could not be reached, or the connection broke off.
    BAD_RESULT: what came is no picture that can be shown.
    """

    MODERATED_INPUT = "moderated_input"
    MODERATED_OUTPUT = "moderated_output"
    INVALID_REQUEST = "invalid_request"
    BAD_SOURCE = "bad_source"
    BAD_MASK = "bad_mask"
    AUTH = "auth"
    QUOTA = "quota"
    MODEL_GONE = "model_gone"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    NOT_FOUND = "not_found"
    UPSTREAM = "upstream"
    NETWORK = "network"
    BAD_RESULT = "bad_result"


# Another try of the same step may go better. The rest is final for this provider.
RETRYABLE = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.OVERLOADED,
        ErrorKind.TIMEOUT,
        ErrorKind.UPSTREAM,
        ErrorKind.NETWORK,
    }
)


class ProviderError(Exception):
    """A step at the provider failed.

    Attributes:
        kind: see `ErrorKind`.
        retry_after: seconds the provider asked us to stay away, or None.
        status: HTTP status, or None when there was no answer.
        code: the provider's own short error code, safe to log; never its message, which may
            quote the prompt or a key.
        submitted: for `submit` only. False: the provider certainly has no task. True: it may have
            accepted one before the error (a read time-out, a broken answer): its fate is unknown.
        ended: for `poll` only. True: the generation is over without a picture and polling again is
            useless (`retryable` then speaks of a new submit). False: only this poll failed.
        request_id: the provider's id of the exchange, for its support; None where it gives none.
        host: where a result lies that may not be fetched from there.
    """

    def __init__(
        self,
        kind: ErrorKind,
        code: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
        submitted: bool = False,
        ended: bool = False,
        request_id: str | None = None,
        host: str | None = None,
    ) -> None:
        told = f"{code} {host}: allow it by PROVIDER_RESULT_HOSTS" if host else code
        super().__init__(f"{kind.value}{f' ({told})' if told else ''}")
        self.kind = kind
        self.code = code
        self.retry_after = retry_after
        self.status = status
        self.submitted = submitted
        self.ended = ended
        self.request_id = request_id
        self.host = host

    @property
    def retryable(self) -> bool:
        return self.kind in RETRYABLE


@dataclass(frozen=True, slots=True)
class Health:
    """One line for `imagebot doctor`: what was asked, whether it works, what to do if not."""

    ok: bool
    detail: str


@runtime_checkable
class Provider(Protocol):
    """An image provider's client. One instance a process; safe for thousands of concurrent calls.

    Every method raises `ProviderError` and nothing else for what the provider or the network did.
    """

    name: str
    capabilities: Capabilities

    async def submit(self, request: GenRequest) -> Ticket | Done:
        """Ask for one picture: a ticket to ask about from then on, or at once the picture."""
        ...

    async def poll(self, ticket: Ticket) -> Pending | Done:
        """Ask how a generation goes. An unknown status word is `Pending`, with a warning logged."""
        ...

    def open(self, ref: ImageRef) -> AbstractAsyncContextManager[Picture]:
        """Begin to get the picture: host checked, no key sent to a CDN, size capped, head checked. The
        rest comes as it is read, and is never in memory whole where its length was announced."""
        ...

    async def fetch(self, ref: ImageRef) -> ImageBytes:
        """Get the whole picture, checked in the same way."""
        ...

    async def cancel(self, ticket: Ticket) -> Literal["cancelled", "too_late", "unsupported"]:
        """Stop a generation where the provider can."""
        ...

    async def callback_hint(self, call: Callback) -> str | None:
        """External id that a callback speaks of, or None if it is not genuine. A hint only: poll next."""
        ...

    async def check(self) -> Health:
        """Is the key accepted and the address right? Costs nothing at the provider."""
        ...
