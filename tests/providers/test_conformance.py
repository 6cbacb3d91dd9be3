"""What every client must survive: the 22 points, each tried at each client's stand-in; and the table of what was found,
`CONFORMANCE.md`, which is written anew by `CONFORMANCE=write pytest tests/providers/test_conformance.py`.

A client that cannot have a point's trouble, or lacks its remedy, says so in its cell; that it is so is tried too.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from src.pipeline.retry_policy import BREAKER
from src.providers.base import (
    Callback,
    Done,
    ErrorKind,
    GenRequest,
    ImageBytes,
    Pending,
    ProviderError,
    Ticket,
)
from src.providers.http import make_client
from src.sandbox.pictures import Format, PictureMaker
from src.settings import key_of, provider_clients
from tests.providers.conftest import Edge, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = Path(__file__).with_name("CONFORMANCE.md")
POINTS = {
    1: "the picture arrives, byte for byte",
    2: "blocked inside a 200",
    3: "a refused prompt",
    4: "wrong parameters are final",
    5: "a refused key shuts the provider",
    6: "a spent balance shuts the provider",
    7: "429 with seconds, a date, nothing",
    8: "5xx, then well again",
    9: "accepted, and the answer lost",
    10: "another process goes on",
    11: "an unknown word for a state",
    12: "its end told twice",
    13: "called back before its ticket is kept",
    14: "callbacks twice, forged, stale, changed",
    15: "results at foreign or private addresses",
    16: "a result that is gone",
    17: "results that are no good picture",
    18: "cancelled before, while, after",
    19: "past the deadline",
    20: "one of several fails",
    21: "a result in every form",
    22: "clocks that differ",
}
# Shown once for all clients, as these are the ledger's and the pipeline's affair.
SHARED = {
    13: "tests.ops.test_snapshot.test_a_callback_hurries_a_poll_even_before_its_ticket_is_known",
    19: "tests.pipeline.test_failures.test_past_its_deadline_a_generation_is_stopped_at_its_provider",
    20: "tests.telegram.test_messages.test_an_album_in_which_some_fail",
}
# What has forms of its own is shown by the client's own test.
FORMS = {
    "kie": "tests.providers.test_kie.test_a_result_as_list_string_or_object",
    "gemini": "tests.providers.test_gemini.test_a_picture_in_every_form_it_comes_in",
    "replicate": "tests.providers.test_replicate.test_an_output_in_every_form_it_comes_in",
}
# It has no ticket to be cancelled by: what it draws is stopped.
STOPPED = {
    "a1111": "tests.providers.test_a1111.test_what_nobody_waits_for_any_more_is_interrupted",
}
ANY = "tests.providers.test_gateways.test_a_picture_is_a_picture"
WORDLESS = ("yandexart", "gigachat")
FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp")
YES = "✓"


class Lacking(Exception):
    """Why a client has nothing to show for a point."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everybody() -> AsyncIterator[tuple[Edge, httpx.AsyncClient]]:
    async with serving() as edge, make_client(edge.settings()) as client:
        yield edge, client


class Bench:
    """A client at its stand-in."""

    def __init__(self, name: str, edge: Edge, client: httpx.AsyncClient) -> None:
        self.name, self.edge, self._client = name, edge, client
        self.sandbox = getattr(edge, name)
        self.settings = edge.settings()
        self.client = self.made()
        edge.faults.clear()
        self.lasting(0.0)

    def made(self, **more: Any) -> Any:
        """The client, in a process of its own."""
        return provider_clients()[self.name](self.settings, self._client, **more)

    def lasting(self, seconds: float) -> None:
        """How long generations take from now on."""
        getattr(self.sandbox, "tasks", self.sandbox).durations = (seconds, seconds)

    def ask(self, prompt: str = "a fox", **more: Any) -> GenRequest:
        return GenRequest("job-1", prompt, getattr(self.settings, f"{self.name}_model"), **more)

    async def done(self, **more: Any) -> Done:
        answer = await self.client.submit(self.ask(**more))
        return await followed(self.client, answer) if isinstance(answer, Ticket) else answer

    async def picture(self, **more: Any) -> ImageBytes:
        found: ImageBytes = await self.client.fetch((await self.done(**more)).image)
        return found

    async def error(self, *faults: str, **options: Any) -> ProviderError:
        """What comes of these faults."""
        for fault in faults:
            self.edge.faults.add(fault, **options)
        with pytest.raises(ProviderError) as caught:
            await self.picture()
        self.edge.faults.clear()
        return caught.value

    def of_others(self, what: str) -> None:
        """What a machine of the owner's own has not."""
        if not key_of(self.name).endswith("_API_KEY"):
            raise Lacking(f"is the owner's own machine, which {what}")

    async def ticket(self, **more: Any) -> Ticket:
        answer = await self.client.submit(self.ask(**more))
        if not isinstance(answer, Ticket):
            assert self.client.capabilities.synchronous
            raise Lacking("answers with the picture: there is nothing to ask about")
        return answer

    async def called(self) -> tuple[str, Callback]:
        """A task, and the callback that came when it had ended."""
        if not self.client.capabilities.callback:
            assert await self.client.callback_hint(Callback({}, b"{}")) is None
            raise Lacking("does not call back")
        came: asyncio.Queue[Callback] = asyncio.Queue()

        async def take(request: web.Request) -> web.Response:
            await came.put(Callback(request.headers, await request.read(), request.path, dict(request.query)))
            return web.Response()

        app = web.Application()
        app.router.add_post("/back", take)
        async with TestServer(app) as here:
            ticket = await self.ticket(callback_url=str(here.make_url("/back")))
            return ticket.external_id, await asyncio.wait_for(came.get(), 10)


async def followed(client: Any, ticket: Ticket) -> Done:
    """A generation to its end."""
    while not isinstance(found := await client.poll(ticket), Done):
        assert isinstance(found, Pending)
        # Whoever draws it is in this loop too.
        await asyncio.sleep(0)
    return found


def exists(test: str) -> None:
    module, _, name = test.rpartition(".")
    file = (TABLE.parents[2] / module.replace(".", "/")).with_suffix(".py")
    assert f"def {name}(" in file.read_text("utf-8"), f"{test} is no longer there"


async def whole(bench: Bench) -> None:
    image = await bench.picture(prompt="a whole fox")
    pictures = PictureMaker(cached=True)
    made = [await pictures.make("a whole fox", (image.width, image.height), form=form) for form in FORMATS]
    assert image.data in made


async def blocked(bench: Bench) -> None:
    bench.of_others("refuses nothing")
    error = await bench.error("blocked_200")
    assert not error.retryable
    assert error.kind not in BREAKER
    if error.kind is ErrorKind.BAD_RESULT:
        raise Lacking("says so in a failed task; an empty result counts as broken")
    assert error.kind in (ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT)


async def refused(bench: Bench) -> None:
    bench.of_others("refuses nothing")
    error = await bench.error("moderated")
    assert error.kind in (ErrorKind.MODERATED_INPUT, ErrorKind.MODERATED_OUTPUT)
    assert not error.submitted


async def wrong(bench: Bench) -> None:
    # Whoever needs a token has one.
    await bench.client.check()
    error = await bench.error("400")
    assert (error.kind, error.retryable) == (ErrorKind.INVALID_REQUEST, False)


async def key(bench: Bench) -> None:
    error = await bench.error("401")
    assert (error.kind, BREAKER[error.kind]) == (ErrorKind.AUTH, "at once")


async def money(bench: Bench) -> None:
    bench.of_others("asks for no money")
    for fault in ("402", "insufficient_quota"):
        error = await bench.error(fault)
        assert (error.kind, BREAKER[error.kind]) == (ErrorKind.QUOTA, "at once")


async def limited(bench: Bench) -> None:
    date = email.utils.format_datetime(email.utils.localtime().replace(microsecond=0), usegmt=False)
    later = email.utils.formatdate(time.time() + 30, usegmt=True)
    for given, least, most in ((7, 7.0, 7.0), (later, 20.0, 31.0), (date, 0.0, 0.0)):
        error = await bench.error("429", retry_after=given)
        assert error.kind is ErrorKind.RATE_LIMITED
        assert error.retry_after is not None
        assert least <= error.retry_after <= most
    error = await bench.error("429")
    assert (error.kind, error.retry_after, error.submitted) == (ErrorKind.RATE_LIMITED, None, False)


async def unwell(bench: Bench) -> None:
    for fault in ("500", "503"):
        assert (await bench.error(fault)).retryable
        assert (await bench.picture()).width


async def unheard(bench: Bench) -> None:
    await bench.client.check()
    bench.edge.faults.add("reset_after_accept")
    before = bench.sandbox.audit.submits["unheard"]
    with pytest.raises(ProviderError) as caught:
        await bench.client.submit(bench.ask("unheard"))
    assert caught.value.submitted
    assert bench.sandbox.audit.submits["unheard"] == before + 1, "it is not said again by itself"


async def handed_over(bench: Bench) -> None:
    ticket = await bench.ticket()
    kept = Ticket.from_json(json.loads(json.dumps(ticket.to_json())))
    assert (await bench.client.fetch((await followed(bench.made(), kept)).image)).width


async def unknown_word(bench: Bench) -> None:
    bench.lasting(0.4)
    bench.edge.faults.add("unknown_state")
    ticket = await bench.ticket()
    with capture_logs() as logs:
        await followed(bench.client, ticket)
    bench.of_others("has no words for its states")
    if bench.name in WORDLESS:
        raise Lacking("says only whether it is done")
    assert [entry["log_level"] for entry in logs if "unknown" in entry["event"]][:1] == ["warning"]


async def told_twice(bench: Bench) -> None:
    ticket = await bench.ticket()
    first = await followed(bench.client, ticket)
    assert await bench.client.poll(ticket) == first


async def believed(bench: Bench) -> None:
    task, call = await bench.called()
    hint = bench.client.callback_hint
    assert await hint(call) == await hint(call) == task
    assert await hint(Callback({}, call.body)) is None
    signature = next(name for name in call.headers if "signature" in name.lower())
    assert await hint(Callback({**call.headers, signature: "00" * 64}, call.body)) is None
    late = bench.made(clock=lambda: time.time() + 900)
    assert await late.callback_hint(call) is None
    other = call.body.replace(task.encode(), b"another-task")
    assert await hint(Callback(call.headers, other)) is None
    if await hint(Callback(call.headers, call.body + b" ")) is not None:
        raise Lacking("its signature covers the task, not the rest: which is why only the task is believed")


async def fetched_wrongly(bench: Bench, fault: str) -> ErrorKind:
    """What comes of a fault of the address or of what lies there."""
    bench.edge.faults.add(fault)
    try:
        done = await bench.done()
        await bench.client.fetch(done.image)
    except ProviderError as error:
        return error.kind
    if done.image.url is not None:
        assert done.image.url.startswith(getattr(bench.settings, f"{bench.name}_base_url"))
        raise Lacking("names files, not addresses")
    raise Lacking("its picture comes in the answer")


async def addresses(bench: Bench) -> None:
    for tried, fault in enumerate(("foreign_host", "plain_http", "metadata_host", "redirect_private")):
        try:
            assert await fetched_wrongly(bench, fault) is ErrorKind.BAD_RESULT, fault
        except Lacking:
            # What it names may be wrong though nothing lies there that could redirect.
            if not tried:
                raise


async def gone(bench: Bench) -> None:
    assert await fetched_wrongly(bench, "expired_403") is ErrorKind.NOT_FOUND


async def no_picture(bench: Bench) -> None:
    for fault in ("not_an_image", "truncated_image", "bomb", "huge"):
        assert (await bench.error(fault)).kind is ErrorKind.BAD_RESULT, fault
    bench.edge.faults.add("webp")
    assert (await bench.picture()).mime == "image/webp"


async def cancelled(bench: Bench) -> None:
    if not bench.client.capabilities.cancel:
        assert await bench.client.cancel(Ticket(bench.name, "task")) == "unsupported"
        raise Lacking("it has no way to")
    if bench.name in STOPPED:
        exists(STOPPED[bench.name])
        return
    over = await bench.ticket()
    await followed(bench.client, over)
    bench.lasting(3600.0)
    assert await bench.client.cancel(await bench.ticket()) == "cancelled"
    bench.lasting(1e-6)
    bench.edge.faults.add("never_ends")
    assert await bench.client.cancel(await bench.ticket()) == "cancelled"
    assert await bench.client.cancel(over) == "too_late"


async def forms(bench: Bench) -> None:
    bench.of_others("names files")
    exists(FORMS.get(bench.name, ANY))


async def clocks(bench: Bench) -> None:
    task, call = await bench.called()
    for off in (-200, 200):
        ours = bench.made(clock=lambda off=off: time.time() + off)
        assert await ours.callback_hint(call) == task


TRIALS: dict[int, Callable[[Bench], Awaitable[None]]] = {
    1: whole,
    2: blocked,
    3: refused,
    4: wrong,
    5: key,
    6: money,
    7: limited,
    8: unwell,
    9: unheard,
    10: handed_over,
    11: unknown_word,
    12: told_twice,
    14: believed,
    15: addresses,
    16: gone,
    17: no_picture,
    18: cancelled,
    21: forms,
    22: clocks,
}
FOUND: dict[tuple[int, str], str] = {}


@pytest.mark.parametrize("name", provider_clients())
@pytest.mark.parametrize("point", TRIALS)
async def test_each_point_at_each_client(
    everybody: tuple[Edge, httpx.AsyncClient], point: int, name: str
) -> None:
    try:
        async with asyncio.timeout(20):
            await TRIALS[point](Bench(name, *everybody))
        FOUND[point, name] = YES
    except Lacking as why:
        FOUND[point, name] = str(why)


async def test_what_is_shown_once_for_all() -> None:
    for test in SHARED.values():
        exists(test)


def table() -> str:
    names = list(provider_clients())
    notes: list[str] = []
    lines = [
        "# What every client survives",
        "",
        "Made by [test_conformance.py](test_conformance.py), which tries each point at each client's stand-in;",
        "`CONFORMANCE=write pytest tests/providers/test_conformance.py` writes it anew. ✓ is tried and holds, * is",
        "shown once for all clients, a number is why there is nothing to show.",
        "",
        f"| | point | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for point, words in POINTS.items():
        cells = []
        for name in names:
            found = "*" if point in SHARED else FOUND[point, name]
            if found not in (YES, "*"):
                notes += [found] if found not in notes else []
                found = str(notes.index(found) + 1)
            cells.append(found)
        lines.append(f"| {point} | {words} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""]
    lines += [f"`*` {point}: `{test}`  " for point, test in SHARED.items()]
    return "\n".join(lines) + "\n"


async def test_the_table_tells_what_was_found() -> None:
    if len(FOUND) < len(TRIALS) * len(provider_clients()):
        pytest.skip("not every point was tried in this run")
    if os.environ.get("CONFORMANCE") == "write":
        TABLE.write_text(table(), "utf-8")
    assert TABLE.read_text("utf-8") == table(), "write it anew: CONFORMANCE=write pytest …"
