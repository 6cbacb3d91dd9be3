"""From a message in the chat to a picture in the chat, over real sockets and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from src.jobs import State
from src.sandbox.otlp import SpanRecord
from src.sandbox.telegram import Message, Person
from src.sandbox.traces import TraceSandbox, is_finished, orphans
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
    trace = await _trace_of(system, sent)
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
    assert "лиса" in message.text


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
    await system.until(lambda: _all_ended(system, ann))
    assert len([m for m in ann.messages if m.from_bot and m.has_photo]) == 4
    # The message under the album ends without a button to cancel what is done.
    await system.message(ann, lambda m: m.from_bot and bool(m.buttons) and "cancel" not in str(m.buttons))


async def test_a_photo_with_words_is_edited(system: System, photo: bytes) -> None:
    ann = system.person()
    await ann.send_photo(photo, "make it a watercolour")
    await system.picture(ann)
    (job,) = await system.jobs_of(ann)
    assert job.spec.source is not None
    assert job.spec.model.endswith("edit")


async def test_cancel_while_it_is_being_made(system: System) -> None:
    ann = system.person()
    await ann.send_text("#never a picture that takes for ever")
    placeholder = await system.message(ann, lambda m: m.from_bot)
    (job,) = await system.jobs_of(ann)
    await system.until(lambda: _state(system, job.id, State.RUNNING))
    tap = await ann.tap(placeholder, placeholder.buttons[0]["callback_data"])
    await tap.answered()
    await system.until(lambda: _all_ended(system, ann))
    assert (await system.jobs_of(ann))[0].state is State.CANCELLED
    await ann.chat.feed.until(lambda: placeholder.revisions[-1].method == "editMessageText", 10)
    assert not any(m.has_photo for m in ann.messages)


async def test_a_refusal_is_said_in_plain_words(system: System) -> None:
    ann = system.person()
    await ann.send_text("nsfw")
    await system.until(lambda: _all_ended(system, ann))
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
    await system.until(lambda: _all_ended(system, ann))
    again, variation, file = message.buttons[:3]
    await (await ann.tap(message, file["callback_data"])).answered()
    document = await system.message(ann, lambda m: m.from_bot and "document" in m.content)
    assert document.sha256 == message.sha256
    await (await ann.tap(message, again["callback_data"])).answered()
    await system.until(lambda: _pictures(ann) == 2)
    await (await ann.tap(message, variation["callback_data"])).answered()
    await system.until(lambda: _pictures(ann) == 3)
    assert len({m.sha256 for m in ann.messages if m.from_bot and m.has_photo}) == 3


async def _trace_of(system: System, sent: Message) -> list[SpanRecord]:
    """The whole trace of what was asked for with that message."""
    assert sent.update_id is not None
    update = sent.update_id

    def whole(traces: TraceSandbox) -> list[SpanRecord]:
        found = traces.trace(traces.trace_of_update(update) or "")
        return found if is_finished(found) and any(span.name == "job" for span in found) else []

    return await system.traces.wait_for(whole, 20)


async def _state(system: System, job_id: str, state: State) -> bool:
    job = await system.ledger.job(job_id)
    return job is not None and job.state is state


async def _all_ended(system: System, person: Person) -> bool:
    jobs = await system.jobs_of(person)
    return bool(jobs) and all(job.ended for job in jobs)


def _pictures(person: Person) -> int:
    return sum(m.from_bot and m.revisions[-1].method == "editMessageMedia" for m in person.messages)


@pytest.mark.asyncio(loop_scope="function")
async def test_cancel_while_waiting_and_the_next_moves_up(tmp_path: Path) -> None:
    async with running(tmp_path, KIE_CONCURRENCY="1", PROGRESS_INTERVAL="1") as system:
        ann, bob, eve = system.person("Ann"), system.person("Bob"), system.person("Eve")
        await ann.send_text("#never")
        first = await system.message(ann, lambda m: m.from_bot)
        await bob.send_text("a tree")
        waiting = await system.message(bob, lambda m: m.from_bot)
        await eve.send_text("a house")
        await system.message(eve, lambda m: m.from_bot)
        assert await system.ledger.waiting("kie") == 2
        await (await bob.tap(waiting, waiting.buttons[0]["callback_data"])).answered()
        await system.until(lambda: _all_ended(system, bob))
        assert await system.ledger.waiting("kie") == 1
        await (await ann.tap(first, first.buttons[0]["callback_data"])).answered()
        await system.picture(eve)
        assert not any(m.has_photo for m in bob.messages)


@pytest.mark.asyncio(loop_scope="function")
async def test_a_long_line_with_a_faster_model_and_a_word_when_it_is_done(tmp_path: Path) -> None:
    async with running(tmp_path, KIE_CONCURRENCY="1", BUSY_FROM="1", PROGRESS_INTERVAL="1") as system:
        ann, bob, eve, kim = (system.person(name) for name in ("Ann", "Bob", "Eve", "Kim"))
        await ann.send_text("#never")
        first = await system.message(ann, lambda m: m.from_bot)
        await bob.send_text("a tree")
        behind = await system.message(bob, lambda m: m.from_bot)
        await kim.send_text("a hill")
        later = await system.message(kim, lambda m: m.from_bot and len(m.buttons) == 4)
        sent = await eve.send_text("a river")
        faster = await system.message(eve, lambda m: m.from_bot and len(m.buttons) == 4)
        assert len(behind.buttons) == 1

        await (await kim.tap(later, "Tell me later")).answered()
        await (await eve.tap(faster, "A faster model")).answered()
        await system.picture(eve)
        assert "gpt-image-1" in faster.text
        assert not behind.has_photo

        await (await ann.tap(first, "Cancel")).answered()
        word = await system.message(kim, lambda m: m.from_bot and m.reply_to == later.message_id)
        assert word.text == "✨ Your picture is ready."
        assert later.has_photo
        # The placeholder, the answer to the tap, the picture.
        assert [r.method for r in later.revisions] == ["sendMessage", "editMessageText", "editMessageMedia"]

        trace = await _trace_of(system, sent)
        (update,) = (span for span in trace if span.name == "update message")
        assert "imagebot.offered" in [event.name for event in update.events]
        (job,) = (span for span in trace if span.name == "job")
        assert [event.name for event in job.events].count("imagebot.faster") == 1
