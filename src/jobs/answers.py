"""What the ledger's scripts answer, as plain data; `transitions` says which answers which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from src.jobs.records import Job, Request, Wake


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a request.

    Attributes:
        verdict: `ok`; `repeat` (this update already made `request`); or why not: `blocked`,
            `rate` (try again in `number` seconds), `active` (the person has `number` jobs open),
            `many` (more than the `number` that they may ask for at once),
            `busy` (`number` jobs wait: too many, or too many to be done before the deadline), `slow` (so many would wait
            too long, fewer would not),
            `full` (no room to keep the job or its picture), `spent` or `spent-person` (a cap of today's would be
            passed; a new day begins in `number` seconds), `forbidden` (it has a word that is not
            drawn; `number` more of these and the person has to wait), `cooling` (there were too many; they wait for
            another `number` seconds), `unpaid` (the person has only `number` pictures left), `unpaid-chat` (in a chat's name there are none), `paused` (an
            admin takes no new wishes, and says `why`), `off` (an admin has switched the feature `why` off), `here`
            or `here-all` (as many as the group's admins allow a person, or all there, were asked for within the
            hour; `number` seconds to go).
        places: per job its place in the line from 0, or -1 when it starts at once.
        released: jobs whose turn has come, to be sent to `submit`; not only this request's.
    """

    verdict: Literal[
        "ok",
        "repeat",
        "blocked",
        "rate",
        "active",
        "many",
        "busy",
        "slow",
        "full",
        "spent",
        "spent-person",
        "forbidden",
        "cooling",
        "unpaid",
        "unpaid-chat",
        "paused",
        "off",
        "here",
        "here-all",
    ]
    request: str = ""
    number: int = 0
    places: tuple[int, ...] = ()
    released: tuple[Wake, ...] = ()
    why: str = ""

    @property
    def accepted(self) -> bool:
        return self.verdict in ("ok", "repeat")


@dataclass(frozen=True, slots=True)
class Ending:
    """The answer to `fail` and `cancel`.

    Attributes:
        done: the job now ends that way. before: the state it was in (also when it is too late); `moved`:
            it is at another provider by now, read it again.
        ticket: the provider's task to stop, or None.
        released: jobs whose turn has come.
    """

    done: bool
    before: str = ""
    ticket: dict[str, Any] | None = None
    released: tuple[Wake, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer to `finish`: the outcome written (empty: the job was no longer ours), jobs of the
    request still open, and seconds since it was asked for."""

    outcome: str
    open_jobs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """Something due. `what`: `poll` and `lost` bring the job; `submit` and `deliver` its wake-up, and whether one was
    sent before; `expired` its id, as does `late`, which waits in line though its deadline nears; `close` a request's."""

    what: Literal["poll", "lost", "expired", "late", "submit", "deliver", "close"]
    id: str
    job: Job | None = None
    wake: Wake | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to `placed`: whether our messages count, else those that do; jobs to wake."""

    ours: bool
    messages: tuple[int, ...] = ()
    status_message: int | None = None
    wake: tuple[Wake, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """Where jobs stand.

    Attributes:
        now: ms of Redis's clock. running: jobs in flight, by provider.
        places: of those that wait, from 0.
    """

    now: int
    running: Mapping[str, int]
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a request stands: itself, those of its jobs that exist, in order, and where they stand."""

    request: Request
    jobs: tuple[Job, ...]
    lines: Lines

    @classmethod
    def from_answer(cls, answer: Iterable[Any]) -> list[Standing]:
        """From the answer of `standing.lua`."""
        now, running, *rows = answer
        in_flight = {provider: int(count) for provider, count in _pairs(running)}
        found = []
        for request_id, shown, *jobs in rows:
            request = Request.from_flat(request_id, shown)
            if request is None:
                continue
            known = (Job.parse(job_id, dict(_pairs(flat))) for job_id, _, flat in jobs)
            places = {job_id: int(place) for job_id, place, _ in jobs if int(place) >= 0}
            lines = Lines(int(now), in_flight, places)
            found.append(cls(request, tuple(job for job in known if job is not None), lines))
        return found


def _pairs(flat: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """Of field, value, field, value, …"""
    items = iter(flat)
    return zip(items, items, strict=True)
