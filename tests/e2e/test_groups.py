"""Groups over real processes: what happens to a picture while it is drawn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from src.jobs import State
from tests.system import System, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running(
        tmp_path_factory.mktemp("groups"), LEASE="3", PROGRESS_INTERVAL="1", RATE_LIMIT="50"
    ) as system:
        yield system


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("told", [True, False])
async def test_a_group_that_moves_gets_its_picture(system: System, count: int, told: bool) -> None:
    ann = system.person()
    group = system.telegram.group("Zoo", [ann], type="group")
    await system.ledger.choose(str(ann.id), count=count)
    asked = await ann.send_text("/imagine a fox #slow", chat=group)
    await ann.wait_until(lambda ms: any(m.buttons for m in ms), 60, chat=group)
    moved = system.telegram.migrate(group)
    if not told:
        system.telegram.bot.updates.drop_all()
    await system.until(lambda: system.all_ended(ann))
    assert {job.state for job in await system.jobs_of(ann)} == {State.DELIVERED}
    messages = await ann.wait_until(lambda ms: sum(m.has_photo for m in ms) == count, 60, chat=moved)
    await ann.wait_until(lambda ms: not any("Cancel" in str(m.buttons) for m in ms), 60, chat=moved)
    assert sum(m.from_bot for m in messages) == (1 if count == 1 else count + 1)
    assert asked.update_id is not None


@pytest.mark.parametrize("count", [1, 2])
async def test_where_no_picture_may_be_sent_words_say_so(system: System, count: int) -> None:
    ann = system.person()
    group = system.telegram.group("Zoo", [ann])
    await system.ledger.choose(str(ann.id), count=count)
    await ann.send_text("/imagine a fox #slow", chat=group)
    await ann.wait_until(lambda ms: any(m.buttons for m in ms), 60, chat=group)
    group.permissions = {"can_send_photos": False, "can_send_documents": False}
    await system.until(lambda: system.all_ended(ann), 150)
    await ann.wait_until(
        lambda ms: (
            any("not allowed to send pictures here" in m.text for m in ms)
            and not any("Cancel" in str(m.buttons) for m in ms)
        ),
        60,
        chat=group,
    )
