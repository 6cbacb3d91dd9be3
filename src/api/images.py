"""REST for other software: the same line, limits and trace as the chat's, with an API key.

    POST   /v1/images               {"prompt": "a red fox"} -> 202, Location
    POST   /v1/images/edits         a form with `prompt` and `image`, the picture to change
    GET    /v1/images/{id}          where it is, and how long it will take
    GET    /v1/images/{id}/content  the picture
    DELETE /v1/images/{id}          take it back

A client is a person of the ledger named `api-<name>`. An incoming `traceparent` continues in the job.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from src.api import bodies, edits
from src.api.edits import LONGEST
from src.api.problems import Problem
from src.app import App
from src.jobs import NO_CHAT, Admission, Job, State
from src.jobs.estimate import estimate_job
from src.jobs.uploads import content_of, name_of, new_upload
from src.pipeline import admission as intake
from src.pipeline.admission import NoProvider, Wish
from src.providers.base import Aspect, ErrorKind, ImageBytes, ImageRef, ProviderError
from src.store.blobs import UPLOADS, BlobsAway
from src.telemetry import job_spans

log = structlog.get_logger(__name__)

_LONGEST_BODY = 1_000_000
_TIMES = {
    State.DELIVERED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.WAITING: "waiting",
}

_FULL = Problem(503, "full", "no room for more pictures just now", {"Retry-After": "60"})

bearer = HTTPBearer(auto_error=False, description="A key of `API_KEYS`.")


class KeyFirst(APIRoute):
    """A route whose body is read only for those who have a key, and only as far as it may be."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        limit = edits.LARGEST_FORM if self.path.endswith("/edits") else _LONGEST_BODY

        async def handle_known(request: Request) -> Response:
            request.state.client = client_of(request, await bearer(request))
            return await handle(bodies.capped(request, limit))

        return handle_known


def client_of(request: Request, credentials: HTTPAuthorizationCredentials | None) -> str:
    """The name of the client whose key was given.

    Raises:
        Problem: 401 without a key that is known, 403 while there are none.
    """
    app: App = request.app.state.app
    clients = app.settings.api_clients
    if not clients:
        raise Problem(403, "closed", "this API is closed: no API_KEYS are set")
    given = hashlib.sha256((credentials.credentials if credentials else "").encode()).digest()
    found = ""
    # Every key is compared, and by its hash, so that the time tells nothing.
    for name, key in clients.items():
        if hmac.compare_digest(given, hashlib.sha256(key.encode()).digest()):
            found = name
    if not found:
        raise Problem(401, "unauthorized", "no such key", {"WWW-Authenticate": "Bearer"})
    return f"api-{found}"


def _known(request: Request, credentials: Annotated[Any, Depends(bearer)]) -> str:
    """The client that `KeyFirst` let in; the description of the API learns of the key from here."""
    return str(request.state.client)


Client = Annotated[str, Depends(_known)]
ImageId = Annotated[str, Path(pattern="^[0-9a-z]{17}$", description="An image's id, as POST gave it.")]


class NewImage(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST, description="What is to be seen.")]
    aspect: Annotated[Aspect, Field(description="Width to height.")] = "1:1"


class Failure(BaseModel):
    """Why there is no picture: a kind such as `moderated_input`, `timeout`, `quota`."""

    kind: str


class Image(BaseModel):
    """A picture and where it is on its way."""

    id: str
    status: Literal["waiting", "running", "done", "failed", "cancelled"]
    model: str
    aspect: str
    created: Annotated[int, Field(description="ms since the epoch")]
    place: Annotated[int | None, Field(description="Jobs that start before it, while it waits.")] = None
    seconds_left: Annotated[
        tuple[float, float] | None, Field(description="The middle and the slow end of what is usual.")
    ] = None
    content: Annotated[str | None, Field(description="Path of the picture, once it is done.")] = None
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    error: Failure | None = None
    trace_id: str | None = None


_ERRORS: dict[int | str, dict[str, str]] = {
    400: {"description": "The request cannot be read"},
    401: {"description": "No such key"},
    403: {"description": "The API is closed, or this client is blocked"},
    404: {"description": "No such image of this client"},
    409: {"description": "It is not at that point"},
    410: {"description": "The picture is no longer kept"},
    411: {"description": "The length of the form is not said"},
    413: {"description": "The picture or the form is too large"},
    422: {"description": "The request is not understood"},
    429: {"description": "Too many requests, or too many at once"},
    502: {"description": "The picture cannot be fetched from its provider"},
    503: {"description": "Not now: the line is full, or a part is away"},
}
router = APIRouter(prefix="/v1/images", tags=["images"], responses=_ERRORS, route_class=KeyFirst)


@router.post("", status_code=202)
async def ask(
    wanted: NewImage,
    request: Request,
    response: Response,
    client: Client,
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> Image:
    """Ask for a picture. The same `Idempotency-Key` within two days asks once."""
    app: App = request.app.state.app
    wish = _wish(client, words_of(wanted.prompt), wanted.aspect, idempotency_key)
    return await _admitted(app, wish, response)


@router.post("/edits", status_code=202, openapi_extra={"requestBody": edits.BODY})
async def edit(
    request: Request,
    response: Response,
    client: Client,
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> Image:
    """Ask for a change of a picture of yours, given as a form. The same `Idempotency-Key` within two days asks once."""
    app: App = request.app.state.app
    wanted = await edits.read(request)
    prompt = words_of(wanted.prompt)
    source = new_upload(wanted.image.data)
    kept = f"{UPLOADS}/{name_of(source)}"
    try:
        await app.blobs.put(kept, wanted.image.data)
    except BlobsAway as error:
        log.error("upload not kept", why=str(error))
        raise _FULL from error
    wish = _wish(client, prompt, wanted.aspect, idempotency_key, source)
    used = False
    try:
        image = await _admitted(app, wish, response)
        job = await app.ledger.job(image.id)
        used = job is not None and job.spec.source == source
    finally:
        if not used:
            await app.blobs.delete(kept)
    return image


@router.get("/{image_id}")
async def read(image_id: ImageId, request: Request, client: Client) -> Image:
    """Where a picture is on its way."""
    app: App = request.app.state.app
    return await _image(app, await _job(app, image_id, client))


@router.get(
    "/{image_id}/content",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}},
)
async def content(image_id: ImageId, request: Request, client: Client) -> Response:
    """The picture, while its provider or the ledger keeps it: a day at least with most providers."""
    app: App = request.app.state.app
    job = await _job(app, image_id, client)
    if job.state is not State.DELIVERED:
        raise Problem(409, "not_done", "there is no picture (yet); its status says more")
    image = await _content(app, job)
    return Response(image.data, media_type=image.mime, headers={"Cache-Control": "private, max-age=3600"})


@router.delete("/{image_id}", status_code=202)
async def cancel(image_id: ImageId, request: Request, client: Client) -> Image:
    """Take a picture back, from any state before it is done."""
    app: App = request.app.state.app
    job = await _job(app, image_id, client)
    ending = await intake.cancel(app, job.id, client)
    if not ending.done and job.state is not State.CANCELLED:
        raise Problem(409, "too_late", "it has ended")
    return await _image(app, await _job(app, image_id, client))


def words_of(prompt: str) -> str:
    """A prompt as it is asked for.

    Raises:
        Problem: 422, it has none.
    """
    # JSON can carry halves of characters, which nothing after this can.
    if not prompt.strip() or any("\ud800" <= letter <= "\udfff" for letter in prompt):
        raise Problem(422, "invalid", "prompt: has no words")
    return prompt.strip()


async def _admitted(app: App, wish: Wish, response: Response) -> Image:
    """The image that a wish asks for, or asked for under this Idempotency-Key before."""
    try:
        admission = await intake.ask(app, wish)
    except NoProvider:
        raise Problem(503, "no_provider", "no provider has a key, or none that can do this") from None
    if not admission.accepted:
        raise _refusal(admission, app)
    kept = await app.ledger.request(admission.request)
    jobs = await app.ledger.jobs(kept.jobs) if kept else []
    if not jobs:
        raise Problem(409, "expired", "what this Idempotency-Key asked for is no longer kept")
    (job,) = jobs
    same_source = content_of(job.spec.source) == content_of(wish.source)
    if (job.spec.prompt, job.spec.aspect) != (wish.prompt, wish.aspect) or not same_source:
        raise Problem(422, "key_reused", "this Idempotency-Key asked for something else")
    response.headers["Location"] = f"/v1/images/{job.id}"
    return await _image(app, job)


async def _job(app: App, image_id: str, client: str) -> Job:
    job = await app.ledger.job(image_id)
    # Another client's image is as good as none: nobody learns which ids there are.
    if job is None or job.user != client:
        raise Problem(404, "not_found", "no such image")
    return job


async def _image(app: App, job: Job) -> Image:
    status = _TIMES.get(job.state, "running")
    image = Image(
        id=job.id,
        status=status,  # type: ignore[arg-type]
        model=job.spec.model,
        aspect=job.spec.aspect,
        created=job.created,
        trace_id=job_spans.trace_id(job) or None,
    )
    if status == "done":
        shown = job.shown or {}
        image.content = f"/v1/images/{job.id}/content"
        image.mime, image.width, image.height = (shown.get(name) for name in ("mime", "width", "height"))
    elif status == "failed":
        image.error = Failure(kind=job.kind or "unknown")
    elif status in ("waiting", "running"):
        outlook = await estimate_job(app.ledger, job, app.cap(job.provider))
        image.place = outlook.place
        image.seconds_left = round(outlook.low, 1), round(outlook.high, 1)
    return image


async def _content(app: App, job: Job) -> ImageBytes:
    provider = app.providers.get(job.provider)
    if provider is None:
        raise Problem(410, "gone", "its provider has no key any more")
    url = (job.shown or {}).get("url")
    try:
        data = None if url else await app.original(job.id)
        if not url and data is None:
            raise Problem(410, "gone", "the picture is no longer kept")
        return await provider.fetch(ImageRef(url=url, data=data))
    except (ProviderError, BlobsAway) as error:
        if isinstance(error, ProviderError) and error.kind in (ErrorKind.NOT_FOUND, ErrorKind.BAD_RESULT):
            raise Problem(410, "gone", "the provider no longer keeps the picture") from None
        raise Problem(502, "not_fetched", "the picture could not be fetched, try again") from None


def _wish(client: str, prompt: str, aspect: str, idempotency_key: str, source: str | None = None) -> Wish:
    update = _once(client, idempotency_key)
    return Wish(user=client, chat=NO_CHAT, prompt=prompt, update=update, aspect=aspect, source=source)


def _once(client: str, key: str) -> str:
    return f"{client}:{hashlib.sha256(key.encode()).hexdigest()}" if key else ""


def _refusal(admission: Admission, app: App) -> Problem:
    match admission.verdict:
        case "rate":
            wait = {"Retry-After": str(max(1, admission.number))}
            return Problem(429, "rate", f"{app.settings.rate_limit} in {app.settings.rate_window} s", wait)
        case "active":
            return Problem(429, "active", f"{admission.number} of yours are open", {"Retry-After": "10"})
        case "busy":
            return Problem(503, "busy", f"{admission.number} jobs wait", {"Retry-After": "60"})
        case "full":
            return _FULL
        case "forbidden":
            return Problem(422, "forbidden", "it has a word that is not drawn here")
        case "cooling":
            wait = {"Retry-After": str(max(1, admission.number))}
            return Problem(429, "cooling", "too much was asked for that is not drawn here", wait)
        case "paused":
            why = admission.why or "nothing new is taken at the moment"
            return Problem(503, "paused", why, {"Retry-After": "300"})
        case "off":
            return Problem(503, "off", "that is switched off at the moment", {"Retry-After": "3600"})
        case "spent" | "spent-person":
            whose = "all clients" if admission.verdict == "spent" else "this client"
            wait = {"Retry-After": str(max(1, admission.number))}
            return Problem(429, "spent", f"{whose} may spend no more today (UTC)", wait)
        case _:
            return Problem(403, "blocked", "this client is blocked")
