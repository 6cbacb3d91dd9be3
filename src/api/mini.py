"""The Mini App: a page inside Telegram with a person's pictures, where each comes from, what they have left, and their
settings.

Open to whoever shows Telegram's own word for who they are (`initData`, signed with the bot's token). Pictures come
from Telegram by their file ids, through here, as their addresses hold the token.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError
from aiogram.utils.deep_linking import create_start_link
from aiogram.utils.web_app import WebAppInitData, safe_parse_webapp_init_data
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from src.api import bodies
from src.api.problems import Problem
from src.api.status import templates
from src.app import App
from src.bot.forgetting import forget, make_favourite
from src.bot.handlers.limits import lines_of
from src.bot.handlers.paying import BUY
from src.bot.lineage import HOW
from src.bot.ordering import refusal_of
from src.jobs import Job, Person, State
from src.pipeline import admission
from src.pipeline.admission import NoProvider
from src.providers.images import inspect
from src.telegram import files, keyboards
from src.telegram.i18n import LANGUAGES, Translator, get_texts, language_name, language_of

log = structlog.get_logger(__name__)

# A page may stay open that long.
_SECONDS = 86_400
_TEXTS = (
    *("app-title", "app-empty", "app-search", "app-favourites", "app-settings", "app-close", "app-lost"),
    *("app-from", "app-made-into", "app-sure", "app-drawing", "app-language", "app-format"),
    *("app-count", "app-first", "app-keep", "button-again", "button-star", "button-unstar", "button-delete"),
    *("first-photo", "first-file", "language-auto", "toast-saved"),
    *("limits-title", "button-buy"),
)


class Repeat(BaseModel):
    """`key`: the same twice asks once."""

    key: str = Field(pattern=r"^[\w-]{8,64}$")


class Favourite(BaseModel):
    """Whether a picture shall be one: the same twice changes nothing."""

    on: bool


class Choices(BaseModel):
    """What a person changes of their settings."""

    lang: str | None = None
    aspect: str | None = None
    count: int | None = None
    first: Literal["photo", "file"] | None = None
    keep: int | None = None


def make_router(app: App, bot: Bot) -> APIRouter:
    """The page and what it asks for."""
    router = APIRouter(prefix="/app", include_in_schema=False, route_class=bodies.Small)
    token = bot.token

    def who(authorization: Annotated[str, Header()] = "") -> WebAppInitData:
        scheme, _, shown = authorization.partition(" ")
        try:
            found = safe_parse_webapp_init_data(token, shown) if scheme == "tma" else None
        # A TypeError where it is not ASCII, which nothing can be compared with.
        except (ValueError, TypeError):
            found = None
        if found is None or found.user is None or time.time() - found.auth_date.timestamp() > _SECONDS:
            raise Problem(401, "not_telegram", "open this page in Telegram")
        return found

    async def speaker(shown: Annotated[WebAppInitData, Depends(who)]) -> tuple[Person, Translator]:
        assert shown.user is not None
        person = await app.ledger.person(str(shown.user.id))
        return person, get_texts().translator(language_of(person.lang, shown.user.language_code))

    Speaker = Annotated[tuple[Person, Translator], Depends(speaker)]

    async def own(job_id: str, whose: Speaker) -> Job:
        job = await app.ledger.job(job_id)
        if job is None or job.user != whose[0].id or job.state is not State.DELIVERED:
            raise Problem(404, "no_picture", "there is no such picture of yours")
        return job

    Own = Annotated[Job, Depends(own)]

    @router.get("")
    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        html = templates.get_template("app.html").render(nonce=nonce)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors https://*.telegram.org"
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(html, headers={**headers, "Cache-Control": "no-store"})

    @router.get("/data")
    async def data(whose: Speaker) -> dict[str, Any]:
        person, say = whose
        starred = set(await app.ledger.starred(person.id))
        jobs = [job for job in await app.ledger.all_of(person.id) if job.state is State.DELIVERED]
        catalog = app.routing.catalog
        return {
            "lang": say.lang,
            "languages": {lang: language_name(lang) for lang in LANGUAGES},
            "texts": {key: say(key) for key in _TEXTS},
            "settings": _settings(app, person),
            "pictures": [
                {
                    "id": job.id,
                    "words": job.spec.prompt,
                    "model": catalog.shown(job.provider, job.spec.model, say.lang),
                    "aspect": job.spec.aspect,
                    "at": job.created,
                    "parent": job.spec.parent,
                    "how": say(HOW[job.spec.how], words="").rstrip(": ") if job.spec.how else "",
                    "starred": job.id in starred,
                    "covered": job.borderline,
                }
                for job in jobs
                if "file_id" in (job.shown or {})
            ],
        }

    @router.get("/pictures/{job_id}")
    async def picture(job: Own, small: bool = False) -> Response:
        shown = job.shown or {}
        file_id = str((shown.get("small") if small else None) or shown.get("file_id", ""))
        try:
            found = await files.download(bot, file_id)
        except files.NoFile:
            raise Problem(404, "no_picture", "Telegram does not have it any more") from None
        except files.NotNow:
            raise Problem(503, "not_now", "Telegram does not give it now") from None
        # What a file id stands for does not change.
        headers = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(found, media_type=(await asyncio.to_thread(inspect, found)).mime, headers=headers)

    @router.post("/pictures/{job_id}/again")
    async def again(job: Own, whose: Speaker, body: Repeat) -> dict[str, str]:
        person, say = whose
        wish = replace(
            admission.once_more(app, job, f"app:{person.id}:{body.key}"),
            # The page is opened in private; who left a group draws nothing there.
            chat=int(person.id),
            group=False,
            thread=job.spec.thread if job.spec.chat > 0 else None,
            lang=say.lang,
            unplaced=True,
        )
        try:
            admitted = await admission.ask(app, wish)
        except NoProvider:
            raise Problem(503, "unavailable", say("refused-unavailable")) from None
        if not admitted.accepted:
            raise Problem(429, admitted.verdict, refusal_of(say, admitted, app.settings))
        return {"said": say("app-drawing")}

    @router.post("/pictures/{job_id}/star")
    async def star(job: Own, body: Favourite) -> dict[str, bool]:
        await make_favourite(app, job, on=body.on)
        return {"starred": body.on}

    @router.delete("/pictures/{job_id}")
    async def delete(job: Own) -> dict[str, bool]:
        return {"gone": await forget(app, bot, job.id, job.user)}

    @router.get("/left")
    async def left(whose: Speaker) -> dict[str, Any]:
        """What a person may still ask for, and where more is sold."""
        link = None
        if app.settings.sells:
            # The bot's name is asked for once; what they have left is known without it.
            with suppress(TelegramAPIError):
                link = await create_start_link(bot, BUY)
        return {"lines": await lines_of(app, *whose), "buy": link}

    @router.post("/settings")
    async def choose(whose: Speaker, body: Choices) -> dict[str, Any]:
        person, _ = whose
        offered = app.routing.offered()
        if body.lang in ("auto", *LANGUAGES):
            await app.ledger.choose(person.id, lang="" if body.lang == "auto" else body.lang)
        if body.aspect in offered.aspects:
            await app.ledger.choose(person.id, aspect=body.aspect)
        if body.count in keyboards.counts(offered):
            await app.ledger.choose(person.id, count=body.count)
        if body.first is not None:
            await app.ledger.choose(person.id, first=body.first)
        if body.keep in keyboards.days_kept(app.settings.job_ttl_days):
            await app.ledger.keep(person.id, body.keep)
        return _settings(app, await app.ledger.person(person.id))

    return router


def _settings(app: App, person: Person) -> dict[str, Any]:
    """A person's settings, each as what is chosen and what may be."""
    offered, longest = app.routing.offered(), app.settings.job_ttl_days
    return {
        "lang": [person.lang or "auto", ["auto", *LANGUAGES]],
        "aspect": [person.aspect, list(offered.aspects)],
        "count": [person.count, keyboards.counts(offered)],
        "first": [person.first, ["photo", "file"]],
        "keep": [min(person.keep or longest, longest), keyboards.days_kept(longest)],
    }
