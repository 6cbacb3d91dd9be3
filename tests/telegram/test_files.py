"""Files fetched from Telegram: whole or not at all, and whether another try may help."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.jobs import State, transitions
from src.pipeline import submit
from src.pipeline.leases import Work
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import load_settings
from src.telegram.client import make_bot
from src.telegram.files import NoFile, NotNow, download
from tests.bot.bot_world import OpenGates, World, png

DATA = png(640, 480)

TROUBLES = {
    "busy": ("400", "getFile", "Bad Request: wrong file_id or the file is temporarily unavailable"),
    "a local server's": ("404", "file", None),
    "a gateway's": ("502", "file", None),
    "a broken connection": ("reset", "file", None),
    "half of it": ("cut", "file", None),
    "getFile fails": ("500", "getFile", None),
    "a gateway's page": ("html", "getFile", None),
}


async def _sent(world: World) -> str:
    message = await world.sandbox.person().send_document(DATA)
    return str(message.content["document"]["file_id"])


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_may_pass_is_told_from_what_lasts(world: World, trouble: str) -> None:
    kind, method, description = TROUBLES[trouble]
    file_id = await _sent(world)
    # aiohttp itself asks once more where a connection breaks.
    world.sandbox.faults.add(kind, method, description=description, times=2 if kind == "reset" else 1)
    with pytest.raises(NotNow):
        await download(world.bot, file_id)
    assert await download(world.bot, file_id) == DATA


async def test_a_file_that_is_gone_or_too_big_is_given_up(world: World) -> None:
    with pytest.raises(NoFile) as gone:
        await download(world.bot, "nonsense")
    huge = await world.sandbox.person().send_document(bytes(20 * 1024 * 1024 + 1), "huge.png")
    with pytest.raises(NoFile) as big:
        await download(world.bot, str(huge.content["document"]["file_id"]))
    assert (gone.value.too_big, big.value.too_big) == (False, True)


@pytest.mark.parametrize(
    ("trouble", "state", "kind"), [("cut", State.SUBMITTING, ""), ("big", State.FAILED, "bad_source")]
)
async def test_a_source_that_cannot_be_had_is_asked_for_again_or_told_of(
    world: World, trouble: str, state: State, kind: str
) -> None:
    anna = world.sandbox.person()
    await anna.send_document(DATA, "fox.png", "make it night")
    [job] = await world.active(anna.id)
    if trouble == "cut":
        world.sandbox.faults.add("cut", "file")
    else:
        world.sandbox.faults.add("400", "getFile", description="Bad Request: file is too big")
    work = Work(world.app, world.bot, world.messages)
    held = await world.app.ledger.run(transitions.claim(job.id, "submit", holder="test", lease=30))
    assert held is not None
    await submit.begin(work, held)
    after = await world.app.ledger.job(job.id)
    assert after is not None
    assert (after.state, after.kind, after.unknown) == (state, kind, 0)
    assert await world.app.limiter.breaker(f"provider:{job.provider}") == 0
    if state is State.FAILED:
        await world.told(after)
        assert "20 MB" in anna.messages[-1].text


async def test_a_local_server_leaves_its_files_on_the_disk(tmp_path: Path) -> None:
    async with TelegramSandbox(local_files=tmp_path) as sandbox:
        message = await sandbox.person().send_document(DATA)
        file_id = str(message.content["document"]["file_id"])
        for local in (True, False):
            settings = load_settings(
                telegram_token=DEMO_TOKEN, telegram_api_url=sandbox.url, telegram_api_local=local
            )
            bot = make_bot(settings, OpenGates())
            if local:
                assert await download(bot, file_id) == DATA
            else:
                with pytest.raises(NotNow):
                    await download(bot, file_id)
            await bot.session.close()
