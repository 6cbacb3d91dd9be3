"""The ledger as a machine: whatever order steps, repeats, losses and expired leases come in."""

from __future__ import annotations

import dataclasses
from collections import Counter as Counted
from typing import Any, get_args

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from src.jobs import Job, Ledger, Limits, Spec, State, Wake, new_id, transitions
from src.jobs.spending import Charge, day, sums
from src.jobs.transitions import Counter

CAP = 2
LIMITS = Limits(rate=10_000, window=60, active=12, waiting=30)
USERS = st.sampled_from(["1", "2", "3"])
# What a picture may cost is never a round number, so a sum that is off by one job shows.
COSTS = st.fixed_dictionaries(
    {"pictures": st.just(1_000_000)}, optional={"USD": st.sampled_from([20_001, 70_003, 400_007])}
)
TOLD = st.dictionaries(st.sampled_from(["USD", "credits"]), st.integers(0, 90_000), max_size=2)
DAY_CAP, PERSON_CAP = ("USD", 900_000), ("pictures", 9_000_000)


def charge(costs: dict[str, int]) -> Charge:
    return Charge(costs, DAY_CAP, PERSON_CAP)


class LedgerMachine(RuleBasedStateMachine):
    """Workers that may die, repeat themselves and wake up late, on one provider with two slots."""

    url: str
    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Job] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        self.ledger = Ledger(sync_client=self.redis)
        self.run = self.ledger.run_sync
        self.began = self.today()
        self.accepted: set[str] = set()
        self.ended: dict[str, list[str]] = {}
        self.updates = 0
        self.more = 0

    def teardown(self) -> None:
        """Left alone with one honest worker, everything that was accepted comes to an end."""
        for _ in range(60):
            self.everything_falls_due()
            rows, _ = self.run(transitions.due(100, lease=15, holder="honest"))
            for row in rows:
                self._honest_step(row)
        open_jobs = {job for job in self.accepted if not self.job(job).ended}
        assert open_jobs == set()
        assert set(self.ended) == self.accepted
        assert all(len(ends) == 1 for ends in self.ended.values())
        counts = {k: int(v) for k, v in self.redis.hgetall("imagebot:counts").items()}
        assert counts.pop("admitted", 0) == len(self.accepted)
        assert sum(counts.values()) == len(self.accepted)
        for job in map(self.job, self.accepted):
            # Every picture that people have was paid for, and whose job never began was not.
            assert job.costs or job.state is not State.DELIVERED
            assert not job.costs or "submitting" in job.story
        self.redis.close()

    def today(self) -> int:
        return day(self.redis.time()[0] * 1000)

    def job(self, job_id: str) -> Job:
        found = Job.parse(job_id, self.redis.hgetall(f"imagebot:job:{job_id}"))
        assert found is not None
        return found

    def _end(self, job: Job) -> None:
        finish = self.run(transitions.finish(job.id, job.fence, shown={"message": 1}, ttl=3600))
        # Said again with the same fence, a delivered job answers as before: that is not a second end.
        if finish.outcome and (job.id, job.fence) not in self._said:
            self._said.add((job.id, job.fence))
            self.ended.setdefault(job.id, []).append(finish.outcome)

    @property
    def _said(self) -> set[tuple[str, int]]:
        return self.__dict__.setdefault("said", set())

    def _honest_step(self, row: Any) -> None:
        if row.what == "submit":
            job = self.run(transitions.claim(row.id, "submit", holder="honest", lease=15))
            if job is not None:
                self.run(transitions.accepted(job.id, job.fence, ticket={"external_id": "x"}, after=0))
        elif row.what in ("poll", "lost"):
            self.run(transitions.ready(row.id, row.job.fence, result={}, cap=CAP, model="m"))
        elif row.what == "deliver":
            job = self.run(transitions.claim(row.id, "deliver", holder="honest", lease=15))
            if job is not None:
                self._end(job)
        elif row.what == "expired":
            self.run(transitions.fail(row.id, None, kind="timeout", cap=CAP))

    @rule(target=jobs, user=USERS, count=st.integers(1, 4), repeat=st.booleans(), costs=COSTS)
    def admit(self, user: str, count: int, repeat: bool, costs: dict[str, int]) -> Any:
        self.updates += not repeat
        jobs = [
            (Spec("p", "m", "1:1", int(user), "en", i, count), Wake(new_id(), "kie", int(user)))
            for i in range(count)
        ]
        admission = self.run(
            transitions.admit(
                request=new_id(),
                user=user,
                provider="kie",
                cap=CAP,
                jobs=jobs,
                limits=LIMITS,
                deadline=600,
                ttl=3600,
                update=str(self.updates),
                charge=charge(costs),
                tiers={"unlimited": {"uncapped": 1}},
            )
        )
        if admission.verdict != "ok":
            return multiple()
        ids = [wake.job for _, wake in jobs]
        self.accepted.update(ids)
        return multiple(*ids)

    @rule(
        target=claims,
        job=jobs,
        step=st.sampled_from(["submit", "deliver"]),
        holder=st.sampled_from(["a", "b"]),
    )
    def claim(self, job: str, step: Any, holder: str) -> Any:
        claimed = self.run(transitions.claim(job, step, holder=holder, lease=15))
        return multiple(claimed) if claimed is not None else multiple()

    @rule(claim=claims, synchronous=st.booleans())
    def accept(self, claim: Job, synchronous: bool) -> None:
        ticket = None if synchronous else {"external_id": "x"}
        holder = "a" if synchronous else ""
        self.run(transitions.accepted(claim.id, claim.fence, ticket=ticket, after=5, holder=holder))

    @rule(claim=claims, told=TOLD)
    def be_ready(self, claim: Job, told: dict[str, int]) -> None:
        self.run(transitions.ready(claim.id, claim.fence, result={}, cap=CAP, model="m", costs=told))
        # A provider may want more than its price: no cap can know.
        self.more += told.get("USD", 0)

    @rule(claim=claims)
    def go_on(self, claim: Job) -> None:
        self.run(transitions.polled([transitions.GoesOn(claim.id, claim.fence, 2.0, 0.5, 3)]))

    @rule(claim=claims, free=st.booleans(), counts=st.sampled_from([None, *get_args(Counter)]))
    def retry(self, claim: Job, free: bool, counts: Counter | None) -> None:
        self.run(transitions.retry(claim.id, claim.fence, after=1, note="retry:x", free=free, counts=counts))

    @rule(
        claim=claims,
        anyone=st.booleans(),
        kind=st.sampled_from(["upstream", "timeout", "submit_unknown", "moderated_input"]),
    )
    def fail(self, claim: Job, anyone: bool, kind: str) -> None:
        self.run(transitions.fail(claim.id, None if anyone else claim.fence, kind=kind, cap=CAP))

    @rule(claim=claims, costs=COSTS)
    def fail_over(self, claim: Job, costs: dict[str, int]) -> None:
        wake = dataclasses.replace(claim.wake, provider="openai" if claim.provider == "kie" else "kie")
        before = self.job(claim.id)
        moved, _ = self.run(
            transitions.reroute(
                claim.id,
                claim.fence,
                spec=claim.spec,
                wake=wake,
                cap=CAP,
                other_cap=CAP,
                charge=charge(costs),
            )
        )
        if moved and before.unknown and not before.failovers:
            assert before.provider in self.job(claim.id).charges, "it may want its money all the same"

    @rule(job=jobs, costs=COSTS)
    def move_on(self, job: str, costs: dict[str, int]) -> None:
        """To another provider out of the line."""
        found = self.job(job)
        if found.state is State.WAITING:
            self.fail_over(found, costs)

    @rule()
    def become_unlimited(self) -> None:
        self.redis.hset("imagebot:user:3", "tier", "unlimited")

    @rule(job=jobs, user=USERS)
    def cancel(self, job: str, user: str) -> None:
        ending = self.run(transitions.cancel(job, user, cap=CAP))
        if ending.done:
            assert self.job(job).user == user

    @rule(job=jobs, user=USERS, to=st.sampled_from(["kie", "openai"]), costs=COSTS)
    def switch(self, job: str, user: str, to: str, costs: dict[str, int]) -> None:
        """Take another model for all of the request, which may be under way in part."""
        asked = self.job(job)
        ids = self.redis.hget(f"imagebot:request:{asked.request}", "jobs").split(",")
        before = [self.job(j) for j in ids]
        waiting = [j for j in before if j.state is State.WAITING and j.provider == asked.provider]
        other = dataclasses.replace(asked.spec, model="fast")
        switch = transitions.switch(
            asked.request,
            user,
            provider=asked.provider,
            jobs=[(other, Wake(j, to, int(user))) for j in ids],
            cap=CAP,
            note=f"faster:{to}",
            charge=charge(costs),
        )
        number, _ = self.run(switch)
        assert number <= (len(waiting) if user == asked.user else 0)
        assert number == sum(
            self.job(was.id).spec.model == "fast" != was.spec.model for was in waiting
        ) or any(was.spec.model == "fast" for was in waiting)
        # Only what costs more can be refused.
        if user == asked.user and "USD" not in costs:
            assert number == len(waiting)

    @rule(job=jobs, user=USERS, choice=st.sampled_from(["wait", "later"]))
    def choose(self, job: str, user: str, choice: Any) -> None:
        asked = self.job(job)
        places = self.redis.zrange(f"imagebot:line:{asked.provider}", 0, -1)
        done = self.run(transitions.choose(asked.request, user, choice))
        assert (done is None) == (user != asked.user)
        assert self.redis.zrange(f"imagebot:line:{asked.provider}", 0, -1) == places

    @rule(job=jobs)
    def meet_a_closed_gate(self, job: str) -> None:
        self.run(transitions.defer(job, after=1, gate="telegram"))

    @rule(claim=claims)
    def finish(self, claim: Job) -> None:
        self._end(claim)

    @rule(claim=claims)
    def renew(self, claim: Job) -> None:
        self.run(transitions.renew([(claim.id, claim.fence, 0.5)], 15))

    @rule(job=jobs)
    def lease_runs_out(self, job: str) -> None:
        if self.redis.zscore("imagebot:due", job) is not None:
            self.redis.zadd("imagebot:due", {job: 1})

    def everything_falls_due(self) -> None:
        for job in self.redis.zrange("imagebot:due", 0, -1):
            if not job.startswith("r:") and self.job(job).state is not State.WAITING:
                self.redis.zadd("imagebot:due", {job: 1})

    @rule(target=claims)
    def watch(self) -> Any:
        rows, _ = self.run(transitions.due(3, lease=15, holder="w"))
        return multiple(*(row.job for row in rows if row.job is not None))

    @invariant()
    def sets_equal_the_records(self) -> None:
        found = {job: self.job(job) for job in self.accepted}
        for provider in ("kie", "openai"):
            theirs = {j: job for j, job in found.items() if job.provider == provider}
            line = set(self.redis.zrange(f"imagebot:line:{provider}", 0, -1))
            slots = self.redis.smembers(f"imagebot:slots:{provider}")
            assert line == {j for j, job in theirs.items() if job.state is State.WAITING}
            assert slots == {j for j, job in theirs.items() if job.state in (State.SUBMITTING, State.RUNNING)}
            assert len(slots) <= CAP
            # Nobody waits while there is room.
            assert not line or len(slots) == CAP
        due = set(self.redis.zrange("imagebot:due", 0, -1))
        assert {d for d in due if not d.startswith("r:")} == {j for j, job in found.items() if not job.ended}
        open_by_user: dict[str, set[str]] = {"1": set(), "2": set(), "3": set()}
        for j, job in found.items():
            if job.state not in (State.DELIVERED, State.FAILED, State.CANCELLED):
                open_by_user[job.user].add(j)
        for user, jobs in open_by_user.items():
            assert set(self.redis.zrange(f"imagebot:active:{user}", 0, -1)) == jobs

    @invariant()
    def balances_equal_the_records(self) -> None:
        spent: dict[str, Counted] = {}
        spenders: dict[str, Counted] = {}
        for job in map(self.job, self.accepted):
            for provider, costs in job.charges.items():
                for by, whose in ((spent, "all"), (spent, provider), (spenders, job.user)):
                    by.setdefault(whose, Counted()).update(costs)
        # Two, when midnight came in between.
        days = {self.began, self.today()}
        for key, by in (("spent", spent), ("spender", spenders)):
            raw: Counted[str] = Counted()
            for on in days:
                found = self.redis.hgetall(f"imagebot:{key}:{on}")
                raw.update({whose: int(amount) for whose, amount in found.items()})
            known = sums({whose: str(amount) for whose, amount in raw.items()})
            assert known == {whose: dict(+costs) for whose, costs in by.items() if +costs}
        assert spent.get("all", Counted())["USD"] <= len(days) * (DAY_CAP[1] + self.more)
        for user in ("1", "2"):
            assert spenders.get(user, Counted())["pictures"] <= len(days) * PERSON_CAP[1]

    @invariant()
    def ended_once(self) -> None:
        assert all(len(ends) == 1 for ends in self.ended.values())


@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.soak)])
def test_no_order_of_events_loses_or_doubles_a_job(redis_url: str, examples: int) -> None:
    LedgerMachine.url = redis_url
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
