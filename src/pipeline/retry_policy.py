"""Again, elsewhere, or give up: what becomes of a step that failed.

Pure functions from fields (the job's record and the error) to a decision; they ask nobody and change nothing.
The steps carry the decisions out (`failures.carry_out`, `deliver`). The numbers are in `timeouts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)

from src.jobs import Job
from src.jobs.transitions import Counter
from src.pipeline import timeouts
from src.providers.base import ErrorKind, ProviderError
from src.routing import Route
from src.telegram.client import Undeliverable
from src.telegram.throttle import GateClosed

BREAKER: Mapping[ErrorKind, Literal["counts", "at once"]] = {
    ErrorKind.UPSTREAM: "counts",
    ErrorKind.OVERLOADED: "counts",
    ErrorKind.TIMEOUT: "counts",
    ErrorKind.NETWORK: "counts",
    # A key, a balance or a model does not mend itself between two calls.
    ErrorKind.AUTH: "at once",
    ErrorKind.QUOTA: "at once",
    ErrorKind.MODEL_GONE: "at once",
}
"""The errors of a submit that are the provider's fault: another may make the picture, and its breaker
opens, when they mount up or at once. All others are the job's own, or a limit of rate. A refusal of what
the picture shows never goes to another provider: that would be going round a safety filter."""

OnUnknown = Literal["retry", "fail"]
"""The operator's choice (SUBMIT_UNKNOWN) where a second submit may be charged twice."""


@dataclass(frozen=True, slots=True)
class Again:
    """The same step once more.

    Attributes:
        after: seconds from now.
        why, detail: for the job's story and, where the deadline comes first, the code it is failed with.
        free: this try does not count, as the step could not begin.
        counts: the counter in the job's record that goes up.
    """

    after: float
    why: str
    detail: str = ""
    free: bool = False
    counts: Counter | None = None

    @property
    def note(self) -> str:
        return f"{self.why}:{self.detail}" if self.detail else self.why


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job ends without its picture. `told`: False where the person cannot be told why."""

    kind: str
    code: str = ""
    told: bool = True


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The first of these whose breaker is not open makes the picture; else `otherwise`."""

    routes: tuple[Route, ...]
    otherwise: Again | GiveUp


def after_submit(
    job: Job, error: ProviderError, *, on_unknown: OnUnknown, others: Sequence[Route]
) -> Again | Elsewhere | GiveUp:
    """A submit failed, or a generation ended without a picture.

    Args:
        others: who else can make the picture, in the order of preference.
    """
    others = untried(job, others)
    if error.kind is ErrorKind.RATE_LIMITED:
        again = Again(stay_away(error), "limited", job.provider, free=True)
        return _in_time(job, again, () if error.submitted else others)
    if error.submitted:
        if on_unknown == "fail" or job.unknown > 0:
            return GiveUp("submit_unknown")
        return _in_time(job, Again(timeouts.UNKNOWN_SUBMIT_PAUSE, "submit_unknown", counts="unknown"))
    if error.retryable and job.tries < timeouts.SUBMIT_TRIES:
        again = Again(error.retry_after or _pause(job.tries), "retry", error.kind)
        return _in_time(job, again, others)
    end = GiveUp(error.kind, error.code)
    return Elsewhere(others, end) if others and error.kind in BREAKER else end


def before_repeated_submit(job: Job, *, idempotent: bool, on_unknown: OnUnknown) -> GiveUp | None:
    """The process that submitted the job before died over it, which the claim has counted in `unknown`.
    None: submit it again."""
    if idempotent or (on_unknown == "retry" and job.unknown <= 1):
        return None
    return GiveUp("submit_unknown")


def after_lost_call(job: Job, *, idempotent: bool, on_unknown: OnUnknown) -> Again | GiveUp:
    """The process that awaited a synchronous provider's answer died; the answer, if any, is gone."""
    if idempotent or (on_unknown == "retry" and job.unknown == 0):
        return Again(0.0, "worker_lost", counts="unknown")
    return GiveUp("submit_unknown")


def after_poll(error: ProviderError) -> float:
    """Seconds to the next poll after one that failed while the generation goes on."""
    return min(error.retry_after or timeouts.POLL_AGAIN, timeouts.LONGEST_PAUSE)


def stay_away(error: ProviderError) -> float:
    """Seconds for which nobody asks a provider that limits our rate."""
    return timeouts.STAY_AWAY if error.retry_after is None else error.retry_after


def after_delivery(job: Job, error: Exception) -> Again | GiveUp:
    """The picture could not be fetched, or its chat could not be shown it."""
    pause = _pause(job.deliveries)
    match error:
        case ProviderError(retryable=True) if job.deliveries < timeouts.FETCH_TRIES:
            return Again(error.retry_after or pause, "retry", error.kind)
        case ProviderError():
            return GiveUp(error.kind, error.code)
        case Undeliverable():
            # Where no picture may be sent, words may.
            return GiveUp(error.kind, told=error.kind in ("no_rights", "no_storage"))
        case TelegramMigrateToChat():
            return no_turn(0.0, "moved")
        case GateClosed():
            return no_turn(error.seconds, error.gate.partition(":")[0])
        case TelegramRetryAfter():
            return no_turn(float(error.retry_after))
        case TelegramBadRequest() | TelegramEntityTooLarge():
            # Attempts that failed for other reasons say nothing about the message.
            if job.refused < timeouts.REFUSAL_TRIES - 1:
                return Again(pause, "retry", "bad_request", counts="refused")
            return GiveUp("telegram_refused")
        case TelegramNetworkError() | TelegramServerError():
            return Again(pause, "retry", type(error).__name__, counts="unheard")
        case TelegramAPIError():
            # Telegram answers, and will not have it: the token was taken back, the method is not there.
            if job.now + pause * 1000 >= job.deadline:
                return GiveUp("telegram_refused", type(error).__name__)
            return Again(pause, "retry", type(error).__name__, counts="unheard")
        case _ if job.deliveries < timeouts.REFUSAL_TRIES:
            return Again(pause, "retry", type(error).__name__)
        case _:
            return GiveUp("internal")


def no_turn(seconds: float, gate: str = "telegram") -> Again:
    """Telegram takes nothing from us before then."""
    return Again(seconds, "limited", gate, free=True)


def untried(job: Job, others: Sequence[Route]) -> tuple[Route, ...]:
    """Those that have not had the job yet."""
    return tuple(route for route in others if route.provider not in (job.provider, *job.failovers))


def _in_time(job: Job, again: Again, others: tuple[Route, ...] = ()) -> Again | Elsewhere | GiveUp:
    """Another try, where there is time for it. Where the deadline would be near by then, another provider has the
    time that is left."""
    at, near = job.now + again.after * 1000, timeouts.DEADLINE_NEARS * (job.deadline - job.created)
    otherwise = GiveUp(ErrorKind.TIMEOUT, again.why) if at >= job.deadline else again
    return Elsewhere(others, otherwise) if others and at >= job.deadline - near else otherwise


def _pause(attempts: int) -> float:
    # Bounded: a day of attempts would be more than a float can hold.
    return min(2.0 ** min(attempts, 10), timeouts.LONGEST_PAUSE)
