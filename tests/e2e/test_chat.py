"""From a message in the chat to a picture in the chat, over real sockets and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO

import pytest
import pytest_asyncio
from PIL import Image

from src.jobs import State
from src.sandbox.telegram import Person
from src.sandbox.traces import orphans
from tests.system import System, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running(
        tmp_path_factory.mktemp("system"), LEASE="3", PROGRESS_INTERVAL="1", RATE_LIMIT="4"
    ) as system:
        yield system


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def photo() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (640, 480), (200, 120, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


async def test_a_text_becomes_one_picture_in_the_placeholders_place(system: System) -> None:
    ann = system.person()
    await ann.send_text("a red fox in snow")
    message = await system.picture(ann)
    assert [r.method for r in message.revisions][:1] == ["sendMessage"]
    assert [r.method for r in message.revisions][-1] == "editMessageMedia"
    assert sum(m.from_bot for m in ann.messages) == 1
    (job,) = await system.jobs_of(ann)
    await system.until(lambda: _state(system, job.id, State.DELIVERED))


async def test_its_trace_is_whole(system: System) -> None:
    ann = system.person()
    sent = await ann.send_text("a lighthouse at night")
    await system.picture(ann)
    trace = await system.trace_of(sent)
    assert orphans(trace) == []
    names = [span.name for span in trace]
    for name in ("update message", "send submit", "job", "process submit", "send deliver", "process deliver"):
        assert names.count(name) == 1, name
    assert any(name.startswith("generate_content ") for name in names)
    (job,) = (span for span in trace if span.name == "job")
    assert job.attributes["imagebot.outcome"] == "delivered"
    submit, deliver = (
        next(s for s in trace if s.name == f"process {step}") for step in ("submit", "deliver")
    )
    assert {submit.parent_id, deliver.parent_id} == {job.span_id}
    assert [link.span_id for link in submit.links] == [s.span_id for s in trace if s.name == "send submit"]


async def test_russian_is_answered_in_russian(system: System) -> None:
    olga = system.person("Ольга", language_code="ru")
    await olga.send_text("рыжая лиса в снегу")
    placeholder = await system.message(olga, lambda m: m.from_bot)
    assert any("а" <= letter <= "я" for letter in str(placeholder.revisions[0].content))
    message = await system.picture(olga)
    assert message.buttons


async def test_an_album_of_four_fills(system: System) -> None:
    ann = system.person()
    await system.ledger.choose(str(ann.id), count=4)
    await ann.send_text("four seasons")
    pictures = await system.until(
        lambda: (
            (done := [m for m in ann.messages if m.from_bot and m.revisions[-1].method == "editMessageMedia"])
            and len(done) == 4
            and done
        )
    )
    assert len({m.sha256 for m in pictures}) == 4
    await system.until(lambda: system.all_ended(ann))
    assert len([m for m in ann.messages if m.from_bot and m.has_photo]) == 4
    # The message under the album ends without a button to cancel what is done.
    await system.message(ann, lambda m: m.from_bot and bool(m.buttons) and "cancel" not in str(m.buttons))


async def test_a_photo_with_words_is_edited(system: System, photo: bytes) -> None:
    ann = system.person()
    await ann.send_photo(photo, "make it a watercolour")
    await system.picture(ann)
    (job,) = await system.jobs_of(ann)
    assert job.spec.source is not None
    assert system.kie.audit.sources[job.spec.prompt] == 1


async def test_cancel_while_it_is_being_made(system: System) -> None:
    ann = system.person()
    await ann.send_text("#never a picture that takes for ever")
    placeholder = await system.message(ann, lambda m: m.from_bot)
    (job,) = await system.jobs_of(ann)
    await system.until(lambda: _state(system, job.id, State.RUNNING))
    tap = await ann.tap(placeholder, placeholder.buttons[0]["callback_data"])
    await tap.answered()
    await system.until(lambda: system.all_ended(ann))
    assert (await system.jobs_of(ann))[0].state is State.CANCELLED
    await ann.chat.feed.until(lambda: placeholder.revisions[-1].method == "editMessageText", 10)
    assert not any(m.has_photo for m in ann.messages)


async def test_a_refusal_is_said_in_plain_words(system: System) -> None:
    ann = system.person()
    await ann.send_text("nsfw")
    await system.until(lambda: system.all_ended(ann))
    (job,) = await system.jobs_of(ann)
    assert job.state is State.FAILED
    assert job.kind.startswith("moderated")
    (said,) = [m for m in ann.messages if m.from_bot]
    assert "nsfw" not in said.text.lower()
    assert said.buttons


async def test_one_request_too_many_is_told_to_wait(system: System) -> None:
    ann = system.person()
    for number in range(5):
        await ann.send_text(f"picture {number}")
    refusal = await system.message(ann, lambda m: m.from_bot and "Too many requests" in m.text)
    assert refusal.text.startswith("⏳ Too many requests. Please wait a minute.")


async def test_every_button_of_a_picture_works(system: System) -> None:
    ann = system.person()
    await ann.send_text("a boat")
    message = await system.picture(ann)
    await system.until(lambda: system.all_ended(ann))
    again, variation, file = (message.button(text) for text in ("Again", "Variation", "As file"))
    await (await ann.tap(message, file["callback_data"])).answered()
    document = await system.message(ann, lambda m: m.from_bot and "document" in m.content)
    assert document.sha256 == message.sha256
    await (await ann.tap(message, again["callback_data"])).answered()
    await system.until(lambda: _pictures(ann) == 2)
    await (await ann.tap(message, variation["callback_data"])).answered()
    await system.until(lambda: _pictures(ann) == 3)
    assert len({m.sha256 for m in ann.messages if m.from_bot and m.has_photo}) == 3


async def _state(system: System, job_id: str, state: State) -> bool:
    job = await system.ledger.job(job_id)
    return job is not None and job.state is state


def _pictures(person: Person) -> int:
    return sum(m.from_bot and m.revisions[-1].method == "editMessageMedia" for m in person.messages)
