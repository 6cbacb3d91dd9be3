"""Every change of a job: one function here, one script in `lua/`, one row in the table of this room's README.

A function only describes the call; `Ledger.run` (asyncio) and `Ledger.run_sync` (threads) make it, so
both kinds of caller share one code. The rules are in the scripts, each of which is atomic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from src.jobs.answers import Admission, Ending, Finish, Placed, Row
from src.jobs.records import Job, Request, Spec, Wake
from src.jobs.spending import Charge, Costs

T = TypeVar("T")

Counter = Literal["unknown", "refused", "unheard"]
"""What `retry` may count in a job's record; see `Job`."""

Facts = Mapping[str, Any]
"""Attributes of the span of a generation that is over, which whoever writes it for a dead process cannot know."""


@dataclass(frozen=True, slots=True)
class Transition(Generic[T]):
    """A call of one script: its name, its arguments, and what its answer means."""

    script: str
    args: Sequence[Any]
    parse: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Limits:
    """What admission checks, as the settings say; `admit.lua` changes them by the person's tier and own limits.

    Attributes:
        rate, window: requests in a sliding window of that many seconds.
        active: one person's jobs waiting and running at once.
        waiting: jobs in the provider's line at once.
    """

    rate: int
    window: float
    active: int
    waiting: int


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _ids(messages: Sequence[int]) -> str:
    return ",".join(map(str, messages))


def _yes(raw: Any) -> bool:
    return int(raw) == 1


def admit(
    *,
    request: str,
    user: str,
    provider: str,
    cap: int,
    jobs: Sequence[tuple[Spec, Wake]],
    limits: Limits,
    deadline: float,
    ttl: int,
    near: float = 0.0,
    charge: Charge | None = None,
    forbidden: bool = False,
    share: int | None = None,
    through: bool = False,
    update: str = "",
    group: bool = False,
    reply_to: int | None = None,
    words_seen: bool = False,
    job_class: int = 1,
    kept: bool = False,
    tiers: Mapping[str, Mapping[str, int]] | None = None,
    inline: str | None = None,
    covered: bool = False,
    unplaced: bool = False,
    hourly: Mapping[str, int] | None = None,
) -> Transition[Admission]:
    """Check the limits and create a request's jobs, all or none.

    Args:
        update: what makes this request unique (Telegram's update id, an idempotency key); a repeat
            gets the first one's request back.
        cap: generations in flight that the provider may have.
        deadline: seconds from now to the end of the jobs. near: seconds before it, from which a job is late that
            still waits. ttl: seconds the history is kept.
        kept: the pictures may come in the provider's answer, and then need room in our store.
        charge: what each job costs, and the caps of today.
        forbidden: it has a word that is not drawn, so it is refused, which is a strike.
        share: pictures a day that the person has for free, the others are paid for; None: all are free.
        through: it is taken even while there is a pause.
        job_class: 0 before all others, 1 ordinary, 2 after all others.
        inline: the message that shows it was sent by its person (`Request.inline`), and is there.
        covered: the picture is shown when it is tapped. unplaced: see `Request`. hourly: pictures that may
            be asked for within an hour in its chat, by the person (their id) and by `all`.
        tiers: by the person's tier what is otherwise for them: `class`, `rate_limit`, `max_active`, `uncapped`.
    """
    spec = jobs[0][0]
    fields = {"chat": spec.chat, "lang": spec.lang}
    if spec.thread is not None:
        fields["thread"] = spec.thread
    if reply_to is not None:
        fields["reply_to"] = reply_to
    if words_seen:
        fields["words_seen"] = 1
    if group:
        fields["group"] = 1
    if covered:
        fields["covered"] = 1
    if unplaced:
        fields["unplaced"] = 1
    if inline is not None:
        # It has no number of its own.
        fields |= {"inline": inline, "messages": 0}
    payload = {
        "request": request,
        "update": update,
        "user": user,
        "provider": provider,
        "model": spec.model,
        "class": job_class,
        "cap": cap,
        "rate_limit": limits.rate,
        "rate_window": _ms(limits.window),
        "max_active": limits.active,
        "max_waiting": limits.waiting,
        "deadline": _ms(deadline),
        "near": _ms(near),
        "ttl": ttl,
        "kept": kept,
        "charge": (charge or Charge()).payload(),
        "forbidden": forbidden,
        **({} if share is None else {"share": share}),
        "through": through,
        "hourly": [{"who": who, "most": most} for who, most in (hourly or {}).items()],
        "tiers": tiers or {},
        # Text, since Lua's numbers would round a chat id of more than 14 digits when printed.
        "fields": {k: str(v) for k, v in fields.items()},
        "jobs": [{"id": w.job, "spec": s.dumps(), "wake": w.dumps()} for s, w in jobs],
    }

    def parse(raw: Any) -> Admission:
        verdict = raw[0]
        if verdict == "ok":
            bar = raw.index("|")
            return Admission(
                "ok", raw[1], 0, tuple(int(p) for p in raw[2:bar]), Wake.from_flat(raw[bar + 1 :])
            )
        if verdict == "repeat":
            return Admission("repeat", raw[1])
        if verdict == "paused":
            return Admission("paused", why=raw[1])
        return Admission(verdict, "", int(raw[1]) if len(raw) > 1 else 0)

    return Transition("admit", [json.dumps(payload, ensure_ascii=False)], parse)


def forget(job: str, user: str) -> Transition[Literal["gone", "later", "foreign"]]:
    """Keep nothing more of a person's job: now, or soon after its end."""
    return Transition("forget", [job, user], lambda raw: ("foreign", "gone", "later")[int(raw)])


def star(job: str, *, ttl: int | None) -> Transition[bool]:
    """Make a picture a favourite, which is kept; or (`ttl`: seconds it is kept from now) none any more."""
    return Transition("star", [job, "" if ttl is None else ttl], _yes)


def claim(
    job: str, step: Literal["submit", "deliver"], *, holder: str, lease: float, attempt: str = ""
) -> Transition[Job | None]:
    """Take a job for a step, for `lease` seconds. None: not at that step, or held by another."""
    return Transition(
        "claim",
        [job, step, holder, _ms(lease), attempt],
        lambda raw: Job.from_answer(job, raw[0]) if raw else None,
    )


def claim_to_show(
    job: str, *, holder: str, lease: float, attempt: str = ""
) -> Transition[tuple[Job, Request | None] | None]:
    """`claim` for `deliver`, with the job's request as it is at that moment (None: it is gone)."""

    def parse(raw: Any) -> tuple[Job, Request | None] | None:
        if not raw:
            return None
        claimed = Job.from_answer(job, raw[0])
        return claimed, Request.from_flat(claimed.request, raw[1])

    return Transition("claim", [job, "deliver", holder, _ms(lease), attempt], parse)


def accepted(
    job: str,
    fence: int,
    *,
    ticket: dict[str, Any] | None,
    after: float,
    generation: str = "",
    holder: str = "",
    callback: bool = True,
) -> Transition[bool]:
    """The provider took the job (`ticket`, first poll `after` seconds), or a synchronous call starts
    (no ticket, `holder` keeps the lease of `after` seconds). False: the job is no longer ours.

    Args:
        callback: it was asked to call back when it is done (see `hurry`)."""
    text = json.dumps(ticket) if ticket else ""
    return Transition("accepted", [job, fence, text, _ms(after), generation, holder, int(callback)], _yes)


def renew(held: Iterable[tuple[str, int, float | None]], lease: float) -> Transition[list[str]]:
    """Keep many leases: job, fence, and progress where it is known. The answer: jobs that are no longer held."""
    args = [x for job, fence, progress in held for x in (job, fence, _share(progress))]
    return Transition("renew", [_ms(lease), *args], list)


def lost(span_id: str, by: Literal["step", "disk"]) -> Transition[bool]:
    """Whether this span of a dead process is the job's next step's to write, or its machine's."""
    return Transition("lost", [span_id, by, 86_400], bool)


class GoesOn(NamedTuple):
    """A generation that was polled and goes on. `after`: seconds to the next look; the rest as in `Job`."""

    job: str
    fence: int
    after: float
    progress: float | None = None
    ahead: int | None = None


def polled(rows: Iterable[GoesOn]) -> Transition[list[str]]:
    """Generations that go on. The answer: jobs no longer ours."""
    return Transition("polled", _quintuples(rows), list)


def _quintuples(rows: Iterable[GoesOn]) -> list[Any]:
    args: list[Any] = []
    for job, fence, after, progress, ahead in rows:
        args += [job, fence, _ms(after), _share(progress), "" if ahead is None else ahead]
    return args


def _share(progress: float | None) -> float | str:
    return "" if progress is None else round(progress, 3)


def ready(
    job: str,
    fence: int,
    *,
    result: dict[str, Any],
    cap: int,
    model: str,
    kept: int = 0,
    took: float | None = None,
    costs: Costs | None = None,
    facts: Facts | None = None,
) -> Transition[tuple[bool, tuple[Wake, ...]]]:
    """The picture exists, at an address in `result` or in our store, where it has `kept` bytes.

    `took`: seconds the provider says it took, which is less than until we asked; None: it does not say. `costs`: what
    it says the picture cost, which takes the place of what the job was charged with. `facts`: see `Facts`.
    The answer: whether it was ours to say, and the jobs whose turn has come."""
    return Transition(
        "ready",
        [
            job,
            fence,
            json.dumps(result),
            kept,
            cap,
            model,
            _ms(took) if took else "",
            json.dumps(dict(costs or {})),
            json.dumps(facts or {}),
        ],
        lambda raw: (int(raw[0]) == 1, Wake.from_flat(raw[1:])),
    )


def retry(
    job: str,
    fence: int,
    *,
    after: float,
    note: str,
    free: bool = False,
    counts: Counter | None = None,
    facts: Facts | None = None,
) -> Transition[bool]:
    """Put a held job back: the same step again in `after` seconds.

    Args:
        note: goes to the job's story. free: this try does not count.
        counts: the counter in the job's record that goes up by one.
        facts: see `Facts`.
    """
    args = [job, fence, _ms(after), note, int(free), counts or "", json.dumps(facts or {})]
    return Transition("retry", args, _yes)


def reroute(
    job: str,
    fence: int,
    *,
    spec: Spec,
    wake: Wake,
    cap: int,
    other_cap: int,
    charge: Charge | None = None,
    facts: Facts | None = None,
) -> Transition[tuple[bool, tuple[Wake, ...]]]:
    """Another provider (`wake.provider`) makes the picture; the job's next turn there is its own.

    Args:
        cap, other_cap: generations in flight of the provider it leaves and of the other.
        charge: what it costs there, and the caps.
        facts: see `Facts`.

    The answer: whether it was ours to say and within the caps, and the jobs whose turn has come."""
    payload = json.dumps((charge or Charge()).payload())
    args = [
        job,
        fence,
        wake.provider,
        spec.dumps(),
        wake.dumps(),
        cap,
        other_cap,
        payload,
        json.dumps(facts or {}),
    ]
    return Transition("reroute", args, lambda raw: (int(raw[0]) == 1, Wake.from_flat(raw[1:])))


def defer(job: str, *, after: float, gate: str, near: float = 0.0) -> Transition[bool]:
    """A gate was closed before the step began: look again in `after` seconds. The answer: whether its deadline is but
    `near` seconds away by then and nobody has submitted it."""
    return Transition("defer", [job, _ms(after), gate, _ms(near)], lambda raw: int(raw) == 2)


def _ending(raw: Any) -> Ending:
    if int(raw[0]) == 1:
        return Ending(True, raw[1], json.loads(raw[2]) if raw[2] else None, Wake.from_flat(raw[3:]))
    return Ending(False, raw[1] if len(raw) > 1 else "")


def fail(
    job: str, fence: int | None, *, kind: str, code: str = "", cap: int, provider: str = ""
) -> Transition[Ending]:
    """The job ends without a picture; the person will be told. `fence` None: whoever holds it, if it is still at the
    `provider` whose cap that is."""
    return Transition("fail", [job, "" if fence is None else fence, kind, code, cap, provider], _ending)


def cancel(job: str, user: str, *, cap: int, provider: str = "") -> Transition[Ending]:
    """The person takes a job back, if it is still at the `provider` whose cap that is: from when it may be paid for it
    counts. `user` empty: somebody else does, and it counts never."""
    return Transition("cancel", [job, user, cap, provider], _ending)


def finish(job: str, fence: int, *, shown: dict[str, Any], ttl: int, kind: str = "") -> Transition[Finish]:
    """The person has the picture, or knows why there is none. `kind`: why it can never be shown."""
    return Transition(
        "finish",
        [job, fence, json.dumps(shown), ttl, kind],
        lambda raw: Finish(raw[0], int(raw[1]), int(raw[2]) / 1000) if raw[0] else Finish(""),
    )


def due(
    count: int, *, lease: float, holder: str, polled: Iterable[GoesOn] = ()
) -> Transition[tuple[list[Row], float | None]]:
    """Take up to `count` due rows for `lease` seconds. Also: seconds until the next is due.

    Args:
        polled: generations that go on, let go in the same call.
    """

    def parse(raw: Any) -> tuple[list[Row], float | None]:
        rows = []
        for item in raw[0]:
            if item[0] in ("poll", "lost"):
                rows.append(Row(item[0], item[1], Job.from_answer(item[1], item[2])))
            else:
                wake = Wake.loads(item[1], item[2]) if len(item) > 2 else None
                rows.append(Row(item[0], item[1], None, wake, again=item[3:] == ["1"]))
        wait = int(raw[1])
        return rows, None if wait < 0 else wait / 1000

    return Transition("due", [count, _ms(lease), holder, *_quintuples(polled)], parse)


def hurry(provider: str, task: str, *, remember: int) -> Transition[Literal["due", "early", "over"]]:
    """A provider called back about its task: poll it now. One that is not known yet is remembered
    `remember` seconds, for the callback that overtakes the answer to its submit."""
    return Transition("hurry", [provider, task, remember], str)  # type: ignore[arg-type]


def release(provider: str, cap: int) -> Transition[tuple[Wake, ...]]:
    """Give free slots to the line. The answer: the jobs whose turn has come."""
    return Transition("release", [provider, cap], Wake.from_flat)


def placed(
    request: str,
    messages: Sequence[int],
    status_message: int | None = None,
    *,
    shown: str = "",
    eta: float = 0.0,
) -> Transition[Placed]:
    """The placeholder was sent. The first to say so wins; another deletes its own messages.

    Args:
        shown: what it says, as `Request.shown`.
        eta: seconds from asking to the last picture that the person was told; 0: none.
    """

    def parse(raw: Any) -> Placed:
        if int(raw[0]) == 1:
            return Placed(True, tuple(messages), status_message, Wake.from_flat(raw[1:]))
        known = tuple(int(m) for m in raw[1].split(",") if m)
        return Placed(False, known, int(raw[2]) if raw[2] else None)

    status = "" if status_message is None else status_message
    return Transition(
        "placed", [request, _ids(messages), status, shown, f"{eta:.1f}" if eta > 0 else ""], parse
    )


def strays(request: str, messages: Sequence[int], seconds: float, *, whole: bool = False) -> Transition[int]:
    """These messages do not count: they are deleted in so many seconds, unless they are `placed` by then.

    Args:
        whole: they are all of a placeholder that was counted when it went out, or its last.
    """
    return Transition("strays", [request, _ids(messages), "", _ms(seconds), int(whole)], int)


def strays_gone(request: str, messages: Sequence[int]) -> Transition[int]:
    """These are in the chat no more."""
    return Transition("strays", [request, "", _ids(messages), 0, 0], int)


def moved(request: str, index: int, message: int) -> Transition[bool]:
    """A job is shown in another message now: its placeholder was deleted and a new one sent."""
    return Transition("moved", [request, index, message], _yes)


def migrated(group: int, supergroup: int, request: str = "") -> Transition[int]:
    """A group has become a supergroup: what is open goes on there, with new messages; how many requests.

    Args:
        request: one of it, which nobody may look at just now; empty: none is known.
    """
    return Transition("migrated", [group, supergroup, request], int)


def switch(
    request: str,
    user: str,
    *,
    provider: str,
    jobs: Sequence[tuple[Spec, Wake]],
    cap: int,
    note: str,
    charge: Charge | None = None,
) -> Transition[tuple[int, tuple[Wake, ...]]]:
    """The person takes another model for those of a request's jobs that still wait for `provider`.

    Args:
        jobs: as they shall be; `Wake.provider` is whose line they wait in from now on.
        cap: generations in flight that this one may have. note: goes to each job's story.
        charge: what each costs there, and the caps.

    The answer: how many were switched, and the jobs whose turn has come."""
    payload = {
        "request": request,
        "user": user,
        "from": provider,
        "to": jobs[0][1].provider,
        "cap": cap,
        "note": note,
        "charge": (charge or Charge()).payload(),
        "jobs": [{"id": w.job, "spec": s.dumps(), "wake": w.dumps()} for s, w in jobs],
    }
    text = json.dumps(payload, ensure_ascii=False)
    return Transition("switch", [text], lambda raw: (int(raw[0]), Wake.from_flat(raw[1:])))


def choose(request: str, user: str, choice: Literal["wait", "later"]) -> Transition[bool | None]:
    """The person says how they wait. False: too late for that; None: the request is not theirs."""
    answers = {1: True, 0: False, -1: None}
    return Transition("choose", [request, user, choice], lambda raw: answers[int(raw)])
