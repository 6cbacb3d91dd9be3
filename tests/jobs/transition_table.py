"""The table of transitions in src/jobs/README.md: what each script does to a job in each state.

Observed, not declared: every script is run on a job in every state. To write it anew:
`python -m tests.jobs.transition_table`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

import src.jobs
from src.jobs import Job, Ledger, Spec, State, Wake, keys, new_id, transitions
from tests.conftest import RedisProcess
from tests.jobs.states import CAP, LIMITS, in_state

README = Path(src.jobs.__file__).parent / "README.md"
SPEC = Spec("p", "m", "1:1", 1, "en")
BEGIN, END = "<!-- transitions: begin -->", "<!-- transitions: end -->"

# Every other script is run by the job's holder, where it has one.
_NOT_BY_ITS_HOLDER = ("claim", "defer", "due", "hurry", "placed")

Call = Callable[[str, int, str], Any]

CALLS: dict[str, tuple[str, Call]] = {
    "admit": ("a person asks for it", lambda j, f, r: _admit(new_id() if r else j)),
    "release": ("a slot is free: the head of the line", lambda j, f, r: transitions.release("kie", CAP)),
    "claim submit": (
        "a worker takes it to submit",
        lambda j, f, r: transitions.claim(j, "submit", holder="a", lease=9),
    ),
    "accepted": (
        "the provider took it",
        lambda j, f, r: transitions.accepted(j, f, ticket={"external_id": "u"}, after=9),
    ),
    "renew": ("its holder is still at it", lambda j, f, r: transitions.renew([(j, f, None)], 9)),
    "hurry": (
        "its provider says that it is done",
        lambda j, f, r: transitions.hurry("kie", "t", remember=9),
    ),
    "polled": (
        "it is not done yet",
        lambda j, f, r: transitions.polled([transitions.GoesOn(j, f, 9.0, 0.5)]),
    ),
    "ready": (
        "the picture exists",
        lambda j, f, r: transitions.ready(j, f, result={}, cap=CAP, model="m"),
    ),
    "placed": ("its placeholder was sent", lambda j, f, r: transitions.placed(r, [1])),
    "moved": ("another message shows it", lambda j, f, r: transitions.moved(r, 0, 2)),
    "star": ("its person makes it a favourite", lambda j, f, r: transitions.star(j, ttl=None)),
    "forget": ("its person wants it forgotten", lambda j, f, r: transitions.forget(j, "1")),
    "migrated": ("its group became a supergroup", lambda j, f, r: transitions.migrated(1, 2, r)),
    "claim deliver": (
        "a worker takes it to show it",
        lambda j, f, r: transitions.claim(j, "deliver", holder="a", lease=9),
    ),
    "finish": (
        "the person has it, or was told why not",
        lambda j, f, r: transitions.finish(j, f, shown={}, ttl=60),
    ),
    "retry": ("the step comes again later", lambda j, f, r: transitions.retry(j, f, after=9, note="retry:x")),
    "reroute": (
        "another provider makes it",
        lambda j, f, r: transitions.reroute(j, f, spec=SPEC, wake=Wake(j, "openai", 1), cap=CAP, other_cap=0),
    ),
    "defer": ("a gate is closed", lambda j, f, r: transitions.defer(j, after=9, gate="telegram")),
    "due": ("its time has come", lambda j, f, r: transitions.due(9, lease=9, holder="b")),
    "lost": ("who writes its dead holder's span", lambda j, f, r: transitions.lost("s", "step")),
    "fail": ("no picture, for good", lambda j, f, r: transitions.fail(j, f, kind="upstream", cap=CAP)),
    "cancel": ("the person takes it back", lambda j, f, r: transitions.cancel(j, "", cap=CAP)),
    "switch": (
        "the person takes another model",
        lambda j, f, r: transitions.switch(
            r, "1", provider="kie", jobs=[(SPEC, Wake(j, "openai", 1))], cap=0, note="faster:openai"
        ),
    ),
    "choose wait": ("the person waits for it", lambda j, f, r: transitions.choose(r, "1", "wait")),
    "choose later": ("the person wants to be told", lambda j, f, r: transitions.choose(r, "1", "later")),
}


def table(client: Any) -> str:
    """The table, from the scripts as they are. Empties that Redis."""
    ledger = Ledger(sync_client=client)
    states: list[State | None] = [None, *State]
    lines = [
        "| | (no job) | " + " | ".join(State) + " |",
        "|---|" + "---|" * len(states),
    ]
    for name, (meaning, call) in CALLS.items():
        cells = [
            _cell(
                ledger,
                client,
                state,
                call,
                free=name.startswith(_NOT_BY_ITS_HOLDER),
                now=name in ("due", "placed"),
            )
            for state in states
        ]
        lines.append(f"| **{name}**: {meaning} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _admit(job: str) -> Any:
    """A new job of somebody's, in a line whose slots are taken."""
    wish = [(SPEC, Wake(job, "kie", 1))]
    return transitions.admit(
        request="r", user="2", provider="kie", cap=0, jobs=wish, limits=LIMITS, deadline=600, ttl=60
    )


def _cell(ledger: Ledger, client: Any, state: State | None, call: Call, *, free: bool, now: bool) -> str:
    """The state after the call; `·` where the job was left as it was."""
    client.flushall()
    job, fence = in_state(ledger, state, held=not free) if state else (new_id(), 0)
    if now or (free and state is State.DELIVERING):
        client.zadd(keys.DUE(), {job: 1}, xx=True)
    before = client.hgetall(keys.JOB(job))
    due = client.zscore(keys.DUE(), job)
    ledger.run_sync(call(job, fence, before.get("request", "")))
    after = client.hgetall(keys.JOB(job))
    if after == before and client.zscore(keys.DUE(), job) == due:
        return "·"
    if not after:
        return "(gone)"
    found = Job.parse(job, after)
    assert found is not None
    told = " (told)" if found.told and found.state is not State.DELIVERED else ""
    return f"{found.state}{told}"


def text(client: Any) -> str:
    """The README with the table in its place."""
    head, _, rest = README.read_text("utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n{table(client)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    server = RedisProcess(Path(tempfile.mkdtemp()))
    server.start()
    try:
        README.write_text(text(redis.Redis.from_url(server.url, decode_responses=True)), "utf-8")
    finally:
        server.kill()
