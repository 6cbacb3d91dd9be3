"""What admins (`ADMIN_IDS`) can ask: how it goes now, what became of a job, and to end or repeat one."""

from __future__ import annotations

from aiogram import F, Router
from aiogram.filters import Command, CommandObject, Filter
from aiogram.types import CallbackQuery, Message

from src.app import App
from src.jobs import Job, State, keys
from src.ops import job_reports, journal, report
from src.ops.journal import Act
from src.ops.snapshot import look
from src.pipeline import admission as intake
from src.telegram import keyboards
from src.telegram.i18n import Translator
from src.telemetry import job_spans

_FAILURES = 10


class ByAdmin(Filter):
    """Passes what an admin wrote or tapped; to others these commands do not exist."""

    async def __call__(self, event: Message | CallbackQuery, app: App) -> bool:
        return event.from_user is not None and event.from_user.id in app.settings.admin_ids


async def note(
    app: App, event: Message | CallbackQuery, update_id: int, what: Act, whom: str = "", how: str = ""
) -> str | None:
    """Write what an admin does into the journal (see `journal.write`)."""
    assert event.from_user is not None
    return await journal.write(app, update_id, event.from_user.id, what, whom, how)


async def ops(message: Message, app: App, say: Translator) -> None:
    await message.answer(report.report(say, await look(app)))


async def failures(message: Message, app: App, say: Translator) -> None:
    ids = await app.redis.zrevrange(keys.FAILED(), 0, _FAILURES - 1)
    jobs = await app.ledger.jobs(ids)
    if not jobs:
        await message.answer(say("admin-no-failures"))
        return
    lines = []
    for job in jobs:
        lines.append(
            say(
                "admin-failure",
                job=job.id,
                kind=say("admin-kind", kind=job.kind),
                user=job.user,
                provider=job.provider,
            )
        )
        if link := job_spans.jaeger_link(app.settings, job_spans.trace_id(job)):
            lines.append(link)
    await message.answer("\n".join([say("admin-failures"), *lines]))


async def story(message: Message, command: CommandObject, app: App, say: Translator) -> None:
    job = await _job(message, command, app, say)
    if job is not None:
        await message.answer("\n".join(job_reports.story(job, app.settings)))


async def _job(message: Message, command: CommandObject, app: App, say: Translator) -> Job | None:
    """The job that a command names, or None when the admin was told that there is none."""
    job_id = (command.args or "").strip()
    job = await app.ledger.job(job_id) if job_id else None
    if job is None:
        await message.answer(say("admin-no-job") if job_id else say("admin-usage"))
    return job


async def again(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    """Ask again for what a failed job was to be, for the same person."""
    job = await _job(message, command, app, say)
    if job is None:
        return
    if job.state is not State.FAILED:
        await message.answer(
            say("admin-not-failed", job=job.id, state=say("admin-state", state=str(job.state)))
        )
        return
    noted = await note(app, message, update_id, "retry", job.id)
    try:
        admission = await job_reports.retry(app, job)
    except intake.NoProvider:
        await journal.strike(app, noted)
        await message.answer(say("refused-unavailable"))
        return
    if not admission.accepted:
        await journal.strike(app, noted)
    key = "admin-again" if admission.accepted else "admin-not-again"
    await message.answer(say(key, job=job.id, verdict=say("admin-verdict", verdict=admission.verdict)))


async def cancel(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    """Take back somebody's job; they are told."""
    job = await _job(message, command, app, say)
    if job is not None:
        noted = await note(app, message, update_id, "cancel", job.id)
        ending = await intake.cancel(app, job.id, None)
        if not ending.done:
            await journal.strike(app, noted)
        key = "admin-cancelled" if ending.done else "admin-not-cancelled"
        await message.answer(
            say(key, job=job.id, state=say("admin-state", state=str(ending.before or job.state)))
        )


async def drop(message: Message, command: CommandObject, app: App, say: Translator, update_id: int) -> None:
    """Keep a failed job no longer among the failed."""
    job = await _job(message, command, app, say)
    if job is not None:
        noted = await note(app, message, update_id, "drop", job.id)
        dropped = await job_reports.drop(app, [job.id])
        if not dropped:
            await journal.strike(app, noted)
        key = "admin-dropped" if dropped else "admin-not-failed"
        await message.answer(say(key, job=job.id, state=say("admin-state", state=str(job.state))))


async def trace(message: Message, command: CommandObject, app: App, say: Translator) -> None:
    """The trace of a job: of the picture replied to, of the id given, or of one's own last."""
    answered = message.reply_to_message
    job_id = (command.args or "").strip() or keyboards.job_in(answered.reply_markup if answered else None)
    if not job_id and message.from_user is not None:
        for request_id in await app.ledger.history(str(message.from_user.id), 1):
            request = await app.ledger.request(request_id)
            job_id = request.jobs[0] if request else ""
    job = await app.ledger.job(job_id) if job_id else None
    number = job_spans.trace_id(job) if job else ""
    if job is None or not number:
        await message.answer(say("admin-no-trace"))
        return
    link = job_spans.jaeger_link(app.settings, number) or number
    await message.answer(
        say("admin-trace", job=job.id, state=say("admin-state", state=str(job.state)), link=link)
    )


def make_router() -> Router:
    """The router of this conversation."""
    router = Router(name="admin")
    router.message.register(ops, Command("ops"), ByAdmin())
    router.message.register(failures, Command("jobs"), ByAdmin())
    router.message.register(story, Command("job"), ByAdmin())
    router.message.register(again, Command("retry"), ByAdmin())
    # Without an id it is the admin's own /cancel, as everybody's.
    router.message.register(cancel, Command("cancel", magic=F.args), ByAdmin())
    router.message.register(drop, Command("drop"), ByAdmin())
    router.message.register(trace, Command("trace"), ByAdmin())
    return router
