"""What people paid for is always somewhere, whatever is told twice, by whom, and in which order."""

from __future__ import annotations

from collections import Counter
from typing import Any

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

from src.jobs import Job, Ledger, Limits, Spec, State, Wake, credit, keys, new_id, transitions
from src.jobs.spending import day

SHARE = 2
LIMITS = Limits(rate=10_000, window=60, active=1000, waiting=1000)
USERS = st.sampled_from(["1", "2"])
CHARGES = st.sampled_from(["c1", "c2", "c3"])
TELLERS = st.sampled_from(["a", "b"])
LATE = ("cancelled as it is sent", "cancelled as it is drawn", "cancelled as it is ready")
ENDS = st.sampled_from(["shown", "not to be shown", "refused", "cancelled", *LATE, "expired", "failed over"])


class Till(RuleBasedStateMachine):
    """People who pay, ask, and are refunded; workers and tellers who say everything twice."""

    url: str
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        self.ledger = Ledger(sync_client=self.redis)
        self.began = self.today()
        self.accepted: list[str] = []
        self.late: set[str] = set()
        self.updates = 0
        self.paid: dict[str, credit.Payment] = {}
        self.refunded: set[str] = set()
        self.given: Counter[str] = Counter()
        self.codes: set[tuple[str, str]] = set()
        promos = {"ALL": '{"pictures": 2}', "ONE": '{"pictures": 3, "left": 1}'}
        self.redis.hset(keys.PROMOS(), mapping=promos)

    def teardown(self) -> None:
        self.redis.close()

    def run(self, transition: Any) -> Any:
        """Said twice: the first answer may have been lost."""
        first = self.ledger.run_sync(transition)
        self.ledger.run_sync(transition)
        return first

    def job(self, job_id: str) -> Job:
        found = Job.parse(job_id, self.redis.hgetall(keys.JOB(job_id)))
        assert found is not None
        return found

    def today(self) -> int:
        return day(self.redis.time()[0] * 1000)

    def had(self, user: str, on: int) -> int:
        """What a person had of a day's free share."""
        return int(self.redis.hget(keys.FREE(on), user) or 0)

    def bought(self, user: str) -> int:
        return int(self.redis.hget(keys.BALANCE(), user) or 0)

    @rule(target=jobs, user=USERS, count=st.integers(1, 4))
    def ask(self, user: str, count: int) -> Any:
        self.updates += 1
        jobs = [
            (Spec("p", "m", "1:1", int(user), "en", i, count), Wake(new_id(), "kie", int(user)))
            for i in range(count)
        ]
        today = self.today()
        left = SHARE - self.had(user, today) + max(0, self.bought(user))
        admission = self.run(
            transitions.admit(
                request=new_id(),
                user=user,
                provider="kie",
                cap=2,
                jobs=jobs,
                limits=LIMITS,
                deadline=600,
                ttl=3600,
                update=str(self.updates),
                share=SHARE,
            )
        )
        # At midnight in between there is more.
        if self.today() == today:
            assert (admission.verdict, admission.number) == (("ok", 0) if count <= left else ("unpaid", left))
        if not admission.accepted:
            return multiple()
        ids = [wake.job for _, wake in jobs]
        self.accepted += ids
        return multiple(*ids)

    @rule(job=jobs, end=ENDS)
    def end(self, job: str, end: str) -> None:
        """A job goes as far as it can, and ends so; or starts anew elsewhere."""
        found = self.job(job)
        if end == "cancelled":
            self.run(transitions.cancel(job, found.user, cap=2))
        elif end == "expired":
            self.run(transitions.fail(job, None, kind="timeout", cap=2))
        elif found.state is State.SUBMITTING:
            claim = self.ledger.run_sync(transitions.claim(job, "submit", holder="w", lease=15))
            if claim is None:
                return
            if end == "failed over":
                move = transitions.reroute(
                    job, claim.fence, spec=claim.spec, wake=claim.wake, cap=2, other_cap=2
                )
                self.run(move)
            elif end == "refused":
                self.run(transitions.fail(job, claim.fence, kind="moderated_input", cap=2))
            else:
                if end != LATE[0]:
                    self.run(transitions.accepted(job, claim.fence, ticket={"external_id": job}, after=5))
                if end not in LATE[:2]:
                    self.run(transitions.ready(job, claim.fence, result={}, cap=2, model="m"))
                if end in LATE:
                    self.run(transitions.cancel(job, found.user, cap=2))
                    self.late.add(job)
                self.tell(job, "bad_result" if end == "not to be shown" else "")
        self.tell(job)

    def tell(self, job: str, kind: str = "") -> None:
        """The person is told of a picture, or why there is none."""
        claim = self.ledger.run_sync(transitions.claim(job, "deliver", holder="w", lease=15))
        if claim is not None:
            self.run(transitions.finish(job, claim.fence, shown={"message": 1}, ttl=3600, kind=kind))

    @rule(charge=CHARGES, user=USERS, pictures=st.integers(1, 5), teller=TELLERS)
    def pay(self, charge: str, user: str, pictures: int, teller: str) -> None:
        known = charge in self.paid
        told = self.run(credit.paid(charge, user, stars=10 * pictures, pictures=pictures, teller=teller))
        assert told.first or known
        if not known:
            self.paid[charge] = credit.Payment(charge, user, 10 * pictures, pictures, 1)

    @rule(charge=CHARGES, user=USERS, teller=TELLERS)
    def refund(self, charge: str, user: str, teller: str) -> None:
        """Perhaps before anybody told of the payment, which then gives nothing."""
        one = self.paid.setdefault(charge, credit.Payment(charge, user, 10, 0, 1))
        told = self.run(credit.refunded(charge, one.user, stars=one.stars, teller=teller))
        assert told.first or charge in self.refunded
        assert told.pictures == one.pictures
        self.refunded.add(charge)

    @rule(code=st.sampled_from(["ALL", "ONE", "NONE"]), user=USERS, teller=TELLERS)
    def redeem(self, code: str, user: str, teller: str) -> None:
        gift = self.run(credit.redeem(code, user, teller=teller))
        if gift.verdict == "ok" and (code, user) not in self.codes:
            self.codes.add((code, user))
            self.given[user] += gift.pictures

    @invariant()
    def what_was_paid_for_is_somewhere(self) -> None:
        """Paid for + given = had and under way + balance + refunded, for each person; and so the free share."""
        taken: Counter[tuple[str, bool]] = Counter()
        for job in map(self.job, self.accepted):
            paid = self.redis.hget(keys.JOB(job.id), "paid")
            # Taken back when its provider may be paid, and a preview seen, it counts as had.
            assert (job.state, job.uncounted) == (State.CANCELLED, False) or job.id not in self.late
            back = job.state in (State.FAILED, State.CANCELLED) and job.id not in self.late
            assert (paid is None) == back
            if paid is not None:
                taken[job.user, paid == "balance"] += 1
        for user in ("1", "2"):
            theirs = [one for one in self.paid.values() if one.user == user]
            back = sum(one.pictures for one in theirs if one.charge in self.refunded)
            came = sum(one.pictures for one in theirs) + self.given[user]
            assert came == taken[user, True] + self.bought(user) + back
            free = [self.had(user, on) for on in {self.began, self.today()}]
            assert taken[user, False] == sum(free)
            assert max(free) <= SHARE

    @invariant()
    def stars_are_counted_once(self) -> None:
        takings = Counter({name: int(value) for name, value in self.redis.hgetall(keys.TAKINGS()).items()})
        back = [one for one in self.paid.values() if one.charge in self.refunded]
        assert takings["payments"] == len(self.paid) == self.redis.hlen(keys.PAYMENTS())
        assert takings["stars"] == sum(one.stars for one in self.paid.values())
        assert (takings["refunds"], takings["refunded"]) == (len(back), sum(one.stars for one in back))
        assert sum(code == "ONE" for code, _ in self.codes) <= 1


@pytest.mark.parametrize("examples", [25, pytest.param(2000, marks=pytest.mark.soak)])
def test_what_was_paid_for_is_never_lost_nor_doubled(redis_url: str, examples: int) -> None:
    Till.url = redis_url
    run_state_machine_as_test(
        Till,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


MONTH = 2_592_000


@pytest.mark.parametrize(
    ("stopped", "later", "begins", "is_another"),
    [
        # Whoever tells of it knows.
        (False, 10 * MONTH, False, False),
        (False, MONTH, True, True),
        # The accounts do not say.
        (False, MONTH, None, False),
        (False, MONTH + 3600, None, False),
        (False, 2 * MONTH, None, True),
        (True, MONTH, None, True),
    ],
)
async def test_a_subscription_is_known_by_its_first_charge(
    redis_client: Any, stopped: bool, later: int, begins: bool | None, is_another: bool
) -> None:
    ledger = Ledger(redis_client)
    until = await ledger.now() // 1000 + MONTH
    told: dict[str, Any] = {"stars": 300, "pictures": 20, "teller": "accounts"}
    await ledger.run(credit.paid("one", "1", until=until, **told))
    known = await credit.subscription(ledger, "1")
    assert known == credit.Subscription("one", until)
    if stopped:
        await credit.stop(ledger, "1", known, stopped=True)
    await ledger.run(credit.paid("two", "1", until=until + later, begins=begins, **told))
    charge = "two" if is_another else "one"
    assert await credit.subscription(ledger, "1") == credit.Subscription(charge, until + later)
    assert {one.charge: one.of for one in await credit.payments(ledger, "1")} == {"one": "one", "two": charge}


def test_a_job_of_before_the_shop_gives_nothing_back(sync_redis: Any) -> None:
    ledger = Ledger(sync_client=sync_redis)
    wake = Wake(new_id(), "kie", 1)
    admit = transitions.admit(
        request=new_id(),
        user="1",
        provider="kie",
        cap=2,
        jobs=[(Spec("p", "m", "1:1", 1, "en"), wake)],
        limits=LIMITS,
        deadline=600,
        ttl=3600,
    )
    assert ledger.run_sync(admit).accepted
    assert ledger.run_sync(transitions.cancel(wake.job, "1", cap=2)).done
    assert not sync_redis.exists(keys.BALANCE())


@pytest.mark.parametrize(
    ("chat", "by", "kind", "back"),
    [
        (1, "1", "", False),
        # An admin, or a group that is left.
        (1, "", "", True),
        # Drawn for somebody who has blocked the bot meanwhile; for a group that has sent it away; and for nobody's fault.
        (1, None, "blocked", False),
        (-5, None, "blocked", True),
        (1, None, "bad_result", True),
    ],
)
def test_what_was_drawn_counts_if_its_person_did_not_want_it(
    sync_redis: Any, chat: int, by: str | None, kind: str, back: bool
) -> None:
    ledger = Ledger(sync_client=sync_redis)
    sync_redis.hset(keys.BALANCE(), "1", 3)
    wake = Wake(new_id(), "kie", 1)
    admit = transitions.admit(
        request=new_id(),
        user="1",
        provider="kie",
        cap=2,
        jobs=[(Spec("p", "m", "1:1", chat, "en"), wake)],
        limits=LIMITS,
        deadline=600,
        ttl=3600,
        share=0,
    )
    assert ledger.run_sync(admit).accepted
    claim = ledger.run_sync(transitions.claim(wake.job, "submit", holder="w", lease=15))
    assert claim is not None
    assert sync_redis.hget(keys.BALANCE(), "1") == "2"
    ledger.run_sync(transitions.accepted(wake.job, claim.fence, ticket={"external_id": "x"}, after=5))
    if by is not None:
        assert ledger.run_sync(transitions.cancel(wake.job, by, cap=2)).done
    else:
        ledger.run_sync(transitions.ready(wake.job, claim.fence, result={}, cap=2, model="m"))
        shown = ledger.run_sync(transitions.claim(wake.job, "deliver", holder="w", lease=15))
        assert shown is not None
        ledger.run_sync(transitions.finish(wake.job, shown.fence, shown={}, ttl=60, kind=kind))
    assert sync_redis.hget(keys.BALANCE(), "1") == ("3" if back else "2")
    found = Job.parse(wake.job, sync_redis.hgetall(keys.JOB(wake.job)))
    assert found is not None
    assert (found.uncounted, found.drawn) == (by == "", by == "")
