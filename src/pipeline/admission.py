"""Taking orders: what a person asks for becomes a request of jobs, or a reason why not.

The one way in, for the bot and for the API. How the answer is worded is their matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from src.app import App
from src.jobs import (
    NO_CHAT,
    TOOLS,
    Admission,
    How,
    Job,
    Limits,
    Person,
    Request,
    Spec,
    State,
    Wake,
    new_id,
    transitions,
)
from src.jobs.answers import Ending
from src.jobs.spending import DAY
from src.jobs.switches import Feature
from src.jobs.uploads import is_upload
from src.pipeline import notify, timeouts
from src.pipeline.blocked_words import has_blocked_word
from src.routing import Route
from src.settings import Settings
from src.telemetry import job_spans

NO_LIMIT = 1_000_000
_SEEDS = 2**31

# What admins can make of a person (/tier). `first` and `last` stand before and behind all others in the
# line; `unlimited` meets no personal limit.
TIERS: dict[str, dict[str, int]] = {
    "ordinary": {},
    "first": {"class": 0},
    "last": {"class": 2},
    "unlimited": {"rate_limit": NO_LIMIT, "max_active": NO_LIMIT, "uncapped": 1},
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for.

    Attributes:
        user: a Telegram id, or the name of a client of the REST API; chat: `NO_CHAT` for that one.
        update: what makes it unique (Telegram's update id): a repeat gets the first one's request.
        source: Telegram file id of the picture to edit, or the name of an upload; references: of more that are looked
            at for it. painted: see `Spec`.
        reply_to: the person's own message; words_seen: the words stand in it. thread: topic of the chat.
        model: of the catalog; what the settings have made if it is None or cannot do this.
        quality, seed, negative_prompt: left out where the model takes none. Of several pictures each has the next seed.
        parent, how: see `Spec`. inline, covered, unplaced: see `Request`. hourly: see `transitions.admit`.
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
    painted: str | None = None
    thread: int | None = None
    reply_to: int | None = None
    words_seen: bool = False
    group: bool = False
    model: str | None = None
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = field(default=None, repr=False)
    parent: str | None = None
    how: How | None = None
    inline: str | None = None
    covered: bool = False
    unplaced: bool = False
    hourly: Mapping[str, int] = field(default_factory=dict)


def wish_of(app: App, job: Job, update: str) -> Wish:
    """What was asked for with a job, as a wish of its own: the same picture, for the same person and chat."""
    spec = job.spec
    return Wish(
        user=int(job.user) if job.user.isdecimal() else job.user,
        chat=spec.chat,
        prompt=spec.prompt,
        update=update,
        aspect=spec.aspect,
        lang=spec.lang,
        source=spec.source,
        references=spec.references,
        painted=spec.painted,
        thread=spec.thread,
        group=job.wake.group,
        model=app.routing.catalog.key(job.provider, spec.model),
        quality=spec.quality,
        seed=spec.seed,
        negative_prompt=spec.negative_prompt,
        parent=spec.parent,
        how=spec.how,
    )


def once_more(app: App, job: Job, update: str) -> Wish:
    """The same with another seed, made of that picture; what a tool made is made by it of the same parent."""
    wish = replace(wish_of(app, job, update), seed=None)
    return (
        wish if wish.how in TOOLS and wish.parent is not None else replace(wish, parent=job.id, how="again")
    )


class NoProvider(Exception):
    """No provider has a key, or none that can do this."""


async def ask(app: App, wish: Wish) -> Admission:
    """Admit a wish: its jobs stand in the line, or run, when this returns with `ok`.

    Raises:
        NoProvider: nobody can make this picture.
        redis.RedisError: the ledger is away; nothing is promised, the same wish may come again.
    """
    await app.switches.look()
    if not app.switches.is_on("several"):
        wish = replace(wish, count=1)
    if off := [feature for feature in _features(wish) if not app.switches.is_on(feature)]:
        return Admission("off", why=off[0])
    route, instead_of = await _route_for(app, wish)
    admission = await _admit(app, wish, route, instead_of)
    if admission.verdict.startswith("spent") and app.settings.spend_cap_then == "cheaper":
        for other in app.routing.cheaper(route, _spec(wish, route)):
            if not await app.limiter.is_open(f"provider:{other.provider}"):
                admission = await _admit(app, wish, other, instead_of)
            if admission.accepted:
                break
    await notify.submit(admission.released)
    if admission.verdict == "unpaid" and _is_chat(wish):
        return replace(admission, verdict="unpaid-chat")
    return admission


def _is_chat(wish: Wish) -> bool:
    """Whether somebody asks in the name of a chat. Each group has its own such person, so who makes groups would have
    as many free shares; and they can buy nothing."""
    return "@" in str(wish.user) and wish.chat != NO_CHAT


def _features(wish: Wish) -> Iterator[Feature]:
    """The features that a wish needs."""
    if wish.how in TOOLS:
        yield "tools"
    elif wish.source is not None:
        yield "edits"
    if wish.group:
        yield "groups"
    if wish.inline is not None:
        yield "inline"
    if wish.chat == NO_CHAT:
        yield "api"


def _spec(wish: Wish, route: Route, index: int = 0, instead_of: str | None = None) -> Spec:
    return Spec(
        prompt=wish.prompt,
        model=route.model,
        aspect=wish.aspect,
        chat=wish.chat,
        lang=wish.lang,
        index=index,
        count=wish.count,
        thread=wish.thread,
        source=wish.source,
        references=wish.references,
        painted=wish.painted,
        quality=wish.quality,
        seed=None if wish.seed is None else (wish.seed + index) % _SEEDS,
        negative_prompt=wish.negative_prompt,
        parent=wish.parent,
        how=wish.how,
    ).made_by(route.provider, route.model, instead_of)


async def _admit(app: App, wish: Wish, route: Route, instead_of: str | None) -> Admission:
    is_admin = wish.user in app.settings.admin_ids
    # In order by their ids too, which break ties of time everywhere else.
    jobs = [
        (
            _spec(wish, route, index, instead_of),
            Wake(job_id, route.provider, wish.chat, wish.group, job_spans.open_job()),
        )
        for index, job_id in enumerate(sorted(new_id() for _ in range(wish.count)))
    ]
    return await app.ledger.run(
        transitions.admit(
            request=new_id(),
            user=str(wish.user),
            provider=route.provider,
            cap=app.cap(route.provider),
            jobs=jobs,
            limits=limits_of(app.settings),
            deadline=app.settings.job_deadline,
            near=app.settings.job_deadline * timeouts.DEADLINE_NEARS,
            charge=app.routing.charge(route, wish.quality),
            forbidden=has_blocked_word(wish.prompt, app.settings.blocked_words_file),
            share=_share(app.settings, wish),
            ttl=app.settings.job_ttl_days * DAY,
            update=wish.update,
            kept=app.providers[route.provider].capabilities.inline or is_upload(wish.source or ""),
            group=wish.group,
            reply_to=wish.reply_to,
            inline=wish.inline,
            words_seen=wish.words_seen,
            covered=wish.covered,
            unplaced=wish.unplaced,
            hourly=wish.hourly,
            job_class=0 if is_admin else 1,
            through=is_admin,
            tiers={tier: other | ({"class": 0} if is_admin else {}) for tier, other in TIERS.items()},
        )
    )


def _share(settings: Settings, wish: Wish) -> int | None:
    """The pictures that a person has for free each day; None: nobody pays, as who asks over the REST API."""
    if not settings.sells or wish.chat == NO_CHAT:
        return None
    return 0 if _is_chat(wish) else settings.free_pictures_day


async def cancel(app: App, job_id: str, user: int | str | None) -> Ending:
    """Take a job back, for its owner or (user None) for somebody else, and then it does not count; the worker then tells
    the person."""
    owner = "" if user is None else str(user)
    while (job := await app.ledger.job(job_id)) is not None:
        ending = await app.ledger.run(
            transitions.cancel(job_id, owner, cap=app.cap(job.provider), provider=job.provider)
        )
        if ending.done:
            await notify.send(deliver=[job.wake], submit=ending.released)
        if ending.before != "moved":
            return ending
    return Ending(False)


async def switch(app: App, request: Request, jobs: Sequence[Job], provider: str, model: str) -> int:
    """Let another model make those of a request's jobs that still wait, as its owner chose; how many. None where an
    admin has switched it off meanwhile."""
    await app.switches.look()
    others = [
        (job.spec.made_by(provider, model, job.spec.instead_of), replace(job.wake, provider=provider))
        for job in jobs
    ]
    waiting = next((job.provider for job in jobs if job.state is State.WAITING), None)
    if waiting is None or not app.routing.is_on(Route(provider, model)):
        return 0
    note = f"faster:{model if provider == waiting else provider}"
    number, released = await app.ledger.run(
        transitions.switch(
            request.id,
            request.user,
            provider=waiting,
            jobs=others,
            cap=app.cap(provider),
            note=note,
            charge=app.routing.charge(Route(provider, model), jobs[0].spec.quality),
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


def limits_for(person: Person, settings: Settings) -> Limits:
    """What these are for a person, by `admit.lua`: their own, else their tier's; a limit of `NO_LIMIT` is none."""
    everybodys, tier = limits_of(settings), TIERS.get(person.tier, {})
    return replace(
        everybodys,
        rate=person.rate or tier.get("rate_limit", everybodys.rate),
        active=person.active or tier.get("max_active", everybodys.active),
    )


async def _route_for(app: App, wish: Wish) -> tuple[Route, str | None]:
    """The first provider that can do it with its model, and the one it stands in for: one whose breaker is open is
    asked only when no other can."""
    if wish.how in TOOLS:
        if (tool := app.routing.tool(wish.how)) is None:
            raise NoProvider
        return tool, None
    sources = len(_spec(wish, Route("", "")).pictures)
    first = app.routing.route(wish.model, sources)
    if first is None:
        raise NoProvider
    if others := app.routing.others(first.provider, _spec(wish, first)):
        for route in (first, *others):
            if not await app.limiter.is_open(f"provider:{route.provider}"):
                return route, None if route == first else first.provider
    return first, None
