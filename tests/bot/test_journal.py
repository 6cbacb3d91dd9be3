"""What admins did is noted once, and shown in pages."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError

from src.jobs import keys
from src.ops import journal
from tests.bot.bot_world import World


@pytest.mark.parametrize(
    ("lang", "none", "title", "banned", "tier"),
    [
        ("en", "No admin", "What admins did", "banned 5", "tier of 5: first"),
        ("ru", "Админы пока", "Что делали админы", "запрет для 5", "класс 5: first"),
    ],
)
async def test_every_act_is_noted_once_and_shown_in_pages(
    world: World, lang: str, none: str, title: str, banned: str, tier: str
) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    assert none in (await admin.reply_after(await admin.send_text("/journal"))).text
    await admin.reply_after(await admin.send_text("/block 5"))
    for _ in range(journal.PAGE):
        await admin.reply_after(await admin.send_text("/tier 5 first"))
    shown = await admin.reply_after(await admin.send_text("/journal"))
    assert title in shown.text
    assert shown.text.count(tier) == journal.PAGE
    assert shown.text.splitlines()[2][12:].startswith("· 77 ·")
    await (await admin.tap(shown, "▶️")).answered()
    await admin.wait_for(lambda m: m is shown and banned in m.text)
    await (await admin.tap(shown, "◀️")).answered()
    await admin.wait_for(lambda m: m is shown and tier in m.text)

    # An update that is handled again, as after a kill; and nobody else sees it.
    before = await world.app.redis.zcard(keys.JOURNAL())
    for _ in range(2):
        await journal.write(world.app, 4711, 77, "lift", "5")
    assert await world.app.redis.zcard(keys.JOURNAL()) == before + 1
    anna = world.sandbox.person("Anna", language_code=lang)
    assert title not in (await anna.reply_after(await anna.send_text("/journal"))).text
    assert (await (await anna.tap_data(shown, "jo:0")).answered())["text"]


async def test_the_journal_keeps_the_last_thousand(world: World) -> None:
    now = await world.app.ledger.now()
    old = {f'[{n}, 77, "drop", "j{n}", ""]': now - 2000 + n for n in range(1100)}
    await world.app.redis.zadd(keys.JOURNAL(), old)
    await journal.write(world.app, 4711, 77, "ban", "5", "spam " * 100)
    entries, older = await journal.page(world.app, 0)
    assert (entries[0].whom, entries[0].how[:5], len(entries[0].how), older) == ("5", "spam ", 200, True)
    assert await world.app.redis.zcard(keys.JOURNAL()) == 1000
    assert await world.app.redis.ttl(keys.JOURNAL()) > 0


async def test_no_act_is_done_before_it_is_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, anna = world.sandbox.person("Root", id=77), world.sandbox.person("Anna")
    await anna.reply_after(await anna.send_text("a fox"))
    [job] = await world.active(anna.id)
    write, tries = journal.write, 0

    async def away_at_first(*args: Any) -> str | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError
        return await write(*args)

    # The update is handled again then; nothing comes of what is asked for once more.
    monkeypatch.setattr(journal, "write", away_at_first)
    for command, answer in ((f"/cancel {job.id}", "is cancelled"), (f"/cancel {job.id}", "any more")):
        assert answer in (await admin.reply_after(await admin.send_text(command))).text
    assert "not kept as failed" in (await admin.reply_after(await admin.send_text(f"/drop {job.id}"))).text
    entries, _ = await journal.page(world.app, 0)
    assert [(entry.what, entry.whom) for entry in entries] == [("cancel", job.id)]
    assert tries == 4
