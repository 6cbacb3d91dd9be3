"""Taking orders: what a person asks for becomes a request of jobs, or a reason why not.

The one way in, for the bot and for the API. How the answer is worded is their matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.app import App, Route
from src.jobs import Admission, Job, Limits, Request, Spec, State, Wake, new_id, transitions
from src.jobs.answers import Ending
from src.jobs.uploads import is_upload
from src.pipeline import notify, timeouts
from src.settings import Settings
from src.telemetry import job_spans

_DAY = 86_400
_NO_LIMIT = 1_000_000

# What admins can make of a person (/tier). `first` and `last` stand before and behind all others in the
# line; `unlimited` meets no personal limit.
TIERS: dict[str, dict[str, int]] = {
    "ordinary": {},
    "first": {"class": 0},
    "last": {"class": 2},
    "unlimited": {"rate_limit": _NO_LIMIT, "max_active": _NO_LIMIT},
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for.

    Attributes:
        user: a Telegram id, or the name of a client of the REST API; chat: `NO_CHAT` for that one.
        update: what makes it unique (Telegram's update id): a repeat gets the first one's request.
        source: Telegram file id of the picture to edit, or the name of an upload; references: of more that are looked
            at for it.
        reply_to: the person's own message. thread: topic of the chat.
        quality, seed, negative_prompt: left out where the model takes none.
    """

    user: int | str
    chat: int
    prompt: str = field(repr=False)
    update: str
    aspect: str = "1:1"
    count: int = 1
    lang: str = "en"
    source: str | None = None
    references: tuple[str, ...] = ()
    thread: int | None = None
    reply_to: int | None = None
    group: bool = False
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = field(default=None, repr=False)


class NoProvider(Exception):
    """No provider has a key, or none that can do this."""


async def ask(app: App, wish: Wish) -> Admission:
    """Admit a wish: its jobs stand in the line, or run, when this returns with `ok`.

    Raises:
        NoProvider: nobody can make this picture.
        redis.RedisError: the ledger is away; nothing is promised, the same wish may come again.
    """
    provider, model, instead_of = await _provider_for(app, wish)
    is_admin = wish.user in app.settings.admin_ids
    jobs = []
    # In order by their ids too, which break ties of time everywhere else.
    for index, job_id in enumerate(sorted(new_id() for _ in range(wish.count))):
        spec = Spec(
            prompt=wish.prompt,
            model=model,
            aspect=wish.aspect,
            chat=wish.chat,
            lang=wish.lang,
            index=index,
            count=wish.count,
            thread=wish.thread,
            source=wish.source,
            references=wish.references,
            quality=wish.quality,
            seed=wish.seed,
            negative_prompt=wish.negative_prompt,
            instead_of=instead_of,
        )
        jobs.append((spec, Wake(job_id, provider, wish.chat, wish.group, job_spans.open_job())))
    admission = await app.ledger.run(
        transitions.admit(
            request=new_id(),
            user=str(wish.user),
            provider=provider,
            cap=app.cap(provider),
            jobs=jobs,
            limits=limits_of(app.settings),
            deadline=app.settings.job_deadline,
            near=app.settings.job_deadline * timeouts.DEADLINE_NEARS,
            ttl=app.settings.job_ttl_days * _DAY,
            update=wish.update,
            kept=app.providers[provider].capabilities.synchronous or is_upload(wish.source or ""),
            group=wish.group,
            reply_to=wish.reply_to,
            job_class=0 if is_admin else 1,
            tiers={tier: other | ({"class": 0} if is_admin else {}) for tier, other in TIERS.items()},
        )
    )
    await notify.submit(admission.released)
    return admission


async def cancel(app: App, job_id: str, user: int | str | None) -> Ending:
    """Take a job back, for its owner or (user None) an admin; the worker then tells the person."""
    job = await app.ledger.job(job_id)
    if job is None:
        return Ending(False)
    owner = "" if user is None else str(user)
    ending = await app.ledger.run(transitions.cancel(job_id, owner, cap=app.cap(job.provider)))
    if ending.done:
        await notify.send(deliver=[job.wake], submit=ending.released)
    return ending


async def switch(app: App, request: Request, jobs: Sequence[Job], provider: str, model: str) -> int:
    """Let another model make those of a request's jobs that still wait, as its owner chose; how many."""
    others = [
        (dataclasses.replace(job.spec, model=model), dataclasses.replace(job.wake, provider=provider))
        for job in jobs
    ]
    waiting = next((job.provider for job in jobs if job.state is State.WAITING), None)
    if waiting is None:
        return 0
    note = f"faster:{model if provider == waiting else provider}"
    number, released = await app.ledger.run(
        transitions.switch(
            request.id, request.user, provider=waiting, jobs=others, cap=app.cap(provider), note=note
        )
    )
    await notify.submit(released)
    return number


def limits_of(settings: Settings) -> Limits:
    """The limits of admission that the settings give."""
    return Limits(
        rate=settings.rate_limit,
        window=settings.rate_window,
        active=settings.max_active_per_user,
        waiting=settings.max_waiting,
    )


async def _provider_for(app: App, wish: Wish) -> tuple[str, str, str | None]:
    """The first provider that can do it, its model, and the one it stands in for: one whose breaker is open is asked
    only when no other can."""
    given = Spec(
        wish.prompt, "", wish.aspect, wish.chat, wish.lang, source=wish.source, references=wish.references
    )
    sources = len(given.pictures)
    first = next((name for name, p in app.providers.items() if p.capabilities.takes(sources)), None)
    if first is None:
        raise NoProvider
    model = app.model(first, edit=sources > 0)
    spec = dataclasses.replace(given, model=model)
    if others := app.others(first, spec):
        for name, its_model in (Route(first, model), *others):
            if await app.limiter.breaker(f"provider:{name}") < 2:
                return name, its_model, None if name == first else first
    return first, model, None
