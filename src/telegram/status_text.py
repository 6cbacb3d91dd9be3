"""What the message of a picture says while it is not there, and when that is worth a change.

Pure words and numbers: sending is `src.telegram.messages`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from src.jobs import Job, Request, State
from src.jobs.estimate import Estimate
from src.telegram.i18n import Translator

# Times and places at which the words change, further apart the further away: an edit of each chat's
# message at every step of the line would alone fill Telegram's 30 calls a second.
_SECONDS = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 3600)
_PLACES = (1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 23, 30, 40, 55, 75, 100, 140, 200, 300, 500, 1000)
_MINUTES_FROM = 120

# What the filter refused was asked for all the same; people ask whether it counts.
_REFUSALS = ("moderated_input", "moderated_output")

_FAILURES = {
    "moderated_input": "failed-moderated-input",
    "moderated_output": "failed-moderated-output",
    "invalid_request": "failed-invalid-request",
    "too_long": "failed-too-long",
    "bad_source": "failed-bad-source",
    "bad_mask": "failed-bad-mask",
    "auth": "failed-unavailable",
    "quota": "failed-unavailable",
    "model_gone": "failed-model-gone",
    "not_found": "failed-other",
    "rate_limited": "failed-busy",
    "overloaded": "failed-busy",
    "upstream": "failed-busy",
    "network": "failed-busy",
    "timeout": "failed-timeout",
    "deadline": "failed-timeout",
    "bad_result": "failed-bad-result",
    "no_rights": "failed-no-rights",
    "no_storage": "failed-unavailable",
}


@dataclass(frozen=True, slots=True)
class Faster:
    """Another model that would be done sooner, and how soon; `estimate` None: the settings call it
    faster, and it made too few pictures yet to say more."""

    provider: str
    model: str
    estimate: Estimate | None
    names: Mapping[str, str]
    """What people see as its name, by language."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The choice of a person before whose picture many others wait: to wait, to take the faster model
    where there is one, or to be told when it is done."""

    faster: Faster | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What a placeholder says.

    Attributes:
        shape: the same shape is not worth an edit; kept in the ledger as the request's `shown`.
        text: the words. offer: what its buttons offer.
    """

    shape: str
    text: str
    offer: Offer | None = None


def status(
    say: Translator,
    jobs: Sequence[Job],
    estimates: Sequence[Estimate],
    offer: Offer | None = None,
    *,
    quiet: bool = False,
) -> Status:
    """The words for a request whose jobs are not all done, by its last job to come.

    Args:
        quiet: the person wants to hear of it when it is done, and no more until then.
    """
    if quiet:
        return Status("quiet", say("placeholder-quiet", count=len(jobs)))
    unfinished = [
        (job, estimate)
        for job, estimate in zip(jobs, estimates, strict=True)
        if job.state not in (State.DELIVERED, State.FAILED, State.CANCELLED)
    ]
    done = sum(job.state is State.DELIVERED for job in jobs)
    if not unfinished:
        line = Status("sending", say("placeholder-sending"))
    else:
        job, estimate = max(unfinished, key=lambda pair: (pair[1].late, pair[1].high, pair[0].spec.index))
        line = _line(say, job, estimate)
        if job.failovers:
            line = replace(line, shape=f"{line.shape} again", text=f"{line.text}\n{say('placeholder-again')}")
        if offer is not None and estimate.place is not None:
            line = _offered(say, line, offer)
    if len(jobs) == 1:
        return line
    head = say("placeholder-album", done=done, count=len(jobs), line=line.text)
    return Status(f"{done}/{len(jobs)} {line.shape}", head, line.offer)


def _line(say: Translator, job: Job, estimate: Estimate) -> Status:
    if job.state in (State.READY, State.DELIVERING):
        return Status("sending", say("placeholder-sending"))
    low, high = span(estimate.low, estimate.high)
    if estimate.place is not None:
        place = estimate.place + 1
        return Status(
            f"waiting {milestone(place)} {low}-{high}",
            say("placeholder-waiting", place=place, time=time_left(say, low, high)),
        )
    if job.ahead is not None and estimate.late:
        return Status(
            f"queued {milestone(job.ahead + 1)} late", say("placeholder-late-queued", ahead=job.ahead)
        )
    if job.ahead is not None:
        text = say("placeholder-queued", ahead=job.ahead, time=time_left(say, low, high))
        return Status(f"queued {milestone(job.ahead + 1)} {low}-{high}", text)
    percent = int((job.progress or 0) * 4) * 25
    if 0 < percent < 100 and estimate.late:
        return Status(f"making {percent} late", say("placeholder-late-percent", percent=percent))
    if 0 < percent < 100:
        text = say("placeholder-making-percent", percent=percent, time=time_left(say, low, high))
        return Status(f"making {percent} {low}-{high}", text)
    if estimate.late:
        return Status("making late", say("placeholder-late"))
    return Status(f"making {low}-{high}", say("placeholder-making", time=time_left(say, low, high)))


def _offered(say: Translator, line: Status, offer: Offer) -> Status:
    """A place in a long line, with what the person can do about it."""
    shape, lines = f"{line.shape} offer", [line.text, say("offer")]
    if (faster := offer.faster) is not None:
        if faster.estimate is None:
            shape += f" {faster.provider}"
            lines.append(say("offer-faster-unmeasured", model=faster.names[say.lang]))
        else:
            low, high = span(faster.estimate.low, faster.estimate.high)
            shape += f" {faster.provider} {low}-{high}"
            time = time_left(say, low, high)
            lines.append(say("offer-faster", model=faster.names[say.lang], time=time))
    return Status(shape, "\n".join(lines), offer)


def offers(shape: str) -> bool:
    """Whether a status of that shape has an offer."""
    return " offer" in shape


def milestone(place: int) -> int:
    """The step of the line a place (from 1) stands on: the words change when this does."""
    return _PLACES[bisect_right(_PLACES, place) - 1]


def span(low: float, high: float) -> tuple[int, int]:
    """A range of seconds widened to round numbers."""
    below = _SECONDS[max(0, bisect_right(_SECONDS, low) - 1)]
    above = _SECONDS[min(bisect_left(_SECONDS, high), len(_SECONDS) - 1)]
    if above <= below:
        above = _SECONDS[min(_SECONDS.index(below) + 1, len(_SECONDS) - 1)]
    return below, above


def time_left(say: Translator, low: int, high: int) -> str:
    """A range of seconds in words."""
    if high < _MINUTES_FROM:
        return say("time", unit="seconds", low=low, high=high)
    minutes = max(1, low // 60), -(-high // 60)
    return say("time", unit="minutes", low=minutes[0], high=minutes[1])


def reason(say: Translator, job: Job, jobs: Sequence[Job] = ()) -> str:
    """Why there is no picture and what the person can do, never in the provider's words; and whether it counts,
    where a person may wonder.

    Args:
        jobs: all of its request, where there are more.
    """
    cancelled = job.state is State.CANCELLED
    taken_back = "cancelled-by-us" if job.drawn else "cancelled" if job.uncounted else "cancelled-late"
    words = say(taken_back if cancelled else _FAILURES.get(job.kind, "failed-other"))
    if not cancelled and job.kind not in _REFUSALS:
        return words
    free = all(other.uncounted for other in jobs or (job,))
    words = f"{words} {say('counts-not' if free else 'counts')}"
    if job.strikes_left is None:
        return words
    return f"{words}\n{say('strikes-left', left=job.strikes_left)}"


def ending(say: Translator, jobs: Sequence[Job]) -> str:
    """How an album ended."""
    done = sum(job.state is State.DELIVERED for job in jobs)
    failed = [job for job in jobs if job.state is State.FAILED]
    late = sum(job.state is State.CANCELLED and not job.uncounted for job in jobs)
    if done == len(jobs):
        return say("album-done", count=len(jobs))
    lines = [say("album-some", done=done, count=len(jobs))] if done else []
    lines += dict.fromkeys(reason(say, job, jobs) for job in failed)
    if not lines:
        lines.append(say("album-cancelled"))
    if late:
        lines.append(say("album-cancelled-late", count=late))
    return "\n".join(lines)


def note(say: Translator, request: Request) -> str:
    """What is added where two placeholders may have arrived: the one whose id we know says that it counts."""
    return "\n" + say("placeholder-counts") if request.may_have_stray else ""
