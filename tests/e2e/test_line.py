"""A provider that takes one picture at a time, and a line of people before it. The tests share one system."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.system import System, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    env = {"KIE_CONCURRENCY": "1", "BUSY_FROM": "1", "PROGRESS_INTERVAL": "1"}
    async with running(tmp_path_factory.mktemp("system"), **env) as system:
        yield system


async def test_a_long_line_with_a_faster_model_and_a_word_when_it_is_done(system: System) -> None:
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
    assert "GPT Image 2.5 Flare" in faster.text
    assert not behind.has_photo

    await (await ann.tap(first, "Cancel")).answered()
    word = await system.message(kim, lambda m: m.from_bot and m.reply_to == later.message_id)
    assert word.text == "✨ Your picture is ready."
    assert later.has_photo
    # The placeholder, the answer to the tap, the picture.
    assert [r.method for r in later.revisions] == ["sendMessage", "editMessageText", "editMessageMedia"]

    trace = await system.trace_of(sent)
    (update,) = (span for span in trace if span.name == "update message")
    assert "imagebot.offered" in [event.name for event in update.events]
    (job,) = (span for span in trace if span.name == "job")
    assert [event.name for event in job.events].count("imagebot.faster") == 1


async def test_cancel_while_waiting_and_the_next_moves_up(system: System) -> None:
    ann, bob, eve = system.person("Ann"), system.person("Bob"), system.person("Eve")
    await ann.send_text("#never")
    first = await system.message(ann, lambda m: m.from_bot)
    await bob.send_text("a tree")
    waiting = await system.message(bob, lambda m: m.from_bot)
    await eve.send_text("a house")
    await system.message(eve, lambda m: m.from_bot)
    assert await system.ledger.waiting("kie") == 2
    await (await bob.tap(waiting, waiting.buttons[0]["callback_data"])).answered()
    await system.until(lambda: system.all_ended(bob))
    assert await system.ledger.waiting("kie") == 1
    await (await ann.tap(first, first.buttons[0]["callback_data"])).answered()
    await system.picture(eve)
    assert not any(m.has_photo for m in bob.messages)
