"""A job brought into each state, by the ledger's own transitions; for the table and the recorded ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from src.jobs import Job, Ledger, Limits, Spec, State, Wake, keys, new_id, transitions

CAP = 1000
LIMITS = Limits(rate=1000, window=60, active=1000, waiting=1000)


def admitted(ledger: Ledger, user: str = "1", *, count: int = 1, cap: int = CAP) -> list[str]:
    """New jobs of one request; with `cap` 0 they wait, else they are to be submitted."""
    jobs = [
        (Spec("a fox", "m", "1:1", int(user), "en", index, count), Wake(new_id(), "kie", int(user)))
        for index in range(count)
    ]
    admit = transitions.admit(
        request=new_id(), user=user, provider="kie", cap=cap, jobs=jobs, limits=LIMITS, deadline=600, ttl=3600
    )
    assert ledger.run_sync(admit).accepted
    return [wake.job for _, wake in jobs]


def claimed(ledger: Ledger, job: str, step: Any) -> Job:
    found = ledger.run_sync(transitions.claim(job, step, holder="worker", lease=60))
    assert found is not None
    return found


def in_state(ledger: Ledger, state: State, *, held: bool = False) -> tuple[str, int]:
    """A new job in that state, and its fence. `held`: claimed for the step that belongs to it."""
    (job,) = admitted(ledger, cap=0 if state is State.WAITING else CAP)
    fence = 0
    if state is State.WAITING:
        return job, fence
    if state in (State.FAILED, State.CANCELLED):
        end = transitions.fail(job, None, kind="upstream", cap=CAP)
        if state is State.CANCELLED:
            ledger.run_sync(transitions.cancel(job, "", cap=CAP))
        else:
            ledger.run_sync(end)
        return job, claimed(ledger, job, "deliver").fence if held else 1
    if state is State.SUBMITTING and not held:
        return job, fence
    fence = claimed(ledger, job, "submit").fence
    if state is State.SUBMITTING:
        return job, fence
    ledger.run_sync(
        transitions.accepted(job, fence, ticket={"provider": "kie", "external_id": "t"}, after=60)
    )
    if state is State.RUNNING:
        return job, fence
    ledger.run_sync(transitions.ready(job, fence, result={}, cap=CAP, model="m"))
    if state is State.READY:
        return job, fence
    fence = claimed(ledger, job, "deliver").fence
    if state is State.DELIVERED:
        ledger.run_sync(transitions.finish(job, fence, shown={"message": 1}, ttl=3600))
    return job, fence


def told_of_failures(ledger: Ledger) -> str:
    """A job that is to be shown, after a fail-over, two refusals of Telegram and an edit whose answer was lost."""
    (job,) = admitted(ledger)
    claim = claimed(ledger, job, "submit")
    wake = replace(claim.wake, provider="openai")
    ledger.run_sync(transitions.reroute(job, claim.fence, spec=claim.spec, wake=wake, cap=CAP, other_cap=CAP))
    claim = claimed(ledger, job, "submit")
    ledger.run_sync(transitions.accepted(job, claim.fence, ticket={"external_id": "o"}, after=60))
    ledger.run_sync(transitions.ready(job, claim.fence, result={}, cap=CAP, model="m"))
    failures: list[tuple[str, transitions.Counter]] = [
        ("retry:bad_request", "refused"),
        ("retry:TelegramServerError", "unheard"),
        ("retry:bad_request", "refused"),
    ]
    for note, counts in failures:
        fence = claimed(ledger, job, "deliver").fence
        ledger.run_sync(transitions.retry(job, fence, after=0, note=note, counts=counts))
    return job


def generated(ledger: Ledger, seconds: float) -> None:
    """A generation that took so long."""
    job, fence = in_state(ledger, State.RUNNING)
    ledger.run_sync(transitions.ready(job, fence, result={}, cap=CAP, model="m", took=seconds))


def wrong(client: Any) -> list[str]:
    """What Redis holds otherwise than the table says."""
    found = []
    for name in client.scan_iter(count=1000):
        row = keys.row_of(name)
        if row is None:
            found.append(f"{name}: is not in the table")
            continue
        kind, ttl = client.type(name), client.ttl(name)
        if kind == "none":
            continue  # it is gone by now
        if row.type not in (kind, "any"):
            found.append(f"{name}: is a {kind}")
        expires = row.expires == "always" or (row.expires == "later" and _ended(client, name))
        # -2: it ran out just now.
        if row.type != "any" and ttl != -2 and expires != (ttl >= 0):
            found.append(f"{name}: has {'no' if ttl < 0 else 'a'} lifetime")
    return found


def _ended(client: Any, name: str) -> bool:
    """Whether a job or request runs out now. A favourite does not; a job that is gone has."""
    if name.startswith(keys.REQUEST.prefix):
        return all(_ended(client, keys.JOB(job)) for job in client.hget(name, "jobs").split(","))
    told, user = client.hmget(name, "told", "user")
    starred = user and client.zscore(keys.STARRED(user), name.removeprefix(keys.JOB.prefix + ":")) is not None
    return told == "1" and not starred if user else True
