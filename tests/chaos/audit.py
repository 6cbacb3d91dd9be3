"""The audit after a run: what Telegram and the provider saw, held against the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.jobs import Job, State
from src.sandbox.telegram import Person
from src.sandbox.traces import orphans
from tests.system import System


@dataclass(slots=True)
class Asked:
    """What a person asked for: one picture, at that unix time, by that update."""

    person: Person
    prompt: str
    at: float
    update: int | None


@dataclass(slots=True)
class Verdict:
    """The figures of a run; `complaints` names everything that must not be."""

    jobs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    paid_twice: int = 0
    paid_for_nothing: int = 0
    strays: int = 0
    spans: int = 0
    orphans: int = 0
    cut_traces: int = 0
    slowest: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        told = ", ".join(f"{number} {name}" for name, number in sorted(self.outcomes.items()))
        return [
            f"jobs {self.jobs}: {told}; lost, doubled or untold: {len(self.complaints)}",
            f"submits of unknown fate {self.unknown}, paid twice {self.paid_twice}, "
            f"paid and refused {self.paid_for_nothing}, stray placeholders {self.strays}",
            f"spans {self.spans}, orphans {self.orphans} in {self.cut_traces} traces; "
            f"slowest job {self.slowest:.1f} s",
            *(f"  ! {complaint}" for complaint in self.complaints),
        ]


async def audit(system: System, asked: Sequence[Asked]) -> Verdict:
    """Look at everything once the system is at rest."""
    verdict = Verdict(jobs=len(asked))
    for wish in asked:
        jobs = await system.jobs_of(wish.person)
        complaint = _judge(system, wish, jobs, verdict)
        if complaint:
            verdict.complaints.append(f"{wish.prompt}: {complaint}")
        if wish.update is not None:
            trace = system.traces.trace(system.traces.trace_of_update(wish.update) or "")
            missing = orphans(trace)
            verdict.spans += len(trace)
            verdict.orphans += len(missing)
            verdict.cut_traces += bool(missing)
    return verdict


def _judge(system: System, wish: Asked, jobs: Sequence[Job], verdict: Verdict) -> str:
    """What is wrong with how a wish ended, in words; empty: nothing."""
    said = [m for m in wish.person.messages if m.from_bot]
    if not jobs:
        verdict.outcomes["not admitted, told"] += 1
        return "" if said else "not admitted and not told"
    if len(jobs) > 1:
        return f"admitted {len(jobs)} times"
    (job,) = jobs
    charged = system.kie.audit.charged[wish.prompt]
    verdict.unknown += job.unknown
    verdict.paid_twice += max(0, charged - 1)
    if charged and job.state is not State.DELIVERED:
        verdict.paid_for_nothing += 1
    if charged - 1 > job.unknown:
        return f"paid {charged} times, counted {job.unknown}"
    if not job.ended:
        return f"never ended: {job.state}, {job.story}"
    verdict.slowest = max(verdict.slowest, _seconds(job))
    pictures = [m for m in said if m.has_photo or "document" in m.content]
    if any(len(m.pictures) > 1 for m in pictures) or len(pictures) > 1:
        return f"shown {len(pictures)} pictures: {job.story}"
    if job.state is State.DELIVERED:
        verdict.outcomes["delivered"] += 1
        # The reply that pings a person after a long wait is none.
        verdict.strays += sum(m.reply_to is None for m in said) - 1
        return "" if pictures else f"delivered and not shown: {job.story}"
    verdict.outcomes[f"{job.state}: {job.kind or 'by the person'}"] += 1
    if pictures:
        return f"{job.state} and shown: {job.story}"
    if wish.person.chat.blocked:
        return ""
    ends = [m for m in said if any(job.id in str(b.get("callback_data")) for b in m.buttons)]
    return "" if ends or job.state is State.CANCELLED else f"{job.state} {job.kind} and not told: {job.story}"


def _seconds(job: Job) -> float:
    at = job.story.rpartition("@")[2]
    return int(at) / 1000 if at.isdigit() else 0.0
