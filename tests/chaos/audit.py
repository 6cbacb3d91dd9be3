"""The audit after a run: what Telegram and the provider saw, held against the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.jobs import Job, State
from src.sandbox.telegram import Message, Person
from src.sandbox.traces import orphans
from src.telemetry.job_spans import trace_id
from tests.chaos.money import audit_money
from tests.chaos.sends import Sends
from tests.system import System

_OUTCOMES = ("ready", "failed", "cancelled")


@dataclass(slots=True)
class Asked:
    """What a person asked for: one picture, after message number `since`; perhaps `bought`."""

    person: Person
    prompt: str
    since: int = 0
    bought: bool = False


@dataclass(slots=True)
class Verdict:
    """The figures of a run; `complaints` names everything that must not be.

    Attributes:
        outcomes: how the jobs ended. wrongs: complaints by kind: lost, doubled, untold, paid twice.
        unknown: submits whose fate nobody could know. paid_twice: generations paid beyond the first of
            their job, all of them counted as unknown. paid_unshown: jobs that were paid and not shown,
            by the reason the person was told.
        strays: placeholders that promise something for ever. unknowable: those of them of which no process can know
            (`tests.chaos.sends`); their buttons take them away. unreachable: those whose person has blocked the bot,
            which may then change nothing.
        orphans: spans with a parent that nobody has, in `cut_traces` traces.
        money: payments, refunds, and pictures that were paid for.
        slowest, latest: the longest time from asking to a job's end, and until its picture was made or it was known that
            none will be, in seconds.
        traces: ids of the jobs' traces, with the number of jobs in each.
    """

    jobs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrongs: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    paid_twice: int = 0
    paid_unshown: Counter[str] = field(default_factory=Counter)
    unknowable: int = 0
    unreachable: int = 0
    spans: int = 0
    orphans: int = 0
    cut_traces: int = 0
    money: Counter[str] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    latest: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def blame(self, kind: str, prompt: str, words: str) -> None:
        self.wrongs[kind] += 1
        self.complaints.append(f"{kind}: {prompt}: {words}")

    def lines(self) -> list[str]:
        """The figures as a table in Markdown, and the complaints under it."""
        ends = [f"{number} {name}" for name, number in self.outcomes.most_common() if name != "delivered"]
        unshown = [f"{number} {name}" for name, number in self.paid_unshown.most_common()]
        rows = {
            "jobs": str(self.jobs),
            "delivered": str(self.outcomes["delivered"]),
            "told why not": ", ".join(ends) or "0",
            "lost": str(self.wrongs["lost"]),
            "doubled": str(self.wrongs["doubled"]),
            "untold": str(self.wrongs["untold"]),
            "submits of unknown fate": str(self.unknown),
            "paid twice, and counted so": str(self.paid_twice),
            "paid twice in silence": str(self.wrongs["paid twice"]),
            "paid and not shown": ", ".join(unshown) or "0",
            "stray placeholders": str(self.wrongs["stray"]),
            "sent, and unknowable": str(self.unknowable),
            "left behind a block": str(self.unreachable),
            "paid for": ", ".join(f"{number} {name}" for name, number in self.money.items()) or "nothing",
            "money that does not add up": str(self.wrongs["money"]),
            "orphans": f"{self.orphans} of {self.spans} spans, in {self.cut_traces} traces",
            "latest picture made, or given up": f"{self.latest:.1f} s",
            "slowest job": f"{self.slowest:.1f} s",
        }
        return [
            "| audit | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            *(f"  ! {complaint}" for complaint in self.complaints),
        ]


async def audit(system: System, asked: Sequence[Asked], sends: Sends) -> Verdict:
    """Look at everything once the system is at rest."""
    verdict = Verdict(jobs=len(asked))
    system.kie.bill()
    for wish in asked:
        jobs = await system.jobs_of(wish.person)
        _judge(system, wish, jobs, sends, verdict)
        for job in jobs:
            verdict.traces[trace_id(job)] += 1
            trace = system.traces.trace(trace_id(job))
            missing = orphans(trace)
            verdict.spans += len(trace)
            verdict.orphans += len(missing)
            verdict.cut_traces += bool(missing)
    verdict.money, wrong = await audit_money(system, [wish.person for wish in asked if wish.bought])
    for words in wrong:
        verdict.blame("money", "", words)
    return verdict


def _judge(system: System, wish: Asked, jobs: Sequence[Job], sends: Sends, verdict: Verdict) -> None:
    """Count how a wish ended, and what is wrong with it."""
    said = [m for m in wish.person.messages if m.from_bot and m.message_id > wish.since]
    if len(jobs) != 1:
        if jobs:
            verdict.blame("doubled", wish.prompt, f"admitted {len(jobs)} times")
        elif said or wish.person.chat.blocked:
            verdict.outcomes["not admitted"] += 1
        else:
            verdict.blame("lost", wish.prompt, "not admitted and not told")
        return
    (job,) = jobs
    _judge_bill(system.kie.audit.charged[wish.prompt], job, wish, verdict)
    if not job.ended:
        verdict.blame("lost", wish.prompt, f"never ended: {job.state}, {job.story}")
        return
    verdict.slowest = max(verdict.slowest, _seconds(job.story.split()[-1]))
    outcome = next(note for note in job.story.split() if note.partition("@")[0] in _OUTCOMES)
    verdict.latest = max(verdict.latest, _seconds(outcome))
    for message in said:
        if _promises(message, job):
            _judge_stray(wish, message, job, sends, verdict)
    pictures = [m for m in said if is_picture(m)]
    if len(pictures) > 1 or any(len(m.pictures) > 1 for m in pictures):
        verdict.blame("doubled", wish.prompt, f"shown {len(pictures)} messages with pictures: {job.story}")
    if job.state is State.DELIVERED:
        verdict.outcomes["delivered"] += 1
        if not pictures:
            verdict.blame("lost", wish.prompt, f"delivered and not shown: {job.story}")
        return
    verdict.outcomes[job.kind or "cancelled"] += 1
    if pictures:
        verdict.blame("doubled", wish.prompt, f"{job.state} and shown: {job.story}")
    elif not (wish.person.chat.blocked or job.state is State.CANCELLED or _is_told(said, job)):
        verdict.blame("untold", wish.prompt, f"{job.state} {job.kind}: {job.story}")


def is_picture(message: Message) -> bool:
    """Whether it shows one; what Telegram takes as no photo comes as a file."""
    return message.has_photo or "document" in message.content


def _judge_bill(charged: int, job: Job, wish: Asked, verdict: Verdict) -> None:
    verdict.unknown += job.unknown
    verdict.paid_twice += max(0, charged - 1)
    if charged and job.state is not State.DELIVERED:
        verdict.paid_unshown[job.kind or "cancelled"] += 1
    if charged - 1 > job.unknown:
        verdict.blame("paid twice", wish.prompt, f"{charged} times, counted {job.unknown}: {job.story}")


def _judge_stray(wish: Asked, message: Message, job: Job, sends: Sends, verdict: Verdict) -> None:
    chat = wish.person.chat
    if sends.unknowable(chat.id, message.message_id):
        verdict.unknowable += 1
    elif chat.blocked:
        verdict.unreachable += 1
    else:
        sent = "; ".join(sends.history(chat.id))
        verdict.blame("stray", wish.prompt, f"message {message.message_id} promises on: {job.story}; {sent}")


def _is_told(said: Sequence[Message], job: Job) -> bool:
    return any(job.id in str(button.get("callback_data")) for m in said for button in m.buttons)


def _promises(message: Message, job: Job) -> bool:
    """Whether a message still offers to cancel what has ended."""
    return any(f"cancel:{job.request}" in str(button.get("callback_data")) for button in message.buttons)


def _seconds(note: str) -> float:
    """When a note of a story was made."""
    at = note.rpartition("@")[2]
    return int(at) / 1000 if at.isdigit() else 0.0
